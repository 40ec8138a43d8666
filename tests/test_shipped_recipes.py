"""Every shipped recipe parses, says what it is and gives, and gives the same weights in another process."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, blocks, command_faults
from zoo.commands import zoo as root
from zoo.options import Options, with_options
from zoo.recipe import ComputePart, DataPart, ModelPart, Recipe, read_recipe, shipped_recipes

NAMES = tuple(shipped_recipes())
EVERY = pytest.mark.parametrize("name", NAMES)
#: Two that are quick when shortened; the second begins with the first one's network.
QUICK: dict[str, dict[str, Any]] = {"transfer-0-4": {"epochs": 5}, "transfer-frozen": {"epochs": 5}}
#: All of them as they are, but for one that takes minutes.
SHORTENED: dict[str, dict[str, Any]] = {
    "glyphs": {
        "data": "characters:examples=2000",
        "batch_size": 16,
        "epochs": 2,
    },  # just beyond its 225 steps of warm-up
}
FULL = {name: SHORTENED.get(name, {}) for name in sorted(NAMES, key=lambda name: (name != "transfer-0-4", name))}
#: Another processor has other last bits, so that a seed may end elsewhere.
ELSEWHERE = 0.01

RUN = """
import json, sys, zoo
from zoo.progress import Progress
for name, settings in json.loads(sys.argv[1]).items():
    zoo.finetune(recipe=name, out=f"runs/{name}", progress=Progress(quiet=True), **settings)
"""


@dataclass(frozen=True)
class Head:
    """The comment at the head of a recipe: its first line, and its record by the word before each entry."""

    line: str
    record: dict[str, str]

    @property
    def span(self) -> tuple[float, float]:
        """The accuracy's range over the seeds."""
        found = re.search(r"\((0\.\d+) to ([01]\.\d+) over seeds 0 to 4\)", self.record["result"])
        assert found, self.record["result"]
        return float(found[1]), float(found[2])


def head_of(name: str) -> Head:
    comment = shipped_recipes()[name].read_text(encoding="utf-8").partition("schema =")[0]
    first, *rest = [line.removeprefix("#").rstrip() for line in comment.splitlines()]
    record: dict[str, str] = {}
    for line in rest:
        if entry := re.match(r" {3}(\w+) +(.+)", line):
            record[entry[1]] = entry[2]
        elif line.strip():
            assert line.startswith(" " * 14), line
            record[list(record)[-1]] += f" {line.strip()}"
    return Head(first.strip(), record)


@EVERY
def test_its_head_says_what_it_is_what_it_gives_how_long_it_takes_and_why(name: str):
    head = head_of(name)
    assert 30 <= len(head.line) <= 110
    assert {"command", "result", "time", "why"} <= set(head.record)
    assert re.search(r"accuracy 0\.\d{3}", head.record["result"])
    assert re.search(r"\d (s|minutes)\b", head.record["time"])
    assert len(head.record["why"]) > 10


@EVERY
def test_its_commands_exist_and_name_it(name: str):
    record = head_of(name).record
    lines = [re.split(r" {3,}", record[entry])[0] for entry in ("needs", "command") if entry in record]
    assert re.search(rf"zoo (run|finetune --recipe) {name} ", lines[-1])
    assert [fault for line in lines for fault in command_faults(shlex.split(line), root)] == []


@EVERY
def test_it_parses_and_says_every_stage(name: str):
    assert read_recipe(name).stages


@EVERY
def test_the_page_has_its_first_line(name: str):
    page = (DOCS / "shipped-recipes.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {head_of(name).line} |" in page


@pytest.mark.parametrize("name", [name for name in NAMES if "glyphs" != name])
def test_its_range_holds_its_result(name: str):
    head = head_of(name)
    low, high = head.span
    mean = re.search(r"accuracy (0\.\d{3})", head.record["result"])
    assert mean and low <= float(mean[1]) <= high


@EVERY
def test_what_reads_another_run_says_how_to_make_it(name: str):
    model = read_recipe(name).model.name
    needs = head_of(name).record.get("needs", "")
    assert ("/" in model) == bool(needs)
    assert f"--out {model}" in needs or not needs


def test_few_shot_digits_is_the_readme_s_row_which_is_the_default():
    default = Recipe(ModelPart("glyphs"), DataPart("digits"), compute=ComputePart(threads=2, device="cpu"))
    row = with_options(default, Options(limit_per_class=10, test="rest", val=0.0))
    assert with_options(read_recipe("few-shot-digits"), Options()) == row


def test_the_transfer_recipes_differ_in_what_the_exercise_asks_about_alone():
    frozen, uncached = read_recipe("transfer-frozen"), read_recipe("transfer-frozen-uncached")
    assert uncached == replace(frozen, compute=replace(frozen.compute, cache="none"))
    others = [read_recipe(f"transfer-{name}") for name in ("four-of-five", "two-thawed", "scratch")]
    assert {recipe.data for recipe in (frozen, *others)} == {frozen.data}
    assert others[1].stages[0] == frozen.stages[0]
    assert others[2].model.args == read_recipe("transfer-0-4").model.args
    patience = {"monitor": "val_loss", "min_delta": 0.0, "patience": 20}
    assert {stage.epochs for recipe in (frozen, *others) for stage in recipe.stages} == {200}
    assert all(stage.early_stopping == patience for recipe in (frozen, *others) for stage in recipe.stages)


def code_of_the_page() -> list[str]:
    text = (DOCS / "shipped-recipes.md").read_text(encoding="utf-8")
    return [block.code for block in blocks(text) if block.language == "python"]


def locks_of(runs: dict[str, dict[str, Any]], tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """The locks of two runs of each recipe, each run of all in a process and a folder of its own."""
    data = "".join(code_of_the_page()) if {"table", "image-folder"} & set(runs) else ""
    environment = {**os.environ, "ZOO_HOME": str(tmp_path / "home"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        command = [sys.executable, "-c", data + RUN, json.dumps(runs)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    files = {name: [tmp_path / f / "runs" / name / "recipe.lock" for f in ("one", "two")] for name in runs}
    return {name: [tomllib.loads(file.read_text(encoding="utf-8")) for file in both] for name, both in files.items()}


def check(runs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """The same weights after every stage and the same figures; of a recipe as it is, within its range."""
    for name, (one, other) in locks_of(runs, tmp_path).items():
        assert one["result"] == other["result"], name
        assert [stage["weights"] for stage in one["stage"]] == [stage["weights"] for stage in other["stage"]], name
        if not runs[name]:
            low, high = head_of(name).span
            assert low - ELSEWHERE <= one["result"]["test"]["accuracy"] <= high + ELSEWHERE, name


def test_a_recipe_gives_the_same_weights_in_another_process(tmp_path: Path):
    check(QUICK, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_recipe_does_and_gives_what_its_head_says(tmp_path: Path):
    assert set(FULL) == set(NAMES)
    check(FULL, tmp_path)
