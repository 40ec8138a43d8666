"""What a stage did, as the run's files hold it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class StageResult:
    """What a stage did: its history, a row an epoch; the epoch whose weights it kept (the last one, or the best under
    early stopping); how many frozen variables were audited; the digest it ended with; whether it ended with an average
    of the weights, which the history does not measure; for the lock, what the features that it trained on are; and the
    loss of every step."""

    name: str
    history: tuple[dict[str, Any], ...]
    kept: int
    seconds: float
    audited: int
    digest: str
    averaged: bool = False
    features: Mapping[str, Any] = field(default_factory=dict)
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0, "float32"), repr=False, compare=False)

    @property
    def epochs(self) -> int:
        """How many epochs it ran."""
        return len(self.history)

    def record(self) -> dict[str, Any]:
        """All of it but the losses, as JSON holds it, and how many losses there are."""
        held = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "losses"}
        return {**held, "history": list(self.history), "features": dict(self.features), "steps": len(self.losses)}


def results_of(records: list[dict[str, Any]], losses: np.ndarray) -> list[StageResult]:
    """What :meth:`StageResult.record` gave of successive stages, with the losses of all of them one after another.

    Example:
        >>> done = StageResult("head", ({"epoch": 1},), 1, 2.0, 0, "ab", losses=np.ones(3, "float32"))
        >>> results_of([done.record()], done.losses) == [done]
        True
    """
    found, start = [], 0
    for record in records:
        held = dict(record)
        end = start + int(held.pop("steps"))
        held["history"] = tuple(held["history"])
        found.append(StageResult(**held, losses=losses[start:end]))
        start = end
    return found
