"""Orthonormal kernels, for each kind of layer that multiplies by one."""

import math
from typing import Any

import keras
import numpy as np

_layers = keras.layers

#: The kinds of layer by what their kernels are: ``(..., inputs, outputs)``, for each channel its own, both of these one
#: after the other, and ``(..., outputs, inputs)``.
FULL = (_layers.Dense, _layers.Conv1D, _layers.Conv2D, _layers.Conv3D)
DEPTHWISE = (_layers.DepthwiseConv1D, _layers.DepthwiseConv2D)
SEPARABLE = (_layers.SeparableConv1D, _layers.SeparableConv2D)
TRANSPOSED = (_layers.Conv1DTranspose, _layers.Conv2DTranspose, _layers.Conv3DTranspose)
KINDS = (*FULL, *DEPTHWISE, *SEPARABLE, *TRANSPOSED)


def draw(layer: Any, rng: np.random.Generator) -> None:
    """Gives a layer orthonormal kernels, of the kinds above."""
    if isinstance(layer, SEPARABLE):
        _draw_depthwise(layer.depthwise_kernel, rng)
        _draw_dense(layer.pointwise_kernel, rng)
    elif isinstance(layer, DEPTHWISE):
        _draw_depthwise(layer.kernel, rng)
    elif isinstance(layer, TRANSPOSED):
        _draw_transposed(layer.kernel, rng)
    else:
        _draw_dense(layer.kernel, rng, getattr(layer, "groups", 1))


def orthonormal(count: int, rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Random matrices with orthonormal columns, or rows where these are fewer: ``(count, rows, columns)``.

    Keras's ``Orthogonal`` takes a kernel for one matrix; that of a depthwise layer is one for each channel.
    """
    drawn = rng.normal(size=(count, max(rows, columns), min(rows, columns)))
    q = _by_householder(drawn) if drawn.shape[-1] < _LARGE else _by_cholesky(drawn)
    return q if rows >= columns else np.swapaxes(q, -1, -2)


#: The number of columns from which Householder's reflections take many times as long as products of matrices.
_LARGE = 256


def _by_householder(drawn: np.ndarray) -> np.ndarray:
    q, r = np.linalg.qr(drawn)
    return q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[:, None, :]  # else not every rotation is equally likely


def _by_cholesky(drawn: np.ndarray) -> np.ndarray:
    """The same matrices by Cholesky's factor of the Gram matrix.

    A second time where the first one's rounding would be seen in float32, which is rare: Y. Yamamoto et al. (2015),
    Roundoff error analysis of the CholeskyQR2 algorithm.
    """
    q, error = drawn, 1.0
    try:
        while error > 1e-8:
            factor = np.linalg.cholesky(np.swapaxes(q, -1, -2) @ q)
            q = q @ np.swapaxes(np.linalg.inv(factor), -1, -2)
            lengths = np.diagonal(factor, axis1=-2, axis2=-1)
            error = np.finfo("float64").eps * lengths.shape[-1] * float(lengths.max() / lengths.min()) ** 2
    except np.linalg.LinAlgError:  # one in some thousands of large square ones
        return _by_householder(drawn)
    return q


def _draw_dense(kernel: Any, rng: np.random.Generator, groups: int = 1) -> None:
    """``(..., inputs, outputs)``; the outputs of each group are one matrix."""
    rows, columns = math.prod(kernel.shape[:-1]), kernel.shape[-1] // groups
    kernel.assign(np.swapaxes(orthonormal(groups, rows, columns, rng), 0, 1).reshape(kernel.shape))


def _draw_depthwise(kernel: Any, rng: np.random.Generator) -> None:
    """``(..., channels, outputs of each channel)``."""
    *size, channels, outputs = kernel.shape
    kernel.assign(np.swapaxes(orthonormal(channels, math.prod(size), outputs, rng), 0, 1).reshape(kernel.shape))


def _draw_transposed(kernel: Any, rng: np.random.Generator) -> None:
    """``(..., outputs, inputs)``."""
    *size, outputs, inputs = kernel.shape
    drawn = orthonormal(1, math.prod(size) * inputs, outputs, rng).reshape(*size, inputs, outputs)
    kernel.assign(np.swapaxes(drawn, -1, -2))
