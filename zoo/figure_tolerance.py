"""How far a figure may be off in a run that is done again elsewhere, where bits cannot be the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The figure that a side is judged by: the first of these that it has.
JUDGED = ("accuracy", "micro_f1", "rmse")


@dataclass(frozen=True)
class FigurePair:
    """A figure of two runs.

    Attributes:
        side: ``test`` or ``val``.
        name: Such as ``accuracy``.
        before: In the first run.
        now: In the second.
        tolerance: How far apart they may be; ``None`` of one that is shown, and not judged.
    """

    side: str
    name: str
    before: float
    now: float
    tolerance: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether they are as near as they have to be."""
        return self.tolerance is None or abs(self.now - self.before) <= self.tolerance


def tolerance_of(name: str, figures: Mapping[str, Any]) -> float:
    """Two standard errors of a figure that was measured on so many examples: 95 of 100 such sides give it as closely.

    For a share ``p`` of ``n`` examples this is ``2 sqrt(p (1 - p) / (n + 4))`` with ``p`` of two more successes and two
    more failures (Agresti and Coull, 1998), so that it is not 0 where all are right; for a root mean square of normal
    errors ``2 rmse / sqrt(2 n)``.

    Args:
        name: One of ``JUDGED``.
        figures: The figures of the side, ``examples`` among them.

    Example:
        >>> round(tolerance_of("accuracy", {"examples": 1437, "accuracy": 0.95}), 4)
        0.0116
    """
    count, value = figures["examples"], figures[name]
    if name == "rmse":
        return 2 * value / math.sqrt(2 * count)
    share = (value * count + 2) / (count + 4)
    return 2 * math.sqrt(share * (1 - share) / (count + 4))


def pairs_of(before: Mapping[str, Any], now: Mapping[str, Any], tolerance: float | None = None) -> list[FigurePair]:
    """The figures of two results side by side; one of each side is judged.

    Args:
        before: The figures of each side, as a lock's ``result`` holds them.
        now: Those of the second run.
        tolerance: How far apart the judged ones may be; by default :func:`tolerance_of` the first run's.

    Example:
        >>> figures = {"test": {"examples": 100, "loss": 0.3, "accuracy": 0.9}}
        >>> for one in pairs_of(figures, {"test": {"examples": 100, "loss": 0.31, "accuracy": 0.89}}, 0.02):
        ...     print(one.name, one.before, one.now, one.tolerance, one.agrees)
        loss 0.3 0.31 None True
        accuracy 0.9 0.89 0.02 True
    """
    found = []
    for side in ("test", "val"):
        old, new = before.get(side, {}), now.get(side, {})
        judged = next((name for name in JUDGED if name in old and name in new), None)
        for name in (name for name in old if name in new and name != "examples"):
            limit = None
            if name == judged:
                limit = tolerance_of(name, old) if tolerance is None else tolerance
            found.append(FigurePair(side, name, old[name], new[name], limit))
    return found
