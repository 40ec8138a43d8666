"""The power schedule, of which Keras has the exponent 1 alone."""

from typing import Any

import keras

from zoo.errors import RecipeError

ops: Any = keras.ops


@keras.saving.register_keras_serializable(package="zoo")
class PowerDecay(keras.optimizers.schedules.LearningRateSchedule):
    r"""A rate that falls with a power of the step, fast at first and then ever more slowly.

    .. math:: \eta(t) = \eta_0 \left(1 + \frac{t}{s}\right)^{-c}

    After s steps it has fallen to :math:`2^{-c}`, after 9 s to :math:`10^{-c}`. With c = 1 it is Keras's
    ``InverseTimeDecay`` with ``decay_rate=1``.

    Args:
        initial_learning_rate: :math:`\eta_0`.
        decay_steps: s, in steps.
        power: c, usually 1.

    Raises:
        RecipeError: if ``decay_steps`` is not above 0, or ``power`` is below it.

    Reference:
        Robbins and Monro, 1951, the condition that such a rate meets for 1/2 < c <= 1; Senior et al., 2013, equation 2.

    Example:
        >>> rate = PowerDecay(0.1, decay_steps=10, power=2.0)
        >>> [round(float(rate(step)), 6) for step in (0, 10, 90)]
        [0.1, 0.025, 0.001]
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float, power: float = 1.0):
        super().__init__()
        if not (decay_steps > 0 and power >= 0):
            what = "A power schedule cannot be made of these numbers."
            received = f"decay_steps={decay_steps}, power={power}"
            raise RecipeError(what, expected="decay_steps above 0, power 0 or more", received=received)
        self.initial_learning_rate, self.decay_steps, self.power = initial_learning_rate, decay_steps, power

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        passed = ops.cast(step, "float32") / float(self.decay_steps)
        return float(self.initial_learning_rate) * ops.power(1.0 + passed, -float(self.power))

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "power": self.power,
        }
