"""On what a recipe was run: digests, versions, threads, flags, and what it led to."""

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

import keras

from .data import Dataset, Split
from .device import Device
from .engines.gpu import gpu_facts
from .processor import flags, processor_features
from .train import StageResult

PACKAGES = (
    "transfer-zoo", "keras", "tensorflow", "jax", "torch", "openvino", "numpy", "h5py", "pillow", "safetensors",
)  # fmt: skip


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
    gpu = gpu_facts(device.name)
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
            "processor": {"machine": platform.machine(), "features": processor_features()},
            **({"gpu": gpu} if gpu else {}),
            "flags": flags(),
        },
        "stage": [_stage(done) for done in stages],
        "result": result,
    }


def _stage(done: StageResult) -> dict[str, Any]:
    facts = {"name": done.name, "epochs": done.epochs, "kept_epoch": done.kept}
    features = {"features": dict(done.features)} if done.features else {}
    return {**facts, "frozen_variables": done.audited, "weights": done.digest, **features}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
