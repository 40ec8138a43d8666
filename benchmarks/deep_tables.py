"""The two tables of ``deep_networks.py``."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from split_applications import machine, markdown

if TYPE_CHECKING:
    from deep_networks import Budget, Result


def start_table(results: "Sequence[Result]") -> str:
    """What the networks are like before any training; ratios are geometric means over the seeds."""
    head = ("#", "Network", "From", "Gradient", "Signal", "Spread", "Saturated", "Dead", "`zoo inspect`")
    rows = []
    for result in results:
        starts = result.starts
        ratios = ([s.gradient[0] for s in starts], [s.backward[0] for s in starts], [s.spread[-1] for s in starts])
        shares = ([s.saturated for s in starts], [s.dead for s in starts])
        rows.append((*_named(result), *map(ratio, ratios), *map(_share, shares), _verdicts(result.verdicts)))
    return markdown(head, rows, text=3)


def end_table(results: "Sequence[Result]") -> str:
    """What they are like after the budget, at the rate that counts."""
    head = ("#", "Network", "From", "Rate", "Saturated", "Dead", "Accuracy", "Range")
    rows = []
    for result in results:
        runs = result.at(result.rate)
        test = [run.test for run in runs]
        span = f"{min(test):.1%} to {max(test):.1%}"
        lost = sum(not run.end.finite for run in runs)
        span += f"; {lost} of {len(runs)} diverged" if lost else ""
        shares = ([r.end.saturated for r in runs if r.end.finite], [r.end.dead for r in runs if r.end.finite])
        rows.append((*_named(result), f"{result.rate:g}", *map(_share, shares), f"{np.mean(test):.1%}", span))
    return markdown(head, rows, text=3)


def footer(budget: "Budget", seconds: float) -> str:
    """How the tables were made."""
    rates = ", ".join(f"{rate:g}" for rate in budget.rates)
    return (
        f"{budget.epochs} epochs, {len(budget.seeds)} seeds, rates {rates}; the whole took {seconds / 60:.0f} minutes "
        f"on {machine()}."
    )


def _named(result: "Result") -> tuple[str, str, str]:
    return str(result.number), result.network.label, str(result.network.base or "")


def ratio(values: Sequence[float]) -> str:
    """The geometric mean, short."""
    if min(values) == 0:
        return "0"
    mean = float(np.exp(np.log(values).mean()))
    return "-" if not np.isfinite(mean) else f"{mean:.2f}" if 0.01 <= mean < 100 else f"{mean:.0e}"


def _share(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.0%}" if known else "-"


def _verdicts(names: Sequence[str]) -> str:
    found = Counter(names)
    return names[0] if len(found) == 1 else ", ".join(f"{name} ({n})" for name, n in found.most_common())
