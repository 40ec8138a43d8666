"""The ``[[stage]]`` of a recipe: what learns in it, how fast, how long, and what regularizes it."""

import math
import re
from dataclasses import dataclass
from typing import Any

from .errors import close_matches
from .optimizer_table import read_optimizer
from .strict_toml import Table

THAWS = ("at_once", "by_block")
BATCH_NORM = ("frozen", "fixed_statistics", "adapt", "train")
#: For ``freeze``: nothing, or everything below the top.
FREEZE_NONE, FREEZE_ALL = "none", "all"


@dataclass(frozen=True)
class StagePart:
    """``[[stage]]``: what learns (``train``: blocks; or ``freeze``: the highest frozen one), how fast and how long.

    ``thaw = "by_block"`` makes it several stages of these epochs: the highest of its blocks first, then with the next
    one below, until all learn.
    """

    name: str
    epochs: int
    optimizer: dict[str, Any]
    train: tuple[str, ...] | None = None
    freeze: str | None = None
    layer_decay: float | None = None
    multipliers: dict[str, float] | None = None
    batch_norm: str | dict[str, str] = "frozen"
    early_stopping: dict[str, Any] | None = None
    thaw: str = "at_once"


def read_stage(table: Table) -> StagePart:
    """Takes a ``[[stage]]``.

    Raises:
        RecipeError: naming the key that is missing, unknown or wrong.
    """
    optimizer = read_optimizer(table)
    train = table.strings("train") if table.has("train") else None
    freeze = table.optional("freeze", str)
    if (train is None) == (freeze is None):
        table.fail("train", "either train (the blocks that learn) or freeze (the highest frozen block)", train)
    multipliers = table.optional("multipliers", dict)
    table.check("multipliers", are_weights(multipliers or {}), "a table of block = multiplier, 0 or more", multipliers)
    decay = table.optional("layer_decay", float)
    table.check("layer_decay", decay is None or 0 < decay <= 1, "above 0, at most 1", decay)
    if decay is not None and multipliers is not None:
        table.fail("multipliers", "either layer_decay or multipliers", multipliers)
    epochs = table.take("epochs", int)
    table.check("epochs", epochs >= 1, "1 or more", epochs)
    name = table.take("name", str)
    fits = re.fullmatch(r"\w[\w .-]{0,63}", name) is not None
    table.check("name", fits, "letters, digits, blanks, '.', '-' and '_': it is part of a file's name", name)
    return StagePart(
        name=name,
        epochs=epochs,
        optimizer=optimizer,
        train=train,
        freeze=freeze,
        layer_decay=decay,
        multipliers=multipliers,
        batch_norm=_read_batch_norm(table),
        early_stopping=_read_early_stopping(table),
        thaw=table.choice("thaw", THAWS, "at_once"),
    )


def _read_batch_norm(table: Table) -> str | dict[str, str]:
    value = table.take_any("batch_norm", "frozen")
    modes = list(value.values()) if isinstance(value, dict) else [value]
    wrong = [mode for mode in modes if mode not in BATCH_NORM]
    if wrong:
        expected = f"{' | '.join(BATCH_NORM)}, or a table of block = mode"
        table.fail("batch_norm", expected, value, close_matches(str(wrong[0]), BATCH_NORM))
    return value


def _read_early_stopping(table: Table) -> dict[str, Any] | None:
    if not table.has("early_stopping"):
        return None
    with table.table("early_stopping") as inner:
        stopping = {
            "monitor": inner.take("monitor", str, "val_loss"),
            "patience": inner.take("patience", int, 5),
            "min_delta": inner.take("min_delta", float, 0.0),
        }
        inner.check("patience", stopping["patience"] >= 1, "1 or more", stopping["patience"])
    return stopping


def are_weights(table: dict[str, Any]) -> bool:
    """Whether every value is a finite number, 0 or more."""
    return all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) and v >= 0 for v in table.values()
    )
