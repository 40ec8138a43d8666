"""FTRL that starts from the weights that are there."""

from typing import Any

import keras

from zoo.errors import RecipeError

ops: Any = keras.ops
Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable(package="zoo")
class FtrlFromWeights(keras.optimizers.Ftrl):
    r"""Keras's FTRL-Proximal, which makes sparse models, but with the weights' values as its start.

    FTRL does not step from where the weights are: it computes them anew from the sum z of all gradients so far, and
    Keras lets z start at 0. So the first step throws away whatever the weights were, reused or initialized: to 0 but
    for one gradient. Here z starts such that with a gradient of 0, and no penalty, the weights stay:

    .. math:: z_0 = -\frac{\sqrt{n_0}}{\eta}\, w_0

    with :math:`n_0` the ``initial_accumulator_value``. The steps are Keras's own.

    Args:
        **arguments: Those of ``keras.optimizers.Ftrl``, with its defaults.

    Raises:
        RecipeError: where it is built, if its schedule starts at 0: FTRL divides by the rate.

    Reference:
        McMahan et al., 2013, "Ad click prediction: a view from the trenches", algorithm 1; the start amounts to
        centring the first term of equation 2 at the given weights.

    Example:
        >>> weight = keras.Variable([5.0])
        >>> FtrlFromWeights(0.1).apply([keras.ops.zeros(1)], [weight])
        >>> forgets = keras.Variable([5.0])
        >>> keras.optimizers.Ftrl(0.1).apply([keras.ops.zeros(1)], [forgets])
        >>> round(float(weight[0]), 5), float(abs(forgets[0]))
        (5.0, 0.0)
    """

    def build(self, var_list: Any) -> None:
        """Makes the accumulators for the variables that it is going to train."""
        schedule = self._learning_rate
        if isinstance(schedule, Schedule) and not float(schedule(0)) > 0:
            what = "FTRL cannot start at a learning rate of 0: it divides by it."
            raise RecipeError(what, fix="Let the warm-up start above 0: warmup_start = 1e-4.")
        super().build(var_list)

    def add_optimizer_variables(self, trainable_variables: Any, name: Any, initializer: Any = "zeros") -> Any:
        """Keras's accumulators n and z, z with its start."""
        if name != ["accumulator", "linear"]:
            return super().add_optimizer_variables(trainable_variables, name, initializer)
        start = super().add_optimizer_variables(trainable_variables, "accumulator", initializer[0])
        linear = [
            self.add_variable_from_reference(variable, name="linear", initializer=self._start(variable))
            for variable in trainable_variables
        ]
        return start, linear

    def _start(self, variable: Any) -> Any:
        """An initializer, not a value: in a compiled step it is computed once, a value would be in every step."""

        def start(shape: Any, dtype: Any = None) -> Any:
            root = self.initial_accumulator_value**-self.learning_rate_power
            return ops.cast(-root / ops.cast(self.learning_rate, variable.dtype) * variable, dtype)

        return start
