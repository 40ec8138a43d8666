"""Sparse networks: the tiny weights set to zero."""

import re
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .errors import SurgeryError
from .layers.scalars import number

#: What a layer calls the weights that multiply; scales, slopes and statistics can have as many axes.
_ROLE = re.compile(r"(.+_)?kernel|embeddings")


@dataclass(frozen=True)
class Zeros:
    """How many weights of a variable were set to zero just now, how many are zero, and of how many."""

    set: int
    now: int
    total: int

    @property
    def share(self) -> float:
        """The share that is zero, 0 to 1."""
        return self.now / self.total


def zero_tiny_weights(model: keras.Model, below: float) -> dict[str, Zeros]:
    r"""Sets weights to zero whose size is below a threshold, in place.

    .. math:: w \leftarrow 0 \quad\text{where } |w| < \text{below}

    It is for kernels and embeddings, frozen ones included: what a layer multiplies by or looks up, and names so
    (``kernel``, ``recurrent_kernel``, ``embeddings``), in layers of your own too. Biases, scales and statistics of
    normalizations, slopes of PReLU and adapters (LoRA) stay, whatever their shape. Training moves the weights away from
    zero again, unless the optimizer is FTRL or an l1 penalty holds them there: do it last.

    Args:
        model: A built Keras model.
        below: The threshold, in the unit of the weights, above 0. A hundredth of a layer's usual weight is a careful
            one; what it costs is measured on validation data.

    Returns:
        The counts, by the variable's path.

    Raises:
        SurgeryError: if the threshold is not a number above 0, or the model has no weights yet.

    Reference:
        Han et al., 2015, "Learning both weights and connections", section 3.

    Example:
        >>> import keras
        >>> import zoo
        >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="top")], name="net")
        >>> net.layers[0].set_weights([keras.ops.array([[0.5, -0.001], [0.0, -2.0]]), keras.ops.zeros(2)])
        >>> zoo.zero_tiny_weights(net, below=0.01)
        {'net/top/kernel': Zeros(set=1, now=2, total=4)}
    """
    if not number(below) or below <= 0:
        what = "Weights below this cannot be set to zero."
        raise SurgeryError(what, expected="a number above 0", received=repr(below))
    if not model.weights:
        what = f"The network '{model.name}' has no weights yet."
        raise SurgeryError(what, fix="Build it: call it on data once.")
    return {v.path: _zero(v, below) for v in model.weights if _multiplies(v)}


def _multiplies(variable: Any) -> bool:
    return _ROLE.fullmatch(variable.name) is not None and keras.backend.is_float_dtype(variable.dtype)


def _zero(variable: Any, below: float) -> Zeros:
    values = np.array(keras.ops.convert_to_numpy(variable))
    tiny = (np.abs(values) < below) & (values != 0)
    if tiny.any():
        values[tiny] = 0
        variable.assign(values)
    return Zeros(int(tiny.sum()), int((values == 0).sum()), values.size)
