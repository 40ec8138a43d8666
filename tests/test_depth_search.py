"""The search for how much to reuse: what is tried next, over sequences of scores."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.depth_search import Step, Tried, best_of, is_little, next_step

Score = Callable[[Step], float]


def searched(score: Score, blocks: int = 3, *, little: bool = False) -> list[Tried]:
    """A whole search, where each step has the score that a function says."""
    tried: list[Tried] = []
    while (found := next_step(tried, blocks, little=little).step) is not None:
        tried.append(Tried(found, score(found)))
        assert len(tried) <= blocks * (blocks + 3) // 2, "the search does not end"
    return tried


def steps(score: Score | Mapping[tuple[int, int], float], blocks: int = 3, *, little: bool = False) -> list[tuple]:
    """The steps of a search as (dropped, thawed); a table holds the scores of the expected ones and no others."""
    of = score if callable(score) else lambda step: score[step.dropped, step.thawed]
    return [(one.step.dropped, one.step.thawed) for one in searched(of, blocks, little=little)]


def why(*scores: tuple[int, int, float], blocks: int = 3, little: bool = False) -> str:
    """Why a search goes on as it does, or ends."""
    return next_step([Tried(Step(d, t), s) for d, t, s in scores], blocks, little=little).why


def test_everything_is_frozen_first():
    assert next_step([], 3, little=True).step == Step(0, 0)


def test_blocks_are_thawed_one_after_another_while_that_helps():
    assert steps(lambda step: -step.thawed) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert steps(lambda step: -step.thawed, 5) == [(0, i) for i in range(6)]


def test_one_step_that_did_not_help_is_followed_by_one_more():
    assert steps({(0, 0): 5, (0, 1): 4, (0, 2): 4.5, (0, 3): 3, (0, 4): 3.5, (0, 5): 3.2}, 6) == [
        (0, i) for i in range(6)
    ]
    assert steps({(0, 0): 5, (0, 1): 4, (0, 2): 6, (0, 3): 4.5}, 6) == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_a_step_has_to_be_better_than_the_best_and_not_than_the_one_before():
    assert steps({(0, 0): 5, (0, 1): 4, (0, 2): 6, (0, 3): 5.5}, 6) == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_an_equal_score_did_not_help():
    assert steps({(0, 0): 5, (0, 1): 4, (0, 2): 4, (0, 3): 4}, 6) == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_where_thawing_helped_and_data_is_not_little_nothing_is_dropped():
    assert why((0, 0, 5), (0, 1, 4), (0, 2, 3), (0, 3, 2)) == "thawing helped, and there is data enough for it"


def test_where_thawing_did_not_help_the_top_block_is_dropped_and_the_rest_frozen():
    scores = {(0, 0): 5, (0, 1): 6, (0, 2): 7, (1, 0): 5.5, (2, 0): 5.5}
    assert steps(scores) == [*scores]
    assert why((0, 0, 5), (0, 1, 6), (0, 2, 7)) == "thawing did not help"


def test_where_data_is_little_blocks_are_dropped_though_thawing_helped():
    scores = {(0, 0): 5, (0, 1): 4, (0, 2): 3, (0, 3): 2, (1, 0): 5.5, (2, 0): 5.5}
    assert steps(scores, little=True) == [*scores]
    assert why(*((*step, score) for step, score in [*scores.items()][:4]), little=True) == "training data is little"


def test_where_dropping_helps_thawing_and_dropping_go_on_from_there():
    scores = {
        (0, 0): 5, (0, 1): 6, (0, 2): 7,
        (1, 0): 4, (1, 1): 4.5, (1, 2): 4.2,
        (2, 0): 3, (2, 1): 3.5, (2, 2): 3.6,
        (3, 0): 3.2,
    }  # fmt: skip
    assert steps(scores, 4) == [*scores]


def test_dropping_one_more_is_tried_after_one_that_did_not_help():
    scores = {(0, 0): 5, (0, 1): 6, (0, 2): 7, (1, 0): 5.5, (2, 0): 4, (2, 1): 3, (2, 2): 2}
    assert steps(scores, 4) == [*scores]


def test_dropping_helps_where_it_is_better_than_the_frozen_ones_before():
    """Like is compared with like: a step with nothing thawed is not measured by what thawing gave."""
    scores = {(0, 0): 5, (0, 1): 2, (0, 2): 1, (1, 0): 4, (1, 1): 3}
    assert steps(scores, 2, little=True) == [*scores]


def test_one_block_stays():
    assert steps(lambda step: 10 - step.dropped + step.thawed, 2)[-1] == (1, 1)
    assert steps(lambda step: step.thawed, 1) == [(0, 0), (0, 1)]
    assert why((0, 0, 0), (0, 1, 1), blocks=1) == "no other block can be dropped"


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_no_number_did_not_help(broken):
    scores = {(0, 0): 5, (0, 1): broken, (0, 2): broken, (1, 0): broken, (2, 0): broken}
    assert steps(scores) == [*scores]
    assert best_of([Tried(Step(), broken), Tried(Step(0, 1), 9)]).step == Step(0, 1)
    assert best_of([Tried(Step(), broken), Tried(Step(0, 1), broken)]).step == Step()


def test_little_data_is_told_by_the_examples_of_a_class():
    assert [is_little(n, 10) for n in (999, 1000)] == [True, False]
    assert [is_little(n) for n in (999, 1000)] == [True, False]


blocks = st.integers(1, 6)
tables = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, math.nan, math.inf]), min_size=40, max_size=40)


def lookup(table: list[float]) -> Score:
    """A score for every step."""
    return lambda step: table[(7 * step.dropped + step.thawed) % len(table)]


@given(tables, blocks, st.booleans())
def test_a_search_ends_and_tries_nothing_twice(table, blocks, little):
    tried = searched(lookup(table), blocks, little=little)
    found = [one.step for one in tried]
    assert len(set(found)) == len(found)
    for step in found:
        assert 0 <= step.dropped < blocks
        assert 0 <= step.thawed <= blocks - step.dropped


@given(tables, blocks, st.booleans())
def test_each_cut_begins_frozen_and_thaws_one_block_more_at_a_time(table, blocks, little):
    found = [one.step for one in searched(lookup(table), blocks, little=little)]
    for before, after in pairwise(found):
        assert after in (Step(before.dropped, before.thawed + 1), Step(before.dropped + 1, 0))


@given(tables, blocks, st.booleans())
def test_no_more_than_two_steps_in_a_row_did_not_help(table, blocks, little):
    for level in range(blocks):
        tried = [t for t in searched(lookup(table), blocks, little=little) if t.step.dropped == level]
        if tried:
            assert len(tried) - 1 - tried.index(best_of(tried)) <= 2
    frozen = [t for t in searched(lookup(table), blocks, little=little) if not t.step.thawed]
    assert len(frozen) - 1 - frozen.index(best_of(frozen)) <= 2


@given(tables, blocks, st.booleans())
def test_the_order_of_the_scores_decides_and_nothing_else(table, blocks, little):
    score = lookup(table)
    assert [t.step for t in searched(score, blocks, little=little)] == [
        t.step for t in searched(lambda step: 3 * score(step) - 7, blocks, little=little)
    ]


@given(tables, blocks)
def test_little_data_only_adds_steps(table, blocks):
    score = lookup(table)
    much = [t.step for t in searched(score, blocks)]
    assert [t.step for t in searched(score, blocks, little=True)][: len(much)] == much
