"""The state of a stage that trains: what a checkpoint within it holds, and how it goes on from one."""

import time
from array import array
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np

from .callback_state import CallbackState, restore, state_of, unkept
from .checkpoint import Snapshot, snapshot
from .checkpoints import Checkpoints
from .errors import RunError
from .stage_result import StageResult


class StageState:
    """Where a stage is, and everything that going on from there takes.

    Args:
        checkpoints: The run's.
        index: The stage's number, from 0.
        name: Its name.

    Attributes:
        point: The checkpoint that it goes on from; ``None`` where it starts.
        epoch: The epoch of now, from 0.
        begun: Whether the callbacks know of it.
        rows: The figures of its steps so far.
        rate: The learning rate of its last step, as far as it is known.
        history: A row for each epoch before.
        losses: The loss of every step of the stage so far.
        frozen: The digests of what must not move, when the stage began.
        features: For the lock, what the features that it trains on are.
    """

    def __init__(self, checkpoints: Checkpoints, index: int, name: str) -> None:
        self._checkpoints, self._index, self._name = checkpoints, index, name
        self.point, checkpoints.going_on = checkpoints.going_on, None
        held: Mapping[str, Any] = self.point.position if self.point else {}
        self.epoch, self.begun = int(held.get("epoch", 0)), bool(held.get("begun", False))
        self.history: list[dict[str, Any]] = list(held.get("history", ()))
        self.frozen: dict[str, str] = dict(held.get("frozen", {}))
        self.features: Mapping[str, Any] = {}
        self.rate = float(held.get("rate", "nan"))
        self.rows, self.losses = self._steps(held)
        self._started = time.perf_counter() - float(held.get("seconds", 0.0))
        self._epoch_started = time.perf_counter() - float(held.get("epoch_seconds", 0.0))
        self._told: Sequence[keras.callbacks.Callback] = ()

    def _steps(self, held: Mapping[str, Any]) -> "tuple[list[dict[str, float]], array[float]]":
        if self.point is None:
            return [], array("f")
        before = sum(int(record["steps"]) for record in held["stages"])
        rows = [dict(zip(held["keys"], map(float, row), strict=True)) for row in self.point.tensors["rows"]]
        return rows, array("f", self.point.tensors["losses"][before:])

    @property
    def seconds(self) -> float:
        """The seconds that the stage has taken."""
        return time.perf_counter() - self._started

    def train_begins(self, network: keras.Model, model: keras.Model, told: Sequence[keras.callbacks.Callback]) -> None:
        """Puts back what a checkpoint holds, after the callbacks were told that training begins.

        Args:
            network: The flat network.
            model: What the stage trains, compiled, its optimizer built.
            told: The callbacks, in order.

        Raises:
            RunError: if the checkpoint is of another network, optimizer, or other callbacks.
        """
        self._network, self._model, self._told = network, model, told
        held = [*network.variables, *model.optimizer.variables]
        self._checkpoints.begin(sum(int(np.prod(v.shape)) * 4 for v in held))
        if self.point is None:
            return
        self.point.restore(network, model.optimizer)
        model.stop_training = bool(self.point.position.get("stop_training", False))
        for variable, value in zip(model.metrics_variables, self.point.arrays("metrics/").values(), strict=False):
            if tuple(variable.shape) == value.shape:
                variable.assign(value)
        try:
            restore(told, CallbackState(self.point.position["callbacks"], self.point.arrays("callback/")))
        except ValueError as reason:
            what = f"The checkpoint {self.point.file} was written with other callbacks."
            now = ", ".join(type(callback).__name__ for callback in told)
            fix = "Give zoo.resume the callbacks that the run began with, in the same order."
            raise RunError(what, expected=str(reason), received=now, fix=fix) from None

    @property
    def held_features(self) -> Mapping[str, Any] | None:
        """What the features were that it trained on before: empty where the trunk ran in every step.

        ``None`` where it starts.
        """
        return None if self.point is None else self.point.position["features"]

    def deferring(self) -> AbstractContextManager[None]:
        """Where a run that is asked to end does so at :meth:`pause`, and nowhere else."""
        return self._checkpoints.interruption.deferred()

    def forgotten(self, callbacks: Sequence[keras.callbacks.Callback]) -> list[str]:
        """A sentence for each of the user's callbacks that holds what no checkpoint keeps, where a stage goes on."""
        lost = {type(callback).__name__: unkept(callback) for callback in callbacks} if self.point else {}
        return [f"the callback {name} begins anew with: {', '.join(held)}" for name, held in lost.items() if held]

    def epoch_begins(self, epoch: int) -> None:
        """Starts an epoch."""
        self.epoch, self.begun, self.rows = epoch, True, []
        self._epoch_started = time.perf_counter()

    def epoch_ends(self, row: dict[str, Any]) -> None:
        """Ends it, with what the history says of it."""
        seconds = round(time.perf_counter() - self._epoch_started, 4)
        self.history.append({**row, "seconds": seconds})
        self.epoch, self.begun, self.rows = self.epoch + 1, False, []

    def stepped(self, rows: Sequence[dict[str, float]]) -> None:
        """Takes note of steps, and lets a checkpoint be written.

        Raises:
            Interrupted: if the run was asked to end.
        """
        self.rows += rows
        self.losses.extend(row["loss"] for row in rows)
        self.pause()

    def pause(self) -> None:
        """Lets a checkpoint be written.

        Raises:
            Interrupted: if the run was asked to end.
        """
        name = f"{self._index + 1}-{self._name}.epoch{self.epoch + 1}-step{len(self.rows)}"
        self._checkpoints.pause(lambda: self._snapshot(done=False), name)

    def end(self, result: StageResult) -> None:
        """Ends the stage."""
        name = f"{self._index + 1}-{self._name}"
        self._checkpoints.end_stage(lambda: self._snapshot(done=True), name, result)

    def _snapshot(self, *, done: bool) -> Snapshot:
        callbacks = CallbackState() if done else state_of(self._told)
        keys = list(self.rows[0]) if self.rows else []
        position = {
            "stage": self._index,
            "name": self._name,
            "epoch": self.epoch,
            "step": len(self.rows),
            "begun": self.begun,
            "stop_training": bool(self._model.stop_training),
            "done": done,
            "history": self.history,
            "keys": keys,
            "rate": self.rate,
            "seconds": self.seconds,
            "epoch_seconds": time.perf_counter() - self._epoch_started,
            "frozen": self.frozen,
            "features": dict(self.features),
            "callbacks": list(callbacks.values),
            "stages": [result.record() for result in self._checkpoints.finished],
        }
        losses = () if done else self.losses  # a stage that is finished has handed them over
        arrays = {
            "rows": np.array([[row[key] for key in keys] for row in self.rows]).reshape(len(self.rows), len(keys)),
            "losses": np.concatenate([self._checkpoints.losses, np.array(losses, "float32")]),
            **{f"metrics/{i:05d}": v.numpy() for i, v in enumerate(self._model.metrics_variables)},
            **{f"callback/{key}": value for key, value in callbacks.arrays.items()},
        }
        return snapshot(self._network, self._model.optimizer, position, arrays)
