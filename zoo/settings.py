"""Keys of a recipe set to other values, each by its address: ``data.limit_per_class``, ``stage.head.epochs``."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from .default_stages import scratch_stages, transfer_stages
from .errors import RecipeError, close_matches
from .recipe_parts import COMPUTE, DATA, MODEL, SEED, TOP, table_of
from .recipe_stage import STAGE

_TABLES = {"model": MODEL, "data": DATA, "top": TOP, "compute": COMPUTE}
_PART = re.compile(r"""([^."']+)|"([^"]*)"|'([^']*)'""")


def read_setting(text: str) -> tuple[str, Any]:
    """``KEY=VALUE`` as the key and its value, which is TOML; a word without quotes is a string.

    Args:
        text: Such as ``seed=3``, ``model.name=runs/first``, ``top.hidden=[64]``.

    Returns:
        The key's address, and the value.

    Raises:
        RecipeError: if there is no key or no value, or a list, a table or a quoted string is not TOML.

    Example:
        >>> read_setting("stage.head.epochs=5"), read_setting("model.name=runs/first")
        (('stage.head.epochs', 5), ('model.name', 'runs/first'))
    """
    key, joint, said = (part.strip() for part in text.partition("="))
    if not joint or not key or not said:
        what = f"--set {text}: this is not KEY=VALUE."
        raise RecipeError(what, expected="a key and its value, such as seed=3", fix="An empty string is KEY='\"\"'.")
    try:
        found = tomllib.loads(f"value = {said}")
    except tomllib.TOMLDecodeError as reason:
        if said[0] in "[{\"'":
            what = f"--set {key}: the value is not TOML: {reason}."
            fix = "Quote the whole for the shell: --set 'top.hidden=[64, 32]'."
            raise RecipeError(what, received=said, fix=fix) from None
        return key, said
    plain = isinstance(found["value"], (bool, int, float, str, list, dict)) and found.keys() == {"value"}
    return key, found["value"] if plain else said  # a date is a word


def with_settings(data: Mapping[str, Any], settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A recipe's parsed TOML with some keys set; nothing but their addresses is checked.

    Args:
        data: The parsed file; it is not changed.
        settings: Values by address. A stage goes by its name or its number: ``stage.head.epochs``, ``stage.0.epochs``.
            A part of an address that holds a dot is quoted: ``stage."a.b".epochs``.
        where: What errors call the file.

    Returns:
        The data. A recipe without stages has the default ones where one of theirs is set.

    Raises:
        RecipeError: naming the address, and the nearest that there is.

    Example:
        >>> with_settings({"schema": 1, "seed": 3}, {"seed": 5, "data.val": 0.2}, "r.toml")
        {'schema': 1, 'seed': 5, 'data': {'val': 0.2}}
    """
    made = _plain(data)
    # Which stages a recipe without any has follows from the rest: that is set first.
    for address, value in sorted(settings.items(), key=lambda one: one[0].startswith("stage")):
        parts = [a or b or c for a, b, c in _PART.findall(address)]
        if not parts or not re.fullmatch(rf"(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))*", address):
            what = f"{where}, with {address} set: this is no key of a recipe."
            raise RecipeError(what, expected="names with dots between them, such as data.val")
        if parts[0] == "stage" and len(parts) > 1:
            table, rest = _stage(made, parts[1], address, where), parts[2:]
            known = {f"stage.{parts[1]}.{key.name}": key.name for key in STAGE.keys}
        else:
            table, rest, known = made, parts, _addresses()
        _check_address(address, ".".join(parts[:2]) if table is made else rest[:1], known, where)
        _put(table, rest, _plain(value), address, where)
    return made


def _addresses() -> dict[str, str]:
    """Every address of a recipe outside its stages, and the key that it ends with."""
    nested = {f"{name}.{key.name}": key.name for name, table in _TABLES.items() for key in table.keys}
    return {"schema": "schema", SEED.name: SEED.name, "stage": "stage", **{name: name for name in _TABLES}, **nested}


def _check_address(address: str, begins: str | Sequence[str], known: Mapping[str, str], where: str) -> None:
    """Refuses an address that no recipe has; one that lacks its table, or is misspelled, is told the right one."""
    here = begins in known if isinstance(begins, str) else bool(begins) and begins[0] in known.values()
    if here:
        return
    last = address.rpartition(".")[2]
    same = [one for one, key in known.items() if key == last]
    fix = f"Did you mean '{same[0]}'?" if same else close_matches(address, known)
    what = f"{where}, with {address} set: a recipe has no key '{address}'."
    raise RecipeError(what, fix=fix)


def _stage(data: dict[str, Any], name: str, address: str, where: str) -> dict[str, Any]:
    """The table of a stage, by its name or else its number."""
    if not data.get("stage"):
        model = data.get("model")
        scratch = isinstance(model, dict) and model.get("from_scratch") is True
        data["stage"] = [table_of(stage) for stage in (scratch_stages() if scratch else transfer_stages(None))]
    stages = [one for one in data["stage"] if isinstance(one, dict)] if isinstance(data["stage"], list) else []
    names = [str(one.get("name")) for one in stages]
    if name in names:
        return stages[names.index(name)]
    if name.isdecimal() and int(name) < len(stages):
        return stages[int(name)]
    what = f"{where}, with {address} set: there is no stage '{name}'."
    raise RecipeError(what, expected=f"a name, or a number below {len(stages)}", fix=close_matches(name, names))


def _put(table: dict[str, Any], parts: Sequence[str], value: Any, address: str, where: str) -> None:
    *outer, last = parts
    for place, name in enumerate(outer):
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            said = ".".join(parts[: place + 1])
            what = f"{where}, with {address} set: '{said}' is no table."
            raise RecipeError(what, received=f"{said} = {inner!r}", fix=f"Set {said} itself.")
        table = inner
    table[last] = value


def _plain(value: Any) -> Any:
    """A copy as TOML has it: lists for tuples, and NumPy's numbers as Python's."""
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
