"""Max-norm with the axes that belong to each kind of layer."""

from collections.abc import Mapping
from typing import Any

import keras

from zoo.errors import RecipeError, close_matches

from .scalars import number

#: The axes over which one unit's incoming weights lie, by the constraint's argument, for each kind of layer.
Axes = Mapping[str, list[int]]


def _convolution(rank: int) -> Axes:
    return {"kernel_constraint": list(range(rank + 1))}  # (*window, in, out): all but the last


def _transposed(rank: int) -> Axes:
    return {"kernel_constraint": [*range(rank), rank + 1]}  # (*window, out, in): the two are swapped


def _depthwise(rank: int) -> Axes:
    return {"depthwise_constraint": list(range(rank))}  # (*window, in, multiplier): each pair is a unit


def _separable(rank: int) -> Axes:
    return {**_depthwise(rank), "pointwise_constraint": list(range(rank + 1))}


_KINDS: dict[str, Axes] = {
    "Dense": {"kernel_constraint": [0]},
    "Embedding": {"embeddings_constraint": [1]},  # (tokens, units): a token's vector
    **{f"Conv{rank}D": _convolution(rank) for rank in (1, 2, 3)},
    **{f"Conv{rank}DTranspose": _transposed(rank) for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": _depthwise(rank) for rank in (1, 2)},
    **{f"SeparableConv{rank}D": _separable(rank) for rank in (1, 2)},
}


def max_norm(limit: float, layer: str | keras.layers.Layer, argument: str | None = None) -> Any:
    r"""Keras's max-norm constraint with the axes of a kind of layer: each unit's incoming weights are one vector.

    .. math:: w \leftarrow w \cdot \min\!\left(1, \frac{r}{\lVert w \rVert_2}\right)

    =======================  ==========================  ====================================================
    kind                     kernel                      axes
    =======================  ==========================  ====================================================
    ``Dense``                in, out                     0
    ``Conv2D``               height, width, in, out      0, 1, 2
    ``Conv2DTranspose``      height, width, out, in      0, 1, 3
    ``DepthwiseConv2D``      height, width, in, times    0, 1
    ``SeparableConv2D``      both of the above           0, 1 of the depthwise; 0, 1, 2 of the pointwise kernel
    ``Embedding``            tokens, units               1
    ``EinsumDense``          as its equation says        those summed over
    =======================  ==========================  ====================================================

    and likewise in one dimension and three. Keras's default, ``axis=0``, is that of dense layers. In a convolution it
    takes each column of each window for a unit: a filter then keeps up to ``sqrt(width * in)`` times the limit.

    Args:
        limit: The largest l2 norm ``r`` of one unit's incoming weights, above 0.
        layer: The kind, by Keras's name for it; or a layer, which an ``EinsumDense`` has to be.
        argument: Which constraint, where a layer has two: ``depthwise_constraint`` or ``pointwise_constraint``.

    Returns:
        A ``keras.constraints.MaxNorm``, for that argument of the layer.

    Raises:
        RecipeError: if the limit is not above 0, or the kind or the argument is not one of these.

    Reference:
        Srivastava et al., "Dropout", 2014, section 5.1.

    Example:
        >>> max_norm(3.0, "Conv2D").axis
        [0, 1, 2]
        >>> keras.layers.Conv2D(32, 3, kernel_constraint=max_norm(3.0, "Conv2D")).kernel_constraint.max_value
        3.0
    """
    if not number(limit) or limit <= 0:
        what = "Max-norm cannot use its `limit`."
        raise RecipeError(what, expected="a number above 0", received=repr(limit))
    axes = norm_axes(layer)
    if axes is None:
        name = layer if isinstance(layer, str) else type(layer).__name__
        what = f"Max-norm does not know the axes of a layer '{name}'."
        raise RecipeError(what, fix=close_matches(name, [*_KINDS, "EinsumDense"]))
    if argument is None and len(axes) == 1:
        argument = next(iter(axes))
    if argument is None or argument not in axes:
        what = "Max-norm must know which of the layer's constraints is meant."
        raise RecipeError(what, expected=" | ".join(axes), received=repr(argument))
    arguments: dict[str, Any] = {"max_value": float(limit), "axis": axes[argument]}  # Keras annotates single integers
    return keras.constraints.MaxNorm(**arguments)


def norm_axes(layer: str | keras.layers.Layer) -> Axes | None:
    """The axes of one unit's incoming weights, by the constraint's argument; ``None`` for other kinds of layers.

    Args:
        layer: A kind of layer by its name, or a layer; one that derives from a kind is of that kind.
    """
    if isinstance(layer, str):
        return _KINDS.get(layer)
    if isinstance(layer, keras.layers.EinsumDense):
        return {"kernel_constraint": _summed(layer.equation)}
    made = [kind.__name__ for kind in type(layer).__mro__ if _is_keras(kind)]
    return next((_KINDS[name] for name in made if name in _KINDS), None)


def _is_keras(kind: type) -> bool:
    return getattr(keras.layers, kind.__name__, None) is kind


def _summed(equation: str) -> list[int]:
    """The axes of an einsum's kernel that its output has not: ``abc,cde->abde`` sums over ``c``, its first."""
    inputs, output = equation.replace(" ", "").split("->")
    kernel = inputs.split(",")[1]
    return [axis for axis, letter in enumerate(kernel) if letter not in output]
