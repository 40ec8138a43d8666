"""The randomized leaky ReLU."""

from typing import Any

import keras

from zoo.errors import CardError

from .scalars import number

#: The usual range of slopes.
LOWER, UPPER = 1 / 8, 1 / 3


@keras.saving.register_keras_serializable(package="zoo")
class RReLU(keras.layers.Layer):
    r"""Leaky ReLU whose slope is drawn for each element in training, and is the mean of its range otherwise.

    .. math:: y = x \text{ for } x \ge 0, \qquad y = a x \text{ for } x < 0, \qquad
        a \sim U(l, u) \text{ in training},\quad a = (l + u) / 2 \text{ in inference}

    Here, as in PyTorch, the **slope** is uniform, and so its mean is exact: 11/48 = 0.229 by default. The paper's
    equation says the same, but its experiments divide by a uniform number, ``a = 1 / U(3, 8)``, and by its mean 5.5 in
    inference, a slope of 0.182. The range is the same, 1/8 to 1/3; small slopes are then more likely.

    Args:
        lower: The smallest slope, ``l``; 1/8 by default.
        upper: The largest slope, ``u``; 1/3 by default.
        seed: A whole number; the same seed draws the same slopes. By default a new one each time.
        **kwargs: Those of every Keras layer, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: A tensor of any shape.
        training: Whether the slopes are drawn.

    Raises:
        CardError: if the range is empty or not finite.

    Reference:
        B. Xu, N. Wang, T. Chen, M. Li (2015), Empirical Evaluation of Rectified Activations in Convolutional Network,
        section 2.4.

    Example:
        >>> import numpy as np
        >>> RReLU(lower=0.1, upper=0.3)(np.array([-10.0, 0.0, 10.0])).numpy().tolist()
        [-2.0, 0.0, 10.0]
    """

    def __init__(self, lower: float = LOWER, upper: float = UPPER, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not (number(lower) and number(upper) and lower <= upper):
            what = "RReLU's range of slopes cannot be used."
            raise CardError(what, expected="finite numbers, lower <= upper", received=f"{lower!r} to {upper!r}")
        self.lower = float(lower)
        self.upper = float(upper)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Draws a slope for each element in training; takes their mean otherwise."""
        slope: Any = (self.lower + self.upper) / 2
        if training:
            # In float32 whatever the precision: half precision has too few numbers in the range.
            shape = keras.ops.shape(inputs)
            drawn = keras.random.uniform(shape, self.lower, self.upper, dtype="float32", seed=self.seed_generator)
            slope = keras.ops.cast(drawn, inputs.dtype)
        return keras.ops.where(inputs < 0, slope * inputs, inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The range and the seed."""
        return {**super().get_config(), "lower": self.lower, "upper": self.upper, "seed": self.seed}
