"""Which device, and what is said when its memory is out."""

import keras
import pytest

from zoo.device import default_threads, out_of_memory, prepare
from zoo.errors import DeviceError

on_cpu = pytest.mark.skipif(bool(keras.distribution.list_devices("gpu")), reason="for machines without a GPU")


@on_cpu
def test_auto_says_why():
    assert (prepare("auto").name, prepare("auto").why.split(";")[0]) == ("cpu:0", "no GPU was found")


def test_the_cpu_as_asked():
    device = prepare("cpu")
    assert device.name == "cpu:0"
    assert device.why.startswith("as asked")
    assert device.threads >= 1


@pytest.mark.parametrize("wanted", ["tpu", "gpu:one", "cpu:1", "", "gpu:"])
def test_what_is_no_device_is_refused(wanted: str):
    with pytest.raises(DeviceError, match=f"'{wanted}' is not a device. Expected auto, cpu, gpu or gpu:N"):
        prepare(wanted)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(DeviceError, match=r"There is no device gpu:99. Received \d+ GPU\(s\)\. Use --device cpu"):
        prepare("gpu:99")


def test_threads_that_come_too_late_are_said():
    keras.ops.ones((1,))  # the framework has started
    late = prepare("cpu", threads=prepare("cpu").threads + 1)
    assert "the framework had started with" in late.why
    assert late.threads == prepare("cpu").threads


def test_default_threads_are_few():
    assert 1 <= default_threads() <= 8


def test_out_of_memory_says_which_batch_size_to_try():
    import tensorflow as tf

    with pytest.raises(DeviceError, match=r"Memory ran out with batches of 64. Try --batch-size 32."):
        with out_of_memory(64):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    with pytest.raises(DeviceError, match=r"Memory ran out with batches of 1. Freeze more, or use a smaller network."):
        with out_of_memory(1):
            raise MemoryError
    with pytest.raises(DeviceError, match="batches of 8"):
        with out_of_memory(8):
            raise tf.errors.InternalError(None, None, "RESOURCE_EXHAUSTED: Out of memory")


def test_other_errors_pass():
    with pytest.raises(ValueError, match="something else"):
        with out_of_memory(64):
            raise ValueError("something else")  # noqa: EM101
