"""Stages: the plan is applied, what it thaws is trained, and the rest is audited."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from . import engine
from .adaptation import adapt
from .boundary import Boundary, cut_trunk
from .checkpoint import weights_digest
from .enforcement import adapting, apply, audit, edge_of, frozen_digests, multipliers_of
from .epochs import Job, Side, diverged, run_epochs
from .flattening import flat
from .layers import augmentation, by_variable, optimizer
from .plan import Plan
from .progress import Progress
from .recipe_stage import StagePart, averaged_by_the_optimizer
from .stage_network import StageNetwork, held_head
from .starting_point import l2_sp
from .stopping import check_averaging, check_monitor, early_stopping, performance_scheduling
from .weight_averaging import WeightAveraging


@dataclass(frozen=True)
class StageResult:
    """What a stage did: its history, a row an epoch; the epoch whose weights it kept (the last one, or the best under
    early stopping); how many frozen variables were audited; the digest it ended with; whether it ended with an average
    of the weights, which the history does not measure."""

    name: str
    history: tuple[dict[str, Any], ...]
    kept: int
    seconds: float
    audited: int
    digest: str
    network: keras.Model = field(repr=False)
    optimizer: keras.optimizers.Optimizer = field(repr=False)
    averaged: bool = False

    @property
    def epochs(self) -> int:
        """How many epochs it ran."""
        return len(self.history)


class FeatureStore:
    """What crosses a boundary, computed once a run for each side; in memory."""

    def __init__(self) -> None:
        self._held: dict[tuple[Any, ...], dict[str, list[np.ndarray]]] = {}

    def get(self, trunk: keras.Model, edge: Boundary, job: Job) -> dict[str, list[np.ndarray]]:
        """The features of both sides, computed where they are not held yet."""
        key = (weights_digest(trunk), *edge.places)
        if key not in self._held:
            self._held = {key: {}}
            for name, side in (("train", job.train), ("val", job.val)):
                if len(side):
                    step = _stepper(job.progress, f"trunk, {name} side")
                    self._held[key][name] = engine.outputs(trunk, side.read, len(side), step=step)
        return self._held[key]


def _stepper(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress.step(what, done, total, "examples")


def train_stage(
    network: keras.Model,
    plan: Plan,
    stage: StagePart,
    index: int,
    job: Job,
    store: FeatureStore,
    start: Mapping[str, np.ndarray] | None = None,
) -> StageResult:
    """Trains one stage: applies the plan, trains what it thaws, and audits that the rest did not move.

    Args:
        network: A functional or Sequential model; its variables are trained in place.
        plan: The plan of this stage.
        stage: Epochs, optimizer, early stopping.
        index: The stage's number, from 0: random choices depend on it.
        job: Data, loss, seed.
        store: Where features are kept from stage to stage.
        start: What L2-SP pulls weights to: what :func:`zoo.starting_point.start_of` gave when the run began, without
            the new layers; by default what all of them are now.

    Returns:
        The history and the digest.

    Raises:
        PlanError: if a frozen variable moved.
        RecipeError: if Keras has no such optimizer or argument, or early stopping watches a figure that does not exist.
        ZooError: if training diverged.
    """
    started = time.perf_counter()
    check_monitor(stage, [metric.name for metric in job.metrics()])
    check_averaging(stage, job.callbacks)
    graph = flat(network)
    apply(plan, graph)
    _adapted(graph, plan, stage, job)
    before = frozen_digests(plan, graph)
    with _pulled(graph, stage, start), _averaging(stage, job) as averaging:
        model, train, val = _assemble(graph, plan, job, store)
        made = _optimizer(stage, model, multipliers_of(plan, graph), stage.epochs * job.steps)
        model.compile(optimizer=made, loss=job.loss, weighted_metrics=job.metrics())
        # A slot that starts as a copy of its variable (schedule-free) would lose it if a compiled step made it.
        model.optimizer.build(model.trainable_variables)
        stopping = early_stopping(stage, bool(len(val)))
        watching = [*stopping, *performance_scheduling(stage, bool(len(val)), job.progress)]
        watching += [callback for callback in averaging if callback not in job.callbacks]
        history = run_epochs(model, (train, val), stage, index, job, model.random_states(graph), watching)
    if not all(np.isfinite(v.numpy()).all() for v in graph.weights):
        raise diverged(stage, "weights are no longer finite")
    audited = audit(plan, graph, before)
    seconds = time.perf_counter() - started
    kept = stopping[0].best_epoch + 1 if stopping else len(history)
    return StageResult(
        stage.name,
        tuple(history),
        kept,
        seconds,
        audited,
        weights_digest(graph),
        graph,
        model.optimizer,
        averaged_by_the_optimizer(stage) or any(callback.averaged for callback in averaging),
    )


def _adapted(graph: keras.Model, plan: Plan, stage: StagePart, job: Job) -> None:
    """Re-estimates the statistics that the plan has adapt to the new data: once, before anything of the stage."""
    names = adapting(plan, graph)
    if names:
        adapt(graph, names, job.train.read, len(job.train), step=_stepper(job.progress, "batch-norm statistics"))
        found = f"of {len(names)} batch-norm layers re-estimated on {len(job.train)} training examples"
        job.progress.line(f"stage {stage.name}: the statistics {found}, then fixed")


def _assemble(graph: keras.Model, plan: Plan, job: Job, store: FeatureStore) -> tuple[StageNetwork, Side, Side]:
    """The network that a stage trains, and its sides: on features where nothing below the boundary is random."""
    edge = edge_of(plan, graph)
    head = held_head(graph, edge, plan)
    layers = augmentation(job.augment, job.kind, moments=job.moments)
    mixes = job.mixing is not None
    trunk = cut_trunk(graph, edge) if edge.below else None
    if trunk is None or layers or mixes:
        return StageNetwork(layers, trunk, head, job.precision, graph, mixes=mixes), job.train, job.val
    features = store.get(trunk, edge, job)
    sides = [
        Side(engine.rows_of(features[name]), side.targets, side.weights) if name in features else side
        for name, side in (("train", job.train), ("val", job.val))
    ]
    return StageNetwork([], None, head, job.precision, graph), sides[0], sides[1]


@contextmanager
def _averaging(stage: StagePart, job: Job) -> Iterator[list[WeightAveraging]]:
    """What ends a stage with the mean of its weights; the user's own has the training side while the stage lasts."""
    own = [callback for callback in job.callbacks if isinstance(callback, WeightAveraging)]
    lent = [callback for callback in own if callback.x is None]
    for callback in lent:
        callback.x = job.train
    try:
        yield own or ([WeightAveraging(**stage.weight_averaging, x=job.train)] if stage.weight_averaging else [])
    finally:
        for callback in lent:
            callback.x = None


def _pulled(
    graph: keras.Model, stage: StagePart, start: Mapping[str, np.ndarray] | None
) -> AbstractContextManager[Any]:
    """What holds the reused weights near their start while a stage lasts, where it asks for it."""
    if stage.l2_sp is None:
        return nullcontext()
    return l2_sp(graph, stage.l2_sp["alpha"], stage.l2_sp["beta"], start=start)


def _optimizer(
    stage: StagePart, model: StageNetwork, rates: Mapping[int, float], steps: int
) -> keras.optimizers.Optimizer:
    """The stage's optimizer, with each variable's multiple of its rate."""
    arguments = dict(stage.optimizer)
    made = optimizer(arguments.pop("name"), steps=steps, **arguments)
    return by_variable(made, [rates[id(v)] for v in model.trainable_variables])
