"""Exact training state in one file, written completely or not at all."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import numpy as np

from .array_digests import variable_digests
from .errors import RunError
from .formats.safetensors import read_tensors, write_tensors


def weights_digest(model: keras.Model, known: Mapping[int, str] | None = None) -> str:
    """The SHA-256 of a network's weights: names, types, shapes and digests of the bytes, in the order of the names.

    Two networks of the same digest compute the same.

    Args:
        model: The network.
        known: What :func:`zoo.array_digests.variable_digests` gave for its variables as they are now.
    """
    found = variable_digests(model.weights) if known is None else known
    lines = (
        f"{v.path} {keras.backend.standardize_dtype(v.dtype)} {tuple(v.shape)} {found[id(v)]}\n"
        for v in sorted(model.weights, key=lambda v: v.path)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class CheckpointWriter:
    """Writes checkpoints in a thread, one after another, while the run goes on; leaving it waits for the last.

    Example:
        >>> import keras
        >>> model, adam = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), keras.optimizers.Adam()
        >>> with CheckpointWriter() as writer:
        ...     writer.save(tmp / "1.safetensors", model, adam, {"epoch": 1})
        >>> load(tmp / "1.safetensors", model, adam)
        {'epoch': 1}
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="zoo-checkpoints")
        self._last: Future[None] | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown()
        if kind is None:
            self.wait()

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
            OSError: if it could not be.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def save(
        self, file: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, position: Mapping[str, Any]
    ) -> None:
        """Writes what :func:`save` does, as it is now; what is still being written is waited for first.

        Raises:
            OSError: if that could not be written.
        """
        self.wait()
        self._last = self._thread.submit(write_tensors, file, *_state(model, optimizer, position))


def save(file: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, position: Mapping[str, Any]) -> None:
    """Writes every variable of a network and of its optimizer, with the position in training.

    Args:
        file: The final name; it appears only when the file is complete.
        model: The network: weights, and the state of its random generators.
        optimizer: Its slots, and its count of steps.
        position: What else is needed to go on: stage, epoch, history; anything that JSON holds.
    """
    write_tensors(file, *_state(model, optimizer, position))


def _state(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, position: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    tensors = {f"model/{i:05d}": v.numpy() for i, v in enumerate(model.variables)}
    tensors |= {f"optimizer/{i:05d}": v.numpy() for i, v in enumerate(optimizer.variables)}
    names = {"model": [v.path for v in model.variables], "optimizer": [v.path for v in optimizer.variables]}
    return tensors, {"position": json.dumps(dict(position)), "names": json.dumps(names)}


def load(file: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Puts back what :func:`save` wrote.

    Returns:
        The position.

    Raises:
        RunError: if the state is of another network or optimizer.
    """
    from safetensors import safe_open

    tensors = read_tensors(file)
    with safe_open(file, "numpy") as opened:
        metadata = opened.metadata() or {}
    targets = {f"model/{i:05d}": v for i, v in enumerate(model.variables)}
    targets |= {f"optimizer/{i:05d}": v for i, v in enumerate(optimizer.variables)}
    same = targets.keys() == tensors.keys() and all(tuple(targets[k].shape) == tensors[k].shape for k in targets)
    if not same or "position" not in metadata:
        what = f"The checkpoint {file} is of another network or optimizer."
        raise RunError(what, expected=f"{len(targets)} tensors", received=f"{len(tensors)}")
    for key, variable in targets.items():
        variable.assign(tensors[key])
    return json.loads(metadata["position"])
