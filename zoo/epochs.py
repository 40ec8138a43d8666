"""The training loop around Keras, epoch by epoch.

Keras computes each step (``train_on_batch``); the loop decides what a step sees. Batches, augmentation and dropout are
a pure function of seed, stage, epoch and step: before each step the state of every random generator is set from them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from . import engine
from .errors import ZooError
from .layers.mixing import Mixing, mixing
from .progress import Progress
from .recipe_stage import StagePart
from .seeds import derive, generator
from .stage_network import StageNetwork


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
    """What stays the same over the stages of a run; ``moments`` are mean and spread of each number of vectors."""

    train: Side
    val: Side
    seed: int
    batch_size: int
    loss: Any
    metrics: Callable[[], list[Any]]
    augment: str | tuple[Mapping[str, Any], ...] = "none"
    kind: str = "image"
    moments: tuple[np.ndarray, np.ndarray] | None = None
    precision: str = "float32"
    callbacks: Sequence[keras.callbacks.Callback] = ()
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))

    @property
    def steps(self) -> int:
        """The steps of an epoch."""
        return -(-len(self.train) // self.batch_size)

    @cached_property
    def mixing(self) -> Mixing | None:
        """What mixes the examples of a batch with their targets, if anything does."""
        return mixing(self.augment, self.kind) if self.augment != "none" else None


def diverged(stage: StagePart, how: str) -> ZooError:
    """The error for training that left the finite numbers."""
    what = f"Training diverged in the stage '{stage.name}': {how}."
    return ZooError(what, fix="Lower the learning rate, or clip gradients: --global-clipnorm 1.")


def run_epochs(
    model: StageNetwork,
    sides: tuple[Side, Side],
    stage: StagePart,
    index: int,
    job: Job,
    states: Mapping[str, Any],
    watching: Sequence[keras.callbacks.Callback],
) -> list[dict[str, Any]]:
    """Trains a stage, epoch by epoch, and tells its callbacks.

    Args:
        model: What the stage trains, compiled.
        sides: The training and the validation side.
        stage: The stage; its number of epochs is the most.
        index: The stage's number, from 0.
        job: Seed, batch size, the user's callbacks.
        states: The states of the random generators, by name.
        watching: Callbacks that are told after the user's own.

    Returns:
        A row an epoch: stage, epoch (from 1), the figures, the learning rate in force in its last step, seconds.

    Raises:
        ZooError: if the loss is no longer finite.
    """
    train, val = sides
    told = [*job.callbacks, *watching, _Telling(job.progress, stage)]
    callbacks = keras.callbacks.CallbackList(told, model=model)
    callbacks.set_params({"epochs": stage.epochs, "steps": job.steps, "verbose": 0})
    history: list[dict[str, Any]] = []
    model.stop_training = False
    callbacks.on_train_begin()
    for epoch in range(stage.epochs):
        callbacks.on_epoch_begin(epoch)
        started = time.perf_counter()
        figures, rate = _train_epoch(model, train, states, index, epoch, job, callbacks)
        if len(val):
            figures |= {f"val_{key}": value for key, value in _evaluate(model, val, job.batch_size).items()}
        if not np.isfinite(figures["loss"]):
            raise diverged(stage, f"the loss is {figures['loss']} in epoch {epoch + 1}")
        figures["learning_rate"] = rate
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
) -> tuple[dict[str, float], float]:
    """The figures of an epoch, means over its examples, and the learning rate of its last step."""
    total: dict[str, float] = {}
    rate = float("nan")
    for step, indices in enumerate(batches(len(train), job.batch_size, job.seed, stage, epoch)):
        callbacks.on_train_batch_begin(step)
        for name, state in states.items():
            state.assign(np.array([derive(job.seed, "draw", stage, epoch, step, name), 0]))
        weights = None if train.weights is None else train.weights[indices]
        x, targets = engine.as_input(train.read(indices)), train.targets[indices]
        if job.mixing is not None:
            mix = job.mixing.draw(len(indices), x.shape[1:], derive(job.seed, "mix", stage, epoch, step))
            targets, weights = mix.targets(targets, weights)
            x = model.to_be_mixed(x, mix)
        if step == job.steps - 1:
            rate = rate_of(model)  # before the step: a schedule then tells the next one's
        logs = model.train_on_batch(x, targets, sample_weight=weights, return_dict=True)
        _add(total, logs, len(indices))
        callbacks.on_train_batch_end(step, logs)
    return {key: value / len(train) for key, value in total.items()}, rate


def rate_of(model: Any) -> float:
    """The learning rate of a compiled model's next step."""
    return float(np.asarray(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))


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
