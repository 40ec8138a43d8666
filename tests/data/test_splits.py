"""The split is a pure function of seed and content."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zoo.data import ArrayData, split
from zoo.errors import DataError

SIDES = ("train", "val", "test", "unused")
quick = settings(max_examples=50, deadline=None)
contents = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), min_size=16, max_size=40)
seeds = st.integers(0, 10**12)


def data_of(pairs, sides=None):
    """A data set of (content, class) pairs."""
    data = ArrayData(np.array([[float(c)] for c, _ in pairs]), np.array([k for _, k in pairs]))
    data.sides = sides
    return data


def named(data, sides):
    """Each content and class with the sorted sides of its examples."""
    out = defaultdict(list)
    for side in SIDES:
        for i in getattr(sides, side):
            out[float(data.x[i][0]), data.classes[data.target.values[i]]].append(side)
    return {key: sorted(found) for key, found in out.items()}


def tried(data, **options):
    """The split, or no test case where a class happens to have no training example."""
    try:
        return split(data, **options)
    except DataError as error:
        assume("no training example" not in str(error) and "one class only" not in str(error))
        raise


OPTIONS = st.sampled_from(
    [
        {"val": 0.1, "test": 0.2},
        {"val": 0.3, "test": 0.3},
        {"val": 0.2, "test": 0.3, "limit_per_class": 4},
        {"val": 0.2, "test": "rest", "limit_per_class": 4},
        {"val": 0.0, "test": 0.0, "limit_per_class": 1},
    ]
)


@quick
@given(contents, seeds, OPTIONS)
def test_the_sides_are_disjoint_and_together_all(pairs, seed, options):
    sides = tried(data_of(pairs), seed=seed, **options)
    together = np.concatenate([getattr(sides, side) for side in SIDES])
    assert sorted(together.tolist()) == list(range(len(pairs)))
    assert all(getattr(sides, side).dtype == np.int64 for side in SIDES)


@quick
@given(contents, seeds, OPTIONS)
def test_copies_are_never_on_two_sides(pairs, seed, options):
    sides = tried(data_of(pairs), seed=seed, **options)
    where = defaultdict(set)
    for side in ("train", "val", "test"):
        for i in getattr(sides, side):
            where[pairs[i][0]].add(side)
    assert all(len(found) == 1 for found in where.values())


@quick
@given(contents, seeds, OPTIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(pairs, seed, options, random):
    data = data_of(pairs)
    before = named(data, tried(data, seed=seed, **options))
    shuffled = list(pairs)
    random.shuffle(shuffled)
    again = data_of(shuffled)
    assert named(again, split(again, seed=seed, **options)) == before


@quick
@given(contents, seeds, st.tuples(st.integers(100, 200), st.integers(0, 2)))
def test_without_a_limit_adding_an_example_moves_no_other(pairs, seed, extra):
    before, after = data_of(pairs), data_of([*pairs, extra])
    old, new = tried(before, seed=seed), tried(after, seed=seed)
    for side in SIDES:
        assert getattr(new, side)[getattr(new, side) < len(pairs)].tolist() == getattr(old, side).tolist()


@quick
@given(contents, seeds, st.integers(1, 12), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from([0.0, 0.3, "rest"]))
def test_the_limit_is_kept_by_training_and_validation_together(pairs, seed, limit, val, test):
    data = data_of(pairs)
    sides = tried(data, seed=seed, val=val, test=test, limit_per_class=limit)
    for label in range(data.target.size):
        train, held = (int((data.target.values[i] == label).sum()) for i in (sides.train, sides.val))
        assert 1 <= train and train + held <= limit
        if val and train + held >= 2:
            share = val if test == "rest" else val / (1 - test)
            assert held == min(max(round((train + held) * share), 1), train + held - 1)


@quick
@given(contents, seeds, st.lists(st.sampled_from(["train", "val", "test"]), min_size=40, max_size=40))
def test_given_sides_are_kept_and_content_on_two_is_not_trained_on(pairs, seed, given_sides):
    given_sides = tuple(given_sides[: len(pairs)])
    assume("test" in given_sides)  # else it is carved from training
    data = data_of(pairs, given_sides)
    sides = tried(data, seed=seed)
    for i in sides.train:
        assert given_sides[i] == "train"
        assert all(given_sides[j] == "train" for j, pair in enumerate(pairs) if pair[0] == pairs[i][0])
    assert sides.test.tolist() == [i for i, side in enumerate(given_sides) if side == "test"]


def many(classes=3, each=400):
    return ArrayData(np.arange(classes * each, dtype=np.float64)[:, None], np.arange(classes * each) % classes)


def test_the_split_is_what_it_was_when_it_was_published():
    sides = split(many(2, 20), seed=7, val=0.2, test=0.3)
    assert sides.test.tolist() == PUBLISHED["test"]
    assert sides.val.tolist() == PUBLISHED["val"]
    few = split(many(2, 20), seed=7, val=0.2, test="rest", limit_per_class=5)
    assert few.train.tolist() == PUBLISHED["few"]
    assert few.val.tolist() == PUBLISHED["held"]


PUBLISHED = {
    "test": [5, 8, 10, 11, 15, 21, 28, 29, 33, 39],
    "val": [17, 18, 22, 23, 30, 38],
    "few": [0, 1, 7, 14, 25, 26, 28, 37],
    "held": [15, 22],
}


def test_shares_are_met_approximately_and_another_seed_gives_others():
    one, other = (split(many(), seed=seed, val=0.1, test=0.2) for seed in (0, 1))
    assert abs(len(one.test) / 1200 - 0.2) < 0.04 and abs(len(one.val) / 1200 - 0.1) < 0.03
    assert one.test.tolist() != other.test.tolist()
    assert len(one.unused) == 0 and one.notes == ()


def test_the_three_draws_are_independent():
    plain = split(many(), seed=3, val=0.25, test=0.5)
    few = split(many(), seed=3, val=0.0, test=0.5, limit_per_class=100)
    assert set(few.test.tolist()) == set(plain.test.tolist())
    assert abs(len(plain.val) / (1200 - len(plain.test)) - 0.5) < 0.06  # among those of high u_test
    assert abs(np.isin(few.train, plain.val).mean() - 0.5) < 0.1  # among those of low u_limit
    assert len(few.train) == 300


def test_validation_never_takes_all_labels_of_a_class_nor_none():
    greedy = split(many(), seed=0, val=0.95, test="rest", limit_per_class=4)
    assert (len(greedy.train), len(greedy.val)) == (3, 9)
    modest = split(many(), seed=0, val=0.01, test="rest", limit_per_class=2)
    assert (len(modest.train), len(modest.val)) == (3, 3)
    single = split(many(), seed=0, val=0.5, test="rest", limit_per_class=1)
    assert (len(single.train), len(single.val)) == (3, 0)
    assert single.notes == ("No example is left for validation (val=0.5).",)


def test_with_rest_everything_that_is_not_labelled_is_tested_on():
    sides = split(many(), seed=0, val=0.1, test="rest", limit_per_class=10)
    assert (len(sides.train), len(sides.val), len(sides.test), len(sides.unused)) == (27, 3, 1170, 0)


def test_copies_of_labelled_content_are_unused_not_tested_on():
    pairs = [(content, content % 2) for content in range(40)] * 2
    sides = split(data_of(pairs), seed=0, test="rest", limit_per_class=5)
    labelled = {pairs[i][0] for i in (*sides.train, *sides.val)}
    assert len(labelled) == 10
    assert sorted(pairs[i][0] for i in sides.unused) == sorted(labelled)
    assert len(sides.test) == 60
    assert "40 examples are copies of others, on one side." in sides.notes


def test_the_same_content_under_two_classes_is_noted():
    pairs = [(content, content % 2) for content in range(40)] + [(3, 0)]
    assert any("1 content has more than one target" in note for note in split(data_of(pairs), seed=0).notes)


def test_content_on_two_given_sides_is_noted():
    pairs = [(1, 0), (2, 1), (3, 0), (4, 1), (3, 0)]
    sides = split(data_of(pairs, ("train", "train", "train", "train", "test")), seed=0, val=0)
    assert sides.unused.tolist() == [2] and sides.test.tolist() == [4]
    assert any("1 content is on more than one of the given sides" in note for note in sides.notes)


def test_a_missing_side_is_carved_from_training_only():
    data = many()
    data.sides = tuple("test" if i < 300 else "train" for i in range(1200))
    sides = split(data, seed=0, val=0.2)
    assert sides.test.tolist() == list(range(300))
    assert abs(len(sides.val) / 900 - 0.2) < 0.04 and sides.val.min() >= 300
    limited = split(data, seed=0, val=0.2, limit_per_class=10)
    assert (len(limited.train), len(limited.val), len(limited.test), len(limited.unused)) == (24, 6, 300, 870)


def test_a_limit_takes_validation_from_the_given_one():
    data = many()
    data.sides = tuple("val" if i < 300 else "train" for i in range(1200))
    sides = split(data, seed=0, val=0.2, test=0, limit_per_class=10)
    assert len(sides.val) == 6 and sides.val.max() < 300
    assert len(sides.train) == 24 and sides.train.min() >= 300


def test_an_empty_side_is_noted():
    notes = split(many(2, 2), seed=2, val=0.001, test=0.001).notes
    assert notes == ("No example is left for validation (val=0.001).", "No example is left for the test (test=0.001).")


def test_labels_and_numbers_and_unlabelled_data_are_split_by_the_same_thresholds():
    x = np.arange(100.0)[:, None]
    labels = np.stack([np.arange(100) % 2, np.ones(100)], 1)
    sides = [split(ArrayData(x, y), seed=5).test.tolist() for y in (labels, np.linspace(0, 1, 100), None)]
    assert sides[0] == sides[1] == sides[2] == split(ArrayData(x, np.arange(100) % 2), seed=5).test.tolist()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"val": 1.0}, "The share val=1.0 is impossible. Expected 0 or more, and less than 1."),
        ({"test": -0.1}, "The share test=-0.1 is impossible. Expected 0 or more, and less than 1, or 'rest'."),
        ({"test": "all"}, "The share test='all' is impossible."),
        ({"val": float("nan")}, "The share val=nan is impossible."),
        ({"val": 0.5, "test": 0.5}, "Validation and test leave nothing to train on. Expected val + test less than 1;"),
        ({"test": "rest"}, "test='rest' is what a limit leaves over, but no limit is set."),
        ({"limit_per_class": 0}, "limit_per_class is too small. Expected 1 or more; received 0."),
    ],
)
def test_impossible_shares_are_refused(options, text):
    with pytest.raises(DataError) as caught:
        split(many(), seed=0, **options)
    assert text in str(caught.value)


def test_a_limit_needs_classes():
    data = ArrayData(np.arange(9.0)[:, None], np.linspace(0, 1, 9))
    with pytest.raises(DataError, match="limit_per_class needs classes\\. Received a target of kind 'numbers'"):
        split(data, seed=0, limit_per_class=2)


def test_a_class_without_training_example_is_named():
    data = data_of([(i, 0) for i in range(50)] + [(60, 1)])
    failures = 0
    for seed in range(20):
        try:
            split(data, seed=seed)
        except DataError as error:
            failures += 1
            assert str(error).startswith("Class '1' (of 1) has no training example. Expected at least one of each.")
    assert 1 <= failures <= 14


def test_a_label_without_training_example_is_named():
    y = np.array([[1, 0], [0, 0], [1, 0]])
    with pytest.raises(DataError, match="Label '1' \\(of 0\\) has no training example"):
        split(ArrayData(np.arange(3.0)[:, None], y), seed=0, val=0, test=0)


def test_one_class_cannot_be_told_apart():
    with pytest.raises(DataError, match="'arrays' has one class only, '0': there is nothing to tell apart"):
        split(data_of([(1, 0), (2, 0)]), seed=0)


def test_a_share_that_is_void_beside_given_sides_is_told():
    pairs = [(i, i % 2) for i in range(40)]
    given = data_of(pairs, ("train",) * 30 + ("test",) * 10)
    told = "The data brings its own test side; test = 0.5 is not used."
    assert told in split(given, seed=0, test=0.5).notes
    sides = split(given, seed=0, val=0.3)  # of training, so that it is used
    assert not any("its own" in note for note in sides.notes)
    both = data_of(pairs, ("train",) * 20 + ("val",) * 10 + ("test",) * 10)
    notes = split(both, seed=0, val=0.3, test="rest", limit_per_class=5).notes
    assert "The data brings its own test side; test = rest is not used." in notes
    assert not any("val =" in note for note in notes)  # a limit takes that share of the given side
    assert "The data brings its own val side; val = 0.0 is not used." in split(both, seed=0, val=0.0).notes
    assert not any("is not used" in note for note in split(both, seed=0).notes)
