"""The ``optimizer`` of a recipe's stage: a name that Keras has, its arguments, and the ranges of their numbers."""

import math
import re
from typing import Any

from .errors import close_matches
from .keras_names import OPTIMIZERS, SCHEDULE_CLASSES, SCHEDULES, SWITCHES
from .key_form import Form
from .momentum_cycle import argument_of
from .strict_toml import REQUIRED, Table

#: Numbers that make no sense below zero, and those that make none at zero either.
_NOT_NEGATIVE = ("learning_rate", "weight_decay", "momentum")
_POSITIVE = ("clipnorm", "clipvalue", "global_clipnorm")


class OptimizerForm(Form):
    """A table with ``name`` and arguments of that optimizer; ``learning_rate`` and momentum may be schedules."""

    kind = dict
    said = '{ name = "adam", learning_rate = 1e-3 }'

    def fits(self, value: Any) -> bool:
        """Whether it is a table that names something."""
        return isinstance(value, dict) and isinstance(value.get("name"), str)

    def take(self, table: Table, name: str, default: Any = REQUIRED) -> Any:
        """Takes a stage's optimizer; what its numbers lead to in training is Keras's to say.

        Raises:
            RecipeError: naming the key, if there is no such optimizer, argument or schedule, or a number is not
                finite, or negative where it must not be.
        """
        found = super().take(table, name, default)
        _check_names(table, name, found)
        _check_numbers(table, name, found)
        return found

    def schema(self) -> dict[str, Any]:
        """An object of all arguments that there are: an optimizer in any case, a number or a schedule."""
        known = sorted({key for keys in OPTIMIZERS.values() for key in keys})
        properties = {"name": _names_schema(OPTIMIZERS), **{key: _argument_schema(key) for key in known}}
        return {"type": "object", "properties": properties, "required": ["name"], "additionalProperties": False}


def _names_schema(names: Any) -> dict[str, Any]:
    """A name in any case; the enumeration is what an editor offers."""
    anyhow = "|".join("".join(f"[{c}{c.upper()}]" for c in name) for name in names)
    return {"anyOf": [{"enum": [*names]}, {"type": "string", "pattern": f"^(?:{anyhow})$"}]}


def _argument_schema(key: str) -> dict[str, Any]:
    if key in SWITCHES:
        return {"type": "boolean"}
    if key == "exclude_layers":
        return {"type": "array", "items": {"type": "string"}}
    number: dict[str, Any] = {"type": "number"}
    if key in _POSITIVE:
        number["exclusiveMinimum"] = 0
    elif key.endswith(_NOT_NEGATIVE):
        number["minimum"] = 0
    scheduled = key in ("learning_rate", "momentum", "beta_1")
    return {"anyOf": [number, {"$ref": "#/$defs/schedule"}]} if scheduled else number


def schedule_schema() -> dict[str, Any]:
    """A schedule as JSON schema: a name, and all arguments that there are."""
    arguments = sorted({key for keys in SCHEDULES.values() for key in keys})
    properties = {"name": {"enum": [*SCHEDULES, *SCHEDULE_CLASSES]}, **{key: {} for key in arguments}}
    return {"type": "object", "properties": properties, "required": ["name"], "additionalProperties": False}


def _check_names(table: Table, key: str, found: dict[str, Any]) -> None:
    name = found["name"]
    known = OPTIMIZERS.get(name.lower())
    if known is None:
        what = f"Keras has no optimizer '{name}'."
        table.refuse(f"{key}.name", what, fix=close_matches(name.lower(), OPTIMIZERS))
    for argument, value in found.items():
        if argument == "name":
            continue
        if argument not in known:
            what = f"The optimizer '{name}' has no argument '{argument}'."
            fix = _takers(found, argument) or close_matches(argument, known)
            table.refuse(f"{key}.{argument}", what, received=f"{argument} = {value!r}", fix=fix)
        if isinstance(value, dict):
            if argument not in ("learning_rate", argument_of(found)):
                what = f"The optimizer '{name}' takes no schedule for '{argument}'."
                table.refuse(f"{key}.{argument}", what, fix="Give it a number.")
            _check_schedule(table, f"{key}.{argument}", value, momentum=argument != "learning_rate")
        else:
            _check_type(table, f"{key}.{argument}", argument, value)


def _takers(found: dict[str, Any], argument: str) -> str:
    """Which optimizers have a momentum, where this one does not."""
    if argument not in ("momentum", "nesterov"):
        return ""
    takers = [f"--optimizer {one}" for one, keys in OPTIMIZERS.items() if argument in keys]
    takers.sort(key=lambda taker: (not taker.endswith(" sgd"), taker))
    adam = argument == "momentum" and argument_of(found) == "beta_1"
    own = f"; what {found['name'].lower()} has is beta_1, which a recipe can say" if adam else ""
    return f"Take one that has it: {', '.join(takers)}{own}."


def _check_type(table: Table, key: str, argument: str, value: Any) -> None:
    if argument == "exclude_layers":
        expected, fits = "a list of regular expressions", isinstance(value, list) and all(map(_is_pattern, value))
    elif argument in SWITCHES:
        expected, fits = "true or false", isinstance(value, bool)
    else:
        schedule = ", or a schedule: a table" if argument == "learning_rate" else ""
        expected, fits = f"a number{schedule}", isinstance(value, (int, float)) and not isinstance(value, bool)
    table.check(key, fits, expected, value)


def _check_schedule(table: Table, key: str, found: dict[str, Any], momentum: bool) -> None:
    name = found.get("name")
    if not isinstance(name, str):
        table.fail(key, 'a schedule with its name, such as { name = "cosine" }', found)
    short = SCHEDULE_CLASSES.get(name, name)
    if short not in SCHEDULES:
        what = f"There is no learning-rate schedule '{name}'."
        table.refuse(f"{key}.name", what, fix=close_matches(name, [*SCHEDULES, *SCHEDULE_CLASSES]))
    if short == "one_cycle_momentum" and not momentum:
        what = f"The schedule '{name}' is one of a momentum."
        table.refuse(f"{key}.name", what, fix="Use one_cycle.")
    for argument, value in found.items():
        if argument != "name" and argument not in SCHEDULES[short]:
            what = f"The schedule '{name}' has no argument '{argument}'."
            table.refuse(f"{key}.{argument}", what, fix=close_matches(argument, SCHEDULES[short]))
        if argument == "after" and isinstance(value, dict):
            _check_schedule(table, f"{key}.after", value, momentum)


def _check_numbers(table: Table, key: str, value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_numbers(table, f"{key}.{name}", inner)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    name = key.rpartition(".")[2]
    finite = -math.inf < value < math.inf
    if name in _POSITIVE and not (finite and value > 0):
        table.fail(key, "a finite number above 0", value)
    if name.endswith(_NOT_NEGATIVE) and not (finite and value >= 0):
        table.fail(key, "a finite number, 0 or more", value)
    if not finite:
        table.fail(key, "a finite number", value)


def _is_pattern(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value) or True)
    except re.error:
        return False
