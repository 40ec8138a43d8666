"""What a lock says of a run's machine and of its engines."""

import tomllib
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w

from zoo import engine
from zoo.device import Device
from zoo.engines.interface import Setup, choice_table
from zoo.lock import PACKAGES, lock_table

from .networks import small_convnet

DATA: Any = type("Ten", (), {"source": "ten", "whole_digest": "d", "__len__": lambda self: 10})()
SPLIT: Any = SimpleNamespace(train=range(6), val=range(2), test=range(2), unused=())


def table(device: str, features: dict[str, Any]) -> dict[str, Any]:
    stage: Any = SimpleNamespace(name="head", epochs=1, kept=0, audited=2, digest="w", features=features)
    made = lock_table(
        network={"name": "net"},
        data=DATA,
        decoder="none",
        split=SPLIT,
        device=Device(device, 2, "as asked"),
        split_digest="s",
        stages=[stage],
        result={},
    )
    return tomllib.loads(tomli_w.dumps(made))


@pytest.mark.parametrize("name", engine.ENGINES)
def test_the_versions_of_every_engines_packages_are_among_those_of_a_run(name: str):
    assert set(engine.kind_of(name).packages) <= set(PACKAGES)


@pytest.mark.parametrize("name", engine.ENGINES)
def test_a_stage_says_how_its_trunk_was_run(name: str):
    how = choice_table(engine.kind_of(name), Setup(batch=16, threads=2), small_convnet())
    assert table("cpu:0", how)["stage"][0]["features"] == how


def test_the_gpu_is_told_where_one_was_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zoo.lock.gpu_facts", lambda device: {"name": device} if device == "gpu:0" else {})
    assert table("gpu:0", {})["compute"]["gpu"] == {"name": "gpu:0"}
    assert "gpu" not in table("cpu:0", {})["compute"]
