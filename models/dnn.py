"""The deep fully connected network."""

from collections.abc import Sequence
from typing import Any

import keras

from zoo.errors import CardError

from ..layers.activations import Activation
from .seeding import Initializer, Seeds
from .top import Output, activated, dropout_layer, kernel_start, require_rate, require_whole, with_top


def build(
    input_shape: Sequence[int],
    classes: int | None,
    *,
    depth: int = 5,
    width: int = 100,
    widths: Sequence[int] | None = None,
    activation: Activation = "elu",
    initializer: Initializer | None = None,
    batch_norm: bool = False,
    dropout: float = 0.0,
    max_norm: float | None = None,
    mean: Sequence[float] | None = None,
    variance: Sequence[float] | None = None,
    output: Output = "softmax",
    seed: int = 0,
) -> keras.Model:
    """A network of fully connected layers, in blocks named ``hidden1``, ``hidden2``, ... from the bottom.

    A block is ``hidden1_dense``, ``hidden1_bn``, ``hidden1_activation`` and ``hidden1_dropout``, as far as asked for.
    The last block ends in the layer ``features``, which passes its activations on unchanged, so that one name cuts any
    builder's network below its top; dropout on them is ``top_dropout``, and the top is ``top_output``. An image is
    rescaled from 0 to 255 to 0 to 1 (``hidden1_rescale``) and flattened (``hidden1_flatten``); a vector is normalized
    (``hidden1_normalization``) where ``mean`` and ``variance`` are given.

    Args:
        input_shape: Height, width, channels for images; one length for vectors.
        classes: The number of outputs; ``None`` for a network that ends in its features.
        depth: The number of hidden layers.
        width: The number of units of each.
        widths: The units of each hidden layer, bottom to top, in place of ``depth`` and ``width``.
        activation: A name, or a table with its arguments: see :func:`zoo.layers.activation`.
        initializer: Of every kernel but the top's (Glorot's): a Keras name or configuration, or ``auto`` for what
            theory gives the activation (:func:`zoo.layers.for_activation`). By default He's for ReLU and its kin,
            LeCun's for SELU, Glorot's for others.
        batch_norm: Whether batch normalization comes before each activation.
        dropout: The rate after each hidden layer; of alpha dropout for SELU. With batch normalization, on the features
            alone: below the last one it would change the variance that is counted (Li et al., 2018).
        max_norm: The largest l2 norm of the weights into one hidden unit; ``None`` for no limit.
        mean: For vectors: each number's mean over the training data.
        variance: For vectors: each number's variance.
        output: ``softmax``, ``sigmoid`` or ``linear``.
        seed: The same seed gives the same weights and the same dropout.

    Returns:
        A plain functional ``keras.Model``.

    Raises:
        CardError: An argument cannot be used.

    Reference:
        K. He et al. (2015), Delving Deep into Rectifiers, equation 10. N. Srivastava et al. (2014), Dropout,
        section 5.1 (max-norm). X. Li et al. (2018), Understanding the Disharmony between Dropout and Batch
        Normalization by Variance Shift. G. Klambauer et al. (2017), Self-Normalizing Neural Networks (SELU).

    Example:
        >>> net = build((28, 28, 1), 10, widths=[300, 100])
        >>> net.count_params()
        266610
    """
    units = list(widths) if widths is not None else [width] * _whole_depth(depth)
    if not units:
        what = "A fully connected network needs at least one hidden layer."
        raise CardError(what, expected="widths such as [300, 100]", received="[]")
    require_whole("width" if widths is None else "widths", *units)
    initializer = kernel_start(initializer, activation)
    require_rate("dropout", dropout)
    if max_norm is not None and not max_norm > 0:
        what = "The network's `max_norm` cannot be used."
        raise CardError(what, expected="a number above 0", received=repr(max_norm), fix="Leave it out for no limit.")
    limit: Any = max_norm  # Keras annotates a whole number, and takes any
    constraint = None if max_norm is None else keras.constraints.MaxNorm(limit)
    seeds = Seeds(seed)
    inputs, x = _entrance(input_shape, mean, variance)
    for h, count in enumerate(units, start=1):
        x = keras.layers.Dense(
            count,
            use_bias=not batch_norm,
            kernel_initializer=seeds.initializer(initializer),
            kernel_constraint=constraint,
            name=f"hidden{h}_dense",
        )(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(name=f"hidden{h}_bn")(x)
        x = activated(x, activation, seeds, f"hidden{h}_activation")
        inside = h < len(units) and not batch_norm
        if inside and (drop := dropout_layer(dropout, activation, seeds, f"hidden{h}_dropout")):
            x = drop(x)
    x = keras.layers.Identity(name="features")(x)
    drop = dropout_layer(dropout, activation, seeds, "top_dropout")
    return with_top(inputs, x, classes, output=output, dropout=drop, seeds=seeds, name="dnn")


def _whole_depth(depth: int) -> int:
    require_whole("depth", depth)
    return depth


def _entrance(input_shape: Sequence[int], mean: Sequence[float] | None, variance: Sequence[float] | None):
    """The input, and the flat, rescaled tensor that the first dense layer takes."""
    if len(input_shape) not in (1, 3):
        what = "A fully connected network cannot be built for this input."
        expected = "one number (a vector's length), or three: height, width, channels"
        raise CardError(what, expected=expected, received=repr(tuple(input_shape)))
    require_whole("input_shape", *input_shape)
    if len(input_shape) == 3:
        if mean is not None or variance is not None:
            what = "`mean` and `variance` normalize vectors; an image is rescaled from 0 to 255."
            raise CardError(what, received=f"an image of shape {tuple(input_shape)}", fix="Leave them out.")
        inputs = keras.Input(tuple(input_shape), name="image")
        x = keras.layers.Rescaling(1 / 255, name="hidden1_rescale")(inputs)
        return inputs, keras.layers.Flatten(name="hidden1_flatten")(x)
    inputs = keras.Input(tuple(input_shape), name="vector")
    if mean is None and variance is None:
        return inputs, inputs
    received = [None if numbers is None else len(numbers) for numbers in (mean, variance)]
    if mean is None or variance is None or received != [input_shape[0]] * 2:
        what = "`mean` and `variance` do not fit the vector."
        expected = f"{input_shape[0]} numbers each"
        got = " and ".join("none" if count is None else str(count) for count in received)
        raise CardError(what, expected=expected, received=got, fix="Give both, one number for each input.")
    layer = keras.layers.Normalization(mean=list(mean), variance=list(variance), name="hidden1_normalization")
    return inputs, layer(inputs)
