"""Doing a run again, from its recipe and its lock, and comparing what comes of it bit by bit."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from .comparability import Obstacle, missing_engines, obstacles, reported
from .environment import differences, versions
from .errors import CardError, DataError, DeviceError, RunError, SurgeryError, WeightsError
from .execution import Execution
from .figure_tolerance import pairs_of
from .finetuning import given_in_python
from .lock import environment_of
from .lock_file import engines_of, environment_in, lock_of
from .plan import Plan
from .preparation import Preparation, prepared
from .prerequisites import changes, gone, other_recipe
from .progress import Progress
from .recipe import Recipe, read_recipe
from .run import RECIPE, Run, create_folder, only_writer
from .run_job import job_of, store_of
from .step_losses import FirstDifference, first_difference, read_steps
from .stopping import check_callbacks
from .unchanged import check_given
from .verification import Verification


def verify(
    folder: str | os.PathLike[str],
    *,
    metrics_only: bool = False,
    tolerance: float | None = None,
    out: str | os.PathLike[str] | None = None,
    network: keras.Model | None = None,
    data: Any = None,
    plan: Plan | Sequence[Plan] | None = None,
    loss: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> Verification:
    """Does a run again and compares: the loss of every step, the weights after every stage, the figures.

    It is done from the run's ``recipe.toml`` and ``recipe.lock``: from the same weights, data, split and seed, with as
    many threads, each frozen trunk on the engine that it ran on, its features computed again and not read from the
    cache. The run itself is not changed.

    Args:
        folder: The run folder; of a finished run, resumed or not.
        metrics_only: For another machine: compares the figures alone.
        tolerance: How far the figures may be apart then, in their own units; by default 2 standard errors, see
            :func:`zoo.figure_tolerance.tolerance_of`.
        out: Keeps what is done again, as a run folder of its own; by default it is removed.
        network: What was given to :func:`zoo.finetune` in Python, where it was: the same again.
        data: The same.
        plan: The same.
        loss: The same.
        callbacks: The same, made anew, in the same order.
        progress: Where lines go; by default to standard error.

    Returns:
        Whether it is identical; if not, in which step it differs first, or what would have to match for a comparison.

    Raises:
        RunError: if the folder is no run, the run did not finish, or other things were given in Python.
        Interrupted: if it is interrupted.

    Example:
        >>> import zoo
        >>> run = zoo.finetune("glyphs", "digits", out=tmp / "run", limit_per_class=2, freeze="all", head_epochs=2)
        >>> found = zoo.verify(run.folder)
        >>> print(found)  # doctest: +ELLIPSIS
        identical, bit for bit: the loss of each of ... steps, and the weights after each stage (...)
        >>> found.good
        True
    """
    if tolerance is not None and not metrics_only:
        what = "A tolerance is for figures: bits are the same, or they are not."
        raise RunError(what, received=f"tolerance = {tolerance}", fix="Add metrics_only=True, or leave it out.")
    asked, folder = progress or Progress(), Path(folder)
    progress = Progress(asked.stream, asked.quiet)  # that one may write into the log of the run
    check_callbacks(callbacks)
    lock = _finished(folder)
    steps = [] if metrics_only else read_steps(folder)
    given = given_in_python(network, data, plan, loss, callbacks)
    check_given(folder, lock, given, "zoo.verify")
    ready, found = None, other_recipe(folder, lock)
    if not found:
        recipe = _on_its_device(read_recipe(folder / RECIPE), lock, metrics_only)
        try:
            ready = prepared(network, data, recipe=recipe, plan=plan, loss=loss, progress=progress)
            found = changes(folder, lock, ready)
            found += [] if metrics_only else _in_the_way(lock, ready)
        except (CardError, DataError, DeviceError, SurgeryError, WeightsError) as reason:
            found = [gone(reason, lock)]
    if found or ready is None:
        return Verification(folder, "not comparable", tuple(found))
    before, now = environment_in(lock), environment_of(ready.device)
    progress.line(f"doing {folder} again: {', '.join(stage.name for stage in ready.recipe.stages)}")
    with _place(folder, out) as again:
        told = progress if out is not None else _BarsOnly(progress)
        with only_writer(again):
            _run(again, ready, callbacks, told, given, lock["stage"])
        result = lock_of(again)
        if metrics_only:
            verdict = _figures(folder, lock, result, tolerance)
        else:
            verdict = _bits(folder, lock, result, first_difference(steps, read_steps(again)), len(steps))
    changed = (*_while_it_ran(lock), *reported(before, now), *_features_differ(lock["stage"], result["stage"]))
    return replace(verdict, environment=changed)


class _BarsOnly(Progress):
    """How far a run is, without its lines: they are those of the first one."""

    def __init__(self, told: Progress) -> None:
        super().__init__(told.stream, told.quiet)

    def line(self, text: str) -> None:
        self._clear()


def _finished(folder: Path) -> dict[str, Any]:
    """The lock of a finished run.

    Raises:
        RunError: if it did not finish, or an earlier version wrote it.
    """
    Run(folder)
    lock = lock_of(folder)
    if not lock.get("result"):
        what = f"The run at {folder} did not finish: its lock holds no result."
        raise RunError(what, fix=f"Go on with: zoo resume {folder}")
    if "recipe" not in lock or "start" not in lock.get("network", {}):
        what = f"The lock of the run at {folder} is of an earlier version of zoo."
        expected = "digests of what the run began with"
        raise RunError(what, expected=expected, fix="Do the run again: zoo run RECIPE --out ANOTHER.")
    return lock


def _while_it_ran(lock: Mapping[str, Any]) -> list[str]:
    """What changed around a run before it went on; what was computed before that was computed otherwise."""
    stops = lock.get("resumed", [])
    return [f"when it went on from {stop['at']}: {line}" for stop in stops for line in stop["changed"]]


def _in_the_way(lock: Mapping[str, Any], ready: Preparation) -> list[Obstacle]:
    found = obstacles(environment_in(lock), environment_of(ready.device))
    return found + missing_engines(lock["stage"], versions())


def _on_its_device(recipe: Recipe, lock: Mapping[str, Any], metrics_only: bool) -> Recipe:
    """The recipe with the kind of device that it ran on; where figures alone are compared, with what there is."""
    kind = str(lock["compute"]["device"]).partition(":")[0]
    return replace(recipe, compute=replace(recipe.compute, device="auto" if metrics_only else kind))


@contextmanager
def _place(folder: Path, out: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The folder of what is done again; it is removed, unless it was asked for."""
    if out is not None:
        yield create_folder(Path(out))
        return
    with tempfile.TemporaryDirectory(prefix="zoo-verify-") as place:
        yield create_folder(Path(place) / folder.resolve().name)


def _run(
    again: Path,
    ready: Preparation,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress,
    given: Sequence[str],
    stages: Sequence[Mapping[str, Any]],
) -> None:
    """Does it again, with the engines of the first time as far as they are there; nothing is read from the cache."""
    progress.log_to(again / "log.txt")
    there = [stage.get("features", {}) for stage in stages if not missing_engines([stage], versions())]
    keep = "run" if ready.recipe.compute.cache == "disk" else None
    job, store = job_of(ready, callbacks, progress), store_of(ready, progress, engines=engines_of(there), keep=keep)
    Execution(again, ready, job, store, progress, given).run()


def _bits(
    folder: Path, lock: Mapping[str, Any], now: Mapping[str, Any], first: FirstDifference | None, steps: int
) -> Verification:
    others = [
        f"the weights after the stage '{one['name']}'"
        for one, other in zip(lock["stage"], now["stage"], strict=True)
        if one["weights"] != other["weights"]
    ]
    old, new = lock["result"], now["result"]
    others += ["the final weights"] if old["weights"] != new["weights"] else []
    others += [f"the figures of the {side} side" for side in ("test", "val") if old.get(side) != new.get(side)]
    outcome = "different" if first or others else "identical"
    return Verification(folder, outcome, (), steps, old["weights"], first, tuple(others))


def _figures(folder: Path, lock: Mapping[str, Any], now: Mapping[str, Any], tolerance: float | None) -> Verification:
    pairs = tuple(pairs_of(lock["result"], now["result"], tolerance))
    if not any(pair.tolerance is not None for pair in pairs):
        nothing = Obstacle("there are no figures: neither a test nor a validation side", "Compare bits.")
        return Verification(folder, "not comparable", (nothing,))
    outcome = "agrees" if all(pair.agrees for pair in pairs) else "disagrees"
    return Verification(folder, outcome, figures=pairs)


def _features_differ(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where a stage trained on features, and how they were computed, as far as the two runs differ in it."""
    keys = ("engine", "computes", "batch", "precision", "dtype", "form")
    found = []
    for one, other in zip(before, now, strict=False):
        old, new = ({key: table.get("features", {}).get(key) for key in keys} for table in (one, other))
        found += [f"stage.{one['name']}.features.{line}" for line in differences(old, new)]
    return found
