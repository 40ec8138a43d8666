"""Whether a device multiplies numbers of bfloat16."""

import keras

from ..errors import SurgeryError
from ..precision import computing_in, in_precision
from ..processor import BFLOAT16, processor_features
from .gpu import capability
from .interface import CannotRun, Setup


def no_bfloat16(setup: Setup) -> str | None:
    """Why a device has no bfloat16; ``None`` where it has, or where it is not asked for.

    A processor has it with the instruction set ``avx512_bf16`` or ``amx_bf16``, an NVIDIA GPU from compute capability
    8.0 (Ampere) on. Without, it is emulated: slower than float32, and less exact.
    """
    if setup.precision != "bfloat16":
        return None
    if setup.on_gpu:
        found = capability(setup.device)
        if found is None or found >= (8, 0):
            return None
        return f"the GPU has no bfloat16: its compute capability is {'.'.join(map(str, found))}, not 8.0 or more"
    features = processor_features()
    if set(BFLOAT16) & set(features):
        return None
    found = ", ".join(features) or "unknown features"
    return f"the processor has no bfloat16: it has {found}, and neither {' nor '.join(BFLOAT16)}"


def under_policy(trunk: keras.Model) -> keras.Model:
    """A copy of a trunk under Keras's policy ``mixed_bfloat16``, its topmost weights too: it ends inside a network.

    Raises:
        CannotRun: if it cannot be copied, or nothing in it that has weights would be computed in bfloat16.
    """
    try:
        narrow = in_precision(trunk, "mixed_bfloat16", inner=True)
    except SurgeryError as reason:
        raise CannotRun(str(reason).rstrip(".")) from reason
    if "mixed_bfloat16" not in computing_in(narrow):
        what = "nothing in it can be computed in bfloat16"
        raise CannotRun(what)
    return narrow
