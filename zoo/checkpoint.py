"""Exact training state in one file, written completely or not at all."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

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


def save(file: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, position: Mapping[str, Any]) -> None:
    """Writes every variable of a network and of its optimizer, with the position in training.

    Args:
        file: The final name; it appears only when the file is complete.
        model: The network: weights, and the state of its random generators.
        optimizer: Its slots, and its count of steps.
        position: What else is needed to go on: stage, epoch, history; anything that JSON holds.
    """
    tensors = {f"model/{i:05d}": v.numpy() for i, v in enumerate(model.variables)}
    tensors |= {f"optimizer/{i:05d}": v.numpy() for i, v in enumerate(optimizer.variables)}
    names = {"model": [v.path for v in model.variables], "optimizer": [v.path for v in optimizer.variables]}
    metadata = {"position": json.dumps(dict(position)), "names": json.dumps(names)}
    write_tensors(file, tensors, metadata)


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
