"""Whether a run that goes on, or is done again, is still about what it began with."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.errors import RunError
from zoo.run import write_split
from zoo.unchanged import change_of_data, check_given

ROWS = [("a.png", "A", "train"), ("b.png", "B", "val"), ("c.png", "C", "train"), ("d.png", "D", "test")]


def change(folder: Path, rows: list[tuple[str, str, str]], digest: str = "whole") -> str | None:
    """What is said where the data is these rows now."""
    write_split(folder, ROWS)
    data: Any = type("Data", (), {"__len__": lambda self: len(rows), "whole_digest": digest})()
    data.name_of, data.digest = (lambda i: rows[i][0]), (lambda i: rows[i][1])
    sides = {side: [i for i, row in enumerate(rows) if row[2] == side] for side in ("train", "val", "test", "unused")}
    return change_of_data(folder, {"data": {"digest": "whole"}}, data, SimpleNamespace(**sides))  # type: ignore


def test_the_same_data_has_not_changed(tmp_path: Path):
    assert change(tmp_path, ROWS) is None


def test_a_name_alone_does_not_count(tmp_path: Path):
    assert change(tmp_path, [("another.png", "A", "train"), *ROWS[1:]]) is None


def test_a_name_that_gives_another_order_does(tmp_path: Path):
    """A folder is read in the order of its names."""
    said = "the order is another: 'b.png' is where 'a.png' was"
    assert change(tmp_path, [*ROWS[1:], ("e.png", "A", "train")]) == said


def test_rows_that_changed_places_are_named_by_the_first(tmp_path: Path):
    swapped = [ROWS[0], ("b.png", "C", "train"), ("c.png", "B", "val"), ROWS[3]]
    assert change(tmp_path, swapped) == "the order is another, from 'b.png' on"


def test_another_side_is_named(tmp_path: Path):
    found = change(tmp_path, [ROWS[0], ("b.png", "B", "test"), ("c.png", "C", "val"), ROWS[3]])
    assert found == "'b.png' is on the side test, and was on val, and 1 more"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a.png", "X", "train"), *ROWS[1:]], "'a.png' has another content"),
        (ROWS[:3], "'d.png' is gone"),
        ([*ROWS, ("e.png", "E", "test")], "'e.png' is new"),
        ([("a.png", "X", "train"), *ROWS[1:3], ("e.png", "D", "test")], "'a.png' has another content, and 2 more"),
        (ROWS, "the targets are others"),
    ],
)
def test_other_data_is_named_by_the_first_example(rows: list[tuple[str, str, str]], said: str, tmp_path: Path):
    assert change(tmp_path, rows, "another") == said


def test_what_was_given_in_python_has_to_be_given_again(tmp_path: Path):
    lock = {"given": ["the network 'mine'", "the data"]}
    check_given(tmp_path, lock, ["the network 'mine'", "the data"], "zoo.resume")
    with pytest.raises(RunError) as error:
        check_given(tmp_path, lock, ["the data"], "zoo.resume")
    assert "Expected the network 'mine', the data; received the data. Give the same again: zoo.resume(" in str(
        error.value
    )
    with pytest.raises(RunError, match="Expected none; received the data"):
        check_given(tmp_path, {}, ["the data"], "zoo.verify")
