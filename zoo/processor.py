"""What the processor is: its name, and the instruction sets that libraries choose their arithmetic by."""

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

#: Instruction sets that change the bits of a result.
FEATURES = (
    "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8",
    "amx_fp16", "fma", "neon", "asimd", "sve", "sve2", "bf16",
)  # fmt: skip
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
    "DNNL_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "NVIDIA_TF32_OVERRIDE",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "CUBLAS_WORKSPACE_CONFIG",
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


def processor_caches() -> list[str]:
    """The sizes of the first processor's caches, by which libraries cut their products into blocks; empty where the
    system does not tell.

    On Linux such as ``["1 Data 32K", "1 Instruction 32K", "2 Unified 512K"]``.
    """
    found = []
    for cache_folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with suppress(OSError):
            found.append(" ".join((cache_folder / name).read_text().strip() for name in ("level", "type", "size")))
    return found


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def flags() -> dict[str, str]:
    """The environment variables of ``FLAGS`` that are set."""
    return {name: os.environ[name] for name in FLAGS if name in os.environ}
