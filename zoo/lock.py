"""On what a recipe was run: digests, versions, threads, flags, and what it led to."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from .data import Dataset, Split
from .device import Device
from .engines.gpu import driver, gpu_facts
from .environment import installed, versions
from .framework_state import framework_state
from .processor import flags, processor_caches, processor_features, processor_name, processors
from .stage_result import StageResult


def lock_table(
    *,
    recipe: str,
    network: dict[str, str],
    data: Dataset,
    decoder: str,
    split: Split,
    device: Device,
    split_digest: str,
    stages: Sequence[StageResult],
    checkpoints: Mapping[str, str],
    result: dict[str, Any],
) -> dict[str, Any]:
    """Everything that a run's result depends on, and the digests that it led to.

    Args:
        recipe: The digest of ``recipe.toml``.
        network: The name of the network, the digest of its weights' file, and of all weights when training began.
        data: The examples.
        decoder: How a file becomes pixels.
        split: The side of each example.
        device: What computes.
        split_digest: The digest of ``split.csv``.
        stages: What the stages did.
        checkpoints: The digest of what each stage's checkpoint holds, by the stage's name.
        result: The digest of the final weights, and figures.

    Returns:
        A table for ``recipe.lock``.
    """
    return {
        "schema": 1,
        "recipe": recipe,
        "network": network,
        "data": {
            "source": data.source,
            "digest": data.whole_digest,
            "examples": len(data),
            "decoder": decoder,
            "split": split_digest,
            **{side: len(getattr(split, side)) for side in ("train", "val", "test", "unused")},
        },
        **environment_of(device),
        "stage": [_stage(done, checkpoints) for done in stages],
        "result": result,
    }


def environment_of(device: Device) -> dict[str, Any]:
    """What the bits of a result depend on beside recipe, network and data: which code computes, and on what."""
    gpu = gpu_facts(device.name)
    return {
        "versions": versions(),
        "installed": installed(),
        "compute": {
            "backend": keras.backend.backend(),
            "device": device.name,
            "device_reason": device.why,
            "threads": device.threads,
            "processor": {
                "machine": platform.machine(),
                "name": processor_name(),
                "features": processor_features(),
                "caches": processor_caches(),
                "count": processors(),
            },
            **({"gpu": {**gpu, **driver()}} if gpu else {}),
            "flags": flags(),
            "state": framework_state(),
        },
    }


def _stage(done: StageResult, checkpoints: Mapping[str, str]) -> dict[str, Any]:
    facts = {"name": done.name, "epochs": done.epochs, "kept_epoch": done.kept}
    features = {"features": dict(done.features)} if done.features else {}
    kept = {"checkpoint": checkpoints[done.name]} if done.name in checkpoints else {}
    return {**facts, "frozen_variables": done.audited, "weights": done.digest, **kept, **features}
