"""What the arguments of a plan say about each block: its rate, and the mode of its batch normalization."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from .block import Blocks
from .errors import PlanError, close_matches

BatchNormMode = Literal["frozen", "fixed_statistics", "adapt", "train"]
BATCH_NORM_MODES: tuple[str, ...] = get_args(BatchNormMode)
#: In a table of modes by block: that of all blocks that it does not name.
DEFAULT = "default"


def rates_of(
    found: Blocks,
    upto: str | None,
    train: Sequence[str] | None,
    layer_decay: float | None,
    multipliers: Mapping[str, float] | None,
) -> dict[str, float]:
    """The rate's multiplier of each block, 0 where it is frozen; see :func:`zoo.freeze`.

    Raises:
        SurgeryError: if a block does not exist.
        PlanError: if the arguments contradict each other, or are out of range.
    """
    _check_types(train, layer_decay, multipliers)
    if upto is not None and train is not None:
        what = "A plan takes either the highest frozen block or the blocks that learn."
        raise PlanError(what, received=f"upto={upto!r} and train={list(train)!r}")
    if layer_decay is not None and multipliers is not None:
        what = "A plan takes either a decay of the rate from block to block or explicit multipliers, not both."
        raise PlanError(what, received=f"layer_decay={layer_decay} and multipliers={dict(multipliers)!r}")
    if layer_decay is not None and not 0 < layer_decay <= 1:
        what = "The decay of the rate from block to block is out of range."
        raise PlanError(what, expected="0 < layer_decay <= 1", received=str(layer_decay))
    for name in (*(train or ()), *(multipliers or ())):
        found.index_of(name)
    if train is not None:
        learning = set(train)
    else:
        learning = set(found.names[found.index_of(upto) + 1 :] if upto is not None else found.names)
    rates = {}
    for depth, name in enumerate(reversed(found.names)):
        rate = layer_decay**depth if layer_decay is not None else float((multipliers or {}).get(name, 1.0))
        if not 0 <= rate < float("inf"):
            what = f"The rate's multiplier for '{name}' is out of range."
            raise PlanError(what, expected="0 or more", received=str(rate))
        rates[name] = rate if name in learning else 0.0
    idle = [name for name in (multipliers or {}) if name not in learning and (multipliers or {})[name] != 0]
    if idle:
        what = f"The block '{idle[0]}' has a rate, but does not learn."
        raise PlanError(what, fix="Leave it out of the multipliers, or thaw it.")
    return rates


def _check_types(train: Any, layer_decay: Any, multipliers: Any) -> None:
    """Refuses what Python would take letter by letter, or choke on."""
    if isinstance(train, str):
        what = "The blocks that learn are a list of names."
        raise PlanError(what, received=repr(train), fix=f"Write train=[{train!r}].")
    table = multipliers is None or isinstance(multipliers, Mapping)
    numbers = [layer_decay, *multipliers.values()] if table and multipliers else [layer_decay]
    if not table or any(isinstance(n, bool) or not isinstance(n, (int, float, type(None))) for n in numbers):
        what = "The rates of a plan are numbers: a decay, or a table from block to multiplier."
        raise PlanError(what, received=f"layer_decay={layer_decay!r}, multipliers={multipliers!r}")


def modes_of(
    found: Blocks, rates: Mapping[str, float], batch_norm: BatchNormMode | Mapping[str, BatchNormMode]
) -> dict[str, BatchNormMode]:
    """The batch-norm mode that is asked for in each block; see :func:`zoo.freeze`.

    Raises:
        SurgeryError: if a block does not exist.
        PlanError: if there is no such mode, or the block is frozen.
    """
    if not isinstance(batch_norm, (str, Mapping)):
        what = "The mode of batch normalization is a word, or a table from block to mode."
        raise PlanError(what, expected=" | ".join(BATCH_NORM_MODES), received=repr(batch_norm))
    said: dict[str, Any] = {DEFAULT: batch_norm} if isinstance(batch_norm, str) else dict(batch_norm)
    for name, mode in said.items():
        if mode not in BATCH_NORM_MODES:
            what = f"'{mode}' is not a mode of batch normalization."
            raise PlanError(what, expected=" | ".join(BATCH_NORM_MODES), fix=close_matches(str(mode), BATCH_NORM_MODES))
        if name == DEFAULT:
            continue
        found.index_of(name)
        if mode not in ("frozen", "adapt") and rates[name] == 0:
            what = f"The block '{name}' is frozen: its batch normalization cannot be '{mode}'."
            raise PlanError(what, fix="Thaw the block, or leave it out of batch_norm.")
    return {name: said.get(name, said.get(DEFAULT, "frozen")) for name in found.names}
