"""How far a figure may be off where bits cannot be the same."""

import math

import numpy as np
import pytest

from zoo.figure_tolerance import pairs_of, tolerance_of


@pytest.mark.parametrize(("count", "share"), [(100, 0.9), (1437, 0.95), (30, 0.5)])
def test_a_share_varies_from_side_to_side_about_as_much(count: int, share: float):
    """Beside shares that were drawn, 95 of 100 lie within it."""
    drawn = np.random.default_rng(0).binomial(count, share, 20_000) / count
    limit = tolerance_of("accuracy", {"examples": count, "accuracy": share})
    assert 0.93 <= np.mean(abs(drawn - share) <= limit) <= 0.98


def test_a_root_mean_square_varies_from_side_to_side_about_as_much():
    errors = np.random.default_rng(0).normal(0, 3.0, (4000, 200))
    drawn = np.sqrt((errors**2).mean(axis=1))
    limit = tolerance_of("rmse", {"examples": 200, "rmse": 3.0})
    assert 0.94 <= np.mean(abs(drawn - 3.0) <= limit) <= 0.97


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_all_are_right_or_wrong_it_is_not_nothing(share: float):
    assert 0.02 < tolerance_of("accuracy", {"examples": 100, "accuracy": share}) < 0.05


def test_one_figure_of_each_side_is_judged_and_the_others_are_shown():
    before = {"test": {"examples": 100, "loss": 0.3, "accuracy": 0.9}, "val": {"examples": 9, "loss": 1.0, "rmse": 2.0}}
    now = {"test": {"examples": 100, "loss": 3.0, "accuracy": 0.86}, "val": {"examples": 9, "loss": 1.0, "rmse": 2.5}}
    found = {(pair.side, pair.name): pair for pair in pairs_of(before, now)}
    assert [key for key, pair in found.items() if pair.tolerance is not None] == [("test", "accuracy"), ("val", "rmse")]
    assert found["val", "rmse"].tolerance == 2 * 2.0 / math.sqrt(18)
    assert all(pair.agrees for pair in found.values())


def test_a_tolerance_that_is_given_holds_for_each_judged_figure():
    before, now = {"test": {"examples": 4, "accuracy": 0.5}}, {"test": {"examples": 4, "accuracy": 0.75}}
    assert [pair.agrees for pair in pairs_of(before, now, 0.25)] == [True]
    assert [pair.agrees for pair in pairs_of(before, now, 0.2)] == [False]
    assert [pair.agrees for pair in pairs_of(before, now, 0.0)] == [False]


def test_a_side_that_has_no_figures_gives_none():
    assert pairs_of({"test": {}}, {"test": {}}) == []
