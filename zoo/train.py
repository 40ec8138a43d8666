"""Stages: the training loop around Keras.

Keras computes each step (``train_on_batch``); the loop decides what a step sees. Batches, augmentation and dropout are a
pure function of seed, stage, epoch and step: before each step the state of every random generator is set from them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from . import engine
from .checkpoint import weights_digest
from .graph import Runner, flat
from .layers import Inference, augmentation, by_variable, optimizer
from .plan import Plan, apply, audit, edge_of, frozen_digests, held_in_inference, is_seed_state, multipliers_of
from .progress import Progress
from .recipe import StagePart
from .seeds import derive, generator
from .surgery import Boundary, cut_head, cut_trunk


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
    """What a stage did: its history (a row an epoch), how many frozen variables were audited, and the digest it ended with."""

    name: str
    history: tuple[dict[str, Any], ...]
    seconds: float
    audited: int
    digest: str
    network: keras.Model = field(repr=False)
    optimizer: keras.optimizers.Optimizer = field(repr=False)

    @property
    def epochs(self) -> int:
        """How many epochs it ran."""
        return len(self.history)


class StageNetwork(keras.Model):
    """What a stage computes: augmentation, the frozen trunk in inference, and the head.

    The trunk is called with ``training=False`` here, in a ``call`` of our own: inside a functional model Keras would
    overrule it.
    """

    def __init__(self, augment: list[Any], trunk: keras.Model | None, head: keras.Model, precision: str):
        super().__init__(dtype=precision)
        self.augment, self.trunk, self.head = augment, trunk, head
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = inputs
        for layer in self.augment:
            x = layer(x, training=training)
        if self.trunk is not None:
            x = self.trunk(x, training=False)
        return self.head(x, training=training)


class FeatureStore:
    """What crosses a boundary, computed once a run for each side; in memory."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, ...], dict[str, list[np.ndarray]]] = {}

    def get(self, trunk: keras.Model, edge: Boundary, job: Job) -> dict[str, list[np.ndarray]]:
        """The features of both sides, computed where they are not held yet."""
        key = (weights_digest(trunk), *(c.layer for c in edge.crossings))
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
    store: FeatureStore | None = None,
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
        RecipeError: if Keras has no such optimizer or argument.
    """
    started = time.perf_counter()
    graph = flat(network)
    apply(plan, graph)
    before = frozen_digests(plan, graph)
    model, train, val = _assemble(graph, plan, job, store or FeatureStore())
    rates = multipliers_of(plan, graph)
    spec = dict(stage.optimizer)
    made = optimizer(spec.pop("name"), **spec)
    made = by_variable(made, [rates.get(id(v), 1.0) for v in model.trainable_variables])
    model.compile(optimizer=made, loss=job.loss, weighted_metrics=job.metrics())
    history = _epochs(model, train, val, stage, index, job)
    audited = audit(plan, graph, before)
    return StageResult(
        stage.name, tuple(history), time.perf_counter() - started, audited, weights_digest(graph), graph, model.optimizer
    )


def _assemble(graph: keras.Model, plan: Plan, job: Job, store: FeatureStore) -> tuple[StageNetwork, Side, Side]:
    """The network that a stage trains, and its sides: on features where nothing below the boundary is random."""
    edge = edge_of(plan, graph)

    head = cut_head(graph, edge, _holding(plan))
    layers = augmentation(job.augment)
    if not edge.below:
        return StageNetwork(layers, None, head, job.precision), job.train, job.val
    trunk = cut_trunk(graph, edge)
    if layers:
        return StageNetwork(layers, trunk, head, job.precision), job.train, job.val
    features = store.get(trunk, edge, job)
    sides = [
        Side(engine.rows_of(features[name]), side.targets, side.weights) if name in features else side
        for name, side in (("train", job.train), ("val", job.val))
    ]
    return StageNetwork([], None, head, job.precision), sides[0], sides[1]


def _holding(plan: Plan) -> Runner:
    """Runs what the plan holds in inference as in inference; a shared layer is wrapped once, so it stays one layer."""
    wrapped: dict[int, Any] = {}

    def runner(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if id(operation) not in wrapped:
            wrapped[id(operation)] = Inference(operation) if held_in_inference(plan, operation) else operation
        return wrapped[id(operation)](*args, **kwargs)

    return runner


def _epochs(
    model: StageNetwork, train: Side, val: Side, stage: StagePart, index: int, job: Job
) -> list[dict[str, Any]]:
    callbacks = keras.callbacks.CallbackList([*job.callbacks, *_early_stopping(stage, val)], model=model)
    callbacks.set_params({"epochs": stage.epochs, "steps": -(-len(train) // job.batch_size), "verbose": 0})
    states = [v for v in model.variables if is_seed_state(v)]
    history: list[dict[str, Any]] = []
    model.stop_training = False
    callbacks.on_train_begin()
    for epoch in range(stage.epochs):
        callbacks.on_epoch_begin(epoch)
        started = time.perf_counter()
        row = {"stage": stage.name, "epoch": epoch + 1}
        row |= _train_epoch(model, train, states, index, epoch, job, callbacks)
        if len(val):
            row |= {f"val_{key}": value for key, value in _evaluate(model, val, job.batch_size).items()}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        row["seconds"] = round(time.perf_counter() - started, 4)
        history.append(row)
        callbacks.on_epoch_end(epoch, {k: v for k, v in row.items() if k not in ("stage", "epoch", "seconds")})
        job.progress.step(stage.name, epoch + 1, stage.epochs, f"epochs, {_figures(row)}")
        if model.stop_training:
            break
    callbacks.on_train_end()
    return history


def _early_stopping(stage: StagePart, val: Side) -> list[keras.callbacks.Callback]:
    spec = stage.early_stopping
    if spec is None or (spec["monitor"].startswith("val_") and not len(val)):
        return []
    return [keras.callbacks.EarlyStopping(**spec, restore_best_weights=True)]


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
    states: Sequence[Any],
    stage: int,
    epoch: int,
    job: Job,
    callbacks: keras.callbacks.CallbackList,
) -> dict[str, float]:
    total: dict[str, float] = {}
    for step, indices in enumerate(batches(len(train), job.batch_size, job.seed, stage, epoch)):
        callbacks.on_train_batch_begin(step)
        for i, state in enumerate(states):
            state.assign(np.array([derive(job.seed, "draw", stage, epoch, step, i), 0]))
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


def _figures(row: Mapping[str, Any]) -> str:
    keys = [k for k in ("loss", "val_loss", "accuracy", "val_accuracy") if k in row]
    return ", ".join(f"{key} {row[key]:.4f}" for key in keys)
