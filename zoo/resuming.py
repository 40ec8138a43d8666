"""Going on with a run that was interrupted, from where it was, to the bytes that it would have given."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tomli_w

from .array_digests import variable_digests
from .atomic import remove_leftovers, write_text
from .checkpoint import Checkpoint, weights_digest
from .checkpoints import finished_in, newest
from .comparability import reported
from .depth_table import BEST, check_no_search
from .errors import RunError
from .execution import Execution
from .finetuning import given_in_python
from .lock import environment_of
from .lock_file import engines_of, environment_in, lock_of
from .plan import Plan
from .preparation import Preparation, prepared
from .progress import Progress
from .recipe import read_recipe
from .run import LOCK, MODEL, RECIPE, REPORT, SPLIT, Run, check_one_run, only_writer, read_plan
from .run_files import plan_text
from .run_job import job_of, store_of
from .sources.path import digest_of
from .stopping import check_callbacks
from .unchanged import change_of_data, check_given


def resume(
    folder: str | os.PathLike[str],
    *,
    network: keras.Model | None = None,
    data: Any = None,
    plan: Plan | Sequence[Plan] | None = None,
    loss: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> Run:
    """Goes on with a run that was interrupted, killed or failed, in its own folder.

    It continues in the middle of an epoch, of any stage, or of computing features, and ends with the same bytes as a
    run that was never interrupted. Nothing is frozen, thawed, re-estimated or initialized again: everything that
    learns, the optimizer's state, and what early stopping and the like have counted come from the last checkpoint.

    Args:
        folder: The run folder.
        network: What was given to :func:`zoo.finetune` in Python, where it was: the same again.
        data: The same.
        plan: The same.
        loss: The same.
        callbacks: The same, made anew, in the same order; what they had counted is put back.
        progress: Where lines go; by default to standard error.

    Returns:
        The finished run; one that had finished before, as it is.

    Raises:
        RunError: if the folder is no run, another process writes into it, or network, data or anything else is no
            longer what it began with; nothing is changed then.
        Interrupted: if it is interrupted again.

    Example:
        >>> import zoo
        >>> run = zoo.finetune("glyphs", "digits", out=tmp / "run", limit_per_class=2, freeze="all", head_epochs=2)
        >>> zoo.resume(tmp / "run").metrics == run.metrics  # it had finished: nothing is done
        True
    """
    progress, folder = progress or Progress(), Path(folder)
    check_callbacks(callbacks)
    _check_folder(folder)
    if _finished(folder):
        progress.line(f"the run at {folder} has finished: there is nothing to go on with")
        return Run(folder)
    with only_writer(folder):
        lock = lock_of(folder) if (folder / LOCK).exists() else {}
        given = given_in_python(network, data, plan, loss, callbacks)
        if lock:  # without one nothing was trained: it begins anew
            check_given(folder, lock, given, "zoo.resume")
        recipe = read_recipe(folder / "recipe.toml")
        ready = prepared(network, data, recipe=recipe, plan=plan, loss=loss, progress=progress)
        if lock:
            _check_same(folder, lock, ready)
        for place in (folder, folder / "checkpoints"):
            remove_leftovers(place)
        progress.log_to(folder / "log.txt", more=True)
        found = newest(folder / "checkpoints", progress) if lock else None
        place = _place(found.position) if found else "the beginning"
        progress.line(f"going on from {place}")
        changed = reported(environment_in(lock), environment_of(ready.device)) if lock else []
        for line in changed:
            progress.line(f"since it began this has changed, and the last bits may too: {line}")
        job = job_of(ready, callbacks, progress)
        store = store_of(ready, progress, engines=engines_of(_features(found) if found else []))
        resumed = [*lock.get("resumed", []), {"at": place, "changed": changed}] if lock else []
        if lock:  # so that it is known even where the run is interrupted again
            write_text(folder / LOCK, tomli_w.dumps({**lock, "resumed": resumed}))
        run = Execution(folder, ready, job, store, progress, given, resumed, found).run()
        (folder / BEST).unlink(missing_ok=True)  # of the search that it is the end of
        return run


def _features(found: Checkpoint) -> list[Mapping[str, Any]]:
    """What the features are that the stages up to a checkpoint trained on."""
    return [*(done.features for done in finished_in(found)), found.position["features"]]


def _check_folder(folder: Path) -> None:
    check_one_run(folder)
    check_no_search(folder)
    if not (folder / "recipe.toml").exists():
        what = f"There is nothing to go on with in {folder}: it holds no recipe.toml."
        fix = "If a run was stopped before it began, remove the folder, and run it again."
        raise RunError(what, expected="a folder that zoo finetune wrote (its --out)", fix=fix)


def _finished(folder: Path) -> bool:
    names = (MODEL, "metrics.json", SPLIT, "card.toml", LOCK, REPORT)
    return all((folder / name).exists() for name in names) and bool(lock_of(folder).get("result"))


def _check_same(folder: Path, lock: Mapping[str, Any], ready: Preparation) -> None:
    """Refuses to go on with another network, other data, another split or other plans."""
    fix = "Put back what it began with, or begin a new run: zoo run RECIPE --out ANOTHER."
    recipe = f"its recipe is {folder / RECIPE}"
    if lock.get("recipe") != (now := digest_of(folder / RECIPE)):
        what = f"{folder / RECIPE} is not the recipe that the run began with."
        raise RunError(what, expected=f"SHA-256 {str(lock.get('recipe'))[:12]}", received=now[:12], fix=fix)
    if change := change_of_data(folder, lock, ready.data, ready.split):
        what = f"The data {ready.data.source} is not what the run at {folder} began with: {change}."
        raise RunError(what, fix=fix)
    start = weights_digest(ready.network, variable_digests(ready.network.variables))
    if start != lock["network"]["start"]:
        what = f"The network '{ready.card.full_name}' is not what the run at {folder} began with; {recipe}."
        raise RunError(what, expected=f"weights {lock['network']['start'][:12]}", received=start[:12], fix=fix)
    if read_plan(folder) != plan_text(ready):
        what = f"The plans are not those that the run at {folder} began with; {recipe}."
        raise RunError(what, fix="Go on with the version of zoo that began it: see recipe.lock.")


def _place(position: Mapping[str, Any]) -> str:
    """Where in training a checkpoint is, in words."""
    if position["done"]:
        return f"the end of the stage '{position['name']}'"
    step = f", step {position['step']}" if position["begun"] else ""
    return f"the stage '{position['name']}', epoch {position['epoch'] + 1}{step or ', its beginning'}"
