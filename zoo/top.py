"""A fresh top for a network: hidden layers and one dense output, named ``top_...``.

Where the network below has layers of that prefix already (``top_conv`` of EfficientNet), they are named ``top2_...``:
the fresh layers are a block of their own, and freezing everything below them means just that.
"""

from collections.abc import Sequence
from typing import Any

import keras

from .block import TOP
from .errors import CardError, SurgeryError
from .layers.activations import Activation
from .layers.activations import activation as activation_layer
from .layers.initializers import default_for
from .layers.selu import dropout_after
from .naming import free_name
from .seeds import derive


def check_top(
    classes: int, hidden: Sequence[int] = (), activation: Activation = "elu", dropout: float = 0.0, **_: Any
) -> None:
    """Checks a top's numbers before anything is built.

    Raises:
        SurgeryError: if a number is out of range, or there is no such activation.
    """
    if classes < 1 or any(width < 1 for width in hidden):
        what = "A top needs at least one output, and at least one unit in each hidden layer."
        raise SurgeryError(what, received=f"classes={classes}, hidden={list(hidden)}")
    if not 0 <= dropout < 1:
        what = "The share of units dropped is out of range."
        raise SurgeryError(what, expected="0 <= dropout < 1", received=str(dropout))
    try:
        activation_layer(activation, rank=2)
    except CardError as reason:
        raise SurgeryError(str(reason)) from None


def with_top(
    base: keras.Model,
    *,
    classes: int,
    hidden: Sequence[int] = (),
    activation: Activation = "elu",
    dropout: float = 0.0,
    output: str = "softmax",
    seed: int = 0,
) -> Any:
    """The output of a fresh top on a network's output; see :func:`zoo.replace_top`."""
    top = free_name(TOP, {layer.name.split("_")[0] for layer in base.layers}, "")
    x = _pooled(base.outputs[0], f"{top}_pool")
    for i, width in enumerate(hidden, 1):
        initializer: Any = default_for(activation, seed=derive(seed, "top", i))  # Keras annotates a name, and takes any
        x = keras.layers.Dense(width, kernel_initializer=initializer, name=f"{top}_dense{i}")(x)
        slopes = derive(seed, "top slopes", i)
        x = activation_layer(activation, rank=2, seed=slopes, name=f"{top}_activation{i}")(x)
        if dropout:
            x = dropout_after(activation, dropout, seed=derive(seed, "top dropout", i), name=f"{top}_dropout{i}")(x)
    if dropout and not hidden:
        x = keras.layers.Dropout(dropout, seed=derive(seed, "top dropout", 0), name=f"{top}_dropout")(x)
    glorot: Any = keras.initializers.GlorotUniform(derive(seed, "top", 0))
    name = f"{top}_output"
    return keras.layers.Dense(classes, activation=output, kernel_initializer=glorot, dtype="float32", name=name)(x)


def _pooled(x: Any, name: str) -> Any:
    """Features as one vector an example: a feature map or a sequence is averaged."""
    layers = keras.layers
    pools = {3: layers.GlobalAveragePooling1D, 4: layers.GlobalAveragePooling2D, 5: layers.GlobalAveragePooling3D}
    rank = len(x.shape)
    if rank == 2:
        return x
    if rank not in pools:
        what = "A top cannot be put on this layer's output."
        raise SurgeryError(what, expected="(batch, features), or a feature map", received=f"shape {x.shape}")
    return pools[rank](name=name)(x)
