"""What the results of a GPU depend on beside the network: what it is, and the libraries that compute on it."""

import importlib.metadata
import re
from functools import cache
from pathlib import Path
from typing import Any

import keras


def capability(device: str) -> tuple[int, ...] | None:
    """A GPU's compute capability, such as ``(9, 0)``; ``None`` where it is not known."""
    return _details(device).get("compute_capability")


def gpu_facts(device: str) -> dict[str, Any]:
    """What the bits of a GPU's results depend on; empty on a processor, and where Keras is not on TensorFlow.

    Whether operations are deterministic counts too: :func:`zoo.device.prepare` has it so, and XLA compiles accordingly,
    but a program that never calls it need not get the same bits twice.

    Args:
        device: Keras's name for it, such as ``gpu:0``.
    """
    if not device.startswith("gpu") or keras.backend.backend() != "tensorflow":
        return {}
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled

    details, built = _details(device), tf.sysconfig.get_build_info()
    found = {
        "name": details.get("device_name"),
        "compute_capability": ".".join(map(str, details.get("compute_capability") or ())) or None,
        "cuda": built.get("cuda_version"),
        "cudnn": built.get("cudnn_version"),
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "deterministic": is_op_determinism_enabled(),
        "libraries": dict(_libraries()),
    }
    return {name: value for name, value in found.items() if value is not None}


def driver() -> dict[str, str]:
    """The version of NVIDIA's driver, where the system tells."""
    file = Path("/proc/driver/nvidia/version")
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", file.read_text(encoding="utf-8")) if file.exists() else None
    return {"driver": found[0]} if found else {}


def _details(device: str) -> dict[str, Any]:
    if keras.backend.backend() != "tensorflow":
        return {}
    import tensorflow as tf

    number = int(device.partition(":")[2] or 0)
    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[number]) if number < len(gpus) else {}


@cache
def _libraries() -> dict[str, str]:
    """The versions of NVIDIA's libraries that were installed beside TensorFlow, as its extra ``and-cuda`` does."""
    packages = ((one.metadata["Name"].lower(), one.version) for one in importlib.metadata.distributions())
    return dict(sorted(package for package in packages if package[0].startswith("nvidia-")))
