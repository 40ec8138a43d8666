"""The signal in 20 layers of tanh and logistic units, with the chapter's factor on sigma and with theory's.

    python docs/plots/initializers.py

writes ``docs/images/initializers.svg`` and prints the figures of ``docs/initializers.md``.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import zoo
from zoo.input_form import InputForm
from zoo.layers import activation, chapter_table, for_activation

DEPTH, WIDTH, SEEDS = 20, 100, range(5)
OUT = Path(__file__).parents[1] / "images" / "initializers.svg"

#: Name, the initializer of a seed, and whether the units are tanh (otherwise logistic).
NETWORKS = (
    ("tanh, the chapter's 4", lambda seed: chapter_table("tanh", seed=seed), True),
    ("tanh, theory's 1", lambda seed: for_activation("tanh", seed=seed), True),
    ("logistic, the chapter's 1", lambda seed: chapter_table("logistic", seed=seed), False),
    ("logistic, theory's 4", lambda seed: for_activation("logistic", seed=seed), False),
)
STYLES = (("#d55e00", "-"), ("#0072b2", "-"), ("#d55e00", "--"), ("#0072b2", "--"))


def inputs() -> np.ndarray:
    """All of the shipped digits, with mean 0 and spread 1 over all pixels."""
    data = zoo.open_data("digits")
    pixels = data.batch(np.arange(len(data)), InputForm("image", (8, 8, 1))).reshape(len(data), -1).astype("float64")
    return (pixels - pixels.mean()) / pixels.std()


def by_depth(initializer, is_tanh: bool, x: np.ndarray) -> np.ndarray:
    """By seed and layer: two shares of saturated values, and the spread between examples, the mean over units.

    The logistic function is tanh at half the input, halved and moved up; so both are judged by one scale, tanh's.
    """
    found = np.zeros((len(SEEDS), DEPTH, 3))
    for i, seed in enumerate(SEEDS):
        y = x
        for layer in range(DEPTH):
            z = y @ np.asarray(initializer(1000 * seed + layer)((y.shape[1], WIDTH)), "float64")
            t = np.tanh(z if is_tanh else z / 2)
            y = t if is_tanh else (1 + t) / 2
            slope = 1 - t**2  # relative to the largest
            found[i, layer] = (slope < 0.1).mean(), (np.abs(t) > 0.99).mean(), y.std(axis=0).mean()
    return found


def fading(name: str, width: int = 500) -> list[float]:
    """By seed: the mean square of the twentieth layer's weighted sums, on inputs for which the first one's is 1."""
    found = []
    for seed in SEEDS:
        y = np.random.default_rng(seed).normal(0, 0.5**0.5, (width, width)).astype("float32")
        for layer in range(DEPTH):
            z = y @ np.asarray(for_activation(name, seed=1000 * seed + layer)((width, width)))
            y = np.asarray(activation(name)(z))
        found.append(float(np.square(z).mean()))
    return sorted(found)


def main() -> None:
    """Measures, prints and draws."""
    for name in ("relu", "elu", "gelu", "silu", "hard_silu", "mish", "softplus"):
        print(f"{name:26} mean square in layer {DEPTH}: {', '.join(f'{v:.2g}' for v in fading(name))}")
    x = inputs()
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    layer = np.arange(1, DEPTH + 1)
    for (name, *how), (color, line) in zip(NETWORKS, STYLES, strict=True):
        found = by_depth(*how, x)
        left.plot(layer, 100 * found[..., 0].mean(axis=0), line, color=color, label=name, linewidth=2)
        right.plot(layer, found[..., 2].mean(axis=0), line, color=color, label=name, linewidth=2)
        tenth, hundredth, top = found[..., 0].mean(axis=1), found[..., 1].mean(axis=1), found[:, -1, 2]
        print(f"{name:26} slope below a tenth {tenth.mean():.1%} ({tenth.min():.1%} to {tenth.max():.1%})", end="  ")
        print(f"beyond 0.99 {hundredth.mean():.1%}  spread at the top {top.mean():.1e}")
    left.set(xlabel="layer", ylabel="saturated values, %", ylim=(-2, 100), xticks=(1, 5, 10, 15, 20))
    right.set(xlabel="layer", ylabel="spread between examples", yscale="log", xticks=(1, 5, 10, 15, 20))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
