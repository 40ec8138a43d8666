"""Whether a device multiplies numbers of bfloat16."""

import keras

from ..processor import BFLOAT16, processor_features
from .interface import Setup


def no_bfloat16(setup: Setup) -> str | None:
    """Why a device has no bfloat16; ``None`` where it has, or where it is not asked for.

    A processor has it with the instruction set ``avx512_bf16`` or ``amx_bf16``, an NVIDIA GPU from compute capability
    8.0 (Ampere) on. Without, it is emulated: slower than float32, and less exact.
    """
    if setup.precision != "bfloat16":
        return None
    if setup.on_gpu:
        capability = _capability(setup)
        if capability is None or capability >= (8, 0):
            return None
        return f"the GPU has no bfloat16: its compute capability is {'.'.join(map(str, capability))}, not 8.0 or more"
    features = processor_features()
    if set(BFLOAT16) & set(features):
        return None
    found = ", ".join(features) or "unknown features"
    return f"the processor has no bfloat16: it has {found}, and neither {' nor '.join(BFLOAT16)}"


def _capability(setup: Setup) -> tuple[int, ...] | None:
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    number = int(setup.device.partition(":")[2] or 0)
    gpus = tf.config.list_physical_devices("GPU")
    if number >= len(gpus):
        return None
    return tf.config.experimental.get_device_details(gpus[number]).get("compute_capability")
