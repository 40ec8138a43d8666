"""The momentum under one cycle: it moves against the rate, and is a number again under any other schedule."""

from typing import Any, TypeGuard

#: What each optimizer calls the momentum that may follow a schedule: what layers/momentum_schedule.py knows, without
#: Keras, which reading options does not need.
ARGUMENT = {
    **dict.fromkeys(("sgd", "rmsprop", "muon"), "momentum"),
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "lamb", "lion"), "beta_1"),
}
_NAMES = ("one_cycle_momentum", "OneCycleMomentum")
#: The highest and the lowest of a cycle that does not say them.
_HIGHEST, _LOWEST = 0.95, 0.85


def argument_of(optimizer: dict[str, Any]) -> str | None:
    """What an optimizer's table calls its momentum; ``None`` where no schedule can change it."""
    return ARGUMENT.get(str(optimizer.get("name")).lower())


def cycling(optimizer: dict[str, Any]) -> dict[str, Any]:
    """An optimizer whose momentum moves against the rate: the momentum that it has becomes the cycle's highest.

    Args:
        optimizer: A stage's optimizer. A schedule of its momentum stays as it is, and so does a momentum of 0.

    Returns:
        The optimizer; the same where it has no momentum.

    Example:
        >>> cycling({"name": "sgd", "momentum": 0.9})["momentum"]
        {'name': 'one_cycle_momentum', 'base_momentum': 0.8, 'max_momentum': 0.9}
        >>> cycling({"name": "adam"})
        {'name': 'adam', 'beta_1': {'name': 'one_cycle_momentum'}}
    """
    argument = argument_of(optimizer)
    if argument is None:
        return optimizer
    said = optimizer.get(argument)
    if said is None:
        return {**optimizer, argument: {"name": _NAMES[0]}}
    if isinstance(said, dict) or not _positive(said):
        return optimizer
    return {**optimizer, argument: _up_to({"name": _NAMES[0]}, said)}


def steady(optimizer: dict[str, Any]) -> dict[str, Any]:
    """An optimizer whose momentum no longer cycles: the cycle's highest stays, as a number.

    Where the cycle does not say it, Adam and its family have their own again; the others' own would be none.

    Example:
        >>> steady({"name": "sgd", "momentum": {"name": "one_cycle_momentum", "max_momentum": 0.9}})
        {'name': 'sgd', 'momentum': 0.9}
    """
    argument = argument_of(optimizer)
    if argument is None or not _is_cycle(optimizer.get(argument)):
        return optimizer
    rest = {key: value for key, value in optimizer.items() if key != argument}
    highest = optimizer[argument].get("max_momentum", None if argument == "beta_1" else _HIGHEST)
    return rest if highest is None else {**rest, argument: highest}


def with_momentum(optimizer: dict[str, Any], momentum: Any) -> dict[str, Any]:
    """An optimizer with another ``momentum``; one that cycles goes on so, as far down as before."""
    before = optimizer.get("momentum")
    if _is_cycle(before) and _positive(momentum):
        return {**optimizer, "momentum": _up_to(before, momentum)}
    return {**optimizer, "momentum": momentum}


def _is_cycle(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and value.get("name") in _NAMES


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _up_to(cycle: dict[str, Any], highest: float) -> dict[str, Any]:
    before, lowest = cycle.get("max_momentum", _HIGHEST), cycle.get("base_momentum", _LOWEST)
    depth = before - lowest if _positive(before) and _positive(lowest) else _HIGHEST - _LOWEST
    return {**cycle, "base_momentum": round(max(highest - depth, 0.0), 6), "max_momentum": highest}
