"""The freeze plan: what is frozen, how fast the rest learns, and what each batch normalization does.

A plan is an ordered table, one row a block, and every variable of the network is covered by exactly one row. Making one
changes nothing; training applies it, stage by stage, and checks afterwards that what was frozen did not move.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from .block import Block, Blocks, blocks, covering
from .boundary import Crossing, boundary, shape_text, size_text
from .card import BlockPattern
from .errors import PlanError
from .flattening import flat
from .graph import leaves, operations
from .planning import BatchNormMode, modes_of, rates_of
from .text_table import text_table


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
        model: A Keras model.
        upto: The highest block that is frozen, with every block below it; ``None`` freezes nothing.
        train: Instead of ``upto``: the blocks that learn; all others are frozen.
        batch_norm: What batch normalization does: ``frozen`` (statistics, scale and offset stay as they are),
            ``fixed_statistics`` (scale and offset learn), ``adapt`` (the statistics are re-estimated once on the new
            data before the training, then fixed; scale and offset learn), or ``train`` (live); or a mapping from block
            to mode, and from ``default`` to that of the others, else ``frozen``. In frozen blocks scale and offset are
            always fixed, and so are the statistics unless they ``adapt``.
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
    rates = rates_of(found, upto, train, layer_decay, multipliers)
    modes = modes_of(found, rates, batch_norm)
    owner = covering(found, graph)
    members: dict[str, list[Any]] = {name: [] for name in found.names}
    for operation in operations(graph):
        members[owner[id(operation)]].append(operation)
    _check_shared(members)
    rows = tuple(_row(block, rates[block.name], modes[block.name], members[block.name]) for block in found)
    rows = tuple(replace(row, crossings=_crossings(graph, rows[: i + 1])) for i, row in enumerate(rows))
    _check_modes(rows, batch_norm)
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
    learning = {id(v): v for leaf in found if learns(leaf, rate, mode) for v in learnable(leaf)}
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


def _check_modes(rows: Sequence[Row], batch_norm: BatchNormMode | Mapping[str, BatchNormMode]) -> None:
    """Refuses a mode for a block that has no batch normalization."""
    said = {} if isinstance(batch_norm, str) else batch_norm
    idle = [row.block.name for row in rows if row.batch_norm is None and said.get(row.block.name, "frozen") != "frozen"]
    if idle:
        what = f"The block '{idle[0]}' has no batch normalization: its mode cannot be '{said[idle[0]]}'."
        having = ", ".join(row.block.name for row in rows if row.batch_norm) or "none"
        raise PlanError(what, fix=f"Leave it out of batch_norm. Blocks that have some: {having}.")


def leaf_layers(operations: Sequence[object]) -> list[keras.layers.Layer]:
    """All leaf layers of some operations; see :func:`zoo.graph.leaves`."""
    return [leaf for op in operations if isinstance(op, keras.layers.Layer) for leaf in leaves(op)]


def is_batch_norm(layer: object) -> bool:
    """Whether a layer keeps moving statistics of its batches."""
    return isinstance(layer, keras.layers.BatchNormalization)


def learnable(leaf: keras.layers.Layer) -> list[keras.Variable]:
    """The variables of a leaf layer that training may move, whatever its switch says now.

    With LoRA (Hu et al., 2021), only the adapter is: Keras fixes the layer's own kernel beside it, but thaws it again
    when the layer's ``trainable`` is set.
    """
    if not getattr(leaf, "lora_enabled", False):
        return list(leaf._trainable_variables)
    fixed = {id(getattr(leaf, name, None)) for name in ("_kernel", "_embeddings")}
    return [v for v in leaf._trainable_variables if id(v) not in fixed]


def learns(leaf: keras.layers.Layer, rate: float, mode: BatchNormMode | None) -> bool:
    """Whether a leaf layer's parameters learn under a row's rate and batch-norm mode."""
    return rate > 0 and not (is_batch_norm(leaf) and mode == "frozen")
