"""The main job: from a network and data to a run folder."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tomli_w

from .atomic import completed, write_text
from .boundary import cut_head
from .card import KERAS_FILE, BlockPattern, Card, WeightsFile, card_text
from .checkpoint import CheckpointWriter, weights_digest
from .copying import copy_state
from .data import DECODER
from .device import out_of_memory
from .enforcement import edge_of, restore_switches, trainable_switches
from .errors import RecipeError, close_matches
from .feature_store import FeatureStore
from .flattening import flat
from .job import Job
from .lock import lock_table
from .measurement import figures_of, headline, headline_figures, reader
from .network import layers_of_zoo
from .options import Options
from .plan import Plan
from .precision import in_precision
from .preparation import Preparation, prepared
from .progress import Progress
from .recipe import Recipe, recipe_text
from .report import write_report
from .run import MODEL, SPLIT, Run, create_folder, write_history, write_json, write_split
from .run_job import job_of, store_of
from .sources.path import digest_of
from .starting_network import plain_name
from .starting_point import start_of
from .stopping import check_averaging, check_callbacks
from .train import StageResult, train_stage

_TASK = {"classes": "classification", "labels": "labels", "numbers": "regression"}


def finetune(
    network: str | os.PathLike[str] | keras.Model | None = None,
    data: Any = None,
    *,
    out: str | os.PathLike[str],
    recipe: str | os.PathLike[str] | Recipe | None = None,
    plan: Plan | Sequence[Plan] | None = None,
    loss: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Fine-tunes a network on data and writes everything about it into a run folder.

    Args:
        network: A name that ``zoo list`` shows, a path, or a ``keras.Model`` with an output for each class; a model of
            your own is copied, not changed. Left out where the recipe names one.
        data: A built-in name, a path (folder of class folders, ``.csv``, ``.npz``), a data set, or ``(x, y)``.
        out: The run folder; it must not exist.
        recipe: A path to a recipe, or the name of a shipped one; options win over it.
        plan: What is frozen, from :func:`zoo.freeze`, for a model of your own; it is then trained in one stage. A list
            of plans is a stage each, such as one block thawed after another.
        loss: A Keras loss of your own, or the name of one; by default it follows from the targets.
        callbacks: Keras callbacks, told of every stage; their ``self.model`` is what the stage trains, and
            ``self.model.network`` the whole network.
        progress: Where lines go; by default to standard error.
        **options: The flags of ``zoo finetune`` with underscores, such as ``seed``, ``epochs``, ``limit_per_class``,
            ``hidden``, ``augment``, ``from_scratch``; see :class:`zoo.options.Options`.

    Returns:
        The finished run; ``run.metrics["test"]["accuracy"]``, ``run.model``.

    Raises:
        ZooError: before anything is trained, if network, data, recipe or options do not fit; while training, if memory
            runs out, or a frozen variable moved.

    Example:
        >>> import zoo
        >>> run = zoo.finetune("glyphs", "digits", out=tmp / "run", limit_per_class=2, freeze="all", head_epochs=2)
        >>> 0 <= run.metrics["test"]["accuracy"] <= 1
        True
    """
    progress = progress or Progress()
    check_callbacks(callbacks)
    if isinstance(loss, str):
        options["loss"], loss = loss, None
    given = options_of(options)
    ready = prepared(network, data, recipe=recipe, plan=plan, loss=loss, options=given, progress=progress)
    job, store = job_of(ready, callbacks, progress), store_of(ready, progress)
    for line in ready.lines(job, store):
        progress.line(line)
    for line in _given_in_python(network, loss, callbacks):
        progress.line(line)
    for stage in ready.recipe.stages:
        check_averaging(stage, callbacks)
    folder = create_folder(Path(out))
    progress.log_to(folder / "log.txt")
    write_text(folder / "recipe.toml", recipe_text(ready.recipe))
    stages = zip(ready.recipe.stages, ready.plans, strict=True)
    write_text(folder / "plan.txt", "\n\n".join(f"stage {s.name}\n{plan}" for s, plan in stages) + "\n")
    started = time.perf_counter()
    with keras.device(ready.device.name), _leftovers(folder, progress), store, CheckpointWriter() as checkpoints:
        with out_of_memory(ready.recipe.data.batch_size):
            results = _train(ready, job, store, folder, checkpoints, progress)
        seconds = time.perf_counter() - started
        metrics = _measured(ready, job, store, progress)
        with completed(folder / MODEL) as part:
            ready.network.save(part)
        checkpoints.wait()
        return _finish(ready, folder, results, metrics, seconds, progress)


def _given_in_python(network: Any, loss: Any, callbacks: Sequence[Any]) -> list[str]:
    """What the recipe of a run cannot say."""
    given = [f"the network '{network.name}'"] if isinstance(network, keras.Model) else []
    given += [f"the loss '{getattr(loss, 'name', type(loss).__name__)}'"] if loss is not None else []
    given += [f"the callback {type(callback).__name__}" for callback in callbacks]
    return [f"given in Python, and not in the recipe: {', '.join(given)}"] if given else []


@contextmanager
def _leftovers(folder: Path, progress: Progress) -> Iterator[None]:
    """Says what a run that does not finish leaves behind: it is not a result, and keeps the folder's name."""
    try:
        yield
    except BaseException:
        stages = sorted(file.stem for file in (folder / "checkpoints").glob("*.safetensors"))
        held = f"checkpoints of {', '.join(stages)}" if stages else "no checkpoint"
        progress.line(f"the run did not finish: {folder} holds its log, its recipe and {held}, and is not a result")
        raise


def options_of(given: dict[str, Any]) -> Options:
    """Keyword arguments as options, lists as the tuples that a recipe holds.

    Raises:
        RecipeError: if there is no such option.
    """
    known = [f.name for f in fields(Options)]
    for name in given:
        if name not in known:
            what = f"zoo.finetune has no option '{name}'."
            raise RecipeError(what, fix=close_matches(name, known))
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    return Options(**values)


def _train(
    ready: Preparation,
    job: Job,
    store: FeatureStore,
    folder: Path,
    checkpoints: CheckpointWriter,
    progress: Progress,
) -> list[StageResult]:
    recipe = ready.recipe
    switches = trainable_switches(ready.network)
    working = in_precision(ready.network, recipe.compute.precision)
    start = start_of(working, new=ready.origins.new) if ready.origins else None
    results: list[StageResult] = []
    for index, (stage, plan) in enumerate(zip(recipe.stages, ready.plans, strict=True)):
        result = train_stage(working, plan, stage, index, job, store, start, ready.plans[index + 1 :])
        results.append(result)
        progress.line(_stage_line(result))
        history = [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]
        position = {"stage": index, "name": stage.name, "epoch": result.epochs, "history": history}
        file = folder / "checkpoints" / f"{index + 1}-{stage.name}.safetensors"
        checkpoints.save(file, result.network, result.optimizer, position)
        write_history(folder, [row for r in results for row in r.history])
    if working is not ready.network:
        copy_state(flat(working), flat(ready.network))
    restore_switches(ready.network, switches)
    return results


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


def _measured(ready: Preparation, job: Job, store: FeatureStore, progress: Progress) -> dict[str, Any]:
    """The figures of the test and the validation side, by the network as it is saved.

    Where the last stage trained on features, what they cross into is run on those of the other sides: the trunk need
    not be run again.
    """
    stored = store.last if job.precision == "float32" else None
    head = cut_head(flat(ready.network), edge_of(ready.plans[-1], flat(ready.network))) if stored else None
    if stored and not stored.exact:
        progress.line("test and val are measured on these features; zoo evaluate measures the network that is saved")
    found: dict[str, Any] = {}
    for name in ("test", "val"):
        indices = getattr(ready.split, name)
        if not len(indices):
            continue
        measured, read = ready.network, reader(ready.data, indices, ready.form)
        if stored and head is not None:
            measured, read = head, stored.read(name)
        found[name] = figures_of(measured, ready.data, indices, read, progress)
    return found


def _finish(
    ready: Preparation,
    folder: Path,
    results: Sequence[StageResult],
    metrics: dict[str, Any],
    seconds: float,
    progress: Progress,
) -> Run:
    data = ready.data
    final = weights_digest(ready.network)
    side_of = {int(i): side for side in ("train", "val", "test", "unused") for i in getattr(ready.split, side)}
    write_split(folder, [(data.name_of(i), data.digest(i), side_of[i]) for i in range(len(data))])
    lock = lock_table(
        network=_origin(ready),
        data=data,
        decoder=DECODER,
        split=ready.split,
        device=ready.device,
        split_digest=digest_of(folder / SPLIT),
        stages=results,
        result={"weights": final, **{side: headline_figures(metrics.get(side, {})) for side in ("test", "val")}},
    )
    write_text(folder / "recipe.lock", tomli_w.dumps(lock))
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in data.target.names))
    write_text(folder / "card.toml", card_text(_result_card(ready, folder, metrics)))
    timing = [{"name": r.name, "epochs": r.epochs, "seconds": round(r.seconds, 3)} for r in results]
    write_json(folder / "metrics.json", {**metrics, "stages": timing, "seconds": round(seconds, 3)})
    write_report(folder, thumbnails=_thumbnails(ready, metrics))
    progress.line(f"{headline(metrics)}; trained in {seconds:.1f} s; weights {final[:12]}")
    if ours := layers_of_zoo(ready.network):
        shown = f"{', '.join(ours[:3])}{f' and {len(ours) - 3} more' if len(ours) > 3 else ''}"
        progress.line(f"{MODEL} holds layers of zoo's own ({shown}): import zoo.layers before keras loads it")
    progress.line(f"everything is in {folder}: model.keras, report.html, metrics.json, recipe.toml")
    return Run(folder)


def _origin(ready: Preparation) -> dict[str, str]:
    """Where the weights came from, and their digest before training."""
    weights = ready.card.weights
    pretrained = weights is not None and not ready.recipe.model.from_scratch
    return {"name": ready.card.full_name, "weights": weights.sha256 if pretrained and weights else "random"}


def _result_card(ready: Preparation, folder: Path, metrics: dict[str, Any]) -> Card:
    """The result as a network of its own: its run folder can be fine-tuned, or put on the shelf."""
    target, test = ready.data.target, metrics.get("test", {})
    kept = headline_figures(test)
    return Card(
        name=plain_name(folder.resolve().name),
        tag="",
        builder=KERAS_FILE,
        task=_TASK[target.kind],
        summary=f"{ready.card.full_name} fine-tuned on {ready.data.source}",
        license=ready.card.license,
        source=f"zoo finetune; its recipe and lock are in the run folder {folder.name}",
        input=ready.form,
        decoder=DECODER,
        weights=WeightsFile(MODEL, digest_of(folder / MODEL), (folder / MODEL).stat().st_size),
        blocks=tuple(BlockPattern(b.name, "|".join(re.escape(n) for n in b.layers)) for b in ready.plans[-1].blocks),
        labels=target.names,
        results={"test": {"data": ready.data.source, **kept}} if kept else {},
    )


def _thumbnails(ready: Preparation, metrics: dict[str, Any]) -> dict[str, np.ndarray]:
    """Pictures of the worst mistakes, as the network saw them."""
    worst = {row["name"] for row in metrics.get("test", {}).get("worst", [])}
    if ready.data.kind != "image" or not worst:
        return {}
    indices = [int(i) for i in ready.split.test if ready.data.name_of(int(i)) in worst]
    pictures = ready.data.batch(indices, ready.form)
    return {
        ready.data.name_of(i): np.clip(np.rint(p), 0, 255).astype("uint8")
        for i, p in zip(indices, pictures, strict=True)
    }
