"""On what a recipe was run: digests, versions, threads, flags, and what it led to."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from .data import Dataset, Split
from .device import Device
from .train import StageResult

PACKAGES = ("transfer-zoo", "keras", "tensorflow", "jax", "torch", "numpy", "h5py", "pillow", "safetensors")
#: Environment variables that change the bits of a result.
FLAGS = (
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "TF_DETERMINISTIC_OPS",
    "OMP_NUM_THREADS",
    "KERAS_BACKEND",
)
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "fma", "neon", "asimd", "sve")


def lock_table(
    *,
    network: dict[str, str],
    data: Dataset,
    decoder: str,
    split: Split,
    device: Device,
    split_digest: str,
    stages: Sequence[StageResult],
    result: dict[str, Any],
) -> dict[str, Any]:
    """Everything that a run's result depends on beside its recipe, and the digests that it led to.

    Returns:
        A table for ``recipe.lock``.
    """
    return {
        "schema": 1,
        "network": network,
        "data": {
            "source": data.source,
            "digest": data.whole_digest,
            "examples": len(data),
            "decoder": decoder,
            "split": split_digest,
            **{side: len(getattr(split, side)) for side in ("train", "val", "test", "unused")},
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "compute": {
            "backend": keras.backend.backend(),
            "device": device.name,
            "device_reason": device.why,
            "threads": device.threads,
            "processor": {"machine": platform.machine(), "features": _processor_features()},
            "flags": {name: os.environ[name] for name in FLAGS if name in os.environ},
        },
        "stage": [_stage(done) for done in stages],
        "result": result,
    }


def _stage(done: StageResult) -> dict[str, Any]:
    facts = {"name": done.name, "epochs": done.epochs, "kept_epoch": done.kept}
    return {**facts, "frozen_variables": done.audited, "weights": done.digest}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor_features() -> list[str]:
    """The instruction sets that libraries choose their arithmetic by; empty where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return []
    words = set(info.read_text(encoding="utf-8", errors="replace").split())
    return [name for name in _FEATURES if name in words]
