"""The files of a run folder: what a run began with, and what it gave."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from .atomic import write_text
from .card import KERAS_FILE, BlockPattern, Card, WeightsFile, card_text
from .checkpoint import stage_digests, weights_digest
from .data import DECODER, Dataset, Split
from .lock import lock_table
from .measurement import headline, headline_figures
from .network import layers_of_zoo
from .preparation import Preparation
from .progress import Progress
from .recipe import recipe_text
from .report import write_report
from .run import LOCK, METRICS, MODEL, PLAN, RECIPE, SPLIT, Run, write_json, write_split
from .sources.path import digest_of
from .stage_result import StageResult
from .starting_network import plain_name

_TASK = {"classes": "classification", "labels": "labels", "numbers": "regression"}


def write_start(folder: Path, ready: Preparation, given: Sequence[str], start: str) -> None:
    """Writes what a run is about to do, and on what: recipe, plan, split, and the lock as far as it is known.

    Args:
        folder: The run folder.
        ready: What the run is about to do.
        given: What was given in Python, and is not in the recipe.
        start: The digest of the network before training, its new layers among it.
    """
    write_text(folder / RECIPE, recipe_text(ready.recipe))
    write_text(folder / PLAN, plan_text(ready))
    write_split(folder, split_rows(ready.data, ready.split))
    write_lock(folder, ready, given, start)


def split_rows(data: Dataset, split: Split) -> list[tuple[str, str, str]]:
    """The name, digest and side of each example, in the order of the data, as ``split.csv`` holds them."""
    side_of = {int(i): side for side in ("train", "val", "test", "unused") for i in getattr(split, side)}
    return [(data.name_of(i), data.digest(i), side_of[i]) for i in range(len(data))]


def plan_text(ready: Preparation) -> str:
    """The plan of each stage, as ``plan.txt`` holds it."""
    stages = zip(ready.recipe.stages, ready.plans, strict=True)
    return "\n\n".join(f"stage {s.name}\n{plan}" for s, plan in stages) + "\n"


def write_lock(
    folder: Path,
    ready: Preparation,
    given: Sequence[str],
    start: str,
    *,
    stages: Sequence[StageResult] = (),
    result: dict[str, Any] | None = None,
    resumed: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes ``recipe.lock``: on what a run is done, and, when it is, what it led to.

    Args:
        folder: The run folder, with its ``split.csv``.
        ready: What the run is about to do.
        given: What was given in Python, and is not in the recipe.
        start: The digest of the network before training.
        stages: What the stages did.
        result: The digest of the final weights, and figures.
        resumed: Where the run went on after it had been interrupted, and what had changed around it.
    """
    lock = lock_table(
        recipe=digest_of(folder / RECIPE),
        network={**origin_of(ready), "start": start},
        data=ready.data,
        decoder=DECODER,
        split=ready.split,
        device=ready.device,
        split_digest=digest_of(folder / SPLIT),
        stages=stages,
        checkpoints=stage_digests(folder / "checkpoints"),
        result=result or {},
    )
    lock |= {"given": list(given)} if given else {}
    lock |= {"resumed": list(resumed)} if resumed else {}
    write_text(folder / LOCK, tomli_w.dumps(lock))


def write_result(
    folder: Path,
    ready: Preparation,
    given: Sequence[str],
    start: str,
    *,
    stages: Sequence[StageResult],
    metrics: dict[str, Any],
    resumed: Sequence[dict[str, Any]],
    progress: Progress,
) -> Run:
    """Writes what a run gave, beside its network: lock, labels, card, figures, report.

    Args:
        folder: The run folder, with its ``model.keras``.
        ready: What the run did.
        given: What was given in Python, and is not in the recipe.
        start: The digest of the network before training.
        stages: What the stages did.
        metrics: The figures of the test and the validation side.
        resumed: Where the run went on after it had been interrupted.
        progress: Where lines go.

    Returns:
        The finished run.
    """
    final, seconds = weights_digest(ready.network), sum(done.seconds for done in stages)
    figures = {side: headline_figures(metrics.get(side, {})) for side in ("test", "val")}
    write_lock(folder, ready, given, start, stages=stages, result={"weights": final, **figures}, resumed=resumed)
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in ready.data.target.names))
    write_text(folder / "card.toml", card_text(_result_card(ready, folder, metrics)))
    timing = [{"name": r.name, "epochs": r.epochs, "seconds": round(r.seconds, 3)} for r in stages]
    write_json(folder / METRICS, {**metrics, "stages": timing, "seconds": round(seconds, 3)})
    write_report(folder, thumbnails=_thumbnails(ready, metrics))
    progress.line(f"{headline(metrics)}; trained in {seconds:.1f} s; weights {final[:12]}")
    if ours := layers_of_zoo(ready.network):
        shown = f"{', '.join(ours[:3])}{f' and {len(ours) - 3} more' if len(ours) > 3 else ''}"
        progress.line(f"{MODEL} holds layers of zoo's own ({shown}): import zoo.layers before keras loads it")
    progress.line(f"everything is in {folder}: model.keras, report.html, metrics.json, recipe.toml")
    return Run(folder)


def origin_of(ready: Preparation) -> dict[str, str]:
    """Where the weights came from, and the digest of their file."""
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
