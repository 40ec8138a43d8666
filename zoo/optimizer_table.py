"""The ``optimizer`` of a recipe's stage, with the ranges of its numbers."""

import math
from typing import Any

from .strict_toml import Table

#: Numbers that make no sense below zero, and those that make none at zero either.
_NOT_NEGATIVE = ("learning_rate", "weight_decay", "momentum")
_POSITIVE = ("clipnorm", "clipvalue", "global_clipnorm")


def read_optimizer(table: Table) -> dict[str, Any]:
    """Takes a stage's optimizer: its name, and numbers in their ranges; Keras checks the rest.

    Raises:
        RecipeError: naming the key, if it has no name, or a number is not finite, or negative where it must not be.
    """
    found = table.take("optimizer", dict)
    if not isinstance(found.get("name"), str):
        table.fail("optimizer", '{ name = "adam", learning_rate = 1e-3 }', found)
    _check(table, "optimizer", found)
    return found


def _check(table: Table, key: str, value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _check(table, f"{key}.{name}", inner)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    name = key.rpartition(".")[2]
    finite = -math.inf < value < math.inf
    if name in _POSITIVE and not (finite and value > 0):
        table.fail(key, "a finite number above 0", value)
    if name.endswith(_NOT_NEGATIVE) and not (finite and value >= 0):
        table.fail(key, "a finite number, 0 or more", value)
    if not finite:
        table.fail(key, "a finite number", value)
