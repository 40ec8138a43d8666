"""Keras's optimizers by name, with schedules for their rate and momentum."""

from collections.abc import Mapping
from functools import cache
from math import isfinite
from numbers import Real
from typing import Any

import keras

from zoo.errors import RecipeError, close_matches

from .by_name import classes, make, parameters
from .by_variable import scaling
from .ftrl import FtrlFromWeights
from .momentum_schedule import momentum_argument, scheduling, with_momentum
from .one_cycle import OneCycle
from .scalars import number
from .schedule_numbers import Schedule, check_rates
from .schedules import is_momentum, schedule


@cache
def names() -> dict[str, type]:
    """Keras's optimizers by name, lower case: ``sgd``, ``adam``, ``rmsprop``, ...

    ``ftrl`` is Keras's but that it keeps the weights that are there, whatever the rate does (``FtrlFromWeights``).
    """
    left_out = ("lossscaleoptimizer", "multioptimizer")
    found = classes(keras.optimizers, keras.optimizers.Optimizer)
    kept = {name.lower(): c for name, c in found.items() if name.lower() not in left_out}
    return {**kept, "ftrl": FtrlFromWeights}


def optimizer(name: str, *, steps: int | None = None, **arguments: Any) -> keras.optimizers.Optimizer:
    """One of Keras's optimizers, with all of its arguments.

    Args:
        name: Its name in any case: ``adam``, ``sgd``, ``RMSprop``.
        steps: How many steps training takes, for schedules that do not say how long they are.
        **arguments: Its own, such as ``momentum``, ``nesterov``, ``weight_decay``, ``clipnorm``, ``clipvalue`` or
            ``global_clipnorm``. ``learning_rate`` is a number, or a schedule as ``schedule`` reads it: ``{"name":
            "cosine", "initial_learning_rate": 1e-2}``. So is the momentum (``momentum`` of SGD, RMSprop and Muon,
            ``beta_1`` of Adam and its family); ``{"name": "one_cycle_momentum"}`` takes its phases from a learning rate
            that is ``one_cycle``.

    Returns:
        The optimizer.

    Raises:
        RecipeError: if Keras has no such optimizer, schedule or argument, or it cannot compute with what it is given.

    Example:
        >>> optimizer("sgd", learning_rate=0.1, momentum=0.9, nesterov=True).momentum
        0.9
        >>> rate = {"name": "one_cycle", "max_learning_rate": 0.5}
        >>> made = optimizer("sgd", steps=100, learning_rate=rate, momentum={"name": "one_cycle_momentum"})
        >>> made.momentum.steps
        100
    """
    if str(name).lower() not in names():
        what = f"Keras has no optimizer '{name}'."
        raise RecipeError(what, fix=close_matches(str(name).lower(), names()))
    made, what = names()[name.lower()], f"The optimizer '{name}'"
    if "learning_rate" in arguments:
        arguments["learning_rate"] = _rate(arguments["learning_rate"], steps, what)
    momentum = None
    key = momentum_argument(made)
    if key and isinstance(arguments.get(key), (Mapping, Schedule)):
        momentum = _momentum(arguments.pop(key), arguments.get("learning_rate"), steps)
    for key, value in arguments.items():
        if key != "learning_rate" and key in parameters(made) and isinstance(value, (Mapping, Schedule)):
            refused = f"{what} takes no schedule for '{key}'."
            raise RecipeError(refused, fix="Give it a number.")
        if isinstance(value, Real) and not isfinite(value):
            refused = f"{what} cannot compute with {key} = {value!r}."
            raise RecipeError(refused, expected="a number")
    plain = make(made, arguments, what)
    return plain if momentum is None else with_momentum(plain, momentum, steps=steps)


def _rate(given: Any, steps: int | None, what: str) -> Any:
    """A learning rate as Keras takes it: a number, a schedule, or whatever else it can call."""
    if isinstance(given, Mapping):
        given = schedule(given, steps)
    elif isinstance(given, Schedule) and not is_momentum(given):
        check_rates(given, steps, f"The schedule {type(given).__name__}")
    if is_momentum(given):
        refused = f"{what} cannot learn at a momentum: one_cycle_momentum is none of the learning rate's schedules."
        raise RecipeError(refused, fix='Use {"name": "one_cycle", "max_learning_rate": ...}.')
    if callable(given):
        return given
    if not number(given, 0):
        refused = f"{what} cannot learn at the rate {given!r}."
        raise RecipeError(refused, expected="a number, 0 or more, or a schedule", received=repr(given))
    return float(given)


def _momentum(given: Any, rate: Any, steps: int | None) -> Schedule:
    """The schedule of a momentum; one cycle's has the phases of the rate's, where it does not say others."""
    if isinstance(given, Schedule):
        return given
    if isinstance(rate, OneCycle) and given.get("name") in ("one_cycle_momentum", "OneCycleMomentum"):
        phases = {name: getattr(rate, name) for name in ("steps", "pct_start", "anneal", "three_phase")}
        given = {**phases, **given}
    return schedule(given, steps)


def _register() -> None:
    """Makes all the classes that a saved file may name, so that it loads."""
    for plain in names().values():
        scaling(plain)
        if momentum_argument(plain):
            scaling(scheduling(plain))


_register()
