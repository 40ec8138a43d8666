"""What a run trains on, and where its features are kept, as its preparation says."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from .byte_size import size_of
from .caching import FeatureSettings
from .data import DECODER
from .feature_store import FeatureStore
from .job import Job
from .measurement import reader
from .objective import example_weights
from .one_hot import OneHot
from .progress import Progress
from .side import Side

if TYPE_CHECKING:
    from .preparation import Preparation


def job_of(
    ready: "Preparation", callbacks: Sequence[keras.callbacks.Callback] = (), progress: Progress | None = None
) -> Job:
    """What stays the same over the stages of a run.

    Args:
        ready: What the run is about to do.
        callbacks: The user's own.
        progress: Where lines go.
    """
    recipe, goal, sides = ready.recipe, ready.goal, ready.split
    weights = example_weights(ready.data.target, sides.train, recipe.data.class_weights)

    def side(indices: np.ndarray, weights: np.ndarray | None = None) -> Side:
        digests = lambda: [ready.data.digests[i] for i in indices]  # noqa: E731
        targets = goal.targets.of(indices) if isinstance(goal.targets, OneHot) else goal.targets[indices]
        return Side(reader(ready.data, indices, ready.form), targets, weights, digests)

    return Job(
        train=side(sides.train, weights),
        val=side(sides.val),
        test=side(sides.test),
        seed=recipe.seed,
        batch_size=recipe.data.batch_size,
        loss=goal.loss,
        metrics=goal.metrics,
        augment=recipe.data.augment,
        kind=ready.data.kind,
        moments=_moments(ready),
        precision=recipe.compute.precision,
        views=recipe.data.views,
        callbacks=callbacks,
        progress=progress or Progress(quiet=True),
    )


def _moments(ready: "Preparation") -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and spread of each number over the training side, where vectors are augmented in these units."""
    if ready.data.kind != "vector" or ready.recipe.data.augment == "none":
        return None
    x = ready.data.batch(ready.split.train, ready.form).astype("float64")
    return x.mean(axis=0), x.std(axis=0)


def store_of(
    ready: "Preparation",
    progress: Progress | None = None,
    *,
    engines: Mapping[str, str] | None = None,
    keep: str | None = None,
) -> FeatureStore:
    """Where the features of a run are kept.

    Args:
        ready: What the run is about to do.
        progress: Where lines go.
        engines: The engine that a trunk was run on before, by its digest: it runs it again.
        keep: What becomes of the features, instead of what the recipe says.
    """
    compute = ready.recipe.compute
    settings = FeatureSettings(
        engine=compute.engine,
        precision=compute.trunk_precision,
        dtype=compute.feature_dtype,
        keep=keep or compute.cache,
        size=None if compute.cache_size is None else size_of(compute.cache_size),
        threads=ready.device.threads,
        device=ready.device.name,
    )
    name = ready.card.full_name
    return FeatureStore(settings, inputs=f"{ready.form} {DECODER}", network=name, progress=progress, engines=engines)
