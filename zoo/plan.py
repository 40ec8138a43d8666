"""The freeze plan: what is frozen, how fast the rest learns, and what each batch normalization does.

A plan is an ordered table, one row a block, and every variable of the network is covered by exactly one row. Making one
changes nothing; training applies it, stage by stage, and checks afterwards that what was frozen did not move.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import keras

from .block import Block, Blocks, blocks, covering
from .boundary import Crossing, boundary, shape_text, size_text
from .card import BlockPattern
from .errors import PlanError, close_matches
from .flattening import flat
from .graph import leaves, operations
from .text_table import text_table

BatchNormMode = Literal["frozen", "fixed_statistics", "adapt", "train"]
BATCH_NORM_MODES: tuple[str, ...] = get_args(BatchNormMode)


@dataclass(frozen=True)
class Row:
    """One block of a plan.

    ``rate`` is the multiplier of the learning rate, 0 where the block is frozen; ``trained`` counts the parameters that
    learn; ``batch_norm`` is ``None`` where the block has none; ``crossings`` is what would cross the boundary if this
    block and all below it were frozen.
    """

    block: Block
    rate: float
    batch_norm: BatchNormMode | None
    trained: int
    crossings: tuple[Crossing, ...] = ()

    @property
    def frozen(self) -> bool:
        """Whether nothing in the block learns."""
        return self.rate == 0.0


@dataclass(frozen=True)
class Plan:
    """What is frozen and what learns, bottom to top; printed as a table.

    ``crossings`` are the tensors that cross the deepest frozen boundary: what a frozen trunk computes once an example.
    """

    rows: tuple[Row, ...]
    crossings: tuple[Crossing, ...]

    @property
    def frozen_layers(self) -> frozenset[str]:
        """The names of all layers in frozen blocks."""
        return frozenset(name for row in self.rows if row.frozen for name in row.block.layers)

    @property
    def blocks(self) -> Blocks:
        """The blocks that the plan divides the network into."""
        return Blocks(row.block for row in self.rows)

    @property
    def trained(self) -> int:
        """How many parameters learn."""
        return sum(row.trained for row in self.rows)

    def row_of(self, layer: str) -> Row:
        """The row that covers a layer.

        Raises:
            PlanError: if none does.
        """
        for row in self.rows:
            if layer in row.block.layers:
                return row
        what = f"The plan does not cover the layer '{layer}': it was made for another network."
        raise PlanError(what, fix="Make the plan for this network: zoo.freeze(model, ...).")

    def __str__(self) -> str:
        total = sum(row.block.parameters for row in self.rows) or 1
        table = text_table(_HEADER, [_cells(row, total) for row in self.rows], right=(1, 2, 3))
        crossing = "; ".join(str(c) for c in self.crossings)
        below = f"the frozen trunk gives {crossing}" if crossing else "nothing is frozen from the input upwards"
        lines = [table, f"{self.trained:,} of {total:,} parameters learn; {below}"]
        for name in (name for row in self.rows for name in row.block.opaque):
            lines.append(f"'{name}' is opaque: the layers inside it cannot be told apart, so it is one layer here")
        return "\n".join(lines)


_HEADER = ("block", "layers", "parameters", "share", "output", "rate", "batch norm", "crosses above")


def _cells(row: Row, total: int) -> tuple[Any, ...]:
    return (
        row.block.name,
        len(row.block.layers),
        f"{row.block.parameters:,}",
        f"{row.block.parameters / total:.1%}",
        shape_text(row.block.output_shape),
        "frozen" if row.frozen else f"x{row.rate:g}",
        row.batch_norm or "-",
        size_text(row.crossings),
    )


def freeze(
    model: keras.Model,
    *,
    upto: str | None = None,
    train: Sequence[str] | None = None,
    batch_norm: BatchNormMode | Mapping[str, BatchNormMode] = "frozen",
    layer_decay: float | None = None,
    multipliers: Mapping[str, float] | None = None,
    blocks_of: Sequence[BlockPattern] = (),
) -> Plan:
    """Plans which blocks are frozen and how fast the others learn. Changes nothing: training applies the plan.

    Args:
        model: A functional or Sequential model.
        upto: The highest block that is frozen, with every block below it; ``None`` freezes nothing.
        train: Instead of ``upto``: the blocks that learn; all others are frozen.
        batch_norm: What batch normalization does: ``frozen`` (statistics, scale and offset stay as they are),
            ``fixed_statistics`` (scale and offset learn), ``adapt`` (the statistics are re-estimated once on the new
            data before the training, then fixed; scale and offset learn), or ``train`` (live); or a mapping from block
            to mode, ``frozen`` where it names none. In frozen blocks scale and offset are always fixed, and so are the
            statistics unless they ``adapt``.
        layer_decay: Each block below the topmost learns at this multiple of the rate of the one above; 0 to 1.
        multipliers: Instead of ``layer_decay``: the rate's multiplier by block, 1 where it names none; 0 freezes.
        blocks_of: A card's blocks; by default they are derived from the network's graph.

    Returns:
        The plan.

    Raises:
        SurgeryError: if a block does not exist.
        PlanError: if the arguments contradict each other, or nothing is left to learn.

    Example:
        >>> import zoo
        >>> plan = zoo.freeze(zoo.load("glyphs"), upto="block2", layer_decay=0.5)
        >>> [(row.block.name, row.rate) for row in plan.rows]
        [('block1', 0.0), ('block2', 0.0), ('block3', 0.5), ('top', 1.0)]
    """
    graph = flat(model)
    found = blocks(graph, blocks_of)
    rates = _rates(found, upto, train, layer_decay, multipliers)
    modes = _modes(found, rates, batch_norm)
    owner = covering(found, graph)
    members = {name: [op for op in operations(graph) if owner[id(op)] == name] for name in found.names}
    _check_shared(members)
    rows = tuple(_row(block, rates[block.name], modes[block.name], members[block.name]) for block in found)
    rows = tuple(replace(row, crossings=_crossings(graph, rows[: i + 1])) for i, row in enumerate(rows))
    if not any(row.trained for row in rows):
        what = "The plan leaves nothing to learn."
        raise PlanError(
            what, expected=f"at least one block that learns, of {', '.join(found.names)}", fix="Freeze less."
        )
    return Plan(rows, _crossings(graph, [row for row in rows if row.frozen]))


def _crossings(graph: keras.Model, frozen: Sequence[Row]) -> tuple[Crossing, ...]:
    """What crosses the deepest frozen boundary if these blocks are frozen."""
    edge = boundary(graph, frozenset(name for row in frozen for name in row.block.layers))
    return edge.crossings if edge.below and edge.above else ()


def _row(block: Block, rate: float, mode: BatchNormMode, members: Sequence[object]) -> Row:
    """A block's row: how many of its parameters learn, and what its batch normalization does where it has any."""
    mode = "frozen" if rate == 0 and mode != "adapt" else mode
    found = leaf_layers(members)
    learning = {id(v): v for leaf in found if learns(leaf, rate, mode) for v in leaf._trainable_variables}
    if mode in ("fixed_statistics", "adapt"):
        _check_reachable(block, members, mode)
    norm = mode if any(is_batch_norm(leaf) for leaf in found) else None
    return Row(block, rate, norm, sum(math.prod(v.shape) for v in learning.values()))


def _check_reachable(block: Block, members: Sequence[Any], mode: BatchNormMode) -> None:
    """Batch normalization that is a part of another layer can neither be held in inference while the rest of it trains,
    nor be told what it normalizes."""
    for layer in members:
        if not is_batch_norm(layer) and any(is_batch_norm(leaf) for leaf in leaf_layers([layer])):
            what = f"The statistics inside '{layer.name}' cannot be fixed while the rest of that layer learns."
            if mode == "adapt":
                what = f"The statistics inside '{layer.name}' cannot be re-estimated: they are a part of that layer."
            fix = f'Choose "frozen" or "train" for it: batch_norm={{"{block.name}": "frozen"}}.'
            raise PlanError(what, fix=fix)


def _check_shared(members: Mapping[str, Sequence[object]]) -> None:
    """Every variable is of exactly one block."""
    claimed: dict[int, str] = {}
    for name, inside in members.items():
        for variable in (v for leaf in leaf_layers(inside) for v in leaf.variables):
            if claimed.setdefault(id(variable), name) != name:
                what = f"The variable '{variable.path}' is shared by the blocks '{claimed[id(variable)]}' and '{name}'."
                raise PlanError(what, fix="Make them one block: blocks_of=[BlockPattern(NAME, LAYERS)].")


def _rates(
    found: Blocks,
    upto: str | None,
    train: Sequence[str] | None,
    layer_decay: float | None,
    multipliers: Mapping[str, float] | None,
) -> dict[str, float]:
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


def _modes(
    found: Blocks, rates: Mapping[str, float], batch_norm: BatchNormMode | Mapping[str, BatchNormMode]
) -> dict[str, BatchNormMode]:
    explicit = not isinstance(batch_norm, str)
    if isinstance(batch_norm, str):
        batch_norm = dict.fromkeys(found.names, batch_norm)
    for name, mode in batch_norm.items():
        found.index_of(name)
        if mode not in BATCH_NORM_MODES:
            what = f"'{mode}' is not a mode of batch normalization."
            raise PlanError(what, expected=" | ".join(BATCH_NORM_MODES), fix=close_matches(str(mode), BATCH_NORM_MODES))
        if explicit and mode not in ("frozen", "adapt") and rates[name] == 0:
            what = f"The block '{name}' is frozen: its batch normalization cannot be '{mode}'."
            raise PlanError(what, fix="Thaw the block, or leave it out of batch_norm.")
    return {name: batch_norm.get(name, "frozen") for name in found.names}


def check_fits(plan: Plan, graph: keras.Model) -> None:
    """Checks that a plan was made for this network: that it covers each layer, and knows no others.

    Raises:
        PlanError: if it does not.
    """
    inside = {op.name for op in operations(graph)}
    for name in inside:
        plan.row_of(name)
    gone = sorted(name for row in plan.rows for name in row.block.layers if name not in inside)
    if gone:
        what = f"The plan has a layer '{gone[0]}', and the network has none: the plan was made for another network."
        raise PlanError(what, fix="Make the plan for this network: zoo.freeze(model, ...).")


def leaf_layers(operations: Sequence[object]) -> list[keras.layers.Layer]:
    """All leaf layers of some operations; see :func:`zoo.graph.leaves`."""
    return [leaf for op in operations if isinstance(op, keras.layers.Layer) for leaf in leaves(op)]


def is_batch_norm(layer: object) -> bool:
    """Whether a layer keeps moving statistics of its batches."""
    return isinstance(layer, keras.layers.BatchNormalization)


def learns(leaf: keras.layers.Layer, rate: float, mode: BatchNormMode | None) -> bool:
    """Whether a leaf layer's parameters learn under a row's rate and batch-norm mode."""
    return rate > 0 and not (is_batch_norm(leaf) and mode == "frozen")
