"""The training loop around Keras, epoch by epoch.

Keras computes each step (``train_on_batch``, or :mod:`zoo.steps`, several a call); the loop decides what a step sees.
Batches, augmentation and dropout are a pure function of seed, stage, epoch and step: before each step the state of
every random generator is set from them.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from . import engine
from .checkpoints import Checkpoints
from .errors import ZooError
from .job import Job
from .progress import Progress
from .recipe_stage import StagePart
from .seeds import derive, generator
from .side import Side
from .stage_network import StageNetwork
from .stage_state import StageState
from .steps import Steps, several_steps


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
    state: StageState | None = None,
) -> list[dict[str, Any]]:
    """Trains a stage, epoch by epoch, and tells its callbacks; or the rest of one, from where it is.

    Args:
        model: What the stage trains, compiled.
        sides: The training and the validation side.
        stage: The stage; its number of epochs is the most.
        index: The stage's number, from 0.
        job: Seed, batch size, the user's callbacks.
        states: The states of the random generators, by name.
        watching: Callbacks that are told after the user's own.
        state: Where the stage is, and what keeps that; by default it starts, and nothing is kept.

    Returns:
        A row an epoch: stage, epoch (from 1), what :meth:`Epochs.run` gives, seconds.

    Raises:
        ZooError: if the loss is no longer finite.
        Interrupted: if the run was asked to end.
    """
    state = state or StageState(Checkpoints(), index, stage.name)
    told = [*job.callbacks, *watching, _Telling(job.progress, stage)]
    epochs = Epochs(model, sides, index, job, states, told, stage.epochs)
    callbacks = epochs.callbacks
    model.stop_training = False
    callbacks.on_train_begin()
    if state.begun:
        callbacks.on_epoch_begin(state.epoch)
    state.train_begins(model.network or model, model, told)
    for sentence in state.forgotten(job.callbacks):
        job.progress.line(f"stage {stage.name}: {sentence}")
    with state.deferring():
        for epoch in range(state.epoch, stage.epochs):
            if not state.begun:
                callbacks.on_epoch_begin(epoch)
                state.epoch_begins(epoch)
            figures = epochs.run(state)
            if not np.isfinite(figures["loss"]):
                raise diverged(stage, f"the loss is {figures['loss']} in epoch {epoch + 1}")
            state.epoch_ends({"stage": stage.name, "epoch": epoch + 1, **figures})
            callbacks.on_epoch_end(epoch, dict(figures))
            if model.stop_training:
                break
            state.pause()
    model.optimizer.finalize_variable_values(model.trainable_variables)  # an optimizer's average, where it keeps one
    callbacks.on_train_end()
    return state.history


class _Telling(keras.callbacks.Callback):
    """Tells how far a stage is: by epochs, and by steps within an epoch that takes long."""

    watches_steps = False  # the last step of a call will do
    keeps_state = False

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


class Epochs:
    """The epochs of a stage, each a call of :meth:`run`.

    Args:
        model: What the stage trains, compiled.
        sides: The training and the validation side.
        index: The stage's number, from 0.
        job: Seed, batch size.
        states: The states of the random generators, by name.
        told: The callbacks that are told of steps.
        most: How many epochs there are at most.
    """

    def __init__(
        self,
        model: StageNetwork,
        sides: tuple[Side, Side],
        index: int,
        job: Job,
        states: Mapping[str, Any],
        told: Sequence[keras.callbacks.Callback],
        most: int,
    ):
        self._model, self._index, self._job, self._states = model, index, job, states
        self._train, self._val = sides
        self.callbacks = keras.callbacks.CallbackList(list(told), model=model)
        self.callbacks.set_params({"epochs": most, "steps": job.steps, "verbose": 0})
        self._each = any(map(watches_steps, told))
        self._several = several_steps(model, self._train, states, job.batch_size, most * job.steps)

    def run(self, state: StageState) -> dict[str, float]:
        """Trains what is left of an epoch, and measures the validation side.

        Args:
            state: Where the stage is; it is told of every step.

        Returns:
            Loss and metrics, means over the examples, and the learning rate in force in the last step.

        Raises:
            Interrupted: if the run was asked to end.
        """
        job, several, epoch = self._job, self._several, state.epoch
        order = batches(len(self._train), job.batch_size, job.seed, self._index, epoch)
        draws = [[self._derived("draw", epoch, step, name) for name in self._states] for step in range(len(order))]
        if several is not None:
            self._several_a_call(several, state, order, draws)
        else:
            self._one_a_call(state, order, draws)
        figures = _means(zip(map(len, order), state.rows, strict=True))
        if len(self._val):
            measured = several.evaluate(self._val) if several is not None else self._evaluated()
            figures |= {f"val_{key}": value for key, value in _means(measured).items()}
        return figures | {"learning_rate": state.rate}

    def _derived(self, purpose: str, epoch: int, step: int, *name: str) -> int:
        return derive(self._job.seed, purpose, self._index, epoch, step, *name)

    def _several_a_call(
        self, several: Steps, state: StageState, order: Sequence[np.ndarray], draws: Sequence[Sequence[int]]
    ) -> None:
        """Trains the steps that are left."""
        train = self._train.at(state.epoch)
        for start in range(len(state.rows), len(order), several.per_read):
            read = slice(start, start + several.per_read)
            part = several.read(train, order[read], draws[read])
            for first, last in calls(start, min(start + several.per_read, len(order)), len(order), each=self._each):
                self.callbacks.on_train_batch_begin(first)
                if last == len(order):
                    state.rate = rate_of(self._model)  # before the step: a schedule then tells the next one's
                rows = several.train(part, first - start, last - start)
                self.callbacks.on_train_batch_end(last - 1, rows[-1])
                state.stepped(rows)

    def _one_a_call(self, state: StageState, order: Sequence[np.ndarray], draws: Sequence[Sequence[int]]) -> None:
        """As :meth:`_several_a_call`, with examples that may be augmented and mixed."""
        model, epoch, train, mixing = self._model, state.epoch, self._train.at(state.epoch), self._job.mixing
        for step in range(len(state.rows), len(order)):
            indices = order[step]
            self.callbacks.on_train_batch_begin(step)
            for seed, draw in zip(self._states.values(), draws[step], strict=True):
                seed.assign(np.array([draw, 0]))
            weights = None if train.weights is None else train.weights[indices]
            x, targets = engine.as_input(train.read(indices)), train.targets[indices]
            if mixing is not None:
                mix = mixing.draw(len(indices), x.shape[1:], self._derived("mix", epoch, step))
                targets, weights = mix.targets(targets, weights)
                x = model.to_be_mixed(x, mix)
            if step == len(order) - 1:
                state.rate = rate_of(model)
            row = model.train_on_batch(x, targets, sample_weight=weights, return_dict=True)
            self.callbacks.on_train_batch_end(step, row)
            state.stepped([{key: float(value) for key, value in row.items()}])

    def _evaluated(self) -> Iterator[tuple[int, dict[str, float]]]:
        """How many examples each batch of the validation side has, and its figures."""
        for start in range(0, len(self._val), self._job.batch_size):
            indices = np.arange(start, min(start + self._job.batch_size, len(self._val)))
            x = engine.as_input(self._val.read(indices))
            yield len(indices), self._model.test_on_batch(x, self._val.targets[indices], return_dict=True)


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


def rate_of(model: Any) -> float:
    """The learning rate of a compiled model's next step."""
    return float(np.asarray(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))


def _means(measured: Iterable[tuple[int, Mapping[str, Any]]]) -> dict[str, float]:
    """The mean of each figure over the examples."""
    total: dict[str, float] = {}
    examples = 0
    for count, logs in measured:
        examples += count
        for key, value in logs.items():
            total[key] = total.get(key, 0.0) + float(value) * count
    return {key: value / examples for key, value in total.items()}


def _shown(row: Mapping[str, Any]) -> str:
    keys = [k for k in ("loss", "val_loss", "accuracy", "val_accuracy") if k in row]
    return ", ".join(f"{key} {row[key]:.4f}" for key in keys)
