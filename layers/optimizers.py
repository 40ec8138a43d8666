"""Keras's optimizers by name, and a rate of its own for each variable."""

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import keras

from zoo.errors import RecipeError, close_matches


def _public(namespace: Any, base: type) -> dict[str, type]:
    found = {name: getattr(namespace, name) for name in dir(namespace)}
    return {name: c for name, c in found.items() if inspect.isclass(c) and issubclass(c, base) and c is not base}


@cache
def names() -> dict[str, type]:
    """Keras's optimizers by name, lower case: ``sgd``, ``adam``, ``rmsprop``, ..."""
    left_out = ("lossscaleoptimizer", "multioptimizer")
    found = _public(keras.optimizers, keras.optimizers.Optimizer)
    return {name.lower(): c for name, c in found.items() if name.lower() not in left_out}


def optimizer(name: str, **arguments: Any) -> keras.optimizers.Optimizer:
    """One of Keras's optimizers, with all of its arguments.

    Args:
        name: Its name in any case: ``adam``, ``sgd``, ``RMSprop``.
        **arguments: Its own, such as ``momentum``, ``nesterov``, ``weight_decay``, ``clipnorm``, ``clipvalue`` or
            ``global_clipnorm``. ``learning_rate`` is a number, or a schedule: ``{"name": "CosineDecay",
            "initial_learning_rate": 1e-2, "decay_steps": 500}``.

    Returns:
        The optimizer.

    Raises:
        RecipeError: if Keras has no such optimizer, schedule or argument.

    Example:
        >>> optimizer("sgd", learning_rate=0.1, momentum=0.9, nesterov=True).momentum
        0.9
    """
    if name.lower() not in names():
        what = f"Keras has no optimizer '{name}'."
        raise RecipeError(what, fix=close_matches(name.lower(), names()))
    if isinstance(arguments.get("learning_rate"), Mapping):
        arguments["learning_rate"] = _schedule(dict(arguments["learning_rate"]))
    return _make(names()[name.lower()], arguments, f"The optimizer '{name}'")


def _schedule(arguments: dict[str, Any]) -> Any:
    schedules = _public(keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule)
    name = arguments.pop("name", None)
    if name not in schedules:
        what = f"Keras has no learning-rate schedule '{name}'."
        raise RecipeError(what, fix=close_matches(str(name), schedules))
    return _make(schedules[name], arguments, f"The schedule '{name}'")


def _make(made: type, arguments: dict[str, Any], what: str) -> Any:
    known = [p for p in inspect.signature(made.__init__).parameters if p not in ("self", "kwargs")]
    for argument in arguments:
        if argument not in known:
            unknown = f"{what} has no argument '{argument}'."
            raise RecipeError(unknown, fix=close_matches(argument, known))
    try:
        return made(**arguments)
    except (TypeError, ValueError) as reason:
        refused = f"{what} refuses its arguments: {str(reason).splitlines()[0]}"
        raise RecipeError(refused, received=str(arguments)) from None


class _ByVariable:
    """Scales the step of each variable, weight decay included."""

    multipliers: tuple[float, ...] = ()

    def _multiplier(self, variable: Any) -> float:
        return self.multipliers[self._get_variable_index(variable)]  # type: ignore[attr-defined]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> Any:
        rate = learning_rate * self._multiplier(variable)
        return super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        # Keras's decay knows one rate only, and each optimizer has its own rule of what decays: let it decay, then take
        # back the share that is too much.
        for variable in variables:
            before = keras.ops.copy(variable)
            super()._apply_weight_decay([variable])  # type: ignore[misc]
            if (share := self._multiplier(variable)) != 1.0:
                variable.assign(before + (variable - before) * share)


@cache
def _scaled(plain: type) -> type:
    return type(f"{plain.__name__}ByVariable", (_ByVariable, plain), {})


def by_variable(plain: keras.optimizers.Optimizer, multipliers: Sequence[float]) -> keras.optimizers.Optimizer:
    """The same optimizer with the learning rate multiplied for each variable; it holds for weight decay too.

    The gradient is not scaled: Adam and its family would undo that.

    Args:
        plain: One of Keras's optimizers, not built yet.
        multipliers: One for each trainable variable, in the order in which the optimizer is built on them.

    Returns:
        The optimizer; ``plain`` itself where every multiplier is 1.

    Raises:
        RecipeError: for Ftrl, whose step does not scale with its rate.
    """
    if all(m == 1.0 for m in multipliers):
        return plain
    if isinstance(plain, keras.optimizers.Ftrl):
        what = "The optimizer 'ftrl' cannot learn at rates by block: its step does not scale with its rate."
        raise RecipeError(what, fix="Use another, such as adam, or one rate for all.")
    scaled = _scaled(type(plain)).from_config(plain.get_config())  # type: ignore[attr-defined]
    scaled.multipliers = tuple(float(m) for m in multipliers)
    return scaled
