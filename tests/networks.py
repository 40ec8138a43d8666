"""Small networks that are alive, and data that they can learn."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from zoo.card import BlockPattern
from zoo.models import convnet

layers = keras.layers


def images(count: int, shape: tuple[int, ...] = (8, 8, 1), seed: int = 0) -> np.ndarray:
    """Random images, 0 to 255."""
    return np.random.default_rng(seed).uniform(0, 255, (count, *shape)).astype("float32")


def live(model: keras.Model, x: np.ndarray | None = None) -> keras.Model:
    """Gives a fresh network the batch-norm statistics of one pass over random images: a dead one hides every fault."""
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images(64, model.input_shape[1:]) if x is None else x, training=True)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return model


def small_convnet(classes: int = 10, **arguments: object) -> keras.Model:
    """Three blocks with batch normalization on 8x8 images, about 2,000 parameters."""
    return live(convnet.build((8, 8, 1), classes, filters=(4, 6, 8), **arguments))


def dense_net(features: int = 6, classes: int = 3, widths: tuple[int, ...] = (8, 8)) -> keras.Model:
    """Dense layers ``low1``, ``low2``, ... and a softmax ``top``."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((features,))
    x = inputs
    for i, width in enumerate(widths, 1):
        x = layers.Dense(width, activation="tanh", name=f"low{i}")(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax", name="top")(x), name="dense_net")


def quadrants(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class, 0 to 3, is the quadrant that is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    x = rng.uniform(0, 120, (count, 8, 8, 1))
    for image, label in zip(x, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 100
    return x.astype("uint8"), labels


def clusters(count: int, features: int = 6, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around one centre for each class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    centres = np.random.default_rng(99).normal(0, 2, (classes, features))
    return (centres[labels] + rng.normal(0, 0.7, (count, features))).astype("float32"), labels


def skipping() -> keras.Model:
    """Skip connections from every block to the last, and from the input too."""
    inputs = keras.Input((8, 8, 1))
    low = layers.Conv2D(4, 3, padding="same", name="block1_conv")(inputs)
    low = layers.BatchNormalization(name="block1_bn")(low)
    middle = layers.Conv2D(4, 3, padding="same", activation="relu", name="block2_conv")(low)
    both = layers.Add(name="block2_add")([low, middle])
    high = layers.Conv2D(4, 3, padding="same", activation="relu", name="block3_conv")(both)
    joined = layers.Concatenate(name="block3_join")([high, low, middle, inputs])
    x = layers.GlobalAveragePooling2D(name="block3_pool")(joined * 0.5)
    return live(keras.Model(inputs, layers.Dense(3, name="top")(x), name="skipping"))


def nested() -> keras.Model:
    """A backbone inside a model, with a layer of its own below it and a top above."""
    inner_in = keras.Input((8, 8, 2), name="inner_input")
    x = layers.Conv2D(4, 3, name="inner1_conv")(inner_in)
    x = layers.BatchNormalization(name="inner1_bn")(x)
    x = layers.Conv2D(5, 3, activation="relu", name="inner2_conv")(x)
    backbone = keras.Model(inner_in, x, name="backbone")
    inputs = keras.Input((8, 8, 1))
    y = layers.Conv2D(2, 1, name="stem")(inputs)
    y = layers.GlobalAveragePooling2D(name="pool")(backbone(y))
    return live(keras.Model(inputs, layers.Dense(3, name="top")(y), name="nested"))


def shared() -> keras.Model:
    """A layer that is called twice, with another one between its calls."""
    inputs = keras.Input((6,))
    twice = layers.Dense(6, activation="tanh", name="twice")
    x = twice(inputs)
    x = layers.Dense(6, activation="tanh", name="between")(x)
    x = twice(x)
    x = layers.Dense(5, activation="tanh", name="above")(x)
    return keras.Model(inputs, layers.Dense(3, name="top")(x), name="shared")


class Uncopied(layers.Layer):
    """A layer of the user's that no configuration makes again."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def call(self, x: Any) -> Any:
        return x * self.scale


def siamese() -> keras.Model:
    """A backbone inside a model that is called twice."""
    inner_in = keras.Input((6,))
    backbone = keras.Model(inner_in, layers.Dense(4, activation="tanh", name="inner_dense")(inner_in), name="backbone")
    inputs = keras.Input((6,))
    x = layers.Concatenate(name="join")([backbone(inputs), backbone(inputs * -1.5)])
    return keras.Model(inputs, layers.Dense(3, name="top")(x), name="siamese")


def sequential() -> keras.Model:
    """A Sequential model whose layers Keras has named."""
    block = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D()]
    return live(keras.Sequential([keras.Input((8, 8, 1)), *block, layers.Flatten(), layers.Dense(6), layers.Dense(3)]))


def masked() -> keras.Model:
    """Token numbers, 0 for nothing: a mask that goes up through an LSTM."""
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True, name="embed")(inputs)
    x = layers.LSTM(4, return_sequences=True, name="low_lstm")(x)
    x = layers.LSTM(4, name="high_lstm")(x)
    return keras.Model(inputs, layers.Dense(3, name="top")(x), name="masked")


def forking() -> keras.Model:
    """A layer with several outputs, of which only some are used, some twice."""
    inputs = keras.Input((5, 4))
    sequence, hidden, _ = layers.LSTM(3, return_sequences=True, return_state=True, name="low_lstm")(inputs)
    x = layers.GlobalAveragePooling1D(name="mean")(sequence)
    x = layers.Concatenate(name="join")([x, hidden])
    x = layers.Dense(4, activation="tanh", name="middle")(x)
    return keras.Model(inputs, layers.Dense(3, name="top")(x), name="forking")


#: The blocks of a network that never narrows to one tensor, so that none can be derived.
SKIPPING_BLOCKS = tuple(BlockPattern(f"block{i}", f"block{i}_.*") for i in (1, 2, 3))

#: Networks by name, with inputs that suit each.
NETWORKS: dict[str, tuple[Callable[[], keras.Model], Callable[[], np.ndarray]]] = {
    "convnet": (lambda: small_convnet(output="linear"), lambda: images(16)),
    "skipping": (skipping, lambda: images(16)),
    "nested": (nested, lambda: images(16)),
    "shared": (shared, lambda: images(16, (6,)) / 255),
    "siamese": (siamese, lambda: images(16, (6,)) / 255),
    "sequential": (sequential, lambda: images(16)),
    "masked": (masked, lambda: np.random.default_rng(0).integers(0, 10, (16, 5)).astype("int32")),
    "forking": (forking, lambda: images(16, (5, 4)) / 255),
}


def values(model: keras.Model) -> dict[str, bytes]:
    """Every variable's bytes, by its path; and every layer's switch."""
    held = {f"{i} {v.path}": v.numpy().tobytes() for i, v in enumerate(model.variables)}
    return held | {f"{layer.name}?": bytes([layer.trainable]) for layer in model._flatten_layers()}


def gap(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative to how much the outputs differ from input to input."""
    spread = float(np.std(np.asarray(one, "float64"), axis=0).max())
    assert spread > 1e-3, "the network is dead: its output hardly depends on its input"
    return float(np.abs(np.asarray(one, "float64") - np.asarray(other, "float64")).max()) / spread
