"""The search for how much to reuse, end to end: what it tries, what it leaves, and that the test side stays unseen."""

import csv
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from zoo import finding_depth
from zoo.data.dataset import Dataset
from zoo.depth_plan import depth_plan
from zoo.depth_search import Step
from zoo.epochs import diverged
from zoo.errors import RecipeError, RunError, SurgeryError, ZooError
from zoo.execution import Execution
from zoo.interruption import Interrupted
from zoo.progress import Progress
from zoo.trial import validation_figures

from .networks import clusters, dense_net

#: So that thawing helps, and the last stage's options count.
FAST: dict[str, Any] = {"limit_per_class": 14, "test": "rest", "val": 0.5, "head_epochs": 3, "epochs": 2, "seed": 3}
Files = tuple[str, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A network of three blocks below its top, and data, each in a file."""
    folder = tmp_path_factory.mktemp("files")
    dense_net(widths=(8, 8, 8)).save(folder / "net.keras")
    x, y = clusters(300)
    np.savez(folder / "data.npz", x=x, y=y)
    return str(folder / "net.keras"), str(folder / "data.npz")


def find(network: Any, data: Any, out: Path, **options: Any) -> zoo.Run:
    return zoo.find_depth(network, data, out=out, progress=Progress(quiet=True), **options)


def rows_of(run: zoo.Run) -> list[dict[str, str]]:
    with (run.folder / "depth.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def weights_of(run: zoo.Run) -> str:
    return tomllib.loads((run.folder / "recipe.lock").read_text(encoding="utf-8"))["result"]["weights"]


def watch(monkeypatch: pytest.MonkeyPatch, data: Dataset) -> list[set[int]]:
    """Which examples are read: in the search, and after it."""
    seen: list[set[int]] = [set(), set()]
    kind, phase = type(data), [0]
    batch, finished = kind.batch, finding_depth._finished

    def noting(self: Any, indices: Sequence[int], form: Any) -> Any:
        seen[phase[0]] |= {int(i) for i in indices}
        return batch(self, indices, form)

    def finishing(*arguments: Any) -> zoo.Run:
        phase[0] = 1
        return finished(*arguments)

    monkeypatch.setattr(kind, "batch", noting)
    monkeypatch.setattr(finding_depth, "_finished", finishing)
    return seen


@pytest.fixture(scope="module")
def watched(files: Files, tmp_path_factory: pytest.TempPathFactory) -> tuple[zoo.Run, list[set[int]]]:
    """A search with an empty cache, and which examples were read in it and after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        seen = watch(patch, zoo.open_data(files[1]))
        return find(*files, tmp_path_factory.mktemp("runs") / "found", **FAST), seen


@pytest.fixture(scope="module")
def found(watched: tuple[zoo.Run, list[set[int]]]) -> zoo.Run:
    return watched[0]


def test_each_step_has_a_row_and_the_best_one_is_marked(found):
    rows = rows_of(found)
    assert [row["reuse"] for row in rows[:2]] == ["all frozen", "low3 thawed"]
    assert [(row["freeze"], row["cut"]) for row in rows[:2]] == [("all", ""), ("low2", "")]
    assert {(row["freeze"], row["cut"]) for row in rows if row["dropped"] == "1" and row["thawed"] == "0"} == {
        ("all", "low2")
    }
    assert [int(row["step"]) for row in rows] == [*range(1, len(rows) + 1)]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert [row["step"] for row in rows if row["best"]] == [best["step"]]
    assert all(0 <= float(row["val_accuracy"]) <= 1 and float(row["seconds"]) > 0 for row in rows)


def test_the_run_is_that_of_the_best_step(found):
    best = next(row for row in rows_of(found) if row["best"])
    assert found.metrics["val"]["loss"] == float(best["val_loss"])
    assert found.metrics["test"]["examples"] == 258
    assert "in the search it was" not in (found.folder / "log.txt").read_text(encoding="utf-8")


def test_the_run_is_what_finetune_gives_with_that_freeze_byte_by_byte(files, found, tmp_path):
    best = next(row for row in rows_of(found) if row["best"])
    assert best["thawed"] != "0", "another test holds this for a frozen one"
    plain = zoo.finetune(
        *files,
        out=tmp_path / "plain",
        progress=Progress(quiet=True),
        freeze=best["freeze"],
        cut=best["cut"] or None,
        **FAST,
    )
    for name in ("recipe.toml", "plan.txt", "split.csv", "steps.csv", "labels.txt"):
        assert (plain.folder / name).read_bytes() == (found.folder / name).read_bytes(), name
    assert weights_of(plain) == weights_of(found)
    assert plain.metrics["test"] == found.metrics["test"]
    extra = {file.name for file in found.folder.iterdir()} - {file.name for file in plain.folder.iterdir()}
    assert extra == {"depth.csv"}


@pytest.mark.parametrize("step", [Step(1, 0), Step(1, 1), Step(0, 3)])
def test_every_step_is_what_finetune_gives_with_its_freeze_and_cut(files, step, tmp_path):
    """For a frozen one the options of the last stage do not hold, so here they are left out."""
    options = {key: value for key, value in FAST.items() if key != "epochs" or step.thawed}
    plan = depth_plan(*files, **FAST)
    ready = finding_depth.prepared(None, plan.first.data, recipe=plan.recipe_of(step))
    freeze = {0: "all", 1: "low1", 3: "none"}[step.thawed]
    cut = {"cut": plan.cut(step)} if step.dropped else {}
    run = zoo.finetune(*files, out=tmp_path / "run", progress=Progress(quiet=True), freeze=freeze, **cut, **options)
    assert replace(run.recipe, data=ready.recipe.data) == ready.recipe
    assert run.recipe.data == plan.recipe.data
    assert run.metrics["val"] == validation_figures(ready, Progress(quiet=True))


def test_the_log_has_a_line_for_each_step_before_the_run_and_what_each_step_said(found):
    log = (found.folder / "log.txt").read_text(encoding="utf-8").splitlines()
    rows = rows_of(found)
    shown = [line for line in log if line.startswith("step ")]
    assert len(shown) == len(rows)
    for line, row in zip(shown, rows, strict=True):
        assert line.startswith(f"step {row['step']}: {row['reuse']}: val loss {float(row['val_loss']):.4f}, accuracy ")
    ended = next(i for i, line in enumerate(log) if line.startswith("the search has ended: "))
    assert sum(line.startswith("  stage head: 3 epochs in ") for line in log[:ended]) == len(rows)
    assert log[ended + 1] == "it is trained once more, as zoo finetune does, and then measured on the test side, once"
    assert any(line.startswith("test accuracy ") for line in log[ended:])
    assert not any(line.startswith("test accuracy ") for line in log[:ended])


def test_the_test_side_is_not_read_by_the_search(watched):
    """Nor is a feature of it computed, which would have to read it: the cache was empty."""
    run, (searching, after) = watched
    with (run.folder / "split.csv").open(encoding="utf-8", newline="") as file:
        sides = [row["side"] for row in csv.DictReader(file)]
    of = {side: {i for i, one in enumerate(sides) if one == side} for side in ("train", "val", "test")}
    assert searching == of["train"] | of["val"]
    assert of["test"] <= after


def test_what_frozen_blocks_give_is_computed_once_for_all_steps(found):
    log = (found.folder / "log.txt").read_text(encoding="utf-8")
    assert "  stage head: the features of all 42 examples are in the cache" in log
    assert log.count("  stage head: the trunk up to low3 ") == 1


def score(monkeypatch: pytest.MonkeyPatch, *losses: float) -> None:
    """Has steps score so, without being trained; what comes after the last one is as it."""
    left = list(losses)
    scored = lambda ready, told: {"loss": left.pop(0) if len(left) > 1 else left[0], "accuracy": 1.0}  # noqa: E731
    monkeypatch.setattr(finding_depth, "validation_figures", scored)


def test_dropping_is_kept_where_it_is_better(files, tmp_path, monkeypatch):
    """Whatever the scores are: the network is cut there, and its recipe says so."""
    score(monkeypatch, 0.5, 0.6, 0.7, 0.4, 0.45, 0.46, 0.48)
    run = find(*files, tmp_path / "run", **{**FAST, "epochs": 30})
    assert [row["reuse"] for row in rows_of(run)] == [
        "all frozen", "low3 thawed", "low2 and low3 thawed",
        "low3 dropped, all frozen", "low3 dropped, low2 thawed", "low3 dropped, low1 and low2 thawed",
        "low2 and low3 dropped, all frozen",
    ]  # fmt: skip
    assert run.recipe.model.cut == "low2"
    assert [stage.train for stage in run.recipe.stages] == [("top",)]
    assert "low3" not in (run.folder / "plan.txt").read_text(encoding="utf-8")
    assert "in the search it was 0.4: " in (run.folder / "log.txt").read_text(encoding="utf-8")
    again = zoo.finetune(
        *files,
        out=tmp_path / "plain",
        progress=Progress(quiet=True),
        freeze="all",
        cut="low2",
        **{key: value for key, value in FAST.items() if key != "epochs"},
    )
    assert weights_of(again) == weights_of(run)


def test_a_network_that_cannot_be_cut_there_is_not_dropped_further(files, tmp_path, monkeypatch):
    prepared = finding_depth.prepared

    def uncut(network: Any, data: Any, *, recipe: Any, **rest: Any) -> Any:
        if recipe.model.cut == "low2":
            what = "'low2' cannot be the last layer: it is called 2 times."
            raise SurgeryError(what)
        return prepared(network, data, recipe=recipe, **rest)

    monkeypatch.setattr(finding_depth, "prepared", uncut)
    score(monkeypatch, 0.5)
    run = find(*files, tmp_path / "run", **FAST)
    (row,) = [row for row in rows_of(run) if row["dropped"] == "1"]
    assert (row["val_loss"], row["thawed"]) == ("", "0")
    log = (run.folder / "log.txt").read_text(encoding="utf-8")
    assert "low3 dropped, all frozen: not tried: 'low2' cannot be the last layer" in log


def test_of_a_model_of_ones_own_nothing_is_dropped_and_it_stays_as_it_is(tmp_path):
    net = dense_net(widths=(8,))
    before = [v.numpy() for v in net.variables]
    run = find(net, clusters(200), tmp_path / "run", head_epochs=3, epochs=2)
    assert {row["dropped"] for row in rows_of(run)} == {"0"}
    for old, new in zip(before, net.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    log = (run.folder / "log.txt").read_text(encoding="utf-8")
    assert "  nothing is dropped: a model of your own is trained with the top that it has" in log
    assert "given in Python, and not in the recipe: the network" in log
    assert list(tomllib.loads((run.folder / "recipe.lock").read_text())["given"]) == [
        f"the network '{net.name}'",
        "the data",
    ]


def test_numbers_to_predict_are_searched_too(tmp_path):
    x, labels = clusters(200)
    base = zoo.replace_top(dense_net(widths=(8,)), classes=1, output="linear")
    run = find(base, (x, labels.astype("float32") + 0.5), tmp_path / "run", target="numbers", head_epochs=2, epochs=1)
    assert [row["reuse"] for row in rows_of(run)][:2] == ["all frozen", "low1 thawed"]
    assert all(float(row["val_rmse"]) > 0 for row in rows_of(run))


def test_a_small_validation_side_and_little_data_are_said(found):
    log = (found.folder / "log.txt").read_text(encoding="utf-8")
    assert "by the loss on the 21 validation examples; the test side is not looked at until" in log
    assert "  21 validation examples are few: which step is the best may be luck; a larger --val takes" in log
    assert "  21 training examples, 7 a class: that is little, so dropping the top block is tried whether" in log


def test_with_data_enough_dropping_waits_for_thawing_to_fail(files):
    plan = depth_plan(files[0], clusters(900), val=0.3)
    assert not plan.little
    assert "dropping the top block is tried only if thawing does not help" in plan.lines()[-1]
    assert not any("are few" in line for line in plan.lines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "all"}, "The search finds out how much is frozen. Received freeze = 'all'."),
        ({"thaw": "by_block"}, "The search thaws one block more in each step, and trains what is thawed together."),
        ({"thaw": "at_once"}, "trains what is thawed together. Received thaw = 'at_once'."),
        (
            {"from_scratch": True},
            "A network from random weights has nothing worth freezing: there is no depth to find.",
        ),
        (
            {"multipliers": {"low3": 0.1}},
            "What is said for single blocks does not hold in every step: in some they are frozen or dropped. "
            "Received multipliers for low3.",
        ),
        ({"batch_norm": {"low1": "adapt"}}, "Received batch_norm for low1."),
        ({"val": 0.0}, "The search chooses by the validation side, and that is empty."),
        ({"limit_per_class": 1, "test": "rest"}, "The search chooses by the validation side, and that is empty."),
    ],
)
def test_what_a_search_would_not_do_is_refused(files, options, message, tmp_path):
    with pytest.raises(RecipeError) as error:
        find(*files, tmp_path / "run", **options)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trains", [['["top"]'], ['["top"]', '["top", "low3"]', '["top", "low2"]'], ['["low3"]'] * 2])
def test_a_recipe_of_other_stages_is_refused(trains, tmp_path):
    stage = '[[stage]]\nname = "s{}"\nepochs = 1\ntrain = {}\noptimizer = {{ name = "adam" }}\n'
    file = tmp_path / "r.toml"
    stages = "".join(stage.format(i, train) for i, train in enumerate(trains))
    file.write_text(f'schema = 1\n[model]\nname = "glyphs"\n[data]\npath = "digits"\n{stages}')
    with pytest.raises(RecipeError) as error:
        zoo.find_depth(recipe=file, out=tmp_path / "run")
    expected = "A search for the depth needs two stages: one that trains the top alone, and one that fine-tunes."
    assert expected in str(error.value)
    assert "Received the stages 's0'" in str(error.value)
    assert "Leave the recipe's stages out: the default ones are these." in str(error.value)


def test_a_recipe_of_two_stages_is_searched_with_its_settings(tmp_path):
    file = tmp_path / "r.toml"
    stage = '[[stage]]\nname = "{}"\nepochs = {}\ntrain = {}\noptimizer = {{ name = "adam" }}\n'
    stages = stage.format("first", 2, '["top"]') + stage.format("then", 3, '["top", "low3"]')
    data = 'path = "digits"\nlimit_per_class = 8\nval = 0.5\ntest = "rest"'
    file.write_text(f'schema = 1\n[model]\nname = "glyphs"\n[data]\n{data}\n{stages}')
    plan = depth_plan(None, None, recipe=file)
    ready = plan.recipe_of(Step(1, 1))
    assert [(s.name, s.epochs, s.train, s.freeze) for s in ready.stages] == [
        ("first", 2, ("top",), None),
        ("then", 3, None, "block1"),
    ]


def test_an_existing_folder_is_refused(files, tmp_path):
    with pytest.raises(RunError, match="exists already"):
        find(*files, tmp_path, **FAST)


def test_a_search_that_is_interrupted_keeps_its_steps_and_says_how_to_go_on(files, tmp_path, monkeypatch):
    figures, count = finding_depth.validation_figures, [0]

    def interrupted(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == 3:
            raise Interrupted
        return figures(*arguments)

    monkeypatch.setattr(finding_depth, "validation_figures", interrupted)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        find(*files, out, **FAST)
    assert {file.name for file in out.iterdir()} == {"depth.csv", "best.toml", "log.txt", "checkpoints"}
    steps = (out / "depth.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in steps] == ["reuse", "all frozen", "low3 thawed"]
    log = (out / "log.txt").read_text(encoding="utf-8")
    assert f"the search did not end: {out} is not a run, and cannot be resumed" in log
    assert f"the best of them is trained by: zoo run {out / 'best.toml'} --out ANOTHER" in log
    with pytest.raises(RunError) as error:
        zoo.resume(out)
    assert f"{out} holds a search for how much to freeze that did not end, and that cannot be resumed." in str(
        error.value
    )
    assert f"zoo run {out / 'best.toml'} --out ANOTHER" in str(error.value)
    monkeypatch.undo()
    best = zoo.finetune(recipe=out / "best.toml", out=tmp_path / "best", progress=Progress(quiet=True))
    assert best.metrics["val"]["loss"] == min(float(line.split(",")[6]) for line in steps[1:])


def test_training_that_is_interrupted_after_the_search_is_resumed_as_any_run(files, tmp_path, monkeypatch):
    score(monkeypatch, 0.5)
    monkeypatch.setattr(Execution, "_measured", lambda self, sides: pytest.fail("interrupted"))
    out = tmp_path / "run"
    with pytest.raises(pytest.fail.Exception):
        find(*files, out, **FAST)
    monkeypatch.undo()
    run = zoo.resume(out, progress=Progress(quiet=True))
    assert "going on from the end of the stage 'head'" in (out / "log.txt").read_text(encoding="utf-8")
    assert run.metrics["test"]["examples"] == 258
    assert [row["best"] for row in rows_of(run)] == ["best", "", "", "", ""]
    assert not (out / "best.toml").exists()


def test_training_that_fails_in_a_step_ends_the_search_with_its_reason(files, tmp_path, monkeypatch):
    def failing(ready: Any, told: Any) -> dict[str, float]:
        if len(ready.recipe.stages) > 1:
            raise diverged(ready.recipe.stages[-1], "the loss is nan")
        return {"loss": 0.5, "accuracy": 1.0}

    monkeypatch.setattr(finding_depth, "validation_figures", failing)
    with pytest.raises(ZooError, match="Training diverged in the stage 'fine-tune'"):
        find(*files, tmp_path / "run", **FAST)
    assert (tmp_path / "run" / "depth.csv").read_text().count("\n") == 2
    assert "the search did not end" in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
