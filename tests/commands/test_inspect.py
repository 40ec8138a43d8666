"""``zoo inspect``"""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from tests.networks import clusters, dense_net
from zoo.errors import RunError
from zoo.inspection_folder import write_inspection

FILES = {"activations.svg", "gradients.svg", "inspection.json", "inspection.txt"}


def test_a_shipped_network_on_built_in_data_is_healthy(call):
    result = call("inspect", "glyphs", "digits", "--sample", 100)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "glyphs.v1: 100 examples, input spread 0.21; cross-entropy; step at 0.01"
    assert lines[2].split()[:3] == ["layer", "activation", "mean"]
    assert lines[-1] == "healthy: 7 layers"


def test_json_holds_what_the_api_gives(call, tiny, tiny_run):
    result = call("inspect", tiny, "digits", "--json", "--quiet", "--learning-rate", 0.5, "--seed", 3)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == zoo.inspect(tiny_run.folder, "digits", learning_rate=0.5, seed=3).as_dict()
    table = json.loads(result.stdout)
    assert (table["learning_rate"], table["seed"]) == (0.5, 3)
    assert table["layers"][0]["step"] > 0


def test_out_gets_figures_and_charts_and_is_never_overwritten(call, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.progress.Progress.EVERY", 1e9)  # on a busy machine it would say how far it is
    out = tmp_path / "new" / "look"
    result = call("inspect", "glyphs", "digits", "--sample", 64, "--out", out)
    assert result.exit_code == 0
    assert result.stderr == f"written: {out}\n"
    assert {file.name for file in out.iterdir()} == FILES
    assert json.loads((out / "inspection.json").read_text(encoding="utf-8"))["examples"] == 64
    assert (out / "inspection.txt").read_text(encoding="utf-8") == result.stdout
    again = call("inspect", "glyphs", "digits", "--sample", 64, "--out", out)
    assert again.exit_code == 1
    assert again.stderr == (
        f"Error: {out} exists already. Expected a path where nothing is. Choose another --out, or remove it.\n"
    )


def test_a_folder_that_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch):
    model = dense_net()
    found = zoo.inspect(model, clusters(40)[0])

    def full(*_, **__):
        what = "no space left"
        raise OSError(what)

    with monkeypatch.context() as patch:
        patch.setattr("zoo.inspection_folder.Path.rename", full)
        with pytest.raises(
            RunError, match=r"look cannot be written: no space left\. Choose an --out that can be written"
        ):
            write_inspection(found, tmp_path / "look")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"look cannot be written"):
        write_inspection(found, tmp_path / "file" / "look")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_keras_file_and_a_table_by_its_columns(call, tmp_path):
    x, y = clusters(60)
    x = x / 4
    dense_net().save(tmp_path / "net.keras")
    rows = [",".join([*(f"{v:.4f}" for v in example), f"c{label}", "7"]) for example, label in zip(x, y, strict=True)]
    header = ",".join([*(f"f{i}" for i in range(x.shape[1])), "what", "noise"])
    (tmp_path / "data.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    columns = [part for i in range(x.shape[1]) for part in ("--feature-column", f"f{i}")]
    result = call("inspect", tmp_path / "net.keras", tmp_path / "data.csv", "--label-column", "what", *columns)
    assert result.exit_code == 0, result.stderr
    assert "60 examples" in result.stdout
    assert "; cross-entropy; " in result.stdout
    assert result.stdout.endswith("healthy: 3 layers\n")


def test_a_folder_of_images_without_labels_stands_in(call, tmp_path):
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 255, (12, 12), "uint8")
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    result = call("inspect", "glyphs", tmp_path)
    assert result.exit_code == 0
    assert "6 examples" in result.stdout
    assert "cross-entropy against random targets, a stand-in: there are no targets" in result.stdout


def test_a_sick_network_is_named_with_a_fix(call, tmp_path):
    keras.utils.set_random_seed(0)
    inner = [keras.layers.Dense(30, activation="sigmoid", name=f"low{i}") for i in range(12)]
    top = keras.layers.Dense(10, activation="softmax")
    net = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), *inner, top]
    )
    net.save(tmp_path / "deep.keras")
    result = call("inspect", tmp_path / "deep.keras", "digits")
    assert result.exit_code == 0, "a diagnosis is no error"
    last = result.stdout.splitlines()[-1]
    assert last.startswith("vanishing: 12 of 13 layers; 'low0': it gets ")
    assert "A fresh network has it too. Use 'elu' with kernel_initializer=zoo.layers.for_activation('elu')" in last
    assert "'deep' departs from the guidelines" in result.stdout
    departures = json.loads(call("inspect", tmp_path / "deep.keras", "digits", "--json").stdout)["departures"]
    assert departures[0]["layers"] == [f"low{i}" for i in range(12)]


def test_errors_are_explained(call, tmp_path):
    result = call("inspect", "glyfs", "digits")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: The zoo knows no network 'glyfs'. Did you mean 'glyphs'")
    assert call("inspect", "glyphs", "digitz").exit_code == 1
    assert call("inspect", "glyphs", "digits", "--sample", 1).exit_code == 2
    assert call("inspect", "glyphs", "digits", "--learning-rate", 0).exit_code == 2
    result = call("inspect", tmp_path, "digits")
    assert "holds no network" in result.stderr
