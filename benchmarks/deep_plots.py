"""The two plots of ``deep_networks.py``: ``deep-signals.svg`` and ``deep-dead.svg``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np

if TYPE_CHECKING:
    from deep_networks import Result

#: By number, colours that the colour-blind can tell apart.
SIGNALS = {1: "#000000", 2: "#e69f00", 3: "#56b4e9", 7: "#009e73", 10: "#cc79a7", 11: "#0072b2", 18: "#d55e00"}
DEAD = {11: ("#0072b2", "o-"), 21: ("#d55e00", "s--"), 13: ("#009e73", "^-.")}
LABELS = {11: "ReLU, He", 21: "the same, clipping", 13: "the same, batch norm"}


def draw(results: "Sequence[Result]", folder: Path) -> None:
    """Draws both plots, of those networks that were run."""
    mpl.use("agg")
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    by_number = {result.number: result for result in results}
    folder.mkdir(exist_ok=True)
    for name, figure in (("deep-signals", _signals(by_number)), ("deep-dead", _dead(by_number))):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _signals(results: "dict[int, Result]") -> Any:
    """The spread of the outputs and the gradient that comes back, by layer, at the start."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.3, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number in [n for n in SIGNALS if n in results]:
        starts, label = results[number].starts, results[number].network.label.split(" (")[0]
        for axis, parts in ((left, [s.spread for s in starts]), (right, [s.backward for s in starts])):
            line = np.exp(np.log(np.maximum(parts, 1e-30)).mean(axis=0))
            axis.plot(range(1, len(line) + 1), line, color=SIGNALS[number], label=label, linewidth=1.8)
    left.set(ylabel="outputs: spread between examples,\nrelative to the input")
    right.set(ylabel="gradient by the outputs,\nrelative to the highest layer")
    for axis in (left, right):
        axis.set(yscale="log", xlabel="hidden layer, from the bottom")
        axis.axhline(1e-3, color="#999999", linewidth=0.8, linestyle=":")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _dead(results: "dict[int, Result]") -> Any:
    """Dead units of ReLU and accuracy after training, by learning rate; bars show the range over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.3, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, number in enumerate(n for n in DEAD if n in results):
        runs, (colour, line) = results[number].runs, DEAD[number]
        style = {"color": colour, "fmt": line, "label": LABELS[number], "capsize": 3, "markersize": 5}
        _bars(left, i, [(run.rate, run.end.dead) for run in runs if run.end.finite], style)
        _bars(right, i, [(run.rate, run.test) for run in runs], style)
        lost = [run.rate for run in runs if not run.end.finite]
        high = left.get_xaxis_transform()
        for rate in sorted(set(lost)):
            left.plot(rate, 0.93, "x", color=colour, transform=high, clip_on=False)
            left.text(rate * 0.85, 0.93, "diverged", color=colour, transform=high, ha="right", va="center", fontsize=9)
    rates = sorted({run.rate for number in DEAD if number in results for run in results[number].runs})
    left.set(ylabel="dead units after training", ylim=(-0.01, 0.4))
    right.set(ylabel="accuracy on the test side", ylim=(0, None))
    for axis in (left, right):
        axis.set(xscale="log", xlabel="learning rate")
        axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axis.minorticks_off()
        axis.yaxis.set_major_locator(mpl.ticker.MultipleLocator(0.1 if axis is left else 0.05))
        axis.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _bars(axis: Any, place: int, points: Sequence[tuple[float, float]], style: dict[str, Any]) -> None:
    """Means with their ranges, moved aside a little so that none hides another."""
    rates = sorted({rate for rate, _ in points})
    values = [[value for rate, value in points if rate == at] for at in rates]
    means = np.array([np.mean(v) for v in values])
    ends = [
        [m - min(v) for m, v in zip(means, values, strict=True)],
        [max(v) - m for m, v in zip(means, values, strict=True)],
    ]
    axis.errorbar(np.array(rates) * 1.06 ** (place - 1), means, yerr=ends, **style)
