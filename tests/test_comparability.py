"""What makes a comparison bit by bit impossible, and what is only reported."""

from copy import deepcopy
from typing import Any

import pytest

from zoo.comparability import missing_engines, obstacles, reported

BEFORE: dict[str, Any] = {
    "versions": {"python": "3.11.9", "keras": "3.15.1"},
    "installed": {"keras": "ab" * 32},
    "compute": {
        "backend": "tensorflow",
        "device": "cpu:0",
        "device_reason": "no GPU was found",
        "threads": 2,
        "processor": {"machine": "x86_64", "name": "EPYC", "features": ["avx2", "fma"], "caches": ["1 Data 32K"]},
        "flags": {"TF_XLA_FLAGS": "--a"},
        "state": {"floatx": "float32", "epsilon": 1e-7, "onednn": False, "xla": False, "deterministic": False},
    },
}


def changed(place: str, value: Any) -> dict[str, Any]:
    now = deepcopy(BEFORE)
    table, *keys = place.split(".")
    inner = now[table]
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return now


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("compute.threads", 3, "the number of threads: 2 before, 3 now. It takes 2: call it where"),
        ("compute.backend", "jax", "Keras's backend: tensorflow before, jax now. Set KERAS_BACKEND=tensorflow."),
        ("compute.device", "gpu:0", "the device: cpu before, gpu now. It takes cpu, or compare the figures alone"),
        (
            "compute.processor.features",
            ["avx2", "avx512f", "fma"],
            "the processor's instruction sets: avx2, fma before, avx2, avx512f, fma now. It takes a processor with",
        ),
        ("compute.processor.machine", "aarch64", "the machine: x86_64 before, aarch64 now"),
        ("compute.state.onednn", True, "oneDNN in TensorFlow: off before, on now. Set TF_ENABLE_ONEDNN_OPTS=0 before"),
        (
            "compute.state.deterministic",
            True,
            "deterministic operations: off before, on now. They are off where no GPU",
        ),
        ("compute.state.xla", True, "XLA for whole graphs: off before, on now. Turn it off"),
        ("compute.state.epsilon", 1e-3, "Keras's epsilon: 1e-07 before, 0.001 now. Set epsilon to 1e-07"),
        ("compute.flags", {}, "TF_XLA_FLAGS: --a before, not set now. Set TF_XLA_FLAGS=--a before Python starts."),
        (
            "compute.flags",
            {"TF_XLA_FLAGS": "--a", "OMP_NUM_THREADS": "1"},
            "OMP_NUM_THREADS: not set before, 1 now. Unset OMP_NUM_THREADS first.",
        ),
    ],
)
def test_one_thing_that_has_to_match_is_named_with_what_to_do(place: str, value: Any, said: str):
    [found] = obstacles(BEFORE, changed(place, value))
    assert str(found).startswith(said)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("versions.keras", "3.16.0", "versions.keras: 3.15.1 before, 3.16.0 now"),
        ("installed.keras", "cd" * 32, "installed.keras: abababababab before, cdcdcdcdcdcd now"),
        ("compute.processor.name", "Xeon", "compute.processor.name: EPYC before, Xeon now"),
        ("compute.processor.caches", ["1 Data 48K"], "compute.processor.caches: 1 Data 32K before, 1 Data 48K now"),
    ],
)
def test_what_may_give_the_same_bits_is_only_reported(place: str, value: Any, said: str):
    now = changed(place, value)
    assert obstacles(BEFORE, now) == []
    assert reported(BEFORE, now) == [said]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("compute.flags", {"TF_XLA_FLAGS": "--a", "KERAS_BACKEND": "tensorflow"}),
        ("compute.flags", {"TF_XLA_FLAGS": "--a", "TF_ENABLE_ONEDNN_OPTS": "0"}),
        ("compute.device_reason", "as asked"),
    ],
)
def test_a_flag_is_judged_by_what_it_led_to_where_that_is_known(place: str, value: Any):
    assert obstacles(BEFORE, changed(place, value)) == []


def test_the_number_of_a_gpu_decides_nothing_but_its_name_does():
    one, other = changed("compute.device", "gpu:0"), changed("compute.device", "gpu:1")
    one["compute"]["gpu"], other["compute"]["gpu"] = (
        {"name": "H100", "driver": "550"},
        {"name": "H100", "driver": "560"},
    )
    assert obstacles(one, other) == []
    assert "compute.gpu.driver: 550 before, 560 now" in reported(one, other)
    other["compute"]["gpu"]["name"] = "A100"
    assert [found.what for found in obstacles(one, other)] == ["the GPU: H100 before, A100 now"]


def test_the_same_environment_has_no_obstacles_and_nothing_to_report():
    assert obstacles(BEFORE, BEFORE) == []
    assert reported(BEFORE, BEFORE) == []


def test_an_engine_that_is_not_installed_any_more_is_named_with_its_stage():
    features = {"engine": "openvino", "versions": {"keras": "3.15.1", "openvino": "2026.1"}}
    stages = [{"name": "head", "features": features}, {"name": "thawed"}]
    [found] = missing_engines(stages, {"keras": "3.15.1"})
    assert found.what == "the engine openvino, which ran the frozen trunk of the stage 'head', is not there"
    assert found.needs == "Install openvino 2026.1."
    assert missing_engines(stages, {"keras": "3.15.1", "openvino": "2026.2"}) == []
