"""The plots of ``benchmarks/optimizers.py``."""

import statistics
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from optimizer_tables import Curves, at, best_rate, best_schedule_rate

#: The chapter's optimizers, each in a colour and a dash that the colour-blind can tell apart.
CHAPTERS = {
    "SGD": ("#000000", ":"),
    "momentum 0.9": ("#56b4e9", "-"),
    "Nesterov 0.9": ("#0072b2", "--"),
    "AdaGrad": ("#d55e00", "-"),
    "AdaGrad, s from 0": ("#e69f00", "--"),
    "RMSProp": ("#009e73", "-."),
    "Adam": ("#cc79a7", "-"),
}
STYLE = {"svg.hashsalt": "zoo", "font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False}


def draw_optimizers(curves: Curves, out: Path) -> None:
    """The loss by step at each one's best rate, and the rate in effect of AdaGrad and RMSProp.

    Args:
        curves: The runs.
        out: The picture's file.
    """
    mpl.rcParams.update(STYLE)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.3, 3.6), layout="constrained")
    for name, (colour, dash) in CHAPTERS.items():
        rate = best_rate(curves, name)
        losses = np.median([curve.losses for curve in at(curves, name, rate)], axis=0)
        left.plot(_steps(losses), losses, color=colour, linestyle=dash, label=f"{name}, {rate:g}")
        effective = [curve.effective for curve in at(curves, name, rate)]
        if all(effective):
            middle = np.median(effective, axis=0)
            right.plot(_steps(middle), middle / middle[0], color=colour, linestyle=dash, label=f"{name}, {rate:g}")
    left.set(xlabel="step", ylabel="loss over all images", yscale="log", xlim=(0, None), ylim=(1e-7, 3))
    right.set(xlabel="step", ylabel="rate in effect / at step 10", yscale="log", xlim=(0, None))
    for target in (0.1, 0.01):
        left.axhline(target, color="#999999", linewidth=0.8)
    left.legend(frameon=False, fontsize=9, labelspacing=0.2)
    right.legend(frameon=False, fontsize=9)
    _save(figure, out)


def _steps(values: np.ndarray) -> np.ndarray:
    return 10 * np.arange(1, len(values) + 1)


def draw_schedules(curves: Curves, out: Path) -> None:
    """The test accuracy by schedule, a dot for each seed and a line for the mean.

    Args:
        curves: The runs.
        out: The picture's file.
    """
    mpl.rcParams.update(STYLE)
    figure, ax = plt.subplots(figsize=(7.3, 3.2), layout="constrained")
    names = list(dict.fromkeys(curve.name for curve in curves))
    for place, name in enumerate(reversed(names)):
        found = [100 * curve.accuracy for curve in at(curves, name, best_schedule_rate(curves, name))]
        ax.plot(found, [place] * len(found), "o", color="#0072b2", markersize=5, alpha=0.7)
        ax.plot(statistics.mean(found), place, "|", color="#d55e00", markersize=14, markeredgewidth=2)
    ax.set_yticks(range(len(names)), list(reversed(names)))
    ax.set_xlabel("test accuracy, %")
    ax.grid(axis="x", color="#dddddd", linewidth=0.8)
    _save(figure, out)


def _save(figure: plt.Figure, out: Path) -> None:
    out.parent.mkdir(exist_ok=True)
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)
