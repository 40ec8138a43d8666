"""The freeze plan: what is frozen, how fast the rest learns, and what each batch normalization does.

A plan is an ordered table, one row a block, and every variable of the network is covered by exactly one row. Making one
changes nothing; training applies it, stage by stage, and checks afterwards that what was frozen did not move.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import keras
import numpy as np

from .block import Block, Blocks, blocks, covering
from .card import BlockPattern
from .errors import PlanError, close_matches
from .graph import calls, flat, leaves, takes_training
from .surgery import Boundary, Crossing, boundary
from .text_table import text_table

BatchNormMode = Literal["frozen", "fixed_statistics", "train"]
BATCH_NORM_MODES: tuple[str, ...] = get_args(BatchNormMode)


@dataclass(frozen=True)
class Row:
    """One block of a plan.

    ``rate`` is the multiplier of the learning rate, 0 where the block is frozen; ``trained`` counts the parameters that
    learn; ``batch_norm`` is ``None`` where the block has none.
    """

    block: Block
    rate: float
    batch_norm: BatchNormMode | None
    trained: int

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
        body = [
            (
                row.block.name,
                len(row.block.layers),
                f"{row.block.parameters:,}",
                f"{row.block.parameters / total:.1%}",
                "x".join("?" if n is None else str(n) for n in row.block.output_shape) or "-",
                "frozen" if row.frozen else f"x{row.rate:g}",
                row.batch_norm or "-",
            )
            for row in self.rows
        ]
        table = text_table(("block", "layers", "parameters", "share", "output", "rate", "batch norm"), body, right=(1, 2, 3))
        crossing = "; ".join(str(c) for c in self.crossings)
        below = f"computed once an example: {crossing}" if crossing else "nothing is frozen from the input upwards"
        return f"{table}\n{self.trained:,} of {total:,} parameters learn; {below}"


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
        batch_norm: What batch normalization does in the blocks that learn: ``frozen`` (statistics, scale and offset stay
            as they are), ``fixed_statistics`` (scale and offset learn), or ``train`` (live); or a mapping from block to
            mode, ``frozen`` where it names none. In frozen blocks it is always ``frozen``.
        layer_decay: Each block below the topmost learns at this multiple of the rate of the one above; above 0, at most 1.
        multipliers: Instead of ``layer_decay``: the rate's multiplier by block, 1 where it names none; 0 freezes a block.
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
    modes = _modes(found, batch_norm)
    owner = covering(found, graph)
    rows = []
    for block in found:
        mode: BatchNormMode = "frozen" if rates[block.name] == 0 else modes[block.name]
        members = list({id(n.operation): n.operation for n in calls(graph) if owner[id(n.operation)] == block.name}.values())
        has_norm = any(is_batch_norm(leaf) for leaf in _leaf_layers(members))
        trained = {id(v): v for leaf in _leaf_layers(members) if learns(leaf, rates[block.name], mode) for v in trainable_of(leaf)}
        count = sum(int(np.prod(v.shape)) for v in trained.values())
        rows.append(Row(block, rates[block.name], mode if has_norm else None, count))
    if not any(row.trained for row in rows):
        what = "The plan leaves nothing to learn."
        raise PlanError(what, expected=f"at least one block that learns, of {', '.join(found.names)}", fix="Freeze less.")
    plan = Plan(tuple(rows), ())
    edge = boundary(graph, plan.frozen_layers)
    return Plan(plan.rows, edge.crossings if edge.below and edge.above else ())


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


def _modes(found: Blocks, batch_norm: BatchNormMode | Mapping[str, BatchNormMode]) -> dict[str, BatchNormMode]:
    if isinstance(batch_norm, str):
        batch_norm = dict.fromkeys(found.names, batch_norm)
    for name, mode in batch_norm.items():
        found.index_of(name)
        if mode not in BATCH_NORM_MODES:
            what = f"'{mode}' is not a mode of batch normalization."
            raise PlanError(what, expected=" | ".join(BATCH_NORM_MODES), fix=close_matches(str(mode), BATCH_NORM_MODES))
    return {name: batch_norm.get(name, "frozen") for name in found.names}


def _leaf_layers(operations: Sequence[object]) -> list[keras.layers.Layer]:
    return [leaf for op in operations if isinstance(op, keras.layers.Layer) for leaf in leaves(op)]


def is_batch_norm(layer: object) -> bool:
    """Whether a layer keeps moving statistics of its batches."""
    return isinstance(layer, keras.layers.BatchNormalization)


def learns(leaf: keras.layers.Layer, rate: float, mode: BatchNormMode | None) -> bool:
    """Whether a leaf layer's parameters learn under a row's rate and batch-norm mode."""
    return rate > 0 and not (is_batch_norm(leaf) and mode == "frozen")


def trainable_of(leaf: keras.layers.Layer) -> list[keras.Variable]:
    """The variables that a leaf layer learns while it is not frozen, whatever its switch says now."""
    return list(leaf._trainable_variables)


def apply(plan: Plan, graph: keras.Model) -> None:
    """Sets every leaf layer's ``trainable`` as the plan says.

    Raises:
        PlanError: if a variable is covered by no row, or by two.
    """
    claimed: dict[int, str] = {}
    for operation in {id(n.operation): n.operation for n in calls(graph)}.values():
        row = plan.row_of(operation.name)
        for leaf in _leaf_layers([operation]):
            leaf.trainable = learns(leaf, row.rate, row.batch_norm)
            for variable in leaf.variables:
                if claimed.setdefault(id(variable), row.block.name) != row.block.name:
                    what = f"The variable '{variable.path}' is shared by the blocks '{claimed[id(variable)]}' and '{row.block.name}'."
                    raise PlanError(what, fix="Freeze or thaw them together, as one block.")


def multipliers_of(plan: Plan, graph: keras.Model) -> dict[int, float]:
    """The rate's multiplier of each variable that learns, by the variable's ``id``."""
    return {
        id(variable): plan.row_of(operation.name).rate
        for operation in {id(n.operation): n.operation for n in calls(graph)}.values()
        for leaf in _leaf_layers([operation])
        for variable in leaf.trainable_variables
    }


def held_in_inference(plan: Plan, operation: object) -> bool:
    """Whether an operation runs as in inference while the network trains: all of a frozen block does (no dropout, fixed
    statistics), and batch normalization whose statistics are fixed."""
    if not isinstance(operation, keras.layers.Layer) or not takes_training(operation):
        return False
    row = plan.row_of(operation.name)
    return row.frozen or (is_batch_norm(operation) and row.batch_norm != "train")


def edge_of(plan: Plan, graph: keras.Model) -> Boundary:
    """The deepest frozen boundary of a flat network under a plan."""
    return boundary(graph, plan.frozen_layers)


_SEED_STATE = re.compile(r"(^|/)seed_generator_state(_\d+)?$")


def is_seed_state(variable: keras.Variable) -> bool:
    """Whether a variable is the state of a random generator, which moves with every draw."""
    return bool(_SEED_STATE.search(variable.path)) or variable.name.startswith("seed_generator_state")


def frozen_digests(plan: Plan, graph: keras.Model) -> dict[str, str]:
    """The SHA-256 of everything that must not move under a plan: frozen weights, and statistics that are not live."""
    digests = {}
    for operation in {id(n.operation): n.operation for n in calls(graph)}.values():
        row = plan.row_of(operation.name)
        for leaf in _leaf_layers([operation]):
            learning = {id(v) for v in trainable_of(leaf)} if learns(leaf, row.rate, row.batch_norm) else set()
            live = not row.frozen and not (is_batch_norm(leaf) and row.batch_norm != "train")
            for variable in leaf.variables:
                moves = id(variable) in learning or (live and not variable.trainable)
                if not moves and not is_seed_state(variable):
                    digests[variable.path] = hashlib.sha256(np.ascontiguousarray(variable.numpy()).tobytes()).hexdigest()
    return digests


def audit(plan: Plan, graph: keras.Model, before: Mapping[str, str]) -> int:
    """Checks that everything frozen is byte-identical to what it was.

    Args:
        plan: The plan that was trained under.
        graph: The flat network.
        before: What :func:`frozen_digests` gave before training.

    Returns:
        How many frozen variables were compared.

    Raises:
        PlanError: if one moved.
    """
    after = frozen_digests(plan, graph)
    moved = sorted(name for name in before if after.get(name) != before[name])
    if moved:
        what = f"The plan was not kept: {len(moved)} frozen variable(s) moved during training: {', '.join(moved[:5])}."
        fix = "A callback or a layer of your own writes to them; the run's result is not what the plan says."
        raise PlanError(what, expected="every frozen weight and statistic byte-identical", fix=fix)
    return len(before)
