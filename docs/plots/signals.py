"""Two ReLU networks of ten layers: what the gradients of the kernels say, and what the signals say.

    python docs/plots/signals.py

writes ``docs/images/signals.svg``.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import zoo
from zoo.input_form import InputForm
from zoo.models import dnn
from zoo.verdict import VANISHED, Figures

OUT = Path(__file__).parents[1] / "images" / "signals.svg"
DEPTH = 10

#: What is drawn, its name in the legend, colour and mark.
LINES = (
    ("gradient", "gradient by the kernels, relative to layer 1", "#666666", "s-"),
    ("forward", "signal forwards", "#0072b2", "o-"),
    ("backward", "signal backwards", "#d55e00", "^--"),
)


def figures(factor: float) -> list[Figures]:
    """The hidden layers of a network on digits, its kernels by He times a factor."""
    data = zoo.open_data("digits")
    x = data.batch(np.arange(len(data)), InputForm("image", (8, 8, 1)))
    model = dnn.build((8, 8, 1), 10, depth=DEPTH, activation="relu")
    for layer in model.layers:
        if layer.name.startswith("hidden") and layer.weights:
            layer.kernel.assign(layer.kernel * factor)
    found = zoo.inspect(model, x, data.target.values)
    return [row.figures for row in found.rows[:DEPTH]]


def main() -> None:
    """Measures and draws."""
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharex=True, sharey=True)
    for axis, factor, title in zip(axes, (1.0, 0.1), ("weights by He", "weights by He x 0.1"), strict=True):
        rows = figures(factor)
        for name, label, colour, style in LINES:
            values = np.array([getattr(row, name) for row in rows])
            values = values / values[0] if name == "gradient" else values
            axis.plot(range(1, DEPTH + 1), values, style, color=colour, markersize=5, label=label)
        axis.axhline(VANISHED, color="#444444", linewidth=0.8, linestyle=":")
        axis.set(yscale="log", title=title, xlabel="hidden layer", xticks=range(1, DEPTH + 1))
        axis.set_title(title, fontsize=11)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes[0].set_ylabel("relative size")
    axes[0].legend(frameon=False, loc="lower left")
    axes[0].text(1, VANISHED * 1.4, "below: vanishing", fontsize=9, color="#444444")
    figure.savefig(OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
