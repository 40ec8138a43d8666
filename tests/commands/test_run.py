"""``zoo run``, and what it has in common with ``zoo finetune``: --set, --seeds, --save-recipe."""

import json
import tomllib
from pathlib import Path

import pytest

from zoo.recipe import read_recipe, recipe_text
from zoo.run import Run

from .conftest import FAST


@pytest.fixture
def recipe(tiny, tmp_path) -> Path:
    """A recipe that is over in a moment."""
    text = f"""
schema = 1
[model]
name = "{tiny}"
[data]
path = "digits"
limit_per_class = 3
[[stage]]
name = "head"
train = ["top"]
epochs = 2
optimizer = {{ name = "adam", learning_rate = 0.01 }}
"""
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    return tmp_path / "r.toml"


def weights(folder: Path) -> str:
    return tomllib.loads((folder / "recipe.lock").read_text(encoding="utf-8"))["result"]["weights"]


def test_a_recipe_is_run_and_set_wins(call, recipe, tmp_path):
    result = call("run", recipe, "--out", tmp_path / "a", "--set", "seed=3", "--set", "stage.head.epochs=1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("next: zoo predict ")
    done = read_recipe(tmp_path / "a" / "recipe.toml")
    assert (done.seed, done.stages[0].epochs, done.data.limit_per_class) == (3, 1, 3)
    again = call("run", tmp_path / "a" / "recipe.toml", "--out", tmp_path / "b", "--json", "--quiet")
    assert json.loads(again.stdout)["test"] == Run(tmp_path / "a").metrics["test"]
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_a_dry_run_decides_and_writes_nothing(call, recipe, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = call("run", recipe, "--dry-run", "--set", "stage.0.epochs=7", "--seeds", 3)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert any("7 epochs, adam at 0.01" in line for line in lines)
    assert lines[-2:] == ["all this 3 times, from the seeds 0 to 2", "nothing was trained or written (--dry-run)"]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("glyfs", "--out", "x"), 1, "There is no recipe 'glyfs'."),
        (("no.toml", "--out", "x"), 1, "There is no file no.toml. Check the path."),
        (("RECIPE",), 2, "Missing option '--out'."),
        (("RECIPE", "--dry-run", "--json"), 2, "--dry-run prints lines for people: leave --json out."),
        (("RECIPE", "--out", "FOLDER"), 1, "exists already. Expected a path where nothing is. Choose another --out"),
        (
            ("RECIPE", "--save-recipe", "RECIPE"),
            1,
            "exists already. Expected a path where nothing is. Choose another --s",
        ),
        (("RECIPE", "--out", "x", "--seeds", 0), 2, "0 is not in the range x>=1."),
        (
            ("RECIPE", "--out", "x", "--set", "sead=1"),
            1,
            "with sead set: a recipe has no key 'sead'. Did you mean 'seed'",
        ),
        (("RECIPE", "--out", "x", "--set", "stage.hed.epochs=1"), 1, "there is no stage 'hed'."),
        (
            ("RECIPE", "--out", "x", "--set", "seed=x"),
            1,
            "'seed' has the wrong value. Expected a whole number; received",
        ),
        (("RECIPE", "--out", "x", "--set", "seed"), 1, "--set seed: this is not KEY=VALUE."),
        (("RECIPE", "--out", "x", "--epochs", 3), 2, "No such option"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_loaded(call, early, recipe, tmp_path, arguments, code, said):
    names = {"RECIPE": recipe, "FOLDER": tmp_path}
    result = call("run", *(names.get(str(a), a) for a in arguments))
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in " ".join(result.stderr.split())
    assert [p.name for p in tmp_path.iterdir()] == ["r.toml"]


def test_flags_are_saved_as_a_recipe_that_runs_to_the_same_weights(call, tmp_path):
    """The whole way: a command line, the recipe that it says, and that recipe's run."""
    flags = ("glyphs", "digits", *FAST, "--seed", 4, "--hidden", "16", "--dropout", 0.2, "--optimizer", "sgd")
    flags += (
        "--learning-rate",
        0.05,
        "--momentum",
        0.9,
        "--schedule",
        "cosine",
        "--augment",
        "light",
        "--thaw",
        "by_block",
    )
    flags += ("--batch-norm", "block3=adapt", "--patience", 2, "--set", "data.batch_size=16")
    saved, other = tmp_path / "said.toml", tmp_path / "only.toml"
    one = call("finetune", *flags, "--save-recipe", saved, "--out", tmp_path / "flags", "--json", "--quiet")
    assert one.exit_code == 0, one.output
    two = call("run", saved, "--out", tmp_path / "recipe", "--json", "--quiet")
    assert two.exit_code == 0, two.output
    assert weights(tmp_path / "flags") == weights(tmp_path / "recipe")
    assert json.loads(one.stdout)["test"] == json.loads(two.stdout)["test"]
    texts = [(tmp_path / run / "recipe.toml").read_text(encoding="utf-8") for run in ("flags", "recipe")]
    assert texts[0] == texts[1]
    assert call("finetune", *flags, "--save-recipe", other).exit_code == 0
    assert other.read_text(encoding="utf-8") == saved.read_text(encoding="utf-8")


def test_saving_alone_trains_and_loads_nothing(call, early, recipe, tmp_path):
    saved = tmp_path / "saved.toml"
    result = call("run", recipe, "--save-recipe", saved, "--set", "seed=9")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"the recipe is in {saved}: zoo run {saved} --out DIR\n"
    assert read_recipe(saved) == read_recipe(recipe, set={"seed": 9})
    assert saved.read_text(encoding="utf-8") == recipe_text(read_recipe(saved))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.toml", "saved.toml"]


def test_a_dry_run_may_save_the_recipe(call, recipe, tmp_path):
    result = call("finetune", "--recipe", recipe, "--dry-run", "--save-recipe", tmp_path / "s.toml", "--head-epochs", 5)
    assert result.exit_code == 0
    assert result.stdout.endswith("nothing was trained (--dry-run)\n")
    assert read_recipe(tmp_path / "s.toml").stages[0].epochs == 5


def test_what_a_dry_run_refuses_is_not_saved(call, recipe, tmp_path):
    result = call(
        "run", recipe, "--dry-run", "--save-recipe", tmp_path / "s.toml", "--set", 'stage.head.train=["blok"]'
    )
    assert result.exit_code == 1
    assert not (tmp_path / "s.toml").exists()


def test_finetune_takes_settings_without_a_recipe(call, early, tmp_path):
    saved = tmp_path / "s.toml"
    settings = (
        "--set",
        "model.from_scratch=true",
        "--set",
        "model.args.filters=[8, 8]",
        "--set",
        "stage.scratch.epochs=2",
    )
    result = call("finetune", "convnet", "digits", *settings, "--seed", 3, "--save-recipe", saved)
    assert result.exit_code == 0, result.output
    made = read_recipe(saved)
    assert (made.model.args, made.seed) == ({"filters": [8, 8]}, 3)
    assert [(stage.name, stage.epochs) for stage in made.stages] == [("scratch", 2)]
    wrong = call("finetune", "convnet", "digits", "--set", "sead=3", "--out", tmp_path / "r")
    assert wrong.stderr.startswith("Error: the command line, with sead set: a recipe has no key 'sead'.")


def test_flags_win_over_settings(call, early, tmp_path):
    call("finetune", "glyphs", "digits", "--set", "seed=3", "--seed", 4, "--save-recipe", tmp_path / "s.toml")
    assert read_recipe(tmp_path / "s.toml").seed == 4


def test_several_seeds_print_each_and_mean_and_range(call, recipe, tmp_path):
    result = call("run", recipe, "--seeds", 2, "--set", "seed=5", "--out", tmp_path / "runs")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    accuracies = [Run(tmp_path / "runs" / f"seed-{seed}").metrics["test"]["accuracy"] for seed in (5, 6)]
    low, high, mean = min(accuracies), max(accuracies), sum(accuracies) / 2
    assert lines[0].startswith(f"seed 5: test accuracy {accuracies[0]:.4f} on ")
    assert lines[-1] == f"test accuracy over 2 seeds: mean {mean:.4f}, from {low:.4f} to {high:.4f}"
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"seed-5", "seed-6", "seeds.json"}


def test_several_seeds_as_json_and_from_flags(call, tiny, tmp_path):
    flags = (*FAST, "--freeze", "all", "--seed", 1, "--seeds", 2, "--json", "--quiet")
    result = call("finetune", tiny, "digits", "--out", tmp_path / "runs", *flags)
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found == json.loads((tmp_path / "runs" / "seeds.json").read_text(encoding="utf-8"))
    assert [row["seed"] for row in found["seeds"]] == [1, 2]
    assert (found["side"], found["figure"]) == ("test", "accuracy")
    assert found["min"] <= found["mean"] <= found["max"]


@pytest.mark.parametrize(
    ("flags", "stages"),
    [
        (("--from-scratch", "--set", "stage.0.epochs=3"), {"scratch": 3}),
        (("--from-scratch", "--set", "stage.scratch.epochs=3"), {"scratch": 3}),
        (("--set", "stage.scratch.epochs=3", "--set", "model.from_scratch=true"), {"scratch": 3}),
        (("--freeze", "all", "--set", "stage.head.epochs=5"), {"head": 5}),
        (("--freeze", "block1", "--set", "stage.head.epochs=5"), {"head": 5, "fine-tune": 30}),
    ],
)
def test_what_is_set_of_a_stage_is_set_of_the_one_that_the_flags_lead_to(call, tmp_path, flags, stages):
    network = "convnet" if "scratch" in stages else "glyphs"
    result = call("finetune", network, "digits", *flags, "--save-recipe", tmp_path / "said.toml")
    assert result.exit_code == 0, result.stderr
    assert {stage.name: stage.epochs for stage in read_recipe(tmp_path / "said.toml").stages} == stages


def test_a_recipe_holds_no_number_of_seeds(call, tmp_path):
    result = call("finetune", "glyphs", "digits", "--seeds", "3", "--save-recipe", tmp_path / "said.toml")
    assert result.exit_code == 2 and "A recipe holds no --seeds" in result.stderr


def test_nothing_is_set_of_stages_that_from_scratch_leaves_out(call, recipe, tmp_path):
    result = call(
        "finetune", "--recipe", recipe, "--from-scratch", "--set", "stage.head.epochs=3", "--out", tmp_path / "x"
    )
    assert result.exit_code == 1
    assert "--from-scratch leaves out the stages of" in result.stderr and "stage.head.epochs" in result.stderr
    assert not (tmp_path / "x").exists()
