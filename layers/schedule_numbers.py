"""The numbers that a schedule is made of, and those that it gives: checked before anything is trained."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import keras

from zoo.errors import RecipeError

from .scalars import number, whole

Schedule = keras.optimizers.schedules.LearningRateSchedule
Valid = tuple[Callable[[Any], bool], str]


def _rises(value: Any) -> bool:
    numbers = isinstance(value, (list, tuple)) and all(number(one, 0) for one in value)
    return numbers and all(one < other for one, other in pairwise(value))


_ANY: Valid = (number, "a number")
_FROM_0: Valid = (lambda value: number(value, 0), "a number, 0 or more")
_ABOVE_0: Valid = (lambda value: number(value) and value > 0, "a number above 0")
_SWITCH: Valid = (lambda value: isinstance(value, bool), "true or false")
#: What each argument has to be; it means the same in every schedule that has it.
_VALID: dict[str, Valid] = {
    **dict.fromkeys(("initial_learning_rate", "end_learning_rate", "warmup_start", "start"), _FROM_0),
    **dict.fromkeys(("alpha", "m_mul", "power"), _FROM_0),
    **dict.fromkeys(("decay_steps", "first_decay_steps", "steps", "t_mul", "decay_rate"), _ABOVE_0),
    **dict.fromkeys(("max_learning_rate", "div_factor", "final_div_factor"), _ABOVE_0),
    **dict.fromkeys(("pct_start", "base_momentum", "max_momentum"), _ANY),
    **dict.fromkeys(("staircase", "cycle", "three_phase"), _SWITCH),
    "warmup_target": (lambda value: value is None or number(value, 0), "a number, 0 or more"),
    "warmup_steps": (lambda value: whole(value, 0), "a whole number of steps, 0 or more"),
    "boundaries": (_rises, "steps, each after the one before"),
    "values": (
        lambda value: isinstance(value, (list, tuple)) and all(number(one, 0) for one in value),
        "a list of numbers, 0 or more",
    ),
}


def check_arguments(arguments: Mapping[str, Any], what: str) -> None:
    """Refuses arguments of a schedule that are not what it computes with.

    Args:
        arguments: By name; unknown ones are left to others.
        what: What errors call it: ``The schedule 'power'``.

    Raises:
        RecipeError: for the first of them.
    """
    for name, value in arguments.items():
        valid, expected = _VALID.get(name, (None, ""))
        if valid and not valid(value):
            refused = f"{what} cannot be made with {name} = {value!r}."
            raise RecipeError(refused, expected=expected, received=repr(value))


def _length(made: Schedule) -> int:
    """How long a schedule is by its own numbers, in steps; 1,000 where it does not say."""
    try:
        config = made.get_config()
    except NotImplementedError:  # a user's own
        config = {}
    after = getattr(made, "after", None)
    if isinstance(after, Schedule):
        return int(config["steps"]) + _length(after)
    said = [config.get("decay_steps"), config.get("steps"), 8 * (config.get("first_decay_steps") or 0)]
    said += list(config.get("boundaries") or [])
    found = max((value for value in said if number(value, 1)), default=1000)
    return int(found) + 2 + int(config.get("warmup_steps") or 0)  # a boundary is the last step of its part


def sampled(made: Schedule, steps: int | None = None) -> dict[int, float]:
    """What a schedule gives at its start, its end and between them.

    Args:
        made: The schedule.
        steps: How many steps training takes; by default the schedule's own length.

    Returns:
        Its values by step.

    Example:
        >>> sampled(keras.optimizers.schedules.PolynomialDecay(0.8, 8, 0.0), steps=8)[4]
        0.4000000059604645
    """
    length = steps or _length(made)
    places = {0, min(1, length - 1), *(length * part // 8 for part in range(1, 8)), length - 1}
    iterations, found = keras.Variable(0, dtype="int", trainable=False), {}  # what an optimizer calls it with
    for step in sorted(places):
        iterations.assign(step)
        found[step] = float(made(iterations))
    return found


def check_rates(made: Schedule, steps: int | None, what: str) -> None:
    """Refuses a schedule that gives something else than learning rates, or 0 throughout.

    Raises:
        RecipeError: with the step, and what it gives there.
    """
    found = sampled(made, steps)
    for step, value in found.items():
        if not number(value, 0):
            refused = f"{what} gives no learning rate."
            raise RecipeError(refused, expected="a number, 0 or more", received=f"{value:g} at step {step}")
    if not any(found.values()):
        refused = f"{what} is 0 from the first step to the last: nothing would learn."
        raise RecipeError(refused, fix="Give it a rate above 0, and fewer steps of warm-up than there are steps.")


def check_momenta(made: Schedule, steps: int | None = None) -> None:
    """Refuses a schedule that gives something else than momenta.

    Raises:
        RecipeError: with the step, and what it gives there.
    """
    for step, value in sampled(made, steps).items():
        if not (number(value, 0) and value < 1):
            what = "The schedule is not one of a momentum."
            raise RecipeError(what, expected="0 to below 1", received=f"{value:g} at step {step}")
