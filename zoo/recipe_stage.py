"""The ``[[stage]]`` of a recipe: what learns in it, how fast, how long, and what regularizes it."""

import math
import re
from dataclasses import dataclass, replace
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
    one below, until all learn. ``reduce_on_plateau`` is performance scheduling; ``l2_sp`` pulls the reused weights to
    their pretrained values; ``weight_averaging`` ends the stage with the mean of its late weights.
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
    reduce_on_plateau: dict[str, Any] | None = None
    l2_sp: dict[str, float] | None = None
    weight_averaging: dict[str, Any] | None = None


def averages(stage: StagePart) -> bool:
    """Whether a stage ends with an average of its weights."""
    return stage.weight_averaging is not None or averaged_by_the_optimizer(stage)


def averaged_by_the_optimizer(stage: StagePart) -> bool:
    """Whether a stage's optimizer replaces the weights by an average of them when training ends."""
    return bool(stage.optimizer.get("use_ema")) or str(stage.optimizer["name"]).lower() == "schedulefreeadamw"


def with_open_patience(stage: StagePart) -> StagePart:
    """A stage whose performance scheduling waits for half of early stopping's patience again, if it does so now.

    Reading fills that half in. Where early stopping becomes more or less patient afterwards, it is another.

    Example:
        >>> stage = StagePart("s", 9, {"name": "sgd"}, reduce_on_plateau={"factor": 0.5, "patience": 5})
        >>> with_open_patience(stage).reduce_on_plateau
        {'monitor': 'val_loss', 'factor': 0.5}
    """
    plateau = stage.reduce_on_plateau
    if plateau is None or plateau.get("patience") != _half_of(stage.early_stopping):
        return stage
    rest = {key: value for key, value in plateau.items() if key != "patience"}
    return replace(stage, reduce_on_plateau={"monitor": "val_loss", **rest})  # an empty table is none in TOML


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
    stopping = _read_early_stopping(table)
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
        early_stopping=stopping,
        thaw=table.choice("thaw", THAWS, "at_once"),
        reduce_on_plateau=_read_reduce_on_plateau(table, stopping),
        l2_sp=_read_l2_sp(table),
        weight_averaging=_read_weight_averaging(table),
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


def _read_reduce_on_plateau(table: Table, stopping: dict[str, Any] | None) -> dict[str, Any] | None:
    """Unless it says its patience, it is half of early stopping's, which would end the stage first."""
    if not table.has("reduce_on_plateau"):
        return None
    with table.table("reduce_on_plateau") as inner:
        reduced = {
            "monitor": inner.take("monitor", str, "val_loss"),
            "factor": inner.take("factor", float, 0.1),
            "patience": inner.take("patience", int, _half_of(stopping)),
            "min_delta": inner.take("min_delta", float, 0.0),
            "cooldown": inner.take("cooldown", int, 0),
            "min_lr": inner.take("min_lr", float, 0.0),
        }
        inner.check("factor", 0 < reduced["factor"] < 1, "above 0 and below 1", reduced["factor"])
        inner.check("patience", reduced["patience"] >= 1, "1 or more", reduced["patience"])
        for key in ("min_delta", "cooldown", "min_lr"):
            inner.check(key, 0 <= reduced[key] < math.inf, "a finite number, 0 or more", reduced[key])
    return reduced


def _half_of(stopping: dict[str, Any] | None) -> int:
    """Half of early stopping's patience; 5 epochs where nothing stops early."""
    return 5 if stopping is None else max(stopping.get("patience", 5) // 2, 1)


def _read_l2_sp(table: Table) -> dict[str, float] | None:
    """A number is the strength for the reused weights alone; a table may say one for the fresh top too."""
    value = table.take_any("l2_sp")
    if value is None:
        return None
    value = value if isinstance(value, dict) else {"alpha": value}
    if set(value) - {"alpha", "beta"} or "alpha" not in value or not are_weights(value):
        table.fail("l2_sp", "a strength, 0 or more, or { alpha = 0.01, beta = 0.001 }", value)
    return {"alpha": float(value["alpha"]), "beta": float(value.get("beta", 0.0))}


def _read_weight_averaging(table: Table) -> dict[str, Any] | None:
    if not table.has("weight_averaging"):
        return None
    with table.table("weight_averaging") as inner:
        averaging = {"start": inner.take("start", float, 0.75), "every": inner.take("every", int, 1)}
        inner.check("start", 0 <= averaging["start"] < 1, "a share of the epochs, 0 to below 1", averaging["start"])
        inner.check("every", averaging["every"] >= 1, "a number of epochs, 1 or more", averaging["every"])
    return averaging


def are_weights(table: dict[str, Any]) -> bool:
    """Whether every value is a finite number, 0 or more."""
    return all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) and v >= 0 for v in table.values()
    )
