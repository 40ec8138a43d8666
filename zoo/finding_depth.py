"""Finding out how much of a network to reuse: the chapter's procedure, carried out on the validation side."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from .atomic import write_text
from .depth_plan import DepthPlan, depth_plan
from .depth_recipe import said
from .depth_search import Step, best_of
from .depth_table import BEST, DEPTH, Measured, write_depth
from .errors import SurgeryError
from .execution import Execution
from .finetuning import given_in_python
from .preparation import prepared
from .progress import Progress
from .recipe import Recipe, recipe_text
from .run import Run, create_folder, only_writer
from .run_job import job_of, store_of
from .trial import TrialProgress, validation_figures


def find_depth(
    network: str | os.PathLike[str] | keras.Model | None = None,
    data: Any = None,
    *,
    out: str | os.PathLike[str],
    recipe: str | os.PathLike[str] | Recipe | None = None,
    loss: Any = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Finds out on the validation side how much of a network to freeze, thaw and drop, and fine-tunes it so.

    Everything copied is frozen first; then one block is thawed, two, ..., as long as the validation loss gets better;
    where thawing does not help, or training data is little, the top block is dropped, the rest frozen, and so on: see
    :func:`zoo.depth_search.next_step`. What frozen blocks give is computed once for all steps. The test side is not
    looked at: no example of it is read until the best step is known. That one is then trained as :func:`zoo.finetune`
    does, from the same seed, and measured on the test side.

    Args:
        network: As :func:`zoo.finetune` takes it. Of a model of your own nothing is dropped.
        data: As :func:`zoo.finetune` takes it.
        out: The run folder; it must not exist. ``depth.csv`` in it has a row a step.
        recipe: As :func:`zoo.finetune` takes it; it has no stages, or one for the top alone and one that fine-tunes,
            whose ``freeze`` or ``train`` is what is searched.
        loss: As :func:`zoo.finetune` takes it. Steps are compared by the loss of ``metrics.json``, whatever this is.
        progress: Where lines go; by default to standard error.
        **options: As :func:`zoo.finetune` takes them, but for ``freeze``, ``thaw``, ``multipliers`` and
            ``from_scratch``. Those of the last stage hold where something is thawed.

    Returns:
        The finished run of the best step.

    Raises:
        RecipeError: if there is nothing to search, or nothing to choose by.
        ZooError: as :func:`zoo.finetune`.

    Example:
        >>> import zoo
        >>> few = {"limit_per_class": 4, "val": 0.5, "head_epochs": 2, "epochs": 1}
        >>> run = zoo.find_depth("glyphs", "digits", out=tmp / "run", test="rest", **few)
        >>> (run.folder / "depth.csv").read_text().splitlines()[1].split(",")[1]
        'all frozen'
    """
    progress = progress or Progress()
    plan = depth_plan(network, data, recipe=recipe, loss=loss, progress=progress, **options)
    for line in plan.lines():
        progress.line(line)
    folder = create_folder(Path(out))
    with only_writer(folder):
        progress.log_to(folder / "log.txt")
        with _leftovers(plan, folder, progress):
            best = _searched(plan, folder, progress)
        return _finished(plan, best, folder, progress)


def _searched(plan: DepthPlan, folder: Path, progress: Progress) -> Measured:
    """Tries step after step, until the search has ended; the best one."""
    rows: list[Measured] = []
    found = plan.next([])
    while found.step is not None:
        rows.append(_measured(plan, found.step, len(rows) + 1, folder, progress))
        best = _best(rows)
        if best is rows[-1]:
            write_text(folder / BEST, recipe_text(plan.recipe_of(best.step)))
        write_depth(folder, rows, plan.names)
        mark = ", the best so far" if best is rows[-1] and len(rows) > 1 else ""
        progress.line(f"step {len(rows)}: {said(rows[-1].step, plan.names)}: {rows[-1].shown}{mark}")
        found = plan.next([row.tried for row in rows])
    best = _best(rows)
    what = f"step {rows.index(best) + 1}, {said(best.step, plan.names)}"
    progress.line(f"the search has ended: {found.why}; the best is {what}")
    return best


def _best(rows: list[Measured]) -> Measured:
    found = best_of([row.tried for row in rows])
    return next(row for row in rows if row.step == found.step)


def _measured(plan: DepthPlan, step: Step, number: int, folder: Path, progress: Progress) -> Measured:
    """Trains a step, and measures it on the validation side."""
    told = TrialProgress(progress, f"step {number}", folder / "log.txt")
    started, cut = time.perf_counter(), plan.cut(step)
    recipe = plan.recipe_of(step)
    recipe = replace(recipe, data=replace(recipe.data, skip_bad=False))  # what is open already is not read again
    try:
        ready = prepared(plan.network, plan.first.data, recipe=recipe, loss=plan.loss)
    except SurgeryError as reason:
        if not step.dropped or step.thawed:
            raise
        return Measured(step, cut=cut, why=str(reason))
    figures = validation_figures(ready, told)
    return Measured(step, figures, time.perf_counter() - started, cut)


def _finished(plan: DepthPlan, best: Measured, folder: Path, progress: Progress) -> Run:
    """Trains the best step as :func:`zoo.finetune` does, and measures it on the test side."""
    progress.line("it is trained once more, as zoo finetune does, and then measured on the test side, once")
    recipe = plan.recipe_of(best.step)
    ready = prepared(plan.network, plan.given, recipe=recipe, loss=plan.loss, progress=progress)
    job, store = job_of(ready, (), progress), store_of(ready, progress)
    for line in ready.lines(job, store):
        progress.line(line)
    python = given_in_python(plan.network, plan.given, None, plan.loss)
    if python:
        progress.line(f"given in Python, and not in the recipe: {', '.join(python)}")
    run = Execution(folder, ready, job, store, progress, python).run()
    (folder / BEST).unlink(missing_ok=True)
    before, now = best.tried.score, run.metrics["val"]["loss"]
    if now != before:
        why = "its features were computed by another engine, or the machine was another one then"
        progress.line(f"its validation loss is {now:.6g}; in the search it was {before:.6g}: {why}")
    return run


@contextmanager
def _leftovers(plan: DepthPlan, folder: Path, progress: Progress) -> Iterator[None]:
    """Says what a search that does not end leaves behind."""
    try:
        yield
    except BaseException:
        lines = [f"the search did not end: {folder} is not a run, and cannot be resumed"]
        if (folder / BEST).exists():
            python = given_in_python(plan.network, plan.given, None, plan.loss)
            how = f"zoo run {folder / BEST} --out ANOTHER"
            how = f"zoo.finetune(..., recipe={str(folder / BEST)!r}, out=...)" if python else how
            lines.append(f"its steps so far are in {folder / DEPTH}; the best of them is trained by: {how}")
        lines.append("begun again with another --out, it finds in the cache what frozen blocks gave")
        for line in lines:
            progress.line(line)
        raise
