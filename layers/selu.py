"""What SELU asks of the network around it, and whether a stack of layers gives it."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from .activations import Activation, activation_name
from .normalizing import NORMALIZING

#: Under these, and only these, mean 0 and variance 1 are a stable fixed point from layer to layer.
SELU_CONDITIONS = (
    "the input is standardized: each number has mean 0 and variance 1 over the training data",
    "each kernel starts with mean 0 and variance 1 / fan-in: lecun_normal; biases start at 0",
    "what is dropped is set to the value that SELU tends to on the left: AlphaDropout, 5 to 10%, not Dropout",
    "the network is a plain stack: a skip connection adds variances, batch normalization sets them itself",
)

#: Dropout that moves mean and variance; alpha dropout does not.
DROPPING = (
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


def is_selu(layer: Any) -> bool:
    """Whether a layer applies SELU: as itself, or as its own activation (``Dense(..., activation="selu")``)."""
    return getattr(layer, "activation", None) is keras.activations.selu


def suits_selu(initializer: Any) -> bool:
    """Whether an initializer draws kernels of mean 0 and variance 1 / fan-in, from whatever distribution.

    Args:
        initializer: Keras's own, or its name.

    Example:
        >>> suits_selu("lecun_normal"), suits_selu("lecun_uniform"), suits_selu("he_normal")
        (True, True, False)
    """
    found = keras.initializers.get(initializer)
    if isinstance(found, keras.initializers.VarianceScaling):
        return found.scale == 1 and found.mode == "fan_in"
    return isinstance(found, keras.initializers.Orthogonal) and found.gain == 1


def check_selu(stack: keras.Model | Iterable[keras.layers.Layer]) -> list[str]:
    """Says where a stack of layers departs from the conditions of SELU, a sentence for each.

    Read from the layers: kernels below a SELU that do not start with variance 1 / fan-in, biases that do not start at
    0, plain dropout on what a SELU gives or between two of them, normalization between. How a kernel starts matters
    where training starts from it, not for pretrained weights. That the input is standardized (see
    ``SELU_CONDITIONS``) cannot be read from layers.

    Args:
        stack: Layers from the bottom up, or a model that is such a stack; models inside are not entered.

    Returns:
        The departures; empty where there are none, or no SELU.

    Reference:
        G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter (2017), Self-Normalizing Neural Networks, sections 2 and 3.

    Example:
        >>> import keras
        >>> low, drop = keras.layers.Dense(8, activation="selu", name="low"), keras.layers.Dropout(0.1, name="drop")
        >>> for sentence in check_selu([low, drop]):
        ...     print(sentence)
        low: its kernel starts from GlorotUniform; SELU needs variance 1 / fan-in: lecun_normal.
        drop: Dropout shifts mean and variance above SELU; use keras.layers.AlphaDropout.
    """
    found = list(stack.layers if isinstance(stack, keras.Model) else stack)
    said = []
    selu_below = False
    for i, layer in enumerate(found):
        feeds = is_selu(layer) or _is_followed_by_selu(found[i + 1 :])
        if _kernel_of(layer) is not None and feeds:
            said += _starts(layer)
        if isinstance(layer, NORMALIZING) and feeds:
            said.append(f"{layer.name}: {type(layer).__name__} sets the mean and variance that SELU keeps by itself.")
        if isinstance(layer, DROPPING) and layer.rate > 0 and selu_below:
            kind = type(layer).__name__
            said.append(f"{layer.name}: {kind} shifts mean and variance above SELU; use keras.layers.AlphaDropout.")
        if is_selu(layer):
            selu_below = True
        elif not feeds and (_kernel_of(layer) is not None or hasattr(layer, "activation")):
            selu_below = False
    return said


def _kernel_of(layer: Any) -> Any:
    """The initializer of a layer's kernel, whatever Keras calls it there; none where it has no kernel."""
    return getattr(layer, "kernel_initializer", None) or getattr(layer, "depthwise_initializer", None)


def _is_followed_by_selu(above: Sequence[Any]) -> bool:
    """Whether the next activation is SELU, with no kernel before it."""
    for layer in above:
        if is_selu(layer):
            return _kernel_of(layer) is None
        if _kernel_of(layer) is not None or hasattr(layer, "activation"):
            return False
    return False


def _starts(layer: Any) -> list[str]:
    said = []
    if not suits_selu(_kernel_of(layer)):
        kind = type(_kernel_of(layer)).__name__
        said.append(f"{layer.name}: its kernel starts from {kind}; SELU needs variance 1 / fan-in: lecun_normal.")
    bias = getattr(layer, "bias_initializer", None)
    if getattr(layer, "use_bias", False) and bias is not None and not isinstance(bias, keras.initializers.Zeros):
        said.append(f"{layer.name}: its bias starts from {type(bias).__name__}; SELU needs zeros.")
    return said


def dropout_after(activation: Activation, rate: float, *, seed: int | None, name: str) -> keras.layers.Layer:
    """The dropout that suits an activation: ``AlphaDropout`` after SELU, ``Dropout`` after any other.

    Args:
        activation: Its name, or a table with it.
        rate: The share of units dropped, from 0 to below 1.
        seed: Of what is dropped.
        name: The layer's name.

    Example:
        >>> type(dropout_after("selu", 0.1, seed=0, name="drop")).__name__
        'AlphaDropout'
    """
    made = keras.layers.AlphaDropout if activation_name(activation) == "selu" else keras.layers.Dropout
    return made(rate, seed=seed, name=name)
