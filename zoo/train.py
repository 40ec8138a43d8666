"""Stages: the training loop around Keras.

Keras computes each step (``train_on_batch``); the loop decides what a step sees. Batches, augmentation and dropout are
a pure function of seed, stage, epoch and step: before each step the state of every random generator is set from them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from . import engine
from .adaptation import adapt
from .boundary import Boundary, cut_trunk
from .checkpoint import weights_digest
from .enforcement import adapting, apply, audit, edge_of, frozen_digests, multipliers_of
from .errors import ZooError
from .flattening import flat
from .layers import augmentation, by_variable, optimizer
from .plan import Plan
from .progress import Progress
from .recipe_stage import StagePart
from .seeds import derive, generator
from .stage_network import StageNetwork, held_head
from .stopping import averages, check_monitor, early_stopping


@dataclass(frozen=True)
class Side:
    """The examples of one side: how to read their inputs (by indices counted from 0), targets, and weights."""

    read: engine.Read
    targets: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Job:
    """What stays the same over the stages of a run."""

    train: Side
    val: Side
    seed: int
    batch_size: int
    loss: Any
    metrics: Callable[[], list[Any]]
    augment: str | tuple[Mapping[str, Any], ...] = "none"
    precision: str = "float32"
    callbacks: Sequence[keras.callbacks.Callback] = ()
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))


@dataclass(frozen=True)
class StageResult:
    """What a stage did: its history, a row an epoch; the epoch whose weights it kept (the last one, or the best under
    early stopping); how many frozen variables were audited; the digest it ended with; whether its optimizer ended it
    with the average of the weights, which the history does not measure."""

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
) -> StageResult:
    """Trains one stage: applies the plan, trains what it thaws, and audits that the rest did not move.

    Args:
        network: A functional or Sequential model; its variables are trained in place.
        plan: The plan of this stage.
        stage: Epochs, optimizer, early stopping.
        index: The stage's number, from 0: random choices depend on it.
        job: Data, loss, seed.
        store: Where features are kept from stage to stage.

    Returns:
        The history and the digest.

    Raises:
        PlanError: if a frozen variable moved.
        RecipeError: if Keras has no such optimizer or argument, or early stopping watches a figure that does not exist.
        ZooError: if training diverged.
    """
    started = time.perf_counter()
    check_monitor(stage, [metric.name for metric in job.metrics()])
    graph = flat(network)
    apply(plan, graph)
    _adapted(graph, plan, stage, job)
    before = frozen_digests(plan, graph)
    model, train, val = _assemble(graph, plan, job, store)
    model.compile(
        optimizer=_optimizer(stage, model, multipliers_of(plan, graph)), loss=job.loss, weighted_metrics=job.metrics()
    )
    # A slot that starts as a copy of its variable (schedule-free) would lose it if the first, compiled step made it.
    model.optimizer.build(model.trainable_variables)
    stopping = early_stopping(stage, bool(len(val)))
    history = _epochs(model, (train, val), stage, index, job, model.random_states(graph), stopping)
    if not all(np.isfinite(v.numpy()).all() for v in graph.weights):
        raise _diverged(stage, "weights are no longer finite")
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
        averages(stage),
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
    layers = augmentation(job.augment)
    if not edge.below:
        return StageNetwork(layers, None, head, job.precision, graph), job.train, job.val
    trunk = cut_trunk(graph, edge)
    if layers:
        return StageNetwork(layers, trunk, head, job.precision, graph), job.train, job.val
    features = store.get(trunk, edge, job)
    sides = [
        Side(engine.rows_of(features[name]), side.targets, side.weights) if name in features else side
        for name, side in (("train", job.train), ("val", job.val))
    ]
    return StageNetwork([], None, head, job.precision, graph), sides[0], sides[1]


def _optimizer(stage: StagePart, model: StageNetwork, rates: Mapping[int, float]) -> keras.optimizers.Optimizer:
    """The stage's optimizer, with each variable's multiple of its rate."""
    arguments = dict(stage.optimizer)
    made = optimizer(arguments.pop("name"), **arguments)
    return by_variable(made, [rates[id(v)] for v in model.trainable_variables])


def _diverged(stage: StagePart, how: str) -> ZooError:
    what = f"Training diverged in the stage '{stage.name}': {how}."
    return ZooError(what, fix="Lower the learning rate, or clip gradients: --global-clipnorm 1.")


def _epochs(
    model: StageNetwork,
    sides: tuple[Side, Side],
    stage: StagePart,
    index: int,
    job: Job,
    states: Mapping[str, Any],
    stopping: Sequence[keras.callbacks.EarlyStopping],
) -> list[dict[str, Any]]:
    train, val = sides
    told = [*job.callbacks, *stopping, _Telling(job.progress, stage)]
    callbacks = keras.callbacks.CallbackList(told, model=model)
    callbacks.set_params({"epochs": stage.epochs, "steps": -(-len(train) // job.batch_size), "verbose": 0})
    history: list[dict[str, Any]] = []
    model.stop_training = False
    callbacks.on_train_begin()
    for epoch in range(stage.epochs):
        callbacks.on_epoch_begin(epoch)
        started = time.perf_counter()
        figures = _train_epoch(model, train, states, index, epoch, job, callbacks)
        if len(val):
            figures |= {f"val_{key}": value for key, value in _evaluate(model, val, job.batch_size).items()}
        if not np.isfinite(figures["loss"]):
            raise _diverged(stage, f"the loss is {figures['loss']} in epoch {epoch + 1}")
        figures["learning_rate"] = float(np.asarray(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        seconds = round(time.perf_counter() - started, 4)
        history.append({"stage": stage.name, "epoch": epoch + 1, **figures, "seconds": seconds})
        callbacks.on_epoch_end(epoch, dict(figures))
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_variables)  # an optimizer's average, where it keeps one
    callbacks.on_train_end()
    return history


class _Telling(keras.callbacks.Callback):
    """Tells how far a stage is: by epochs, and by steps within an epoch that takes long."""

    def __init__(self, progress: Progress, stage: StagePart):
        super().__init__()
        self.progress, self.stage = progress, stage

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch, self.since = epoch + 1, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.monotonic() - self.since > Progress.EVERY:
            what = f"{self.stage.name}, epoch {self.epoch} of {self.stage.epochs}"
            self.progress.step(what, batch + 1, (self.params or {})["steps"], "steps")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.progress.step(self.stage.name, self.epoch, self.stage.epochs, f"epochs, {_shown(logs or {})}")


def batches(count: int, batch_size: int, seed: int, stage: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: a pure function of seed, stage and epoch.

    Args:
        count: The number of examples.
        batch_size: The examples of a batch; the last batch holds what is left.
        seed: The run's seed.
        stage: The stage's number, from 0.
        epoch: The epoch's number, from 0.

    Returns:
        Index arrays; together they hold every example once.

    Example:
        >>> [len(b) for b in batches(10, 4, seed=0, stage=0, epoch=0)]
        [4, 4, 2]
    """
    order = generator(seed, "batches", stage, epoch).permutation(count)
    return [order[i : i + batch_size] for i in range(0, count, batch_size)]


def _train_epoch(
    model: StageNetwork,
    train: Side,
    states: Mapping[str, Any],
    stage: int,
    epoch: int,
    job: Job,
    callbacks: keras.callbacks.CallbackList,
) -> dict[str, float]:
    total: dict[str, float] = {}
    for step, indices in enumerate(batches(len(train), job.batch_size, job.seed, stage, epoch)):
        callbacks.on_train_batch_begin(step)
        for name, state in states.items():
            state.assign(np.array([derive(job.seed, "draw", stage, epoch, step, name), 0]))
        weights = None if train.weights is None else train.weights[indices]
        x = engine.as_input(train.read(indices))
        logs = model.train_on_batch(x, train.targets[indices], sample_weight=weights, return_dict=True)
        _add(total, logs, len(indices))
        callbacks.on_train_batch_end(step, logs)
    return {key: value / len(train) for key, value in total.items()}


def _evaluate(model: StageNetwork, side: Side, batch_size: int) -> dict[str, float]:
    total: dict[str, float] = {}
    for start in range(0, len(side), batch_size):
        indices = np.arange(start, min(start + batch_size, len(side)))
        logs = model.test_on_batch(engine.as_input(side.read(indices)), side.targets[indices], return_dict=True)
        _add(total, logs, len(indices))
    return {key: value / len(side) for key, value in total.items()}


def _add(total: dict[str, float], logs: Mapping[str, Any], count: int) -> None:
    for key, value in logs.items():
        total[key] = total.get(key, 0.0) + float(value) * count


def _shown(row: Mapping[str, Any]) -> str:
    keys = [k for k in ("loss", "val_loss", "accuracy", "val_accuracy") if k in row]
    return ", ".join(f"{key} {row[key]:.4f}" for key in keys)
