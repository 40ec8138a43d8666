"""The tables of ``benchmarks/optimizers.py``."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from split_applications import markdown

#: The losses over all the images that the optimizers are to reach.
TARGETS = (0.1, 0.01)
#: The runs: each has ``name``, ``rate``, ``losses`` and ``accuracy``.
Curves = Sequence[Any]


def steps_to(curve: Any, target: float) -> float:
    """The steps to a loss; infinity where the budget did not reach it."""
    return next((10.0 * (i + 1) for i, loss in enumerate(curve.losses) if loss <= target), float("inf"))


def at(curves: Curves, name: str, rate: float) -> Curves:
    """The runs of a row at a rate, one for each seed."""
    return [curve for curve in curves if (curve.name, curve.rate) == (name, rate)]


def best_rate(curves: Curves, name: str) -> float:
    """The rate that reaches the first target soonest; where none does, that with the lowest loss at the end."""
    rates = sorted({curve.rate for curve in curves if curve.name == name})

    def cost(rate: float) -> tuple[float, float]:
        runs = at(curves, name, rate)
        ends = [curve.losses[-1] if np.isfinite(curve.losses[-1]) else float("inf") for curve in runs]
        return statistics.median(steps_to(c, TARGETS[0]) for c in runs), statistics.median(ends)

    return min(rates, key=cost)


def optimizer_table(curves: Curves, rates: Sequence[float], own: Mapping[str, str]) -> str:
    """Steps to the targets at the best rate, with the range over the seeds, and to the first at every rate.

    ``own`` has the arguments of each, in words.
    """
    rows = []
    for name in dict.fromkeys(curve.name for curve in curves):
        best = best_rate(curves, name)
        figures = [_steps([steps_to(c, target) for c in at(curves, name, best)], True) for target in TARGETS]
        grid = [_cell(at(curves, name, rate)) for rate in rates]
        marked = (f"**{cell}**" if rate == best else cell for rate, cell in zip(rates, grid, strict=True))
        rows.append((name, own.get(name, ""), f"{best:g}", *figures, *marked))
    headings = ("optimizer", "arguments", "best rate", *(f"steps to {target:g}" for target in TARGETS))
    return markdown((*headings, *(f"at {rate:g}" for rate in rates)), rows, text=2)


def _steps(counts: list[float], spread: bool = False) -> str:
    middle = statistics.median(counts)
    if middle == float("inf"):
        return "-"
    least, most = (f"{count:.0f}" if count < float("inf") else "never" for count in (min(counts), max(counts)))
    return f"{middle:.0f}" + (f" ({least} to {most})" if spread and least != most else "")


def _cell(runs: Curves) -> str:
    lost = sum(not curve.losses[-1] < 10 * np.log(10) for curve in runs)
    return "diverges" if 2 * lost > len(runs) else _steps([steps_to(curve, TARGETS[0]) for curve in runs])


def best_schedule_rate(curves: Curves, name: str) -> float:
    """The rate with the lowest mean validation loss at the end."""
    rates = sorted({curve.rate for curve in curves if curve.name == name})
    return min(rates, key=lambda rate: statistics.mean(c.losses[-1] for c in at(curves, name, rate)))


def schedule_table(curves: Curves, rates: Sequence[float], own: Mapping[str, str]) -> str:
    """Test accuracy at the best rate, with its range, and the validation loss at every rate.

    ``own`` has the numbers of each, in words.
    """
    rows = []
    for name in dict.fromkeys(curve.name for curve in curves):
        best = best_schedule_rate(curves, name)
        tests = [100 * (curve.accuracy or 0.0) for curve in at(curves, name, best)]
        means = [statistics.mean(c.losses[-1] for c in at(curves, name, rate)) for rate in rates]
        grid = [f"{mean:.3f}" if mean < 10 * np.log(62) else "diverges" for mean in means]
        marked = (f"**{cell}**" if rate == best else cell for rate, cell in zip(rates, grid, strict=True))
        accuracy = f"{statistics.mean(tests):.1f} ({min(tests):.1f} to {max(tests):.1f})"
        rows.append((name, own.get(name, ""), f"{best:g}", accuracy, *marked))
    headings = ("schedule", "its numbers", "best rate", "test accuracy, %", *(f"at {rate:g}" for rate in rates))
    return markdown(headings, rows, text=2)
