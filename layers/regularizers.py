"""Regularizers that Keras has not: the distance to the weights that a network started from."""

from typing import Any

import keras
import numpy as np

from zoo.errors import RecipeError

from .scalars import number


@keras.saving.register_keras_serializable(package="zoo")
class L2SP(keras.regularizers.Regularizer):
    r"""Pulls a weight to the value it started from, as l2 pulls it to zero.

    .. math:: \Omega(w) = \frac{\alpha}{2} \lVert w - w^0 \rVert_2^2

    The gradient is ``strength * (w - start)``. ``zoo.l2_sp`` sets it on a whole network at once, without a trace in the
    saved file; given to a layer (``kernel_regularizer``), its configuration holds the start, every number of it.

    Args:
        strength: The paper's alpha, 0 or more. Mind the 1/2: ``keras.regularizers.L2(x)`` has none.
        start: The values to stay near, in the shape of the weight.
        dtype: What the distance is computed in, at least; 16-bit weights are cast up.

    Raises:
        RecipeError: if the strength is negative or no number; when called, if the weight has another shape.

    Reference:
        Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", 2018,
        the first term of equation 3.

    Example:
        >>> import numpy as np
        >>> near = L2SP(0.1, start=[1.0, 2.0])
        >>> round(float(near(np.array([1.0, 4.0], "float32"))), 6)  # 0.1 / 2 * 2**2
        0.2
    """

    def __init__(self, strength: float, start: Any, dtype: str = "float32"):
        self.strength = usable_strength("strength", strength)
        self.dtype = keras.backend.standardize_dtype(dtype)
        # A tensor, not an array: a compiled step refers to it, where an array would be copied into its graph.
        values = keras.ops.convert_to_numpy(start) if hasattr(start, "dtype") else start
        self.start: Any = keras.ops.convert_to_tensor(np.asarray(values, dtype=self.dtype))

    def __call__(self, x: Any) -> Any:
        """The penalty of a weight, one number."""
        shape = tuple(self.start.shape)
        if tuple(x.shape) != shape:
            what = "The weight and the start that it is to stay near have different shapes."
            raise RecipeError(what, expected=str(shape), received=str(tuple(x.shape)))
        wide = keras.backend.result_type(x.dtype, self.dtype)
        ops: Any = keras.ops
        return self.strength / 2 * ops.sum(ops.square(ops.cast(x, wide) - ops.cast(self.start, wide)))

    def get_config(self) -> dict[str, Any]:
        """The configuration: every number of the start is in it."""
        start: Any = keras.ops.convert_to_numpy(self.start)
        return {"strength": self.strength, "start": start.tolist(), "dtype": self.dtype}


def usable_strength(name: str, strength: float) -> float:
    """A regularizer's strength, if it is one.

    Raises:
        RecipeError: if it is negative, infinite or no number.
    """
    if not number(strength, 0):
        what = f"The regularizer's `{name}` cannot be used."
        raise RecipeError(what, expected="a number, 0 or more", received=repr(strength))
    return float(strength)
