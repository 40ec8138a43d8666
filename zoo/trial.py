"""A trial: a run that is trained and measured, and leaves nothing behind."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from .array_digests import variable_digests
from .checkpoints import Checkpoints
from .device import out_of_memory
from .execution import Execution
from .interruption import interruptible
from .preparation import Preparation
from .progress import Progress
from .run_job import job_of, store_of
from .stage_result import StageResult


class Trial(Execution):
    """A run without a folder: its stages are those of a run, bit by bit, and nothing is written but features."""

    def measured(self, side: str) -> dict[str, Any]:
        """Trains, and measures one side.

        Args:
            side: ``val``; or ``test``, where the job has that side.

        Returns:
            The side's figures, as ``metrics.json`` has them.

        Raises:
            Interrupted: if it was asked to end.
            ZooError: if training fails.
        """
        known = variable_digests(self.ready.network.variables)
        with keras.device(self.ready.device.name), interruptible() as interruption, self.store:
            with out_of_memory(self.ready.recipe.data.batch_size):
                self._train(Checkpoints(interruption=interruption, progress=self.progress), known)
            return self._measured((side,))[side]

    def _write_history(self, results: Sequence[StageResult]) -> None:
        """A trial has no history."""


class TrialProgress(Progress):
    """What a trial tells: its lines go into the log alone, set in; its bars are shown with the trial's name.

    Args:
        outer: Where what it is a trial of tells.
        name: What bars begin with.
        log: The log.
    """

    def __init__(self, outer: Progress, name: str, log: Path) -> None:
        super().__init__(outer.stream, quiet=True)
        self._outer, self._name = outer, name
        self.log_to(log, more=True)

    def line(self, text: str) -> None:
        """A line of the log."""
        super().line(f"  {text}")

    def step(self, what: str, done: int, total: int, note: str = "") -> None:
        """How far something is."""
        self._outer.step(f"{self._name}: {what}", done, total, note)


def validation_figures(ready: Preparation, progress: Progress) -> dict[str, Any]:
    """Trains what is prepared, and measures the validation side; the test side is not there for it.

    No example of that is read, and no feature of one is computed.

    Args:
        ready: What is done.
        progress: Where lines go.

    Returns:
        The figures of the validation side.

    Raises:
        Interrupted: if it was asked to end.
        ZooError: if training fails.
    """
    job = replace(job_of(ready, (), progress), test=None)
    return Trial(Path(), ready, job, store_of(ready, progress), progress).measured("val")
