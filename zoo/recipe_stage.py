"""The ``[[stage]]`` of a recipe: what learns in it, how fast, how long, and what regularizes it."""

from dataclasses import dataclass, replace
from typing import Any

from .key_form import Choice, Either, Key, Keys, ListOf, Range, TableOf, Text, read_keys
from .optimizer_table import OptimizerForm
from .stage_conflicts import check_conflicts
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


_MODE = Choice(BATCH_NORM)
_FINITE = Range("a finite number, 0 or more", 0)
_PATIENCE = Range("1 or more", 1, whole=True)
_MONITOR = Key("monitor", Text(), "the figure that is watched", "val_loss")

EARLY_STOPPING = Keys(
    (
        _MONITOR,
        Key("patience", _PATIENCE, "epochs without improvement", 5),
        Key("min_delta", Range(), "what counts as one", 0.0),
    )
)
REDUCE_ON_PLATEAU = Keys(
    (
        _MONITOR,
        Key("factor", Range("above 0 and below 1", above=0, below=1), "what the rate is multiplied by", 0.1),
        Key("patience", _PATIENCE, "epochs without improvement; half of early stopping's, or 5", None),
        Key("min_delta", _FINITE, "what counts as one", 0.0),
        Key("cooldown", Range(_FINITE.said, 0, whole=True), "epochs to wait after it", 0),
        Key("min_lr", _FINITE, "the lowest rate", 0.0),
    )
)
L2_SP = Keys(
    (
        Key("alpha", Range(least=0), "the strength for reused weights"),
        Key("beta", Range(least=0), "for those of new layers, which are pulled to 0", 0.0),
    )
)
WEIGHT_AVERAGING = Keys(
    (
        Key("start", Range("a share of the epochs, 0 to below 1", 0, below=1), "the share of the epochs before", 0.75),
        Key("every", Range("a number of epochs, 1 or more", 1, whole=True), "epochs between two that count", 1),
    )
)

#: The keys of a stage, in the order of :class:`StagePart`.
STAGE = Keys(
    (
        Key(
            "name",
            Text(r"\w[\w .-]{0,63}", "letters, digits, blanks, '.', '-' and '_': it is part of a file's name"),
            "shown in the plan and the history; no two alike",
        ),
        Key("epochs", Range("1 or more", 1, whole=True), "at most so many"),
        Key("optimizer", OptimizerForm(), "one of Keras's by name, with its arguments"),
        Key(
            "train",
            ListOf(Text(), "a list of strings", "one block or more, each once", least=1, distinct=True),
            "the blocks that learn, top being the new top; all others are frozen",
            None,
        ),
        Key("freeze", Text(), "the highest frozen block; or none, all, half", None),
        Key(
            "layer_decay",
            Range("above 0, at most 1", above=0, most=1),
            "each block below learns at this multiple of the rate of the one above",
            None,
        ),
        Key(
            "multipliers",
            TableOf("a table of block = multiplier, 0 or more", Range(least=0)),
            "a table of rates by block, instead of layer_decay",
            None,
        ),
        Key(
            "batch_norm",
            Either((_MODE, TableOf(inner=_MODE)), f"{' | '.join(BATCH_NORM)}, or a table of block = mode", BATCH_NORM),
            "batch normalization; or a table by block",
            "frozen",
        ),
        Key("early_stopping", EARLY_STOPPING, "ends the stage, with its best weights", None),
        Key("thaw", Choice(THAWS), "its blocks learn together, or one after another", "at_once"),
        Key("reduce_on_plateau", REDUCE_ON_PLATEAU, "performance scheduling", None),
        Key(
            "l2_sp",
            Either(
                (Range(least=0), L2_SP),
                "a strength, 0 or more, or { alpha = 0.01, beta = 0.001 }",
                convert=lambda value: value if isinstance(value, dict) else {"alpha": value, "beta": 0.0},
            ),
            "pulls the reused weights to their pretrained values",
            None,
        ),
        Key("weight_averaging", WEIGHT_AVERAGING, "ends the stage with the mean of its late weights", None),
    )
)


def read_stage(table: Table) -> StagePart:
    """Takes a ``[[stage]]``.

    Raises:
        RecipeError: naming the key that is missing, unknown or wrong, or that another one excludes.
    """
    values = read_keys(table, STAGE.keys)
    values["multipliers"] = values["multipliers"] or None  # TOML has no word for a table that says nothing
    values["batch_norm"] = values["batch_norm"] or "frozen"
    train, freeze = values["train"], values["freeze"]
    if (train is None) == (freeze is None):
        table.fail("train", "either train (the blocks that learn) or freeze (the highest frozen block)", train)
    if values["layer_decay"] is not None and values["multipliers"] is not None:
        table.fail("multipliers", "either layer_decay or multipliers", values["multipliers"])
    plateau = values["reduce_on_plateau"]
    if plateau is not None and plateau["patience"] is None:  # early stopping's own would end the stage first
        plateau["patience"] = _half_of(values["early_stopping"])
    stage = StagePart(**values)
    check_conflicts(table, stage, averages(stage), averaged_by_the_optimizer(stage))
    return stage


def _half_of(stopping: dict[str, Any] | None) -> int:
    """Half of early stopping's patience; 5 epochs where nothing stops early."""
    return 5 if stopping is None else max(stopping.get("patience", 5) // 2, 1)
