"""The benchmark behind docs/deep-networks.md: one change at a time, figures that ``zoo.inspect`` gives too."""

import importlib
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

import zoo

ROOT = Path(__file__).parents[1]


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("deep_networks")


@pytest.fixture
def figures(story: ModuleType) -> ModuleType:
    return importlib.import_module("deep_signals")


def test_each_network_is_one_change_away_from_another(story: ModuleType):
    for number, network in enumerate(story.NETWORKS, 1):
        if network.base == 0:
            assert number == 1
            continue
        base = story.NETWORKS[network.base - 1]
        one, other = ({k: v for k, v in asdict(n).items() if k not in ("label", "base")} for n in (network, base))
        changed = {k for k in one if one[k] != other[k]}
        assert changed == ({"activation", "initializer"} if network.activation == "selu" else changed), network.label
        assert len(changed) == (2 if network.activation == "selu" else 1), network.label


@pytest.mark.parametrize("number", [1, 7, 9, 11, 13])
def test_figures_are_those_of_zoo_inspect(story: ModuleType, figures: ModuleType, number: int):
    """Two programs that share no code; 64 examples, one batch of ``zoo.inspect``."""
    network, budget = story.NETWORKS[number - 1], replace(story.QUICK, depth=4, width=20)
    sides = story.data(budget)
    x, y = (part[:64] for part in sides.train)
    model = story.build(network, sides, budget, 1)
    before = [variable.numpy() for variable in model.variables]
    found = figures.signals(model, network.activation, x, y)
    assert all((v.numpy() == old).all() for v, old in zip(model.variables, before, strict=True))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rows = [row.figures for row in zoo.inspect(model, x, y, loss=loss).rows if not row.figures.output]
    assert len(rows) == 4
    np.testing.assert_allclose(found.spread, [row.forward for row in rows], rtol=1e-4)
    np.testing.assert_allclose(found.backward, [row.backward for row in rows], rtol=1e-3)
    np.testing.assert_allclose(found.gradient, np.array([row.gradient for row in rows]) / rows[-1].gradient, rtol=1e-3)
    for mine, theirs in ((found.saturated, "saturated"), (found.dead, "dead")):
        if mine is not None:
            assert mine == pytest.approx(float(np.mean([getattr(row, theirs) for row in rows])), abs=1e-9)


def test_zoo_inspect_tells_the_first_network_from_the_last(story: ModuleType):
    """Twenty layers, as in the benchmark."""
    budget = replace(story.QUICK, depth=20, width=100)
    sides = story.data(budget)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = {}
    for number in (1, 13, 18, 19):
        model = story.build(story.NETWORKS[number - 1], sides, budget, 1)
        found[number] = zoo.inspect(model, *(part[:256] for part in sides.train), loss=loss).verdict
    assert found.pop(1) in ("vanishing", "saturated")
    assert set(found.values()) == {"healthy"}


def test_weights_that_are_no_numbers_are_seen(story: ModuleType, figures: ModuleType):
    budget = story.QUICK
    sides = story.data(budget)
    model = story.build(story.NETWORKS[10], sides, budget, 1)
    assert figures.signals(model, "relu", *(part[:50] for part in sides.train)).finite
    model.get_layer("hidden2_dense").kernel.assign(np.full((16, 16), np.nan))
    assert not figures.signals(model, "relu", *(part[:50] for part in sides.train)).finite


def made_up(story: ModuleType, figures: ModuleType, number: int = 11, **end: Any) -> Any:
    """A result with figures worked out by hand."""
    start = figures.Signals((0.5, 1e-4), (1e-6, 1.0), (4.0, 1.0), None, 0.25, True)
    result = story.Result(number, story.NETWORKS[number - 1], [start, start], ["vanishing", "dead"])
    for rate, val, test in ((0.01, 0.5, 0.9), (0.1, 0.6, 0.2), (1.0, 0.6, 0.3)):
        for seed in (1, 2):
            finite = not (rate == 0.1 and seed == 2)
            result.runs.append(story.Trained(rate, seed, val, test + seed / 100, replace(start, finite=finite, **end)))
    return result


def test_the_rate_is_chosen_on_validation_and_the_lower_of_equals(story: ModuleType, figures: ModuleType):
    assert made_up(story, figures).rate == 0.1
    assert made_up(story, figures, number=20).rate == 1.0


def test_the_tables_say_what_was_measured(story: ModuleType, figures: ModuleType):
    results = [made_up(story, figures, dead=0.5)]
    assert story.start_table(results).splitlines()[2:] == [
        "| 11 | ReLU, He | 10 | 4.00 | 1e-06 | 1e-04 | - | 25% | vanishing (1), dead (1) |"
    ]
    assert story.end_table(results).splitlines()[2:] == [
        "| 11 | ReLU, He | 10 | 0.1 | - | 50% | 21.5% | 21.0% to 22.0%; 1 of 2 diverged |"
    ]


def test_a_geometric_mean_is_short(story: ModuleType):
    ratio = importlib.import_module("deep_tables").ratio
    assert [ratio(v) for v in ([1e-8, 1e-4], [0.5, 2.0], [0.0, 1.0], [float("nan")])] == ["1e-06", "1.00", "0", "-"]


def test_a_small_version_runs_and_writes_the_page(story: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {n} -->\n<!-- end of {n} -->\n" for n in ("at the start", "after training")))
    command = ["deep_networks.py", "--quick", "--only", "4", "11", "21", "--write", str(page)]
    monkeypatch.setattr(sys, "argv", [*command, "--json", str(tmp_path / "all.json")])
    story.main()
    lines = page.read_text().splitlines()
    for label in ("logistic, N(0, 1), batch norm", "ReLU, He", "ReLU, He, clipping, at rate 1"):
        assert len([line for line in lines if f"| {label} |" in line]) == 2
    first = {name: (tmp_path / "images" / f"{name}.svg").read_bytes() for name in ("deep-signals", "deep-dead")}
    story.main()
    assert first == {name: (tmp_path / "images" / f"{name}.svg").read_bytes() for name in first}


def test_the_page_has_every_network_in_its_tables(story: ModuleType):
    text = (ROOT / "docs" / "deep-networks.md").read_text(encoding="utf-8")
    for number, network in enumerate(story.NETWORKS, 1):
        assert text.count(f"| {number} | {network.label} | ") == 3, "at the start, after training, and after more of it"
