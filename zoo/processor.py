"""What the processor is: its name, and the instruction sets that libraries choose their arithmetic by."""

import os
import platform
from functools import cache
from pathlib import Path

#: Instruction sets that change the bits of a result.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "fma", "neon", "asimd", "sve")
#: Those that multiply numbers of bfloat16.
BFLOAT16 = ("avx512_bf16", "amx_bf16")
#: Environment variables that change the bits of a result.
FLAGS = (
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "TF_DETERMINISTIC_OPS",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "NVIDIA_TF32_OVERRIDE",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "OMP_NUM_THREADS",
    "KERAS_BACKEND",
)


@cache
def _cpuinfo() -> str:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""


def processor_features() -> list[str]:
    """Which of ``FEATURES`` there are; empty where the system does not tell."""
    words = set(_cpuinfo().split())
    return [name for name in FEATURES if name in words]


def processor_name() -> str:
    """The machine's architecture and, where the system tells, the processor's model."""
    models = [line.partition(":")[2].strip() for line in _cpuinfo().splitlines() if line.startswith("model name")]
    return " ".join([platform.machine(), *models[:1]])


def flags() -> dict[str, str]:
    """The environment variables of ``FLAGS`` that are set."""
    return {name: os.environ[name] for name in FLAGS if name in os.environ}
