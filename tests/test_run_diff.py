"""Two runs side by side."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import zoo
from zoo.errors import RunError
from zoo.lock_file import lock_of
from zoo.progress import Progress
from zoo.run_diff import RunDiff, compare_runs

HOW: dict[str, Any] = {"limit_per_class": 2, "freeze": "all", "progress": Progress(quiet=True)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run, the same again, and one from another seed with an epoch more."""
    root = tmp_path_factory.mktemp("runs")
    made = {
        name: zoo.finetune("glyphs", "digits", out=root / name, seed=seed, head_epochs=count, **HOW)
        for name, seed, count in (("one", 0, 2), ("again", 0, 2), ("other", 1, 3))
    }
    return {name: run.folder for name, run in made.items()}


@pytest.fixture
def copy(runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs["one"], tmp_path / "copy"))


def rows(found: RunDiff) -> dict[str, tuple[Any, Any]]:
    return {f"{row.part}: {row.key}": (row.left, row.right) for row in found.rows}


def test_the_same_run_twice_is_said_to_be_the_same(runs: dict[str, Path]):
    found = compare_runs(runs["one"], runs["again"])
    assert found.rows == ()
    assert str(found) == "the two runs are the same: recipe, lock and results"
    assert found.table()["differences"] == []


def test_only_what_differs_is_shown_side_by_side(runs: dict[str, Path]):
    found = rows(compare_runs(runs["one"], runs["other"]))
    recipe = {key: pair for key, pair in found.items() if key.startswith("recipe: ")}
    assert recipe == {"recipe: seed": (0, 1), "recipe: stage.head.epochs": (2, 3)}
    one, other = (zoo.Run(runs[name]).metrics["test"] for name in ("one", "other"))
    assert found["result: test.loss"] == (one["loss"], other["loss"])
    assert found["lock: stage.head.epochs"] == (2, 3)
    digests = tuple(lock_of(runs[name])["result"]["weights"] for name in ("one", "other"))
    assert found["result: weights"] == digests
    assert not any("seconds" in key or "versions" in key or key == "lock: recipe" for key in found)


def test_examples_on_other_sides_are_counted(runs: dict[str, Path]):
    found = rows(compare_runs(runs["one"], runs["other"]))
    left, right = found["lock: data.train (contents)"]
    assert left.endswith("not in the other's") and right.endswith("not in the other's")
    assert 1 <= int(left.split()[0]) <= 20


def test_the_first_step_with_another_loss_is_named(copy: Path, runs: dict[str, Path]):
    lines = (copy / "steps.csv").read_text().splitlines()
    lines[2] = "head,2,1,9.5,41180000"
    (copy / "steps.csv").write_text("\n".join([*lines, ""]))
    found = rows(compare_runs(copy, runs["one"]))
    [(key, (left, _))] = found.items()
    assert (key, left) == ("result: first other loss: the stage 'head', epoch 2, step 1", "9.5")


def test_why_a_device_was_chosen_is_no_difference(copy: Path, runs: dict[str, Path]):
    lock = lock_of(copy)
    lock["compute"]["device_reason"] = "as asked"
    (copy / "recipe.lock").write_text(tomli_w.dumps(lock))
    assert compare_runs(copy, runs["one"]).rows == ()


def test_what_is_printed_has_a_table_for_each_part(copy: Path, runs: dict[str, Path]):
    lock = lock_of(copy)
    lock["versions"]["keras"] = "3.0.0"
    lock["compute"]["processor"]["features"] = ["avx9", "avx10"]
    lock["data"]["digest"] = "ab" * 32
    del lock["compute"]["backend"]
    (copy / "recipe.lock").write_text(tomli_w.dumps(lock))
    text = (copy / "recipe.toml").read_text()
    (copy / "recipe.toml").write_text(text.replace("seed = 0", "seed = 5"))
    recipe, locks = str(compare_runs(copy, runs["one"])).split("\n\n")
    assert [line.split()[0] for line in recipe.splitlines()] == ["recipe", "seed"]
    assert recipe.splitlines()[0].split()[1:] == [str(copy), str(runs["one"])]
    found = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in locks.splitlines()}
    assert set(found) == {"lock", "versions.keras", "compute.processor.features", "data.digest", "compute.backend"}
    assert found["compute.processor.features"].startswith("avx9, avx10 ")
    assert found["data.digest"].startswith("abababababab ")
    assert found["compute.backend"].startswith("– ")


def test_a_run_that_did_not_finish_is_compared_as_far_as_it_got(copy: Path, runs: dict[str, Path]):
    for name in ("model.keras", "metrics.json", "steps.csv"):
        (copy / name).unlink()
    lock = lock_of(copy)
    (copy / "recipe.lock").write_text(tomli_w.dumps({**lock, "result": {}, "stage": []}))
    found = compare_runs(copy, runs["one"])
    assert found.notes == (f"{copy} has not finished",)
    assert rows(found)["result: weights"] == (None, lock["result"]["weights"])
    assert str(found).endswith(f"\n\n{copy} has not finished")
    both = compare_runs(copy, copy)
    assert str(both).splitlines()[0] == "the two runs are the same: as far as they have got"


def test_a_run_that_has_but_its_recipe_is_compared(copy: Path, runs: dict[str, Path]):
    for file in copy.iterdir():
        if file.is_file() and file.name != "recipe.toml":
            file.unlink()
    found = rows(compare_runs(runs["one"], copy))
    assert not any(key.startswith("recipe: ") for key in found)
    assert found["lock: data.source"] == ("digits", None)


@pytest.mark.parametrize(("make", "said"), [(False, "There is no run at "), (True, " is not a run folder.")])
def test_what_is_no_run_is_an_error(make: bool, said: str, runs: dict[str, Path], tmp_path: Path):
    if make:
        (tmp_path / "none").mkdir()
    for pair in ((tmp_path / "none", runs["one"]), (runs["one"], tmp_path / "none")):
        with pytest.raises(RunError) as error:
            compare_runs(*pair)
        assert said in str(error.value)
        assert "Expected a folder that zoo finetune wrote (its --out)" in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("recipe.toml", "seed ="), ("metrics.json", "{"), ("recipe.lock", "="), ("split.csv", "a,b\n1,2\n")],
)
def test_a_damaged_file_is_an_error_that_names_it(name: str, text: str, copy: Path, runs: dict[str, Path]):
    (copy / name).write_text(text)
    with pytest.raises(RunError, match=f"{copy / name} cannot be read: "):
        compare_runs(runs["one"], copy)


def test_no_framework_is_loaded(runs: dict[str, Path]):
    code = (
        "import sys; from zoo.run_diff import compare_runs; import json; "
        "print(json.dumps(compare_runs(*sys.argv[1:]).table())); "
        "sys.exit(bool({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", code, str(runs["one"]), str(runs["other"])]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {row["part"] for row in json.loads(done.stdout)["differences"]} == {"recipe", "lock", "result"}
