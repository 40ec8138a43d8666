"""The activations and their slopes, each drawn from the layer itself.

    python docs/plots/activations.py

writes ``docs/images/activations.svg``.
"""

from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from zoo.layers import activation

OUT = Path(__file__).parents[1] / "images" / "activations.svg"

#: The chapter's in the upper row, later ones in the lower; colours that the colour-blind can tell apart.
ROWS = (
    {"ReLU": "relu", "leaky ReLU, 0.2": "very_leaky_relu", "ELU": "elu", "tanh": "tanh", "logistic": "sigmoid"},
    {"SELU": "selu", "GELU": "gelu", "SiLU": "silu", "mish": "mish", "softplus": "softplus"},
)
STYLES = (("#000000", "-"), ("#0072b2", "--"), ("#d55e00", "-"), ("#009e73", "-."), ("#cc79a7", ":"))


def curve(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An activation's values, and its slopes between neighbours: a step stays a step."""
    y = keras.ops.convert_to_numpy(activation(name, rank=2, dtype="float64")(z[None]))[0]
    return y, np.diff(y) / np.diff(z)


def main() -> None:
    """Draws."""
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(2, 2, figsize=(7.3, 6), sharex=True, layout="constrained")
    z = np.linspace(-4, 3, 351)  # 0 is one of them, so that no slope is taken across it
    middles = (z[1:] + z[:-1]) / 2
    for row, (left, right) in zip(ROWS, axes, strict=True):
        for (label, name), (colour, line) in zip(row.items(), STYLES, strict=True):
            values, slopes = curve(name, z)
            left.plot(z, values, line, color=colour, label=label, linewidth=1.8)
            right.plot(middles, slopes, line, color=colour, linewidth=1.8)
        left.set(ylim=(-2, 3), ylabel="$f(z)$")
        right.set(ylim=(-0.25, 1.9), ylabel="slope $f'(z)$")
        left.legend(frameon=False, fontsize=9, loc="upper left")
        for axis in (left, right):
            axis.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
            axis.axvline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    for axis in axes[1]:
        axis.set_xlabel("$z$")
    figure.savefig(OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
