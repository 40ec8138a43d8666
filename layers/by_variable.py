"""A learning rate of its own for each variable, under any of Keras's optimizers."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import keras

from zoo.errors import PlanError, RecipeError

from .ftrl import FtrlFromWeights


class _ByVariable:
    """What every optimizer with a multiplier for each variable has."""

    multipliers: tuple[float, ...] = ()

    def build(self, variables: Sequence[Any]) -> None:
        if len(variables) != len(self.multipliers):
            what = "The optimizer has a multiplier for each variable, but was given other variables."
            received = f"{len(variables)} variables"
            raise PlanError(what, expected=f"{len(self.multipliers)} variables", received=received)
        super().build(variables)  # type: ignore[misc]

    def _multiplier(self, variable: Any) -> float:
        return self.multipliers[self._get_variable_index(variable)]  # type: ignore[attr-defined]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multipliers": list(self.multipliers)}  # type: ignore[misc]

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        plain = {key: value for key, value in config.items() if key != "multipliers"}
        made = super().from_config(plain, custom_objects)  # type: ignore[misc]
        made.multipliers = tuple(float(m) for m in config["multipliers"])
        return made


class _ByRate(_ByVariable):
    """Scales the rate of each variable: for optimizers whose step is proportional to the rate."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        # A rate of 0 is not enough to hold still: 0 times a gradient that is not a number is none either.
        if share := self._multiplier(variable):
            super().update_step(gradient, variable, learning_rate * share)  # type: ignore[misc]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        # Keras's decay knows one rate only, and each optimizer has its own rule of what decays: let it decay, then take
        # back the share that is too much.
        for variable in variables:
            before = _held(self, [variable])
            super()._apply_weight_decay([variable])  # type: ignore[misc]
            _take_back(before)


class _ByShare(_ByVariable):
    """Keeps a share of each variable's step, decay included: for optimizers whose step follows from the values too.

    Adafactor and Lamb measure a variable after it has decayed, and Adafactor bounds its rate: at a lower rate their
    steps are no multiples.
    """

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Left to the step, so that both are scaled together."""

    def _backend_update_step(self, gradients: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
        before = _held(self, variables)
        super()._apply_weight_decay(variables)  # type: ignore[misc]
        super()._backend_update_step(gradients, variables, learning_rate)  # type: ignore[misc]
        _take_back(before)


def _held(scaled: _ByVariable, variables: Sequence[Any]) -> list[tuple[Any, Any, float]]:
    """The variables that move by a share of their step, each with its value before it and its share."""
    return [(v, keras.ops.copy(v), share) for v in variables if (share := scaled._multiplier(v)) != 1.0]


def _take_back(before: Sequence[tuple[Any, Any, float]]) -> None:
    """Leaves of what the variables moved their share."""
    for variable, old, share in before:
        variable.assign(old + (variable - old) * share if share else old)


#: Whose step is not proportional to the rate.
_NOT_BY_RATE = (keras.optimizers.Adafactor, keras.optimizers.Lamb)


@cache
def scaling(plain: type) -> type:
    """The class that scales an optimizer's steps by variable, registered for saved files."""
    how = _ByShare if issubclass(plain, _NOT_BY_RATE) else _ByRate
    made = type(f"{plain.__name__}ByVariable", (how, plain), {"__module__": __name__})
    return keras.saving.register_keras_serializable(package="zoo")(made)


def by_variable(plain: keras.optimizers.Optimizer, multipliers: Sequence[float]) -> keras.optimizers.Optimizer:
    """The same optimizer with the learning rate multiplied for each variable; it holds for weight decay too.

    Each step moves a variable by its multiple of the plain step. The gradient is not scaled: Adam and its family would
    undo that; clipping sees it as it is, and by the global norm all variables count, those at 0 too. Under FTRL's
    penalties a variable has the rate of its own rather than the multiple: what they set to 0 is 0 at any rate.

    A compiled model with such an optimizer can be saved, and loads where ``zoo.layers`` has been imported; in plain
    Keras it loads with ``compile=False``.

    Args:
        plain: One of Keras's optimizers, not built yet.
        multipliers: One for each trainable variable, in the order in which the optimizer is built on them; 0 holds a
            variable still, weight decay and gradients that are not numbers included.

    Returns:
        The optimizer; ``plain`` itself where every multiplier is 1.

    Raises:
        RecipeError: for Keras's own Ftrl, whose weights follow from the sum of all gradients and not from a step.

    Example:
        >>> import keras
        >>> low, top = keras.Variable([1.0]), keras.Variable([1.0])
        >>> scaled = by_variable(keras.optimizers.SGD(0.5), [0.5, 1.0])
        >>> scaled.apply([keras.ops.ones(1), keras.ops.ones(1)], [low, top])
        >>> low.numpy(), top.numpy()
        (array([0.75], dtype=float32), array([0.5], dtype=float32))
    """
    if all(m == 1.0 for m in multipliers):
        return plain
    if isinstance(plain, keras.optimizers.Ftrl) and not isinstance(plain, FtrlFromWeights):
        what = "Keras's own Ftrl cannot learn at a rate for each variable: it forgets the weights that it is given."
        raise RecipeError(what, fix='Use zoo.layers.optimizer("ftrl"), which keeps them, or one rate for all.')
    made = scaling(type(plain))  # pyright: ignore[reportArgumentType]
    config = {**plain.get_config(), "multipliers": list(multipliers)}
    return made.from_config(config)  # type: ignore[attr-defined]
