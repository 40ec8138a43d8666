"""The schedules by step, each from the schedule itself.

    python docs/plots/schedules.py

writes ``docs/images/schedules.svg``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from zoo.layers import OneCycle, schedule

OUT = Path(__file__).parents[1] / "images" / "schedules.svg"
STEPS = 100
START = {"initial_learning_rate": 1.0}
SPECS: dict[str, dict[str, Any]] = {
    "piecewise constant": {"name": "piecewise", "boundaries": [49, 74], "values": [1.0, 0.3, 0.1]},
    "exponential": {"name": "exponential", **START, "decay_steps": 50},
    "power": {"name": "power", **START, "decay_steps": 10},
    "cosine, warm-up": {"name": "cosine", **START, "warmup_steps": 10},
    "cosine, restarts": {"name": "cosine_restarts", **START},
    "one cycle": {"name": "one_cycle", "max_learning_rate": 1.0},
}
BLUE, RED = "#0072b2", "#d55e00"


def values(of: Callable[[int], Any]) -> list[float]:
    """What a schedule says for every step."""
    return [float(of(step)) for step in range(STEPS)]


def on_plateau() -> list[float]:
    """Performance scheduling of a made-up loss: half the rate after 10 steps without a better one."""
    rate, best, waited, found = 1.0, np.inf, 0, []
    for step in range(STEPS):
        loss = max(np.exp(-step / 12), 0.15) if step < 70 else 0.15 * np.exp(-(step - 70) / 30)
        best, waited = (loss, 0) if loss < best - 1e-9 else (best, waited + 1)
        if waited == 10:
            rate, waited = rate / 2, 0
        found.append(rate)
    return found


def main() -> None:
    """Draws."""
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(2, 4, figsize=(7.3, 3.9), sharex=True, sharey=True, layout="constrained")
    curves = {label: values(schedule(spec, STEPS)) for label, spec in SPECS.items()}
    curves = {"piecewise constant": curves.pop("piecewise constant"), "performance": on_plateau(), **curves}
    for (label, rates), ax in zip(curves.items(), axes.flat, strict=False):
        ax.plot(rates, color=BLUE, drawstyle="steps-post" if label in ("piecewise constant", "performance") else None)
        ax.set_title(label, fontsize=9.5)
    cycle = schedule(SPECS["one cycle"], STEPS)
    if isinstance(cycle, OneCycle):
        last = axes.flat[-1]
        last.plot(values(cycle.momentum()), color=RED, linestyle="--")
        last.set_title("one cycle's momentum", fontsize=9.5)
        last.annotate("0.95", (2, 0.97), fontsize=9, color=RED, va="bottom")
        last.annotate("0.85", (30, 0.82), fontsize=9, color=RED, va="top", ha="center")
    for ax in axes[1]:
        ax.set_xlabel("step")
    for ax in axes[:, 0]:
        ax.set_ylabel("rate / highest")
    axes[0, 0].set(xlim=(0, STEPS), ylim=(0, 1.12), xticks=[0, 50, 100], yticks=[0, 0.5, 1])
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
