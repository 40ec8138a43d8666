"""The checkpoints of a run: when they are written, which of them stay, and where a run goes on."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .checkpoint import Checkpoint, CheckpointWriter, Snapshot, position_of, read_checkpoint
from .checkpoint_pace import Pace
from .errors import RunError
from .interruption import Interrupted, Interruption
from .progress import Progress
from .stage_result import StageResult, results_of

#: How many checkpoints within a stage stay.
KEPT = 2


class Checkpoints:
    """The checkpoints of a run. Leaving it waits until all are written.

    Args:
        folder: Where they are; ``None`` for none.
        every: Seconds from one to the next; see :class:`zoo.checkpoint_pace.Pace`.
        interruption: What says whether the run was asked to end.
        progress: Where lines go.

    Attributes:
        finished: What the stages that are finished did.
        going_on: The checkpoint within a stage that the run goes on from, until that stage has begun.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        every: float | None = None,
        interruption: Interruption | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.folder, self.interruption = folder, interruption or Interruption()
        self.finished: list[StageResult] = []
        self.going_on: Checkpoint | None = None
        self._progress = progress or Progress(quiet=True)
        self._pace, self._writer = Pace(every), CheckpointWriter()
        self._gathered = 0.0

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.__exit__(kind, error, at)

    @property
    def losses(self) -> np.ndarray:
        """The loss of every step of the stages that are finished."""
        return np.concatenate([np.zeros(0, "float32"), *(done.losses for done in self.finished)])

    def go_on(self, found: Checkpoint) -> None:
        """Has the run go on from a checkpoint; see :func:`newest`."""
        self.finished = finished_in(found)
        self.going_on = None if found.position["done"] else found

    def begin(self, size: int) -> None:
        """Counts from now, for a stage whose state has about so many bytes."""
        self._pace.expect(size)
        self._pace.begin()

    def pause(self, state: Callable[[], Snapshot], name: str) -> None:
        """Writes a checkpoint within a stage where one is due, or the run was asked to end; then it ends.

        Args:
            state: Gives the state of now.
            name: The file's, without its ending.

        Raises:
            Interrupted: if the run was asked to end; the state is on the disk then.
            RunError: if it was asked to end and the state could not be written.
        """
        if self.folder is None:
            self.interruption.check()
        elif self.interruption.asked:
            self._write_now(self.folder / f"{name}.safetensors", state())
            raise Interrupted(saved=True)
        elif self._pace.due() and not self._writer.busy:
            self._collect()
            started = time.perf_counter()
            taken = state()
            self._gathered = time.perf_counter() - started
            self._writer.write(self.folder / f"{name}.safetensors", taken)
            self._pace.begin()

    def end_stage(self, state: Callable[[], Snapshot], name: str, result: StageResult) -> None:
        """Writes the checkpoint at the end of a stage; those within it go.

        Raises:
            RunError: if it cannot be written.
        """
        self.finished.append(result)
        if self.folder is not None:
            self._collect()
            self._writer.write(self.folder / f"{name}.safetensors", state())

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
            RunError: if something could not be.
        """
        try:
            self._writer.wait()
        except OSError as reason:
            raise self._unwritten(reason) from reason
        if self.folder is not None:
            for file in self._within():
                file.unlink(missing_ok=True)

    def check(self) -> None:
        """Ends a run that was asked to end, once everything is written.

        Raises:
            Interrupted: if it was.
            RunError: if something could not be written.
        """
        if self.interruption.asked:
            self.wait()
        self.interruption.check()

    def _write_now(self, file: Path, state: Snapshot) -> None:
        """Writes a last one.

        Raises:
            RunError: if it cannot be written.
        """
        self._collect()
        try:
            state.write(file)
        except OSError as reason:
            raise self._unwritten(reason) from reason

    def _collect(self) -> None:
        """Takes note of what the last one took, or says that it could not be written; then older ones go."""
        try:
            took = self._writer.wait()
        except OSError as reason:
            self._progress.line(f"a checkpoint could not be written: {reason}; those before stay, and training goes on")
            return
        if took is not None:
            self._pace.took(took + self._gathered)
            for file in self._within()[:-KEPT]:
                file.unlink(missing_ok=True)

    def _within(self) -> list[Path]:
        """The checkpoints within stages, the oldest first."""
        held = [] if self.folder is None else in_order(self.folder)
        return [file for position, file in held if not position["done"]]

    def _unwritten(self, reason: OSError) -> RunError:
        what = f"A checkpoint could not be written into {self.folder}: {reason}."
        run = self.folder.parent if self.folder is not None else ""
        return RunError(what, fix=f"Make room, then: zoo resume {run}; it goes on from the one before.")


def in_order(folder: Path) -> list[tuple[Mapping[str, Any], Path]]:
    """The checkpoints in a folder with their positions, the oldest first; what is none is left out."""
    held = [(position_of(file), file) for file in folder.glob("*.safetensors")]
    found = [(position, file) for position, file in held if position is not None]
    return sorted(found, key=lambda one: [one[0][key] for key in ("stage", "done", "epoch", "step")])


def newest(folder: Path, progress: Progress) -> Checkpoint | None:
    """The newest checkpoint in a folder that is whole; a damaged one is passed over, with a line.

    Args:
        folder: The run's folder of checkpoints.
        progress: Where lines go.
    """
    for _, file in reversed(in_order(folder)):
        try:
            return read_checkpoint(file)
        except RunError as reason:
            progress.line(f"{reason} The one before is taken.")
            with suppress(OSError):  # it would count among those that stay, and is none
                file.replace(file.with_name(f"{file.name}.damaged"))
    return None


def finished_in(found: Checkpoint) -> list[StageResult]:
    """What the stages did that are finished at a checkpoint."""
    return results_of(found.position["stages"], found.tensors["losses"])
