"""The benchmark behind the tables of docs/optimizers.md and docs/schedules.md."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from zoo.layers import optimizer
from zoo.layers.optimizers import names
from zoo.options import Options, with_options
from zoo.recipe import DataPart, ModelPart, Recipe
from zoo.recipe_stage import StagePart
from zoo.schedule_option import SCHEDULES, scheduled

ROOT = Path(__file__).parents[1]


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("optimizers")


def test_every_optimizer_of_keras_is_compared(comparison: ModuleType):
    assert {spec["name"] for spec in comparison.OPTIMIZERS.values()} == set(names())


def test_the_schedules_are_what_the_page_says(comparison: ModuleType):
    """At the rate 0.1, over 100 steps: the rates of the first and the last, and where they turn."""

    def rates(label: str) -> np.ndarray:
        made = comparison.nesterov(label, 0.1, 100)._learning_rate
        return np.array([float(made(step)) for step in range(100)])

    np.testing.assert_allclose(rates("piecewise")[[50, 51, 75, 76]], [0.1, 0.01, 0.01, 0.001], rtol=1e-6)
    np.testing.assert_allclose(rates("exponential")[[0, 50]], [0.1, 0.01], rtol=1e-5)
    np.testing.assert_allclose(rates("power")[[0, 10, 50]], [0.1, 0.1 / 2, 0.1 / 6], rtol=1e-6)
    np.testing.assert_allclose(rates("cosine, warm-up")[[0, 5]], [0.0, 0.1], atol=1e-8)
    np.testing.assert_allclose(rates("one cycle")[[0, 29, 99]], [0.004, 0.1, 4e-7], rtol=1e-5)
    np.testing.assert_allclose(rates("exponential to a tenth")[[0, 50]], [0.1, 0.1 / 10**0.5], rtol=1e-5)
    np.testing.assert_allclose(rates("power to a half")[[0, 50]], [0.1, 0.1 / 1.5], rtol=1e-6)
    np.testing.assert_allclose(rates("cosine")[[0, 50]], [0.1, 0.05], rtol=1e-6)
    assert comparison.nesterov("constant", 0.1, 100).momentum == 0.9


def test_the_rows_that_are_called_the_commands_are_what_the_command_makes(comparison: ModuleType):
    """Of ``--optimizer sgd --momentum 0.9 --nesterov --schedule NAME``."""
    tried = set()
    for label, row in comparison.SCHEDULES.items():
        if not row.numbers.endswith("the command's"):
            continue
        made = comparison.nesterov(label, 0.1, 100).get_config()
        name = label.split(",")[0] if row.spec is None else row.spec(0.1, 100)["name"]
        stage = StagePart("s", 5, {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True})
        given = scheduled(stage, name)
        expected = optimizer(steps=100, **given.optimizer).get_config()
        for key in ("learning_rate", "momentum", "nesterov"):
            assert _same(made[key], expected[key]), name
        if name == "performance":
            base = Recipe(ModelPart("glyphs"), DataPart("digits"))
            reduced = with_options(base, Options(schedule="performance")).stages[-1].reduce_on_plateau
            assert reduced is not None and (reduced["patience"], reduced["factor"]) == (row.patience, 0.1)
        tried.add(name)
    assert tried == set(SCHEDULES)


def _same(one: Any, other: Any) -> bool:
    """Equal but for the last digit of a number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == pytest.approx(other) if isinstance(one, float) else one == other


def test_the_pages_have_a_row_and_the_numbers_of_each(comparison: ModuleType):
    for page, numbers in (
        ("optimizers", {label: comparison.arguments(label) for label in comparison.OPTIMIZERS}),
        ("schedules", {label: row.numbers for label, row in comparison.SCHEDULES.items()}),
    ):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        table = text.partition("<!-- compared -->")[2].partition("<!-- end of compared -->")[0]
        rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", table, re.MULTILINE)[2:]
        assert dict(rows) == numbers


def test_the_table_counts_steps_and_names_what_diverges(comparison: ModuleType):
    def runs(name: str, rate: float, *losses: list[float]) -> list[object]:
        return [comparison.Curve(name, rate, seed, curve) for seed, curve in enumerate(losses)]

    slow = runs("A", 0.1, [1.0, 0.2, 0.1], [1.0, 0.5, 0.2], [0.1, 0.02, 0.01])  # in 30, never and 10 steps
    fast = runs("A", 1.0, [0.09, 0.5, 0.6], [0.5, 0.1, 0.5], [0.05, 0.005, 9.0])  # in 10, 20 and 10
    lost = runs("A", 10.0, [float("nan")], [1e9], [0.05])
    rows = comparison.optimizer_table([*slow, *fast, *lost], [0.1, 1.0, 10.0], {"A": "none"}).splitlines()
    assert rows[2] == "| A | none | 1 | 10 (10 to 20) | - | 30 | **10** | diverges |"


@pytest.mark.slow
def test_it_runs_and_writes_its_sections(comparison: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for page in ("optimizers", "schedules"):
        (tmp_path / f"{page}.md").write_text("<!-- compared -->\n<!-- end of compared -->\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["optimizers.py", "--quick", "--write", str(tmp_path)])
    comparison.main()
    text = (tmp_path / "optimizers.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| ([\w., ]+?) \|", text, re.MULTILINE)[1:] == list(comparison.OPTIMIZERS)
    assert len(list((tmp_path / "images").glob("*-compared.svg"))) == 2
