"""What came of doing a run again: identical, different and where first, or not to be compared and why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .comparability import Obstacle
from .figure_tolerance import FigurePair
from .step_losses import FirstDifference
from .text_table import text_table

Outcome = Literal["identical", "different", "not comparable", "agrees", "disagrees"]

#: What a difference is put down to where nothing that a lock holds has changed.
UNSEEN = "nothing that the lock holds: a file of a library that was changed in place, or faulty memory, would be"


@dataclass(frozen=True)
class Verification:
    """What :func:`zoo.verify` found; it prints itself.

    Attributes:
        folder: The run.
        outcome: ``identical``, ``different`` or ``not comparable``; where figures alone are compared, ``agrees`` or
            ``disagrees``.
        obstacles: What would have to match for a comparison.
        steps: How many steps the run had.
        weights: The digest of its final weights.
        first: The first step whose loss differs.
        others: What else differs: the weights after which stage, the final ones, figures.
        environment: What differs between the two environments.
        figures: The figures of both, where they are what is compared.
    """

    folder: Path
    outcome: Outcome
    obstacles: tuple[Obstacle, ...] = ()
    steps: int = 0
    weights: str = ""
    first: FirstDifference | None = None
    others: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    figures: tuple[FigurePair, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the run was reproduced, in the sense that was asked for."""
        return self.outcome in ("identical", "agrees")

    def table(self) -> dict[str, Any]:
        """All of it for JSON; what does not belong to the outcome is left out."""
        rest = {
            "obstacles": [asdict(one) for one in self.obstacles],
            "steps": self.steps,
            "weights": self.weights,
            "first": self.first and self.first.table(),
            "others": list(self.others),
            "figures": [{**asdict(pair), "agrees": pair.agrees} for pair in self.figures],
        }
        kept = {key: value for key, value in rest.items() if value}
        return {"run": str(self.folder), "outcome": self.outcome, **kept, "environment": list(self.environment)}

    def __str__(self) -> str:
        said = {"identical": self._identical, "different": self._different, "not comparable": self._not_comparable}
        return "\n".join(said.get(self.outcome, self._figures)())

    def _identical(self) -> list[str]:
        bits = f"the loss of each of {self.steps} steps, and the weights after each stage ({self.weights[:12]})"
        return [f"identical, bit for bit: {bits}", *_listed("what has changed since, without effect", self.environment)]

    def _different(self) -> list[str]:
        others = ", ".join(self.others)
        if self.first is None:
            found = [f"different: the loss of each of {self.steps} steps is the same, but not {others}"]
        else:
            where = f"{self.first.where} (number {self.first.number + 1} of {self.steps})"
            found = [f"different: first in {where}: {self.first.said()}"]
            found += [f"different too: {others}"] if others else []
        return [*found, *_listed("what has changed since", self.environment or (UNSEEN,))]

    def _not_comparable(self) -> list[str]:
        return _listed("not comparable, because of", [str(one) for one in self.obstacles])

    def _figures(self) -> list[str]:
        rows = [
            (pair.side, pair.name, *(f"{value:.4f}" for value in (pair.before, pair.now)), *_judgement(pair))
            for pair in self.figures
        ]
        header = ("side", "figure", "before", "now", "difference", "may be", "")
        bits = "figures alone, not bits"
        return [
            f"{self.outcome} within the tolerance ({bits})" if self.good else f"{self.outcome} ({bits})",
            text_table(header, rows, right=(2, 3, 4, 5)),
            *_listed("what has changed since", self.environment),
        ]


def _judgement(pair: FigurePair) -> tuple[str, str, str]:
    difference = f"{pair.now - pair.before:+.4f}"
    if pair.tolerance is None:
        return difference, "", "not judged"
    return difference, f"{pair.tolerance:.4f}", "agrees" if pair.agrees else "too far off"


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"  {line}" for line in lines)] if lines else []
