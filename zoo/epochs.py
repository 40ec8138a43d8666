"""The training loop around Keras, epoch by epoch.

Keras computes each step (``train_on_batch``, or :mod:`zoo.steps`, several a call); the loop decides what a step sees.
Batches, augmentation and dropout are a pure function of seed, stage, epoch and step: before each step the state of
every random generator is set from them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from .side import Side
from .stage_network import StageNetwork
from .steps import Steps, several_steps


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
    several = several_steps(model, train, states, job.batch_size, stage.epochs * job.steps)
    each = any(map(watches_steps, told))
    history: list[dict[str, Any]] = []
    model.stop_training = False
    callbacks.on_train_begin()
    for epoch in range(stage.epochs):
        callbacks.on_epoch_begin(epoch)
        started = time.perf_counter()
        order = batches(len(train), job.batch_size, job.seed, index, epoch)
        draws = [[derive(job.seed, "draw", index, epoch, i, name) for name in states] for i in range(len(order))]
        if several is not None:
            total, rate = _several_a_call(model, train, order, draws, several, callbacks, each=each)
        else:
            mixes = [derive(job.seed, "mix", index, epoch, i) for i in range(len(order))]
            total, rate = _one_a_call(model, train, order, draws, list(states.values()), (job.mixing, mixes), callbacks)
        figures = {key: value / len(train) for key, value in total.items()}
        if len(val):
            measured = several.evaluate(val) if several is not None else _one_by_one(model, val, job.batch_size)
            figures |= {f"val_{key}": value / len(val) for key, value in _summed(measured).items()}
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

    watches_steps = False  # the last step of a call will do

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


def watches_steps(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback wants to be told of every step: all that do something then, unless they say otherwise."""
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    plain = keras.callbacks.Callback
    does = any(hook in vars(callback) or getattr(type(callback), hook) is not getattr(plain, hook) for hook in hooks)
    return does and bool(getattr(callback, "watches_steps", True))


def _several_a_call(
    model: StageNetwork,
    train: Side,
    order: Sequence[np.ndarray],
    draws: Sequence[Sequence[int]],
    several: Steps,
    callbacks: keras.callbacks.CallbackList,
    *,
    each: bool,
) -> tuple[dict[str, float], float]:
    """The figures of an epoch, sums over its examples, and the learning rate of its last step."""
    rows: list[dict[str, float]] = []
    rate = float("nan")
    for start in range(0, len(order), several.per_read):
        read = slice(start, start + several.per_read)
        part = several.read(train, order[read], draws[read])
        for first, last in calls(start, min(start + several.per_read, len(order)), len(order), each=each):
            callbacks.on_train_batch_begin(first)
            if last == len(order):
                rate = rate_of(model)  # before the step: a schedule then tells the next one's
            rows += several.train(part, first - start, last - start)
            callbacks.on_train_batch_end(last - 1, rows[-1])
    return _summed(zip(map(len, order), rows, strict=True)), rate


def calls(start: int, stop: int, steps: int, *, each: bool) -> list[tuple[int, int]]:
    """The steps from ``start`` to before ``stop``, as calls: every step one, or all of them; an epoch's last by itself.

    Args:
        start: The first step.
        stop: The one after the last.
        steps: The steps of the epoch.
        each: Whether every step is a call.

    Returns:
        The first step of each call, and the one after its last.

    Example:
        >>> calls(0, 4, 9, each=False), calls(4, 9, 9, each=False), calls(0, 2, 9, each=True)
        ([(0, 4)], [(4, 8), (8, 9)], [(0, 1), (1, 2)])
    """
    if each:
        return [(step, step + 1) for step in range(start, stop)]
    cut = min(stop, steps - 1)
    return [(first, last) for first, last in ((start, cut), (cut, stop)) if first < last]


def _one_a_call(
    model: StageNetwork,
    train: Side,
    order: Sequence[np.ndarray],
    draws: Sequence[Sequence[int]],
    states: Sequence[Any],
    mixes: tuple[Mixing | None, Sequence[int]],
    callbacks: keras.callbacks.CallbackList,
) -> tuple[dict[str, float], float]:
    """As :func:`_several_a_call`, with examples that may be augmented and mixed."""
    rows: list[dict[str, float]] = []
    rate = float("nan")
    mixing, mixing_seeds = mixes
    for step, indices in enumerate(order):
        callbacks.on_train_batch_begin(step)
        for state, draw in zip(states, draws[step], strict=True):
            state.assign(np.array([draw, 0]))
        weights = None if train.weights is None else train.weights[indices]
        x, targets = engine.as_input(train.read(indices)), train.targets[indices]
        if mixing is not None:
            mix = mixing.draw(len(indices), x.shape[1:], mixing_seeds[step])
            targets, weights = mix.targets(targets, weights)
            x = model.to_be_mixed(x, mix)
        if step == len(order) - 1:
            rate = rate_of(model)
        rows.append(model.train_on_batch(x, targets, sample_weight=weights, return_dict=True))
        callbacks.on_train_batch_end(step, rows[-1])
    return _summed(zip(map(len, order), rows, strict=True)), rate


def rate_of(model: Any) -> float:
    """The learning rate of a compiled model's next step."""
    return float(np.asarray(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))


def _one_by_one(model: StageNetwork, side: Side, batch_size: int) -> Iterator[tuple[int, dict[str, float]]]:
    """How many examples each batch of a side has, and its figures."""
    for start in range(0, len(side), batch_size):
        indices = np.arange(start, min(start + batch_size, len(side)))
        x = engine.as_input(side.read(indices))
        yield len(indices), model.test_on_batch(x, side.targets[indices], return_dict=True)


def _summed(measured: Iterable[tuple[int, Mapping[str, Any]]]) -> dict[str, float]:
    """The sum of each figure over the examples."""
    total: dict[str, float] = {}
    for count, logs in measured:
        for key, value in logs.items():
            total[key] = total.get(key, 0.0) + float(value) * count
    return total


def _shown(row: Mapping[str, Any]) -> str:
    keys = [k for k in ("loss", "val_loss", "accuracy", "val_accuracy") if k in row]
    return ", ".join(f"{key} {row[key]:.4f}" for key in keys)
