"""Do the verdicts of ``zoo inspect`` hold? Networks with one planted fault each, and sound ones.

The thresholds are those of ``zoo/verdict.py``, which were fixed from the literature before any of these networks was
measured; so were the networks and the verdicts expected here. ``--write docs/inspect.md`` puts the table into the page.
Exit code 1 if a verdict is not the expected one.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from zoo.inspection import Inspection

#: Rates of plain gradient descent, tried upwards until one ruins the network.
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class Case:
    """A network with its data, what is wrong with it, and the verdict that it should get."""

    network: str
    fault: str
    expected: str
    make: Callable[[], tuple["keras.Model", Any, Any]]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The shipped digits: 8x8 images from 0 to 255, and their classes."""
    import zoo
    from zoo.input_form import InputForm

    data = zoo.open_data("digits")
    return data.batch(np.arange(len(data)), InputForm("image", (8, 8, 1))), data.target.values


def dense(**arguments: Any) -> tuple["keras.Model", Any, Any]:
    """zoo's dense network on digits."""
    from zoo.models import dnn

    return dnn.build((8, 8, 1), 10, **arguments), *digits()


def change(model: "keras.Model", weight: str, how: Callable[[np.ndarray], Any], layers: Callable[[str], bool]) -> None:
    """Changes a weight of some layers in place."""
    for layer in model.layers:
        variable = getattr(layer, weight, None)
        if variable is not None and layers(layer.name):
            variable.assign(how(np.array(variable)))


def hidden(name: str) -> bool:
    """Whether a layer of zoo's networks is a hidden one."""
    return not name.startswith("top")


def scaled(factor: float, layers: Callable[[str], bool] = hidden, **arguments: Any) -> tuple["keras.Model", Any, Any]:
    """A dense ReLU network by He, with kernels multiplied."""
    model, x, y = dense(activation="relu", **arguments)
    change(model, "kernel", lambda w: w * factor, layers)
    return model, x, y


def shifted(activation: str, bias: float) -> tuple["keras.Model", Any, Any]:
    """A dense network whose biases start somewhere."""
    model, x, y = dense(activation=activation, depth=5)
    change(model, "bias", lambda b: b + bias, hidden)
    return model, x, y


def wide_tanh() -> tuple["keras.Model", Any, Any]:
    """Tanh with weights four times as large as Xavier's."""
    four = {"class_name": "VarianceScaling", "config": {"scale": 16.0, "mode": "fan_avg"}}
    return dense(activation="tanh", depth=10, initializer=four)


def raw_tanh() -> tuple["keras.Model", Any, Any]:
    """A tanh network that takes pixels from 0 to 255 as they are."""
    import keras

    x, y = digits()
    keras.utils.set_random_seed(0)
    inner = [keras.layers.Dense(100, activation="tanh") for _ in range(4)]
    model = keras.Sequential([keras.Input((64,)), *inner, keras.layers.Dense(10, activation="softmax")])
    return model, x.reshape(len(x), -1), y


def loud_resnet() -> tuple["keras.Model", Any, Any]:
    """Twelve residual blocks without batch normalization, each branch multiplied by 3."""
    import keras

    layers: Any = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    conv = lambda: layers.Conv2D(16, 3, padding="same", kernel_initializer="he_normal")  # noqa: E731
    x = conv()(layers.Rescaling(1 / 255)(inputs))
    for _ in range(12):
        branch = conv()(layers.ReLU()(conv()(layers.ReLU()(x))))
        x = layers.Add()([x, layers.Rescaling(3.0)(branch)])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x)), *digits()


def dead_block() -> tuple["keras.Model", Any, Any]:
    """zoo's convolutional network, the offsets of whose second block's batch normalization are -10."""
    from zoo.models import convnet

    model = convnet.build((8, 8, 1), 10, filters=(16, 24, 32), activation="relu")
    change(model, "beta", lambda b: b - 10, lambda name: name.startswith("block2"))
    return model, *digits()


def killed() -> tuple["keras.Model", Any, Any]:
    """A ReLU network trained by plain gradient descent, at the lowest of RATES that leaves it guessing.

    Guessing: after three epochs it gets at most 15% of its own training examples right, and its weights are numbers.
    """
    import keras

    x, y = digits()
    for rate in RATES:
        model, _, _ = dense(activation="relu", depth=3)
        model.compile(optimizer=keras.optimizers.SGD(rate), loss="sparse_categorical_crossentropy")
        order = np.random.default_rng(0).permutation(len(x))
        model.fit(x[order], y[order], epochs=3, batch_size=32, shuffle=False, verbose=0)
        right = float(np.mean(model.predict(x, verbose=0).argmax(axis=1) == y))
        if right <= 0.15 and all(np.isfinite(np.array(v)).all() for v in model.weights):
            return model, x, y
    sys.exit("no rate of RATES ruins the network")


def one_nan() -> tuple["keras.Model", Any, Any]:
    """glyphs, one of whose weights is not a number."""
    import zoo

    model = zoo.load("glyphs")

    def spoil(kernel: np.ndarray) -> np.ndarray:
        kernel.flat[0] = np.nan
        return kernel

    change(model, "kernel", spoil, lambda name: name == "block2_conv1")
    return model, digits()[0], None


def glyphs() -> tuple["keras.Model", Any, Any]:
    """The shipped network, on digits: their classes are among its own."""
    import zoo
    from zoo import registry

    x, y = digits()
    labels = registry.find("glyphs").labels
    return zoo.load("glyphs"), x, np.array([labels.index(str(digit)) for digit in y])


def convnet() -> tuple["keras.Model", Any, Any]:
    """zoo's convolutional network, fresh."""
    from zoo.models import convnet

    return convnet.build((8, 8, 1), 10), *digits()


def mobilenet() -> tuple["keras.Model", Any, Any]:
    """MobileNetV2 of keras.applications, fresh, on digits enlarged to 32x32 in three channels, -1 to 1."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=10)
    x, y = digits()
    return model, np.repeat(np.repeat(np.repeat(x, 4, 1), 4, 2), 3, 3) / 127.5 - 1, y


def sentences() -> tuple[np.ndarray, np.ndarray]:
    """Rows of 12 token numbers from 1 to 49; the class is whether the first is even."""
    tokens = np.random.default_rng(0).integers(1, 50, (256, 12))
    return tokens, tokens[:, 0] % 2


def transformer() -> tuple["keras.Model", Any, Any]:
    """Two blocks of self-attention, normalized in front."""
    import keras

    layers: Any = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12,), dtype="int32")
    x = layers.Embedding(50, 32)(inputs)
    for _ in range(2):
        normal = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 8)(normal, normal)])
        inner = layers.Dense(64, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(32)(inner)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x)), *sentences()


def recurrent() -> tuple["keras.Model", Any, Any]:
    """Two LSTM layers."""
    import keras

    keras.utils.set_random_seed(0)
    layers: Any = keras.layers
    inner = [layers.Embedding(50, 32), layers.LSTM(32, return_sequences=True), layers.LSTM(32)]
    top = layers.Dense(2, activation="softmax")
    return keras.Sequential([keras.Input((12,), dtype="int32"), *inner, top]), *sentences()


CASES = (
    Case(
        "dense, 12 logistic layers",
        "Xavier's weights on the logistic function",
        "vanishing",
        lambda: dense(activation="sigmoid", depth=12, initializer="glorot_normal"),
    ),
    Case("dense, 10 ReLU layers", "all weights x 0.1", "vanishing", lambda: scaled(0.1, depth=10)),
    Case("dense, 10 ReLU layers", "all weights x 10", "exploding", lambda: scaled(10.0, depth=10)),
    Case(
        "dense, 10 ReLU layers",
        "weights of the fifth layer x 0.0001",
        "vanishing",
        lambda: scaled(1e-4, lambda name: name == "hidden5_dense", depth=10),
    ),
    Case("dense, 5 ReLU layers", "biases at -10", "dead", lambda: shifted("relu", -10.0)),
    Case("dense, 5 ReLU6 layers", "biases at 20", "saturated", lambda: shifted("relu6", 20.0)),
    Case("dense, 10 tanh layers", "Xavier's weights x 4", "saturated", wide_tanh),
    Case("dense, 4 tanh layers", "pixels from 0 to 255 as they are", "saturated", raw_tanh),
    Case("dense, 3 ReLU layers", "trained at the lowest rate that ruins it", "dead", killed),
    Case("convolutional, batch norm, ReLU", "offsets of the second block at -10", "dead", dead_block),
    Case("ResNet, 12 blocks", "no batch norm, branches x 3", "exploding", loud_resnet),
    Case("glyphs", "one weight is NaN", "exploding", one_nan),
    Case("glyphs, on digits", "none", "healthy", glyphs),
    Case("convnet, fresh", "none", "healthy", convnet),
    Case("dense, 20 ELU layers, He", "none", "healthy", lambda: dense(depth=20)),
    Case("MobileNetV2, fresh", "none", "healthy", mobilenet),
    Case("Transformer, two blocks", "none", "healthy", transformer),
    Case("LSTM, two layers", "none", "healthy", recurrent),
)

HEADINGS = ("network", "fault", "expected", "found", "where", "why")


def inspected(case: Case) -> "Inspection":
    """What ``zoo.inspect`` says of a case."""
    import zoo

    model, x, y = case.make()
    return zoo.inspect(model, x, y)


def cells(case: Case, found: "Inspection") -> tuple[str, ...]:
    """A row of the table."""
    worst = found.worst
    where = worst.layer if found.verdict != "healthy" else ""
    return (case.network, case.fault, case.expected, found.verdict, where, worst.judged.why)


def main() -> None:
    """Inspects every network, prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the page's comments")
    parser.add_argument("--full", action="store_true", help="print each network's own table too")
    options = parser.parse_args()
    from split_applications import machine, markdown, write_section

    from zoo.commands.starting import quietly

    with quietly():
        import zoo  # noqa: F401
    begin, rows = time.monotonic(), []
    for case in CASES:
        found = inspected(case)
        rows.append(cells(case, found))
        print(f"{case.network} ({case.fault}): {found}\n" if options.full else "  ".join(rows[-1]), flush=True)
    right = sum(row[2] == row[3] for row in rows)
    head = f"{right} of {len(rows)} as expected, {time.monotonic() - begin:.0f} seconds on {machine()}."
    text = f"{head}\n\n{markdown(HEADINGS, rows, text=len(HEADINGS))}"
    print(f"\n{text}")
    if options.write:
        write_section(options.write, "verdicts", text)
    sys.exit(right < len(rows))


if __name__ == "__main__":
    main()
