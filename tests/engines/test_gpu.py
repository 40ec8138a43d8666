"""What a GPU's results depend on: a stand-in for one, by TensorFlow's own words for it."""

import json
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.python.framework import config

from zoo import engine
from zoo.engines import gpu
from zoo.engines.interface import Setup, settings

ON_GPU = Setup(batch=16, device="gpu:1")
DETAILS = {
    "first": {"device_name": "NVIDIA T4", "compute_capability": (7, 5)},
    "second": {"device_name": "NVIDIA H100", "compute_capability": (9, 0)},
}
BUILT = {"cuda_version": "12.5.1", "cudnn_version": "9", "is_cuda_build": True}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: list(DETAILS))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: DETAILS[device])
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: BUILT)
    monkeypatch.setattr(gpu, "_libraries", lambda: {"nvidia-cudnn-cu12": "9.3.0.75"})


def facts(name: str = "keras", setup: Setup = ON_GPU) -> dict[str, Any]:
    return settings(engine.kind_of(name), setup)


@pytest.mark.parametrize("name", ["keras", "tensorflow"])
def test_settings_say_which_gpu_and_what_computes_on_it(name: str, gpus: None):
    found = facts(name)
    assert found["gpu"] == {
        "name": "NVIDIA H100",
        "compute_capability": "9.0",
        "cuda": "12.5.1",
        "cudnn": "9",
        "tf32": True,
        "deterministic": False,
        "libraries": {"nvidia-cudnn-cu12": "9.3.0.75"},
    }
    assert json.loads(json.dumps(found)) == found
    assert facts(name, Setup(batch=16, device="gpu:0"))["gpu"]["name"] == "NVIDIA T4"


def test_other_libraries_tf32_and_determinism_are_other_settings(gpus: None, monkeypatch: pytest.MonkeyPatch):
    seen = [facts()]
    monkeypatch.setitem(BUILT, "cudnn_version", "8")
    seen.append(facts())
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    seen.append(facts())
    monkeypatch.setattr(config, "is_op_determinism_enabled", lambda: True)
    seen.append(facts())
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        seen.append(facts())
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)
    assert len({json.dumps(one) for one in seen}) == len(seen)


def test_on_a_processor_no_gpu_is_asked_about(gpus: None, monkeypatch: pytest.MonkeyPatch):
    def asked(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(tf.sysconfig, "get_build_info", asked)
    assert "gpu" not in facts(setup=Setup(batch=16))


def test_a_gpu_that_tells_nothing_has_no_empty_words(gpus: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(DETAILS, "second", {})
    monkeypatch.setattr(tf.sysconfig, "get_build_info", dict)
    assert set(facts()["gpu"]) == {"tf32", "deterministic", "libraries"}
    assert gpu.capability("gpu:1") is None
    assert gpu.capability("gpu:2") is None
    assert gpu.capability("gpu:0") == (7, 5)


def test_nvidias_libraries_are_found_by_name(monkeypatch: pytest.MonkeyPatch):
    class Package:
        def __init__(self, name: str) -> None:
            self.metadata, self.version = {"Name": name}, "1.2"

    packages = [Package(name) for name in ("numpy", "nvidia-cudnn-cu12", "NVIDIA-cublas-cu12")]
    monkeypatch.setattr(gpu.importlib.metadata, "distributions", lambda: packages)
    assert gpu._libraries.__wrapped__() == {"nvidia-cublas-cu12": "1.2", "nvidia-cudnn-cu12": "1.2"}
