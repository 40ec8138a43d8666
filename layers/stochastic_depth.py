"""Stochastic depth: residual branches left out at random while training."""

from typing import Any

import keras

from zoo.errors import RecipeError

from .scalars import number


@keras.saving.register_keras_serializable(package="zoo")
class StochasticDepth(keras.layers.Layer):
    r"""Leaves a residual branch out, for each example by itself, with some probability; put it last on the branch.

    .. math:: y = x + \frac{b}{1 - p} f(x), \quad b \sim \text{Bernoulli}(1 - p) \text{ in training}; \qquad
        y = x + f(x) \text{ in inference}

    The division keeps the expectation the same in both. The paper draws once for the whole batch, and so saves the time
    of a block that is left out; it does not divide, and multiplies the branch by ``1 - p`` in inference instead. Drawn
    by example the gradient varies less, and the time is that of the whole network.

    On images it is ``keras.layers.Dropout(p, noise_shape=(None, 1, 1, 1))``, bit by bit: use that where a file must
    load without zoo.

    Args:
        rate: The probability ``p`` that a branch is left out, 0 to below 1. :func:`linear_rates` gives one for each
            block.
        seed: An integer; the same one gives the same draws.
        **kwargs: A layer's own, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: What the branch gives, ``(batch, ...)``.
        training: Whether branches are left out.

    Raises:
        RecipeError: if the rate is not 0 to below 1.

    Reference:
        Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", 2016, equations 2 and 5.

    Example:
        >>> import keras
        >>> x = keras.Input((8,))
        >>> branch = keras.layers.Dense(8, activation="relu")(x)
        >>> y = keras.layers.Add()([x, StochasticDepth(0.2, seed=1)(branch)])
        >>> y.shape
        (None, 8)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = _usable(rate, "rate")
        self.seed = seed
        self.supports_masking = True
        if self.rate:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Keeps or drops each example's branch."""
        if not training or not self.rate:
            return inputs
        ops: Any = keras.ops
        shape = (ops.shape(inputs)[0], *[1] * (len(inputs.shape) - 1))
        return keras.random.dropout(inputs, self.rate, noise_shape=shape, seed=self.seed_generator)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def linear_rates(depth: int, last: float = 0.5) -> list[float]:
    r"""Rates that grow linearly with depth, since low blocks make what all others use.

    .. math:: p_l = \frac{l}{L} \, p_L, \qquad l = 1, \dots, L

    Args:
        depth: The number ``L`` of residual blocks.
        last: The rate ``p_L`` of the last one; the paper's 0.5 is for 54 blocks trained from scratch.

    Returns:
        A rate for each block, bottom to top.

    Raises:
        RecipeError: if there are no blocks, or the last rate is not 0 to below 1.

    Reference:
        Huang et al., 2016, equation 4, in terms of the survival probability ``1 - p``.

    Example:
        >>> linear_rates(4, last=0.2)
        [0.05, 0.1, 0.15, 0.2]
    """
    last = _usable(last, "last")
    if depth < 1:
        what = "Stochastic depth needs at least one residual block."
        raise RecipeError(what, expected="a depth of 1 or more", received=repr(depth))
    return [round(last * block / depth, 12) for block in range(1, depth + 1)]


def _usable(rate: Any, name: str) -> float:
    if not number(rate, 0) or rate >= 1:
        what = f"Stochastic depth cannot use its `{name}`."
        raise RecipeError(what, expected="0 to below 1", received=repr(rate))
    return float(rate)
