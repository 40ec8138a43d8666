"""Learning-rate schedules by name, and the callback for the one that is no function of the step."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import keras

from zoo.errors import RecipeError, close_matches

from .by_name import check_names, classes, make, parameters
from .one_cycle import OneCycle, OneCycleMomentum
from .power_decay import PowerDecay
from .scalars import number, whole
from .schedule_numbers import Schedule, check_arguments, check_momenta, check_rates
from .warm_up import WarmUp

#: Short names, each for a class of Keras or of ours.
SHORT = {
    "piecewise": "PiecewiseConstantDecay",
    "exponential": "ExponentialDecay",
    "power": "PowerDecay",
    "inverse_time": "InverseTimeDecay",
    "polynomial": "PolynomialDecay",
    "cosine": "CosineDecay",
    "cosine_restarts": "CosineDecayRestarts",
    "one_cycle": "OneCycle",
    "one_cycle_momentum": "OneCycleMomentum",
    "warm_up": "WarmUp",
}
_OURS: tuple[type[Schedule], ...] = (PowerDecay, WarmUp, OneCycle, OneCycleMomentum)
#: Of what schedules the whole number of steps is an argument, and which.
_LENGTH = {
    "ExponentialDecay": "decay_steps",
    "PowerDecay": "decay_steps",
    "InverseTimeDecay": "decay_steps",
    "PolynomialDecay": "decay_steps",
    "CosineDecay": "decay_steps",
    "OneCycle": "steps",
    "OneCycleMomentum": "steps",
}
#: Those that begin with a rise of their own, or are one.
_RISING = ("OneCycle", "OneCycleMomentum", "WarmUp")


@cache
def schedules() -> dict[str, type]:
    """Keras's schedules and ours by the names of their classes."""
    return {**classes(keras.optimizers.schedules, Schedule), **{made.__name__: made for made in _OURS}}


def schedule(spec: Mapping[str, Any], steps: int | None = None) -> Schedule:
    """A schedule from a table such as a recipe has.

    ``name`` is that of a class of Keras, with its arguments, or a short name: ``piecewise``, ``exponential``,
    ``power``, ``inverse_time``, ``polynomial``, ``cosine``, ``cosine_restarts``, ``one_cycle``, ``one_cycle_momentum``,
    ``warm_up``.

    What says how long the schedule is may be left out where ``steps`` is known: ``decay_steps`` (of ``one_cycle``
    ``steps``) is what the warm-up leaves of them; ``first_decay_steps`` of the restarts is such that ``cycles`` of them
    (3 unless said) fill it; the ``boundaries`` of ``piecewise`` make equal parts. ``exponential`` falls by
    ``decay_rate=0.1`` unless said: the chapter's :math:`\\eta_0 10^{-t/s}`.

    ``warmup_steps`` puts a linear rise from ``warmup_start`` (0 unless said) before any schedule that has none.

    Args:
        spec: The table: ``name`` and arguments.
        steps: How many steps training takes.

    Returns:
        The schedule; one of Keras's own classes where Keras has it.

    Raises:
        RecipeError: if there is no such schedule or argument, an argument makes no sense, or what it gives in some step
            is no rate (of ``one_cycle_momentum`` no momentum), or 0 in every step.

    Example:
        >>> rate = schedule({"name": "cosine", "initial_learning_rate": 0.1, "warmup_steps": 20}, steps=100)
        >>> type(rate).__name__, [round(float(rate(step)), 3) for step in (0, 10, 20, 60, 100)]
        ('CosineDecay', [0.0, 0.05, 0.1, 0.05, 0.0])
    """
    if not isinstance(spec, Mapping) or not (steps is None or whole(steps, 1)):
        refused = "A schedule is made of a table, for a whole number of steps."
        raise RecipeError(refused, expected='{"name": "cosine", ...}', received=f"{spec!r}, steps={steps!r}")
    arguments = dict(spec)
    given = arguments.pop("name", None)
    name = SHORT.get(str(given), str(given))
    if name not in schedules():
        what = f"There is no learning-rate schedule '{given}'."
        raise RecipeError(what, fix=close_matches(str(given), [*SHORT, *schedules()]))
    what = f"The schedule '{given}'"
    check_arguments(arguments, what)
    if given == "exponential":
        arguments.setdefault("decay_rate", 0.1)
    if name == "WarmUp" and "after" in arguments:
        arguments["after"] = _after(arguments["after"], _left(steps, arguments.get("steps", 0)), what)
    found = _made(name, arguments, what, steps)
    if is_momentum(found):
        check_momenta(found, steps)
    else:
        check_rates(found, steps, what)
    return found


def is_momentum(made: Any) -> bool:
    """Whether a schedule is one of a momentum, not of a rate."""
    return isinstance(made, OneCycleMomentum) or (isinstance(made, WarmUp) and is_momentum(made.after))


def _after(after: Any, steps: int | None, what: str) -> Any:
    """What a warm-up leads to: a schedule, or a number."""
    if isinstance(after, Mapping):
        return schedule(after, steps)
    if not isinstance(after, Schedule) and not number(after, 0):
        refused = f"{what} cannot rise to after = {after!r}."
        raise RecipeError(refused, expected="a number, 0 or more, or a schedule", received=repr(after))
    return after


def _made(name: str, arguments: dict[str, Any], what: str, steps: int | None) -> Schedule:
    """The schedule of a class, with its length filled in and the warm-up that is ours to make before it."""
    made = schedules()[name]
    start, rise = _warm_up(name, arguments, what)
    _fill_length(name, arguments, what, _left(steps, rise))
    if name == "CosineDecay" and rise:
        check_names(made, arguments, what)  # Keras's warm-up would lead from where it starts to nowhere
        peak = arguments["initial_learning_rate"]
        arguments |= {"initial_learning_rate": start, "warmup_target": peak, "warmup_steps": rise}
        rise = 0
    found = make(made, _as_rates(made, arguments), what)
    return WarmUp(found, rise, start) if rise else found


def _left(steps: int | None, rise: Any) -> int | None:
    return None if steps is None else max(steps - int(rise), 1)


def _warm_up(name: str, arguments: dict[str, Any], what: str) -> tuple[float, int]:
    """Takes the warm-up that is ours to make out of the arguments: where it starts, and its steps."""
    keras_own = name == "CosineDecay" and arguments.get("warmup_target") is not None
    if name in _RISING or keras_own:
        if name in _RISING and "warmup_steps" in arguments:
            itself = f"{what} takes no 'warmup_steps': it rises by itself."
            raise RecipeError(itself, fix=f"Its arguments: {', '.join(parameters(schedules()[name]))}.")
        return 0.0, 0
    start, rise = arguments.pop("warmup_start", None), arguments.pop("warmup_steps", 0)
    if start is not None and not rise:
        refused = f"{what} cannot warm up from {start or 0} in {rise!r} steps."
        raise RecipeError(refused, expected="a whole number of 'warmup_steps'", received=repr(rise))
    return float(start or 0.0), rise


def _fill_length(name: str, arguments: dict[str, Any], what: str, steps: int | None) -> None:
    """Puts the number of steps where it was left out."""
    cycles = arguments.pop("cycles", None) if name == "CosineDecayRestarts" else None
    if cycles is not None and (not whole(cycles, 1) or steps is None or "first_decay_steps" in arguments):
        refused = f"{what} cannot make {cycles!r} cycles of its steps."
        fix = "Give a whole number of 'cycles' and no 'first_decay_steps', where the number of all steps is known."
        raise RecipeError(refused, fix=fix)
    if steps is None:
        return
    if name in _LENGTH:
        own = int(arguments.get("warmup_steps") or 0)  # Keras's own, of the cosine
        arguments.setdefault(_LENGTH[name], max(steps - own, 1))
    elif name == "PiecewiseConstantDecay" and isinstance(values := arguments.get("values"), (list, tuple)):
        # Keras's boundary is the last step of its part.
        parts = len(values)
        arguments.setdefault("boundaries", [round(steps * part / parts) - 1 for part in range(1, parts)])
    elif name == "CosineDecayRestarts":
        # Not rounded: a last restart just before the end, or a last cycle cut short, would end training at a high rate.
        longer = arguments.get("t_mul", 2.0)
        arguments.setdefault("first_decay_steps", steps / sum(longer**cycle for cycle in range(cycles or 3)))


def _as_rates(made: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Whole numbers as floats where they are no counts: Keras computes a schedule of whole numbers in whole numbers."""
    counts = ("steps", "boundaries", "name")

    def plain(value: Any, count: bool) -> Any:
        if isinstance(value, (list, tuple)):
            return [plain(one, count) for one in value]
        if not number(value):
            return value
        return int(value) if count and whole(value, 0) else float(value)

    return {key: plain(value, key.endswith(counts)) for key, value in arguments.items()}


def reduce_on_plateau(spec: Mapping[str, Any], learning_rate: Any = None) -> keras.callbacks.ReduceLROnPlateau:
    """Performance scheduling: the rate is multiplied by a factor when a figure has stopped improving.

    Unlike a schedule it does not need to know how long training takes, and it counts epochs, not steps.

    Args:
        spec: The arguments of Keras's ``ReduceLROnPlateau``: ``monitor`` (``val_loss`` unless said), ``factor`` (0.1),
            ``patience`` in epochs (10), ``mode``, ``min_delta``, ``cooldown``, ``min_lr``.
        learning_rate: The optimizer's, to be refused where it is a schedule: then the rate cannot be set.

    Returns:
        The callback.

    Raises:
        RecipeError: if there is no such argument, a number makes no sense, or the rate is a schedule already.

    Example:
        >>> reduce_on_plateau({"factor": 0.5, "patience": 3}).factor
        0.5
    """
    what = "Performance scheduling"
    if isinstance(learning_rate, (Mapping, Schedule)):
        both = f"{what} and a learning-rate schedule cannot be used together: each would set the rate."
        raise RecipeError(both, fix="Leave one of them out.")
    for name, (valid, expected) in _PLATEAU.items():
        if name in spec and not valid(spec[name]):
            refused = f"{what} cannot be done with {name} = {spec[name]!r}."
            raise RecipeError(refused, expected=expected, received=repr(spec[name]))
    return make(keras.callbacks.ReduceLROnPlateau, dict(spec), what)


#: What the callback itself lets pass: a factor of 0 or below, a mode that it does not know, a patience of -1.
_PLATEAU = {
    "monitor": (lambda value: isinstance(value, str), "the name of a figure, such as val_loss"),
    "factor": (lambda value: number(value) and 0 < value < 1, "a number above 0 and below 1"),
    "patience": (lambda value: whole(value, 1), "a whole number of epochs, 1 or more"),
    "mode": (lambda value: value in ("auto", "min", "max"), "auto | min | max"),
    "min_delta": (lambda value: number(value) and value >= 0, "a number, 0 or more"),
    "cooldown": (lambda value: whole(value, 0), "a whole number of epochs, 0 or more"),
    "min_lr": (lambda value: number(value) and value >= 0, "a number, 0 or more"),
}
