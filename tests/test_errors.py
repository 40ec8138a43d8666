"""What every error says, and that there is one tree of them."""

import ast
import inspect
from pathlib import Path

import pytest

from zoo import errors
from zoo.errors import CardError, ZooError, close_matches


def classes() -> list[type]:
    return [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


def test_every_error_is_a_zoo_error_and_drawn_in_the_docstring():
    for error in classes():
        assert issubclass(error, ZooError)
        assert error.__name__ in (errors.__doc__ or "")


def test_every_error_is_public():
    import zoo

    assert {error.__name__ for error in classes()} == {name for name in zoo.__all__ if name.endswith("Error")}


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "It broke."),
        ({"expected": "a JPEG"}, "It broke. Expected a JPEG."),
        ({"received": "nothing"}, "It broke. Received nothing."),
        ({"expected": "a", "received": "b", "fix": "Mend it."}, "It broke. Expected a; received b. Mend it."),
        ({"fix": "Mend it."}, "It broke. Mend it."),
        ({"expected": "'x' first"}, "It broke. Expected 'x' first."),
    ],
)
def test_a_message_is_what_expected_received_and_fix(facts, text):
    assert str(CardError("It broke.", **facts)) == text


def test_close_names_are_suggested_and_far_ones_are_listed():
    assert close_matches("conwnet", ["convnet", "dnn"]) == "Did you mean 'convnet'?"
    assert close_matches("block", ["block1", "block2", "top"]) == "Did you mean 'block2' or 'block1'?"
    assert close_matches("zzz", ["convnet", "dnn", "dnn"]) == "Known: convnet, dnn."
    assert close_matches("zzz", []) == "There is none yet."


def test_a_long_list_of_known_names_is_cut():
    assert close_matches("zzz", [f"name{i:02}" for i in range(30)]).endswith(", name18, name19 and 10 more.")
    assert close_matches("zzz", [f"name{i:02}" for i in range(20)]).endswith(", name18, name19.")


def test_the_module_of_errors_imports_nothing_of_zoo():
    tree = ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))
    found = [
        n.module if isinstance(n, ast.ImportFrom) else n.names[0].name
        for n in ast.walk(tree)
        if isinstance(n, (ast.Import, ast.ImportFrom))
    ]
    assert set(found) == {"collections.abc", "difflib"}
