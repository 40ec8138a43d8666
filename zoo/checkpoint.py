"""Exact training state in one file, written completely or not at all."""

import hashlib
import json
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import numpy as np

from .array_digests import ArrayDigests, variable_digests
from .errors import RunError, WeightsError
from .formats.safetensors import metadata_of, read_tensors, write_tensors


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


@dataclass(frozen=True)
class Snapshot:
    """Training state of one moment, in memory.

    Attributes:
        tensors: Every variable of the network (``model/NUMBER``), of the optimizer (``optimizer/NUMBER``), and whatever
            else there is.
        metadata: The position in training, and the variables' names, as JSON.
    """

    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """What the tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def write(self, file: Path) -> None:
        """Writes it with a digest of its tensors; the final name appears only when the file is complete.

        Raises:
            OSError: if it cannot be written.
        """
        write_tensors(file, self.tensors, {**self.metadata, "content": _content(self.tensors)})


def snapshot(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    position: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> Snapshot:
    """Every variable of a network and of its optimizer as it is now, with the position in training.

    Args:
        model: The network: weights, and the state of its random generators.
        optimizer: Its slots, and its count of steps.
        position: What else is needed to go on: stage, epoch, history; anything that JSON holds.
        arrays: The same, as arrays.
    """
    tensors = {f"model/{i:05d}": v.numpy() for i, v in enumerate(model.variables)}
    tensors |= {f"optimizer/{i:05d}": v.numpy() for i, v in enumerate(optimizer.variables)}
    names = {"model": [v.path for v in model.variables], "optimizer": [v.path for v in optimizer.variables]}
    return Snapshot(tensors | dict(arrays or {}), {"position": json.dumps(dict(position)), "names": json.dumps(names)})


def _content(tensors: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of some tensors: names, types, shapes and digests of the bytes."""
    names = sorted(tensors)
    with ArrayDigests() as digests:
        found = [digests.of(np.asarray(tensors[name])) for name in names]
    lines = [
        f"{name} {tensors[name].dtype.name} {tensors[name].shape} {digest}\n"
        for name, digest in zip(names, found, strict=True)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint's file holds; see :class:`Snapshot`."""

    file: Path
    position: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]

    def restore(self, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None) -> None:
        """Puts the variables back.

        Args:
            model: The network.
            optimizer: Its optimizer, built; without one its state stays in the file.

        Raises:
            RunError: if the state is of another network or optimizer.
        """
        targets = {f"model/{i:05d}": v for i, v in enumerate(model.variables)}
        targets |= {f"optimizer/{i:05d}": v for i, v in enumerate(optimizer.variables if optimizer else ())}
        kinds = ("model/", "optimizer/") if optimizer else ("model/",)
        held = {key: tensor for key, tensor in self.tensors.items() if key.startswith(kinds)}
        same = targets.keys() == held.keys() and all(tuple(targets[k].shape) == held[k].shape for k in targets)
        if not same:
            what = f"The checkpoint {self.file} is of another network or optimizer."
            raise RunError(what, expected=f"{len(targets)} tensors", received=f"{len(held)}")
        for key, variable in targets.items():
            variable.assign(held[key])

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """Its other arrays whose names begin so, by the rest of their names."""
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def read_checkpoint(file: Path) -> Checkpoint:
    """Reads a checkpoint, and checks it against the digest inside.

    Raises:
        RunError: if it is none, or damaged.
    """
    try:
        metadata, tensors = metadata_of(file), read_tensors(file)
        position = json.loads(metadata["position"])
    except (WeightsError, KeyError, ValueError) as reason:
        what = f"{file} is not a checkpoint: {reason}."
        raise RunError(what) from None
    if metadata.get("content") != _content(tensors):
        what = f"The checkpoint {file} is damaged."
        raise RunError(what, expected="the digest that it was written with", received="another")
    return Checkpoint(file, position, tensors)


def position_of(file: Path) -> dict[str, Any] | None:
    """The position in training that a checkpoint is of, from its header alone; ``None`` where it is none."""
    try:
        return json.loads(metadata_of(file)["position"])
    except (WeightsError, KeyError, ValueError):
        return None


def stage_digests(folder: Path) -> dict[str, str]:
    """The digest of what each checkpoint in a folder holds that was written at the end of a stage, by its name."""
    held = {file: position_of(file) for file in folder.glob("*.safetensors")}
    ends = {str(position["name"]): file for file, position in held.items() if position and position["done"]}
    return {name: metadata_of(file)["content"] for name, file in ends.items()}


class CheckpointWriter:
    """Writes checkpoints in a thread, one after another, while the run goes on; leaving it waits for the last.

    Example:
        >>> import keras
        >>> model, adam = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), keras.optimizers.Adam()
        >>> with CheckpointWriter() as writer:
        ...     writer.write(tmp / "1.safetensors", snapshot(model, adam, {"epoch": 1}))
        >>> load(tmp / "1.safetensors", model, adam)
        {'epoch': 1}
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="zoo-checkpoints")
        self._last: Future[float] | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown()
        if kind is None:
            self.wait()

    @property
    def busy(self) -> bool:
        """Whether something is still being written."""
        return self._last is not None and not self._last.done()

    def wait(self) -> float | None:
        """Waits until everything is written.

        Returns:
            The seconds that the last one took; ``None`` where nothing was written since.

        Raises:
            OSError: if it could not be.
        """
        last, self._last = self._last, None
        return None if last is None else last.result()

    def write(self, file: Path, state: Snapshot) -> None:
        """Writes training state; what is still being written is waited for first.

        Raises:
            OSError: if that could not be written.
        """
        self.wait()
        self._last = self._thread.submit(_timed, file, state)


def _timed(file: Path, state: Snapshot) -> float:
    started = time.perf_counter()
    state.write(file)
    return time.perf_counter() - started


def save(file: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, position: Mapping[str, Any]) -> None:
    """Writes a :func:`snapshot` into a file."""
    snapshot(model, optimizer, position).write(file)


def load(file: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Puts back what :func:`save` wrote.

    Returns:
        The position.

    Raises:
        RunError: if it is damaged, or of another network or optimizer.
    """
    held = read_checkpoint(file)
    held.restore(model, optimizer)
    return dict(held.position)
