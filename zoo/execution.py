"""Carrying out what a preparation says: stage after stage, with checkpoints, to a finished run folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from .array_digests import variable_digests
from .atomic import completed
from .boundary import cut_head
from .checkpoint import Checkpoint, weights_digest
from .checkpoints import Checkpoints
from .copying import copy_state
from .device import out_of_memory
from .enforcement import edge_of, restore_switches, trainable_switches
from .feature_store import FeatureStore
from .flattening import flat
from .interruption import Interrupted, interruptible
from .job import Job
from .measurement import figures_of, reader
from .precision import in_precision
from .preparation import Preparation
from .progress import Progress
from .run import MODEL, Run, write_history, write_steps, writing
from .run_files import write_result, write_start
from .stage_result import StageResult
from .starting_point import start_of
from .train import features_of, train_stage


@dataclass(frozen=True)
class Execution:
    """A run that is carried out in a folder.

    Attributes:
        folder: The run folder.
        ready: What is done.
        job: What stays the same over its stages.
        store: Where features are kept.
        progress: Where lines go.
        given: What was given in Python, and is not in the recipe.
        resumed: Where it went on before, and goes on now, after it had been interrupted; empty where it begins.
        point: The checkpoint that it goes on from; ``None`` where there is none yet.
    """

    folder: Path
    ready: Preparation
    job: Job
    store: FeatureStore
    progress: Progress
    given: Sequence[str] = ()
    resumed: Sequence[dict[str, Any]] = ()
    point: Checkpoint | None = None

    def run(self, *, sides: Sequence[str] = ("test", "val")) -> Run:
        """Trains, measures and writes; what a checkpoint holds is not done again.

        Args:
            sides: What is measured at the end.

        Returns:
            The finished run.

        Raises:
            Interrupted: if it was asked to end; it can be resumed.
            ZooError: if training fails.
        """
        known = variable_digests(self.ready.network.variables)
        start = weights_digest(self.ready.network, known)
        every = self.ready.recipe.compute.checkpoint_every
        with (
            keras.device(self.ready.device.name),
            self._leftovers(),
            writing(self.folder),
            interruptible() as interruption,
            self.store,
        ):
            if not self.resumed:
                write_start(self.folder, self.ready, self.given, start)
            with Checkpoints(
                self.folder / "checkpoints", every=every, interruption=interruption, progress=self.progress
            ) as checkpoints:
                with out_of_memory(self.ready.recipe.data.batch_size):
                    results = self._train(checkpoints, known)
                metrics = self._measured(sides)
                with completed(self.folder / MODEL) as part:
                    self.ready.network.save(part)
                checkpoints.wait()
            how = {"stages": results, "metrics": metrics, "resumed": self.resumed, "progress": self.progress}
            return write_result(self.folder, self.ready, self.given, start, **how)

    @contextmanager
    def _leftovers(self) -> Iterator[None]:
        """Says what a run that does not finish leaves behind, and how it goes on."""
        try:
            yield
        except BaseException as reason:
            held = any((self.folder / "checkpoints").glob("*.safetensors"))
            kept = "everything up to its last checkpoint is kept" if held else "it has no checkpoint yet"
            if isinstance(reason, Interrupted) and reason.saved and held:
                kept = "everything is kept"
            what = f"the run did not finish: {self.folder} is not a result yet; {kept}"
            how = f"zoo.resume({str(self.folder)!r}, ...)" if self.given else f"zoo resume {self.folder}"
            self.progress.line(f"{what}. Go on with: {how}")
            raise

    def _train(self, checkpoints: Checkpoints, known: Mapping[int, str]) -> list[StageResult]:
        ready, recipe = self.ready, self.ready.recipe
        switches = trainable_switches(ready.network)
        working = in_precision(ready.network, recipe.compute.precision)
        start = start_of(working, new=ready.origins.new) if ready.origins else None
        if self.point is not None:
            checkpoints.go_on(self.point)
            self.point.restore(flat(working))
        same = known if self.point is None and working is ready.network else None
        trained = False
        for index, (stage, plan) in enumerate(zip(recipe.stages, ready.plans, strict=True)):
            if index < len(checkpoints.finished):
                continue
            later = ready.plans[index + 1 :]
            keeping: dict[str, Any] = {"checkpoints": checkpoints, "known": same}
            result = train_stage(working, plan, stage, index, self.job, self.store, start, later, **keeping)
            same, trained = None, True
            self.progress.line(_stage_line(result))
            self._write_history(checkpoints.finished)
            checkpoints.check()
        if self.point is not None and not trained:
            held = checkpoints.finished[-1].features
            features_of(working, ready.plans[-1], recipe.stages[-1], self.job, self.store, held)
        if working is not ready.network:
            copy_state(flat(working), flat(ready.network))
        restore_switches(ready.network, switches)
        return checkpoints.finished

    def _write_history(self, results: Sequence[StageResult]) -> None:
        write_history(self.folder, [row for done in results for row in done.history])
        write_steps(self.folder, [(done.name, self.job.steps, done.losses) for done in results])

    def _measured(self, sides: Sequence[str]) -> dict[str, Any]:
        """The figures of the test and the validation side, by the network as it is saved.

        Where the last stage trained on features, what they cross into is run on those of the other sides: the trunk
        need not be run again.
        """
        ready = self.ready
        stored = self.store.last if self.job.precision == "float32" else None
        graph = flat(ready.network)
        head = cut_head(graph, edge_of(ready.plans[-1], graph)) if stored else None
        if stored and not stored.exact:
            what = "test and val are measured on these features; zoo evaluate measures the network that is saved"
            self.progress.line(what)
        found: dict[str, Any] = {}
        for name in sides:
            indices = getattr(ready.split, name)
            if not len(indices):
                continue
            measured, read = ready.network, reader(ready.data, indices, ready.form)
            if stored and head is not None:
                measured, read = head, stored.read(name)
            found[name] = figures_of(measured, ready.data, indices, read, self.progress)
        return found


def _stage_line(result: StageResult) -> str:
    row = result.history[result.kept - 1]
    keys = [k for k in row if k not in ("stage", "epoch", "learning_rate", "seconds")]
    figures = ", ".join(f"{key} {row[key]:.4f}" for key in keys)
    best = "" if result.kept == result.epochs else f", stopped early, the weights of epoch {result.kept} kept"
    best = ", the average of the weights kept" if result.averaged else best
    return (
        f"stage {result.name}: {result.epochs} epochs in {result.seconds:.1f} s{best}: {figures}; "
        f"{result.audited} frozen variables unmoved"
    )
