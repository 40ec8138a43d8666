"""The benchmark of frozen fine-tuning, with few and small images."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import frozen_finetune
from zoo.data import open_data

ROOT = Path(__file__).parents[1]


def test_both_sides_are_given_the_same_images_and_the_same_split(tmp_path):
    frozen_finetune.make_images(tmp_path / "images", 50, frozen_finetune.SHARES)
    data = open_data(tmp_path / "images")
    assert data.native_shape() == (375, 500, 3)
    assert data.classes == tuple(sorted(frozen_finetune.CLASSES))
    assert [(data.sides or ()).count(side) for side in ("train", "val", "test")] == [40, 5, 5]
    assert len(set(data.digests)) == 50


@pytest.mark.parametrize("thawed", [False, True])
def test_the_plain_script_is_python_and_freezes_what_zoo_does(thawed):
    options = Namespace(size=224, epochs=20, thawed_epochs=5)
    script = frozen_finetune.plain_script(options, Path("work"), "resnet50", thawed=thawed, seed=3)
    compile(script, "plain", "exec")
    assert "{" not in script.replace('f"work/images/{side}"', "").partition("print(")[0]
    assert ("base.trainable = False" in script) != thawed
    assert ('index("conv4_block6_out")' in script) == thawed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_way_is_measured_and_a_second_run_finds_what_the_first_computed(tmp_path):
    small = (
        "--network",
        "mobilenetv2",
        "--images",
        "50",
        "--more",
        "20",
        "--size",
        "64",
        "--epochs",
        "2",
        "--thawed-epochs",
        "1",
    )
    once = ("--repeats", "1", "--engines", "auto", "--precisions", "float32", "--json", str(tmp_path / "rows.json"))
    command = [sys.executable, "-m", "benchmarks.frozen_finetune", *small, *once]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["way"]["run"], row["way"]["thawed"]) for row in rows] == [
        (run, thawed) for thawed in (False, True) for run in ("plain", "first", "second")
    ]
    for row in rows:
        assert len(row["seconds"]) == len(row["accuracy"]) == len(row["more"]) == 1
        assert row["over_plain"] == [rows[3 if row["way"]["thawed"] else 0]["seconds"][0] / row["seconds"][0]]
    for first, second in ((rows[1], rows[2]), (rows[4], rows[5])):
        assert (first["accuracy"], first["more"]) == (second["accuracy"], second["more"])
        assert first["engine"] == second["engine"] == "tensorflow"
