"""L2-SP beside l2 on few labels, and weight averaging at a constant rate: what the page on regularizers measures.

    python docs/plots/regularizers.py

prints the tables and writes ``docs/images/regularizers.svg``. It takes some minutes.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import zoo
from zoo.input_form import InputForm
from zoo.models import convnet
from zoo.starting_point import start_of

OUT = Path(__file__).parents[1] / "images" / "regularizers.svg"
FORM = InputForm("image", (8, 8, 1))
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
LOSS, METRICS = "sparse_categorical_crossentropy", ["accuracy"]


def sides(labels_per_class: int, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Digits: so many of each class to learn from, and all others to test on."""
    data = zoo.open_data("digits")
    y = np.asarray(data.target.values)
    order = np.random.default_rng(seed).permutation(len(y))
    train = np.concatenate([order[y[order] == c][:labels_per_class] for c in range(10)])
    test = np.setdiff1d(order, train)
    return (data.batch(train, FORM), y[train]), (data.batch(test, FORM), y[test])


def fine_tuned(regularize: Callable[[keras.Model], object], seed: int) -> tuple[float, float]:
    """glyphs on 5 labels a class, every kernel learning, batch norm frozen: test accuracy, and how far it moved."""
    keras.utils.set_random_seed(seed)
    net = zoo.replace_top(zoo.load("glyphs"), classes=10, seed=seed)
    for layer in net.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    start = start_of(net)
    regularize(net)
    train, test = sides(5, seed)
    net.compile(keras.optimizers.Adam(1e-3), LOSS, metrics=METRICS)
    net.fit(*train, batch_size=16, epochs=40, verbose=0)
    moved = [np.square(w - start[name]).sum() for name, w in start_of(net).items() if not name.startswith("top")]
    return net.evaluate(*test, verbose=0, return_dict=True)["accuracy"], float(np.sqrt(sum(moved)))


def to_zero(strength: float) -> Callable[[keras.Model], object]:
    """l2 on every kernel, with the same 1/2."""
    return lambda net: zoo.l2_sp(net, strength, strength, start={n: 0 * w for n, w in start_of(net).items()})


def to_start(strength: float) -> Callable[[keras.Model], object]:
    """L2-SP, and the same strength towards 0 on the top."""
    return lambda net: zoo.l2_sp(net, strength, strength, fresh="top.*")


class _Statistics(keras.callbacks.Callback):
    """Keeps weights and statistics of the last epoch's end, before anything is averaged."""

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.last = self.model.get_weights()


def averaged(seed: int) -> tuple[float, float, float]:
    """A fresh convnet on 20 labels a class at a constant rate: test accuracy of the last weights, of their mean, and of
    the mean with the statistics of the last weights."""
    keras.utils.set_random_seed(seed)
    train, test = sides(20, seed)
    net = convnet.build((8, 8, 1), 10, seed=seed)
    net.compile(keras.optimizers.SGD(0.05, momentum=0.9), LOSS, metrics=METRICS)
    last, mean = _Statistics(), zoo.WeightAveraging(start=0.75, x=train[0])
    net.fit(*train, batch_size=32, epochs=40, callbacks=[last, mean], verbose=0)
    found = net.get_weights()
    mixed = [o if "moving" in v.name else w for v, o, w in zip(net.weights, last.last, found, strict=True)]
    figures = []
    for weights in (last.last, found, mixed):
        net.set_weights(weights)
        figures.append(net.evaluate(*test, verbose=0, return_dict=True)["accuracy"])
    return tuple(figures)


def draw(found: dict[str, np.ndarray]) -> None:
    """Test accuracy, and distance from the start, by strength."""
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 2, figsize=(7.3, 3.2), layout="constrained")
    for (label, values), colour, mark in zip(found.items(), ("#d55e00", "#0072b2"), ("s--", "o-"), strict=True):
        for axis, column in zip(axes, values.transpose(2, 1, 0), strict=True):
            axis.plot(STRENGTHS, column.mean(axis=0), mark, color=colour, label=label, linewidth=1.8, markersize=5)
            axis.fill_between(STRENGTHS, column.min(axis=0), column.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes[0].set(xscale="log", xlabel="strength", ylabel="test accuracy", ylim=(0, 1))
    axes[1].set(xscale="log", yscale="log", xlabel="strength", ylabel="distance from the start")
    axes[0].legend(frameon=False, fontsize=10, loc="lower left")
    figure.savefig(OUT, metadata={"Date": None})


def main() -> None:
    """Measures, prints and draws."""
    none = np.array([fine_tuned(lambda net: None, seed) for seed in range(3)])
    print("no penalty", none.mean(axis=0).round(3), flush=True)
    found = {}
    for label, penalty in (("l2, to zero", to_zero), ("L2-SP, to the start", to_start)):
        found[label] = np.array([[fine_tuned(penalty(s), seed) for seed in range(3)] for s in STRENGTHS])
        for strength, row in zip(STRENGTHS, found[label], strict=True):
            spread = f"{row[:, 0].min():.3f} to {row[:, 0].max():.3f}"
            print(f"{label}, {strength:g}: {row[:, 0].mean():.3f} ({spread}), moved {row[:, 1].mean():.3f}", flush=True)
    draw(found)
    late = np.array([averaged(seed) for seed in range(5)])
    for label, column in zip(("last weights", "mean", "mean, old statistics"), late.T, strict=True):
        print(f"{label}: {column.mean():.3f} ({column.min():.3f} to {column.max():.3f})", flush=True)


if __name__ == "__main__":
    main()
