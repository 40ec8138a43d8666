"""FTRL that starts from the weights that are there, at any rate and under any schedule."""

from functools import wraps
from typing import Any

import keras

from zoo.errors import RecipeError

ops: Any = keras.ops


@keras.saving.register_keras_serializable(package="zoo")
class FtrlFromWeights(keras.optimizers.Ftrl):
    r"""Keras's FTRL-Proximal, which makes sparse models, but from the weights' values and at a rate that may change.

    FTRL does not step from where the weights are: it computes them anew from the sum z of all gradients so far. Keras
    lets z start at 0, so that the first step throws away whatever the weights were, and has the rate of the moment
    stand for all rates before, so that a rate that changes rescales them. Here, with p the ``learning_rate_power``,

    .. math::

        n_t = n_{t-1} + g_t^2 \qquad q_t = \frac{n_t^{-p} + \beta}{\eta_t} \qquad
        z_t = z_{t-1} + g_t - (q_t - q_{t-1})\, w_{t-1} \qquad
        w_t = \frac{\text{clip}(z_t, \pm\lambda_1) - z_t}{q_t + 2 \lambda_2}

    from :math:`z_0 = -q_0 w_0`. While the gradients are 0 and there is no penalty, the weights stay, bit for bit. From
    weights of 0 at a constant rate it is Keras's own step, and without a penalty AdaGrad's: :math:`w_t = w_{t-1} - g_t
    / q_t`.

    What is kept is :math:`z_t + q_t w_t`, what the penalties hold back, which is 0 at the start and needs no earlier
    rate. So whatever else moves the weights (weight decay, a constraint, an average) holds too; z would undo it. At a
    rate of 0 nothing moves, and a weight that starts with n = 0 stays until its first gradient.

    Args:
        **arguments: Those of ``keras.optimizers.Ftrl``, with its defaults.

    Raises:
        RecipeError: if ``beta`` is below 0.

    Reference:
        McMahan et al., 2013, "Ad click prediction: a view from the trenches", section 3 and algorithm 1, with the sigma
        of a rate that changes: their sum is q. The start is that of a first step that came from the given weights.

    Example:
        >>> weight = keras.Variable([5.0])
        >>> FtrlFromWeights(0.1).apply([keras.ops.zeros(1)], [weight])
        >>> forgets = keras.Variable([5.0])
        >>> keras.optimizers.Ftrl(0.1).apply([keras.ops.zeros(1)], [forgets])
        >>> float(weight[0]), float(abs(forgets[0]))
        (5.0, 0.0)
    """

    @wraps(keras.optimizers.Ftrl.__init__)
    def __init__(self, *given: Any, **arguments: Any):
        super().__init__(*given, **arguments)
        if not self.beta >= 0:
            what = "FTRL cannot divide by a number below 0."
            raise RecipeError(what, expected="beta of 0 or more", received=f"beta = {self.beta!r}")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable; the slot ``linear`` holds z + q w."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        # Values, not variables: JAX takes none of those where Keras scales the loss.
        weight, accumulator, linear = map(
            ops.convert_to_tensor, (variable, self._accumulators[index], self._linears[index])
        )
        l1, l2 = self.l1_regularization_strength, self.l2_regularization_strength
        grown = accumulator + ops.square(gradient)
        held = ops.power(grown, -self.learning_rate_power) + self.beta  # q eta, which is finite at a rate of 0 too
        seen = held > 0
        pull = linear + gradient + 2.0 * self.l2_shrinkage_regularization_strength * weight
        z = pull - ops.where(ops.equal(weight, 0), 0.0, held * weight / rate)
        clipped = ops.clip(z, -l1, l1)
        step = rate * (clipped - pull - 2.0 * l2 * weight) / ops.where(seen, held + 2.0 * l2 * rate, 1.0)
        value = weight + ops.where(seen, step, 0.0)
        if l1:
            value = ops.where(ops.logical_and(seen, ops.abs(z) <= l1), 0.0, value)  # exactly
        self.assign(self._linears[index], ops.where(seen, clipped - 2.0 * l2 * value, linear))
        self.assign(self._accumulators[index], grown)
        self.assign(variable, value)
