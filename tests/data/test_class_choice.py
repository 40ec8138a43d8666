"""Choosing some of a built-in data set's classes."""

import numpy as np
import pytest

from zoo.data import open_data, split
from zoo.data.class_choice import chosen_classes, of_classes
from zoo.errors import DataError

DIGITS = "0123456789"


@pytest.mark.parametrize(
    ("text", "places"),
    [("0-4", range(5)), ("5-9", range(5, 10)), ("3", [3]), ("7+0-2", [0, 1, 2, 7]), (" 8 - 9 + 1 ", [1, 8, 9])],
)
def test_names_and_ranges_are_joined_in_the_data_s_own_order(text, places):
    assert chosen_classes(text, DIGITS) == tuple(places)


def test_examples_keep_their_order_and_classes_are_counted_anew():
    kept, targets = of_classes((2, 5), np.array([5, 0, 2, 2, 9]))
    assert (kept.tolist(), targets.tolist()) == ([0, 2, 3], [1, 0, 0])


def test_the_digits_from_5_to_9_are_those_of_the_whole_and_keep_their_names():
    whole, some = open_data("digits"), open_data("digits:classes=5-9")
    rows = [i for i in range(len(whole)) if whole.classes[whole.target.values[i]] in "56789"]
    assert some.classes == ("5", "6", "7", "8", "9")
    assert (len(some), some.source) == (len(rows), "digits:classes=5-9")
    assert [some.digest(i) for i in range(len(some))] == [whole.digest(i) for i in rows]
    assert [some.name_of(i) for i in (0, len(some) - 1)] == [f"row {rows[0]}", f"row {rows[-1]}"]
    assert [some.classes[v] for v in some.target.values] == [whole.classes[whole.target.values[i]] for i in rows]


def test_two_halves_are_the_whole():
    halves = [open_data(f"digits:classes={half}") for half in ("0-4", "5-9")]
    assert sorted(d for half in halves for d in half.digests) == sorted(open_data("digits").digests)


def test_each_class_gives_as_many_labels_as_the_limit_says():
    data = open_data("digits:classes=5-9")
    sides = split(data, seed=0, val=0.2, test="rest", limit_per_class=100)
    assert [np.bincount(data.target.values[side]).tolist() for side in (sides.train, sides.val)] == [[80] * 5, [20] * 5]
    assert len(sides.test) == len(data) - 500


def test_it_goes_with_the_other_arguments():
    whole, some = (open_data(f"characters:examples=620,seed=3{end}") for end in ("", ",classes=A-C"))
    assert (len(some), some.classes) == (30, ("A", "B", "C"))
    assert set(some.digests) < set(whole.digests)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "There is no class 'x'. Expected names, or ranges such as '0-9'; several joined by '+'; received 'x'. "),
        ("0+11", "received '0+11'. Did you mean '1'?"),
        ("4-0", "The range '4-0' of classes runs backwards. Expected '0-4'; received '4-0'."),
        ("", "A choice of classes is incomplete. Expected names, or ranges such as '0-9'; several joined by '+'; "),
        ("0-", "A choice of classes is incomplete."),
        ("0-4+3", "The class '3' is chosen twice. Received '0-4+3'. Name each class once."),
    ],
)
def test_what_cannot_be_chosen_is_explained_with_the_data_s_name(text, message):
    with pytest.raises(DataError) as caught:
        open_data(f"digits:classes={text}")
    assert str(caught.value).startswith(f"'digits:classes={text}': ")
    assert message in str(caught.value)
