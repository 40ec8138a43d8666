"""The schedules of ``benchmarks/optimizers.py``, with their numbers.

Those of ``zoo finetune --optimizer sgd --momentum 0.9 --nesterov --schedule NAME`` are marked: the command's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

#: From the highest rate and the number of steps N to the table of a schedule.
Spec = Callable[[float, int], dict[str, Any]]
COMMANDS = "the command's"


@dataclass(frozen=True)
class Row:
    """A schedule on trial: its numbers in words, its table, the patience of performance scheduling in epochs, and the
    highest momentum of one cycle; the lowest is 0.1 below it."""

    numbers: str
    spec: Spec | None = None
    patience: int | None = None
    momentum: float | None = None


def _named(name: str, **own: float) -> Spec:
    return lambda rate, steps: {"name": name, "initial_learning_rate": rate, **own}


def _one_cycle(rate: float, steps: int) -> dict[str, Any]:
    return {"name": "one_cycle", "max_learning_rate": rate}


SCHEDULES: dict[str, Row] = {
    "constant": Row(COMMANDS),
    "piecewise": Row(
        "a tenth from N/2 on, a hundredth from 3N/4 on",
        lambda rate, steps: {
            "name": "piecewise",
            "boundaries": [steps // 2, 3 * steps // 4],
            "values": [rate, rate / 10, rate / 100],
        },
    ),
    "performance": Row("a tenth after 2 epochs (of 50 steps) that bring nothing", patience=2),
    "performance, patience 5": Row(f"after 5: {COMMANDS}", patience=5),
    "exponential": Row("to a hundredth in N", _named("exponential", decay_rate=0.01)),
    "exponential to a tenth": Row(f"to a tenth in N: {COMMANDS}", _named("exponential")),
    "power": Row(
        "s = N/10: to an 11th", lambda rate, steps: {**_named("power")(rate, steps), "decay_steps": steps / 10}
    ),
    "power to a half": Row(f"s = N: to a half: {COMMANDS}", _named("power")),
    "cosine, warm-up": Row("N/20 up, then to 0", lambda r, n: {**_named("cosine")(r, n), "warmup_steps": n // 20}),
    "cosine": Row(f"to 0: {COMMANDS}", _named("cosine")),
    "cosine, restarts": Row(f"cycles of N/7, 2N/7, 4N/7: {COMMANDS}", _named("cosine_restarts")),
    "one cycle": Row(
        "from a 25th, 3N/10 up, then to a 250,000th; momentum 0.95, 0.85, 0.95", _one_cycle, momentum=0.95
    ),
    "one cycle, lower momentum": Row(f"the same; momentum 0.9, 0.8, 0.9: {COMMANDS}", _one_cycle, momentum=0.9),
}


def nesterov(label: str, rate: float, steps: int) -> "keras.optimizers.Optimizer":
    """Nesterov's momentum of 0.9 under a schedule; under one cycle the momentum cycles too."""
    from zoo.layers import optimizer

    row, momentum = SCHEDULES[label], 0.9
    if row.momentum:
        momentum = {"name": "one_cycle_momentum", "max_momentum": row.momentum, "base_momentum": row.momentum - 0.1}
    given = rate if row.spec is None else row.spec(rate, steps)
    return optimizer("sgd", steps=steps, learning_rate=given, momentum=momentum, nesterov=True)
