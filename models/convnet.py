"""A small convolutional network: He initialization, ELU, batch normalization."""

from collections.abc import Sequence

import keras

from zoo.errors import CardError

from ..layers.activations import Activation
from .seeding import Initializer, Seeds
from .top import Output, activated, dropout_layer, kernel_start, require_rate, require_whole, with_top


def build(
    input_shape: Sequence[int],
    classes: int | None,
    *,
    filters: Sequence[int] = (32, 64, 96),
    convolutions: int = 2,
    kernel_size: int = 3,
    enlarge: int = 1,
    grid: int = 2,
    activation: Activation = "elu",
    initializer: Initializer | None = None,
    batch_norm: bool = True,
    dropout: float = 0.0,
    output: Output = "softmax",
    seed: int = 0,
) -> keras.Model:
    """A convolutional network on raw pixels, 0 to 255, in blocks named ``block1``, ``block2``, ... from the bottom.

    A block is ``convolutions`` times convolution, batch normalization and activation; every block but the first begins
    by halving height and width (max pooling). ``block1_rescale`` maps pixels to 0 to 1, ``block1_resize`` enlarges
    them. The layer ``features`` averages the last block's maps over a ``grid`` x ``grid`` of cells: its output has
    ``grid**2 * filters[-1]`` numbers. Above it lies only the top: ``top_dropout`` and ``top_output``.

    Args:
        input_shape: Height, width, channels.
        classes: The number of outputs; ``None`` for a network that ends in its features.
        filters: The number of maps in each block, bottom to top.
        convolutions: How many convolutions a block has.
        kernel_size: Height and width of each kernel.
        enlarge: How many times higher and wider the image is made first (bilinear).
        grid: How many cells a side the maps are averaged to; 1 is global average pooling.
        activation: A name, or a table with its arguments: see :func:`zoo.layers.activation`.
        initializer: Of every kernel but the top's (Glorot's): a Keras name or configuration, or ``auto`` for what
            theory gives the activation (:func:`zoo.layers.for_activation`). By default He's for ReLU and its kin,
            LeCun's for SELU, Glorot's for others.
        batch_norm: Whether each convolution is followed by batch normalization; SELU does without.
        dropout: The rate on the features; of alpha dropout for SELU.
        output: ``softmax``, ``sigmoid`` or ``linear``.
        seed: The same seed gives the same weights.

    Returns:
        A plain functional ``keras.Model``.

    Raises:
        CardError: An argument cannot be used.

    Reference:
        K. He et al. (2015), Delving Deep into Rectifiers, equation 10. D.-A. Clevert et al. (2016), Fast and Accurate
        Deep Network Learning by Exponential Linear Units, equation 15. S. Ioffe, C. Szegedy (2015), Batch
        Normalization, algorithm 1.

    Example:
        >>> net = build((28, 28, 1), 10)
        >>> net.output_shape, net.get_layer("features").output.shape
        ((None, 10), (None, 384))
    """
    _check(input_shape, filters, convolutions, kernel_size, enlarge, grid)
    initializer = kernel_start(initializer, activation)
    require_rate("dropout", dropout)
    seeds = Seeds(seed)
    inputs = keras.Input(tuple(input_shape), name="image")
    x = keras.layers.Rescaling(1 / 255, name="block1_rescale")(inputs)
    if enlarge > 1:
        # Not keras.layers.Resizing: its `training` defaults to True and leaks to every layer above, so that a bare
        # `model(x)` would run batch normalization in training mode and move its statistics.
        x = keras.layers.UpSampling2D(enlarge, interpolation="bilinear", name="block1_resize")(x)
    for b, count in enumerate(filters, start=1):
        if b > 1:
            x = keras.layers.MaxPooling2D(name=f"block{b}_pool")(x)
        for c in range(1, convolutions + 1):
            x = keras.layers.Conv2D(
                count,
                kernel_size,
                padding="same",
                use_bias=not batch_norm,
                kernel_initializer=seeds.initializer(initializer),
                name=f"block{b}_conv{c}",
            )(x)
            if batch_norm:
                x = keras.layers.BatchNormalization(name=f"block{b}_bn{c}")(x)
            x = activated(x, activation, seeds, f"block{b}_activation{c}")
    if grid > 1:
        x = keras.layers.AdaptiveAveragePooling2D(grid, name=f"block{len(filters)}_average")(x)
        x = keras.layers.Flatten(name="features")(x)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    drop = dropout_layer(dropout, activation, seeds, "top_dropout")
    return with_top(inputs, x, classes, output=output, dropout=drop, seeds=seeds, name="convnet")


def _check(
    input_shape: Sequence[int], filters: Sequence[int], convolutions: int, kernel_size: int, enlarge: int, grid: int
) -> None:
    if len(input_shape) != 3:
        what = "A convolutional network cannot be built for this input."
        expected = "three numbers: height, width, channels"
        raise CardError(what, expected=expected, received=repr(tuple(input_shape)), fix="Use `dnn` for vectors.")
    require_whole("input_shape", *input_shape)
    if not filters:
        what = "A convolutional network needs at least one block."
        raise CardError(what, expected="filters such as [32, 64, 96]", received=repr(list(filters)))
    require_whole("filters", *filters)
    require_whole("convolutions", convolutions)
    require_whole("kernel_size", kernel_size)
    require_whole("enlarge", enlarge)
    require_whole("grid", grid)
    side = min(input_shape[:2]) * enlarge
    smallest = grid * 2 ** (len(filters) - 1)
    if side < smallest:
        what = f"The image is too small for {len(filters)} blocks and a grid of {grid}."
        expected = f"a shorter side of at least {smallest} pixels"
        received = f"{side} (after enlarging)"
        raise CardError(what, expected=expected, received=received, fix="Raise `enlarge`, or use fewer blocks.")
