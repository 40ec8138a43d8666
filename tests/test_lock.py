"""What a lock says of a run: what it began with, its machine, its engines, and what it led to."""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest
import tomli_w

import zoo
from zoo import engine
from zoo.checkpoint import read_checkpoint, weights_digest
from zoo.device import Device
from zoo.engines.interface import Setup, choice_table
from zoo.environment import PACKAGES
from zoo.lock import environment_of, lock_table
from zoo.lock_file import lock_of
from zoo.sources.path import digest_of

from .networks import small_convnet

DATA: Any = type("Ten", (), {"source": "ten", "whole_digest": "d", "__len__": lambda self: 10})()
SPLIT: Any = SimpleNamespace(train=range(6), val=range(2), test=range(2), unused=())


def table(device: str, features: dict[str, Any]) -> dict[str, Any]:
    stage: Any = SimpleNamespace(name="head", epochs=1, kept=0, audited=2, digest="w", features=features)
    made = lock_table(
        recipe="r",
        network={"name": "net"},
        data=DATA,
        decoder="none",
        split=SPLIT,
        device=Device(device, 2, "as asked"),
        split_digest="s",
        stages=[stage],
        checkpoints={"head": "c"},
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


def test_the_gpu_and_its_driver_are_told_where_one_was_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zoo.lock.gpu_facts", lambda device: {"name": device} if device == "gpu:0" else {})
    monkeypatch.setattr("zoo.lock.driver", lambda: {"driver": "550.54.15"})
    assert table("gpu:0", {})["compute"]["gpu"] == {"name": "gpu:0", "driver": "550.54.15"}
    assert "gpu" not in table("cpu:0", {})["compute"]


def test_what_computes_is_told_with_what_flags_led_to():
    compute = environment_of(Device("cpu:0", 2, "as asked"))["compute"]
    assert (compute["backend"], compute["device"], compute["threads"]) == (keras.backend.backend(), "cpu:0", 2)
    assert {"machine", "name", "features", "caches", "count"} == set(compute["processor"])
    assert compute["state"]["floatx"] == "float32"
    assert {"onednn", "xla", "deterministic"} <= set(compute["state"])


def test_the_epsilon_of_keras_is_among_what_computes():
    before = keras.config.epsilon()
    keras.config.set_epsilon(1e-3)
    try:
        assert environment_of(Device("cpu:0", 2, "as asked"))["compute"]["state"]["epsilon"] == 1e-3
    finally:
        keras.config.set_epsilon(before)


def test_everything_that_a_run_began_with_and_led_to_has_its_digest(tiny_run):
    lock, folder = lock_of(tiny_run.folder), tiny_run.folder
    assert lock["recipe"] == digest_of(folder / "recipe.toml")
    assert lock["data"]["split"] == digest_of(folder / "split.csv")
    assert lock["data"]["digest"] == zoo.open_data("digits").whole_digest
    assert lock["result"]["weights"] == weights_digest(tiny_run.model)
    assert lock["result"]["test"]["accuracy"] == tiny_run.metrics["test"]["accuracy"]
    [stage] = lock["stage"]
    assert stage["weights"] == lock["result"]["weights"]
    assert lock["network"]["start"] != stage["weights"]
    [file] = (folder / "checkpoints").glob("*.safetensors")
    assert read_checkpoint(file).position["name"] == stage["name"]
    assert len(stage["checkpoint"]) == 64


def test_the_split_is_by_index_and_by_content(tiny_run):
    data = zoo.open_data("digits")
    rows = (tiny_run.folder / "split.csv").read_text().splitlines()[1:]
    assert len(rows) == len(data)
    for index in (0, 17, len(data) - 1):
        assert rows[index].startswith(f"{data.name_of(index)},{data.digest(index)},")


def test_the_lock_is_there_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def ends(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.execution.train_stage", ends)
    with pytest.raises(KeyboardInterrupt):
        zoo.finetune("glyphs", "digits", out=tmp_path / "run", limit_per_class=2, epochs=1)
    lock = lock_of(tmp_path / "run")
    assert lock["result"] == {} and lock["stage"] == []
    assert lock["recipe"] == digest_of(tmp_path / "run" / "recipe.toml")
    assert lock["compute"]["threads"] >= 1


@pytest.mark.parametrize("text", [None, "schema = "])
def test_a_lock_that_cannot_be_read_is_an_error(text: str | None, tmp_path: Path):
    if text is not None:
        (tmp_path / "recipe.lock").write_text(text)
    expected = r"The lock .*recipe\.lock cannot be read: .*\. Expected the recipe\.lock that the run wrote\."
    with pytest.raises(zoo.RunError, match=expected):
        lock_of(tmp_path)
