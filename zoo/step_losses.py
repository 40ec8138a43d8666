"""The loss of every step of a run, as ``steps.csv`` holds it, and the first step in which two runs differ."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from .errors import RunError
from .run import STEPS


class StepLoss(NamedTuple):
    """A step: its stage, its epoch and its number from 1, its loss, and the 32 bits of that."""

    stage: str
    epoch: int
    step: int
    loss: str
    bits: str

    @property
    def where(self) -> str:
        """In words."""
        return f"the stage '{self.stage}', epoch {self.epoch}, step {self.step}"


@dataclass(frozen=True)
class FirstDifference:
    """The first step in which two runs differ; one of them is ``None`` where it had ended by then.

    Attributes:
        number: How many steps before it are the same.
        one: The step of the first.
        other: That of the second.
    """

    number: int
    one: StepLoss | None
    other: StepLoss | None

    @property
    def where(self) -> str:
        """In words."""
        found = self.one or self.other
        return found.where if found else ""

    def said(self, first: str = "before", second: str = "now") -> str:
        """Both losses, in words."""
        shown = [
            f"no such step {called}" if step is None else f"{step.loss} {called} ({step.bits})"
            for step, called in ((self.one, first), (self.other, second))
        ]
        return f"loss {', '.join(shown)}" if self.one else ", loss ".join(shown)

    def table(self) -> dict[str, Any]:
        """The same for JSON."""
        found = self.one or self.other
        place = {} if found is None else {"stage": found.stage, "epoch": found.epoch, "step": found.step}
        sides = {
            called: None if step is None else {"loss": step.loss, "bits": step.bits}
            for called, step in (("before", self.one), ("now", self.other))
        }
        return {**place, "same_steps": self.number, **sides}


def read_steps(folder: Path) -> list[StepLoss]:
    """The loss of every step that a run has written down.

    Raises:
        RunError: if there is no such file, or it is damaged.
    """
    try:
        with (folder / STEPS).open(encoding="utf-8", newline="") as file:
            return [
                StepLoss(row["stage"], int(row["epoch"]), int(row["step"]), row["loss"], row["bits"])
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        what = f"The losses of the steps cannot be read from {folder / STEPS}: {reason}."
        fix = "A run that an earlier version of zoo wrote has none: do it again."
        raise RunError(what, expected="stage, epoch, step, loss and bits, a row each step", fix=fix) from None


def first_difference(one: Sequence[StepLoss], other: Sequence[StepLoss]) -> FirstDifference | None:
    """The first step in which two runs differ, by the bits of its loss.

    Example:
        >>> one = [StepLoss("head", 1, 1, "2.5", "40200000"), StepLoss("head", 1, 2, "1.0", "3f800000")]
        >>> other = [one[0], StepLoss("head", 1, 2, "1.0000001", "3f800001")]
        >>> found = first_difference(one, other)
        >>> found.where, found.said()
        ("the stage 'head', epoch 1, step 2", 'loss 1.0 before (3f800000), 1.0000001 now (3f800001)')
        >>> first_difference(one, one) is None
        True
    """
    for number, (mine, theirs) in enumerate(zip_longest(one, other)):
        if mine is None or theirs is None or (mine[:3], mine.bits) != (theirs[:3], theirs.bits):
            return FirstDifference(number, mine, theirs)
    return None
