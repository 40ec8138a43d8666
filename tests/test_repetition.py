"""Runs from several seeds: each is what it is alone, and their figures are counted right."""

import json
import re
import zipfile
from pathlib import Path

import pytest

import zoo
from zoo.errors import RecipeError, RunError
from zoo.measurement import headline
from zoo.progress import Progress
from zoo.recipe import read_recipe
from zoo.repetition import Repetition, seeds_from
from zoo.run import Run

QUIET = Progress(quiet=True)
FEW = {
    "limit_per_class": 3,
    "head_epochs": 2,
    "epochs": 2,
    "freeze": "block2",
    "hidden": (8,),
    "dropout": 0.5,
    "augment": "light",
}


def result_of(folder: Path) -> dict[str, object]:
    """All that a run gave, without its clock and its name."""
    with zipfile.ZipFile(folder / "model.keras") as model:
        found: dict[str, object] = {name: model.read(name) for name in model.namelist() if name != "metadata.json"}
    for name in ("recipe.toml", "plan.txt", "labels.txt", "split.csv"):
        found[name] = (folder / name).read_bytes()
    rows = (folder / "history.csv").read_text(encoding="utf-8").splitlines()
    found["history.csv"] = [row.rpartition(",")[0] for row in rows]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    found["metrics.json"] = {side: metrics[side] for side in ("test", "val") if side in metrics}
    lock = (folder / "recipe.lock").read_text(encoding="utf-8")
    found["recipe.lock"] = re.findall(r"^weights = .*$", lock, re.M)
    return found


def test_each_seed_is_byte_for_byte_what_it_is_alone(tmp_path, tiny_run):
    found = zoo.repeat(tiny_run.folder, "digits", seeds=3, seed=4, out=tmp_path / "runs", progress=QUIET, **FEW)
    assert found.seeds == (4, 5, 6)
    alone = zoo.finetune(tiny_run.folder, "digits", seed=6, out=tmp_path / "alone", progress=QUIET, **FEW)
    said = read_recipe(tmp_path / "runs" / "seed-4" / "recipe.toml", set={"seed": 5})  # as an interrupted series says
    other = zoo.finetune(recipe=said, out=tmp_path / "other", progress=QUIET)
    for run, seed in ((alone, 6), (other, 5)):
        one, other = result_of(run.folder), result_of(tmp_path / "runs" / f"seed-{seed}")
        assert one.keys() == other.keys()
        for name in one:
            assert one[name] == other[name], name
    table = json.loads((tmp_path / "runs" / "seeds.json").read_text(encoding="utf-8"))
    assert table == found.table()
    assert len({row["weights"] for row in table["seeds"]}) == 3
    assert [run.metrics["test"]["accuracy"] for run in found.runs] == [row["accuracy"] for row in table["seeds"]]
    assert (tmp_path / "runs" / "seed-5" / "log.txt").read_text(encoding="utf-8").count("data: digits") == 1


def test_the_seeds_begin_at_the_recipe_s(tmp_path, tiny_run):
    recipe = zoo.read_recipe(tiny_run.folder / "recipe.toml", set={"seed": 8, "stage.0.epochs": 1})
    assert zoo.repeat(recipe=recipe, seeds=1, out=tmp_path / "runs", progress=QUIET).seeds == (8,)
    assert Run(tmp_path / "runs" / "seed-8").recipe.seed == 8


def test_a_folder_that_exists_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"exists already\. Expected a path where nothing is\. Choose another --out"):
        zoo.repeat("glyphs", "digits", seeds=2, out=tmp_path)


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "2"])
def test_no_seeds_are_refused(tmp_path, count):
    with pytest.raises(RecipeError, match=r"There is no such number of seeds\. Expected 1 or more, and none above"):
        zoo.repeat("glyphs", "digits", seeds=count, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_seeds_do_not_run_over():
    assert seeds_from(2**63 - 2, 2) == (2**63 - 2, 2**63 - 1)
    with pytest.raises(RecipeError, match="There is no such number of seeds"):
        seeds_from(2**63 - 2, 3)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((0.5, 0.7), "test accuracy over 2 seeds: mean 0.6000, from 0.5000 to 0.7000"),
        ((0.5, None), "test accuracy over 2 seeds: mean 0.5000, from 0.5000 to 0.5000"),
        ((None, None), "test accuracy over 2 seeds: undefined"),
    ],
)
def test_mean_and_range_are_of_what_is_defined(values, says):
    assert str(Repetition(Path("r"), (0, 1), "test", "accuracy", values)) == says


@pytest.mark.parametrize("figures", [{"accuracy": 0.5}, {"micro_f1": 0.5}, {"rmse": 0.5, "mae": 0.4}, {}])
def test_the_figure_is_the_one_that_a_run_s_headline_names(figures):
    from zoo.repetition import _repetition

    metrics = {"test": {"examples": 3, "loss": 0.5, **figures}}
    figure = _repetition(Path("r"), (0,), [metrics]).figure
    assert headline(metrics).startswith(f"test {figure.replace('_', ' ')} 0.5")


def test_a_series_that_is_interrupted_names_what_has_not_begun(tmp_path, tiny_run, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(Progress, "line", lambda self, text: lines.append(text))

    def ended(*args, out: Path, **options):
        out.mkdir(parents=True)
        (out / "recipe.toml").write_text("", encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.repetition.finetune", ended)
    with pytest.raises(KeyboardInterrupt):
        zoo.repeat(tiny_run.folder, "digits", seeds=3, seed=4, out=tmp_path / "runs", **FEW)
    begun, next_ = tmp_path / "runs" / "seed-4" / "recipe.toml", tmp_path / "runs" / "seed-5"
    assert lines[-1] == (
        f"seeds 5, 6 not begun. Run each by itself, such as: zoo run {begun} --set seed=5 --out {next_}"
    )


def test_a_folder_of_several_seeds_is_not_taken_for_a_run(tmp_path):
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "recipe.toml").write_text("", encoding="utf-8")
    for take in (Run, zoo.resume, zoo.verify):
        with pytest.raises(RunError, match=r"holds the runs of several seeds.*Name one: .*seed-0"):
            take(tmp_path)
