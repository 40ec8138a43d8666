"""Which device a run uses, and why; threads, memory that grows, and what to do when memory is out.

One of the few places that import TensorFlow: Keras has no word for these settings.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras

from .errors import DeviceError
from .processor import processors

#: More threads than this rarely help one small network.
MOST_THREADS = 8


@dataclass(frozen=True)
class Device:
    """The device of a run: Keras's name for it, how many CPU threads it has, and why it was chosen."""

    name: str
    threads: int
    why: str


def default_threads() -> int:
    """The processors that this process may use, at most 8."""
    return min(processors(), MOST_THREADS)


def prepare(wanted: str = "auto", threads: int = 0) -> Device:
    """Chooses the device, fixes the number of threads and makes results repeatable on it.

    Args:
        wanted: ``auto`` (a GPU where there is one), ``cpu``, ``gpu`` or ``gpu:N``.
        threads: CPU threads; 0 for as many as the machine has, up to 8. The last bits of results depend on it.

    Returns:
        What was chosen, and why.

    Raises:
        DeviceError: if there is no such device.
    """
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", wanted):
        what = f"'{wanted}' is not a device."
        raise DeviceError(what, expected="auto, cpu, gpu or gpu:N")
    threads = threads or default_threads()
    actual, late = _fix_threads(threads)
    gpus = [name for name in keras.distribution.list_devices("gpu")]
    number = int(wanted.partition(":")[2] or 0)
    if wanted.startswith("gpu") and number >= len(gpus):
        what = f"There is no device {wanted}."
        raise DeviceError(
            what,
            received=f"{len(gpus)} GPU(s)",
            fix='Use --device cpu, or install the extra: pip install "transfer-zoo[gpu]"',
        )
    note = f"; the framework had started with {actual} threads already" if late else ""
    if wanted == "cpu" or (wanted == "auto" and not gpus):
        why = "as asked" if wanted == "cpu" else "no GPU was found"
        return Device("cpu:0", actual, why + note)
    return Device(f"gpu:{number}", actual, ("as asked" if wanted != "auto" else "the first GPU found") + note)


def _fix_threads(threads: int) -> tuple[int, bool]:
    """Sets threads, growing memory and deterministic operations; says what holds, and whether it came too late."""
    if keras.backend.backend() != "tensorflow":
        return threads, False
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # it is in use already
            tf.config.experimental.set_memory_growth(gpu, True)
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
    if tf.config.threading.get_intra_op_parallelism_threads() == threads:
        return threads, False
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        actual = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1
        return actual, actual != threads
    return threads, False


@contextmanager
def out_of_memory(batch_size: int, fix: str | None = None) -> Iterator[None]:
    """Turns running out of memory into an error that says what to do: by default, which batch size to try.

    Args:
        batch_size: The examples of a call.
        fix: What to do instead, where the user does not choose the batch size.

    Raises:
        DeviceError: where the code inside runs out of memory.
    """
    try:
        yield
    except Exception as reason:
        names = {c.__name__ for c in type(reason).__mro__}
        if not ({"ResourceExhaustedError", "MemoryError"} & names or "RESOURCE_EXHAUSTED" in str(reason)):
            raise
        what = f"Memory ran out with batches of {batch_size}."
        smaller = f"Try --batch-size {batch_size // 2}." if batch_size > 1 else "Freeze more, or use a smaller network."
        raise DeviceError(what, fix=fix or smaller) from reason
