"""What ``--schedule`` makes of a stage: a schedule around its learning rate, or performance scheduling."""

from dataclasses import replace
from typing import Any

from .errors import RecipeError, close_matches
from .momentum_cycle import argument_of, cycling, steady
from .recipe_stage import StagePart

#: What can be said by a name alone; all of them last as long as the stage. Others need a table.
SCHEDULES = (
    "constant",
    "performance",
    "exponential",
    "power",
    "cosine",
    "cosine_restarts",
    "one_cycle",
)
#: Classes that are looked for by their short names here.
_SHORT = {
    "OneCycle": "one_cycle",
    "CosineDecay": "cosine",
    "CosineDecayRestarts": "cosine_restarts",
    "ExponentialDecay": "exponential",
    "PowerDecay": "power",
    "PiecewiseConstantDecay": "piecewise",
    "WarmUp": "warm_up",
}
#: Under which key each says its highest rate; the others say it under ``initial_learning_rate``.
_HIGHEST = {"one_cycle": "max_learning_rate", "piecewise": "values", "warm_up": "after"}
_WARM_UP = ("warmup_steps", "warmup_start")


def scheduled(stage: StagePart, schedule: Any, rate: Any = None) -> StagePart:
    """A stage whose rate follows a schedule; the rate that it has becomes the schedule's highest.

    A schedule of the same name keeps what it says already, and a warm-up stays before any schedule that takes one.

    Args:
        stage: The stage.
        schedule: One of ``SCHEDULES``, or a table as a recipe's ``learning_rate`` has it; what that says wins.
        rate: The rate that was said beside it; by default the stage's own, or the highest of its schedule. For a table
            ``warm_up`` without ``after`` it may be a schedule: the one that follows.

    Returns:
        The stage. Under ``one_cycle`` the momentum moves against the rate, from the one that the stage has; under any
        other schedule a momentum that did is a number again.

    Raises:
        RecipeError: if there is no such schedule, the stage has no rate to start from, or two are said.

    Example:
        >>> stage = StagePart("s", 5, {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9})
        >>> scheduled(stage, "cosine").optimizer["learning_rate"]
        {'name': 'cosine', 'initial_learning_rate': 0.01}
        >>> scheduled(stage, "one_cycle").optimizer["momentum"]
        {'name': 'one_cycle_momentum', 'base_momentum': 0.8, 'max_momentum': 0.9}
    """
    said = dict(schedule) if isinstance(schedule, dict) else {"name": schedule}
    name = _name(said)
    if not isinstance(schedule, dict) and name not in SCHEDULES:
        what = f"There is no schedule {name!r} that a name alone can say."
        raise RecipeError(what, expected=" | ".join(SCHEDULES), fix=close_matches(name, SCHEDULES))
    if isinstance(rate, dict):
        said, rate = _followed_by(said, rate), None
    own = stage.optimizer.get("learning_rate")
    before = _unwrapped(own)
    if rate is not None and _highest(said) not in (None, rate):
        raise _twice(rate, said)
    start = _highest(before) if rate is None else rate
    if name in ("constant", "performance"):
        number = _needed(start, stage, name)
        plateau = _plateau(stage, said) if name == "performance" else _nothing_beside(said)
        return replace(stage, optimizer=steady({**stage.optimizer, "learning_rate": number}), reduce_on_plateau=plateau)
    same = own if name == "warm_up" else before
    if isinstance(same, dict) and _name(same) == name:
        said = _over(same, said)
        said = said if rate is None else _up_to(said, rate)
    elif name not in ("one_cycle", "warm_up") and not said.keys() & {"warmup_steps", "warmup_target"}:
        said = {**said, **_warm_up(before)}  # the two rise by themselves
    optimizer = {**stage.optimizer, "learning_rate": _filled(said, start, stage)}
    optimizer = cycling(optimizer) if name == "one_cycle" else steady(optimizer)
    return replace(stage, optimizer=optimizer, reduce_on_plateau=None)


def completed(stage: StagePart) -> StagePart:
    """A stage whose momentum cycles too where its rate is one cycle and nothing is said of the momentum."""
    rate, argument = stage.optimizer.get("learning_rate"), argument_of(stage.optimizer)
    unsaid = argument is not None and argument not in stage.optimizer
    if isinstance(rate, dict) and _name(rate) == "one_cycle" and unsaid:
        return replace(stage, optimizer=cycling(stage.optimizer))
    return stage


def _name(table: dict[str, Any]) -> str:
    name = str(table.get("name"))
    return _SHORT.get(name, name)


def _key(table: dict[str, Any]) -> str:
    """Under which key a schedule says its highest rate."""
    if _name(table) == "cosine" and table.get("warmup_target") is not None:
        return "warmup_target"
    return _HIGHEST.get(_name(table), "initial_learning_rate")


def _highest(rate: Any) -> Any:
    """The number that a rate is, or the highest of a schedule; ``None`` where nothing says it."""
    if isinstance(rate, dict):
        return _highest(rate.get(_key(rate)))
    if isinstance(rate, (list, tuple)):
        return max((one for one in rate if isinstance(one, (int, float))), default=None)
    return rate


def _unwrapped(rate: Any) -> Any:
    """A rate whose warm-up is said in the schedule that follows it, where a table ``warm_up`` says it."""
    if not isinstance(rate, dict) or _name(rate) != "warm_up" or not isinstance(rate.get("after"), dict):
        return rate
    return {**_warm_up(rate), **rate["after"]}


def _warm_up(rate: Any) -> dict[str, Any]:
    """What a rate says of a warm-up."""
    if not isinstance(rate, dict):
        return {}
    if _name(rate) == "warm_up":
        found = {"warmup_steps": rate.get("steps"), "warmup_start": rate.get("start")}
    elif _key(rate) == "warmup_target":
        found = {"warmup_steps": rate.get("warmup_steps"), "warmup_start": rate.get("initial_learning_rate")}
    else:
        found = {key: rate.get(key) for key in _WARM_UP}
    return {key: value for key, value in found.items() if value is not None} if found["warmup_steps"] else {}


def _followed_by(said: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """A warm-up with what follows it; anything else beside a schedule is a second one."""
    if _name(said) == "warm_up" and "after" not in said:
        return {**said, "after": after}
    what = f"Two schedules are said: learning_rate = {after}, and the schedule '{_name(said)}'."
    raise RecipeError(what, fix="Leave one of them out.")


def _over(before: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """What a table says, and of the rest what the recipe says of the same schedule."""
    rest = dict(before)
    if said.keys() & {"initial_learning_rate", "warmup_start"} and _key({**before, **said}) != _key(said):
        # Where Keras's cosine rises, its initial rate is the start of the rise.
        rest = {key: value for key, value in before.items() if key != "warmup_target"}
        rest |= {"initial_learning_rate": _highest(before), **_warm_up(before)}
    elif _key(said) != _key(before) and said.get("warmup_target") is not None:
        rest["initial_learning_rate"] = rest.pop("warmup_start", 0.0)
    if said.keys() & {"cycles", "first_decay_steps"}:  # each says how long a cycle is
        rest = {key: value for key, value in rest.items() if key not in ("cycles", "first_decay_steps")}
    if said.get("warmup_steps") == 0:
        rest.pop("warmup_start", None)
    if _parts(said) not in (None, _parts(rest)):
        rest.pop("boundaries", None)
    after, inner = rest.get("after"), said.get("after")
    if isinstance(after, dict) and isinstance(inner, dict) and _name(after) == _name(inner):
        said = {**said, "after": _over(after, inner)}
    return {**rest, **said, "name": before["name"]}


def _parts(table: dict[str, Any]) -> int | None:
    """How many values a piecewise schedule says."""
    values = table.get("values")
    return len(values) if isinstance(values, (list, tuple)) else None


def _up_to(table: dict[str, Any], rate: Any) -> dict[str, Any]:
    """A schedule with another highest rate."""
    key = _key(table)
    if key == "values" and _highest(table) != rate:
        raise _twice(rate, table)
    inner = table.get(key)
    return table if key == "values" else {**table, key: _up_to(inner, rate) if isinstance(inner, dict) else rate}


def _twice(rate: Any, table: dict[str, Any]) -> RecipeError:
    what = f"The learning rate is said twice: learning_rate = {rate}, and the schedule '{_name(table)}' has its own."
    return RecipeError(what, received=str(table), fix="Leave one of them out.")


def _filled(table: dict[str, Any], rate: Any, stage: StagePart) -> dict[str, Any]:
    """A schedule with its highest rate where it does not say it."""
    key = _key(table)
    if isinstance(table.get(key), dict):
        return {**table, key: _filled(table[key], rate, stage)}
    if table.get(key) is not None or key == "values":
        return table
    return {**table, key: _needed(rate, stage, _name(table))}


def _plateau(stage: StagePart, said: dict[str, Any]) -> dict[str, Any]:
    """What performance scheduling watches and does; what nobody says, the recipe's defaults do."""
    rest = {key: value for key, value in said.items() if key != "name"}
    return {"monitor": "val_loss", **(stage.reduce_on_plateau or {}), **rest}


def _nothing_beside(said: dict[str, Any]) -> None:
    if len(said) > 1:
        what = "A constant learning rate has nothing but its number."
        raise RecipeError(what, received=str(said), fix="Give learning_rate the number.")


def _needed(rate: Any, stage: StagePart, name: str) -> Any:
    """A rate, or the error that there is none to start from."""
    if rate is None:
        what = f"The schedule '{name}' needs a learning rate to start from."
        fix = "Say it too: --learning-rate 1e-3, or learning_rate=1e-3."
        raise RecipeError(what, received=f"the optimizer {stage.optimizer}", fix=fix)
    return rate
