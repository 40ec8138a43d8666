"""The benchmark behind docs/transfer-exercise.md: its rows are the recipes, and the page has them all."""

import importlib
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zoo

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "transfer-exercise.md").read_text(encoding="utf-8")


@pytest.fixture
def exercise(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("transfer_exercise")


@pytest.fixture
def settings(exercise: ModuleType) -> ModuleType:
    return importlib.import_module("transfer_settings")


def test_every_row_is_a_recipe_that_can_be_run(exercise: ModuleType):
    for row in (*exercise.FIRST, *exercise.SECOND):
        assert zoo.read_recipe(row.recipe, set=row.edits).stages
    plain = [row.recipe for row in (*exercise.FIRST, *exercise.SECOND) if not row.edits]
    assert sorted(plain) == sorted(path.stem for path in (ROOT / "zoo" / "recipes").glob("transfer-*.toml"))


def test_the_network_from_scratch_is_the_one_that_is_reused(exercise: ModuleType):
    scratch, base = (zoo.read_recipe(name).model for name in ("transfer-scratch", "transfer-0-4"))
    assert scratch == base


def test_settings_were_searched_on_letters_and_from_scratch_the_most(exercise: ModuleType, settings: ModuleType):
    assert all("characters:" in source and "classes=" in source for source in settings.LETTERS.values())
    letters = {name for source in settings.LETTERS.values() for name in source.partition("classes=")[2].split("-")}
    assert letters == {"A", "E", "F", "J"}
    assert not set(settings.SEEDS) & set(exercise.SEEDS)
    counts = {row: tries(grid) for row, grid in settings.TRIED.items()}
    assert all(count < counts["from scratch"] for row, count in counts.items() if row != "from scratch")
    assert set(counts) < {row.label for row in (*exercise.FIRST, *exercise.SECOND)}


def tries(grid: dict[str, tuple[Any, ...]]) -> int:
    count = 1
    for values in grid.values():
        count *= len(values)
    return count


def test_what_the_recipes_say_is_among_what_was_tried(exercise: ModuleType, settings: ModuleType):
    for row in (*exercise.FIRST, *exercise.SECOND):
        recipe = zoo.read_recipe(row.recipe, set=row.edits)
        tried = settings.TRIED.get(row.label, {})
        for stage, key in enumerate((settings.RATE, settings.FINE_TUNE)):
            if key in tried:
                assert recipe.stages[stage].optimizer["learning_rate"] in tried[key], row.label
        if settings.DROPOUT in tried:
            assert recipe.top.dropout in tried[settings.DROPOUT], row.label


def made_up(exercise: ModuleType, row: str, seed: int, accuracy: float, **changes: Any) -> Any:
    figures = {"task": "second", "labels": 100, "examples": 396, "seconds": 2.0, "epochs": 40, "kept": 20}
    return exercise.Result(
        **{**figures, "row": row, "seed": seed, "accuracy": accuracy, "epoch": 10.0, "weights": "", **changes}
    )


def test_the_table_has_mean_range_and_times(exercise: ModuleType):
    found = [
        made_up(exercise, row.label, seed, 0.9 + seed / 10, seconds=seconds)
        for row in exercise.SECOND
        for seed, seconds in ((0, 2.0), (1, 4.0))
    ]
    found.append(made_up(exercise, "from scratch", 0, 0.1, labels=5))
    lines = exercise.second_table(found, 100).splitlines()
    assert lines[2] == "| all five frozen | 0.950 | 0.900 to 1.000 | 40 | 10.0 | 3.0 |"
    assert len(lines) == 2 + len(exercise.SECOND)


def test_the_page_has_every_row(exercise: ModuleType):
    for row in (*exercise.FIRST, *exercise.SECOND):
        assert f"\n| {row.label} | " in PAGE


def test_the_picture_is_drawn_the_same_again(exercise: ModuleType, tmp_path: Path):
    found = [
        made_up(exercise, row, seed, 0.9 - seed / 100, labels=labels)
        for row in exercise.PLOTTED
        for seed in (0, 1)
        for labels in (5, 100)
    ]
    for name in ("one.svg", "two.svg"):
        exercise.draw(found, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert ElementTree.parse(ROOT / "docs" / "images" / "transfer-exercise.svg").getroot().tag.endswith("svg")


@pytest.mark.slow
def test_a_seed_runs_and_writes_the_page(exercise: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    sections = ("first", "second", "labels", "machine")
    page.write_text("".join(f"<!-- {n} -->\n<!-- end of {n} -->\n" for n in sections))
    monkeypatch.setattr(sys, "argv", ["transfer_exercise.py", "--seeds", "0", "--write", str(page)])
    exercise.main()
    assert all(f"| {row.label} | 0." in page.read_text() for row in (*exercise.FIRST, *exercise.SECOND))
