"""The deepest frozen boundary: below it every example is computed once, above it lies what learns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .graph import Runner, calls, inputs_of, is_seed_state, node_of, one_or_list, outputs_of, run, takes_training

_BYTES = {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1, "bool": 1}


@dataclass(frozen=True)
class Crossing:
    """A tensor that crosses the deepest frozen boundary: the layer it comes from, and its size for one example."""

    layer: str
    shape: tuple[int | None, ...]
    bytes: int | None

    def __str__(self) -> str:
        size = "" if self.bytes is None else f", {size_text([self])} an example"
        return f"{self.layer} ({shape_text(self.shape)}{size})"


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape for a table: ``8x8x32``, ``?`` for a size that is not fixed, ``-`` for a single number."""
    return "x".join("?" if n is None else str(n) for n in shape) or "-"


def size_text(crossings: Sequence[Crossing]) -> str:
    """How many tensors cross a boundary, where it is not one, and their size for one example."""
    if not crossings:
        return "-"
    sizes = [crossing.bytes for crossing in crossings]
    total = "?" if None in sizes else _kilobytes(sum(n for n in sizes if n is not None))
    return total if len(sizes) == 1 else f"{len(sizes)} tensors, {total}"


def _kilobytes(count: int) -> str:
    return f"{count / 1024:.1f} kB" if count < 1024**2 else f"{count / 1024**2:.1f} MB"


@dataclass(frozen=True)
class Boundary:
    """The deepest frozen boundary: the calls below it, those above it, and the tensors that cross."""

    below: tuple[Any, ...]
    above: tuple[Any, ...]
    tensors: tuple[Any, ...]

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """What crosses, for printing."""
        return tuple(_crossing(tensor) for tensor in self.tensors)


def _crossing(tensor: Any) -> Crossing:
    shape = tuple(tensor.shape[1:])
    size = None if None in shape else math.prod(shape) * _BYTES.get(str(tensor.dtype), 4)
    return Crossing(node_of(tensor).operation.name, shape, size)


def boundary(graph: keras.Model, frozen: frozenset[str]) -> Boundary:
    """Finds the deepest frozen boundary of a flat network.

    A call is below it if everything under it is, and it is of a frozen layer, or of one that learns nothing and behaves
    the same in training (a pooling, an activation).

    Args:
        graph: A flat network.
        frozen: The names of the layers that the plan freezes.
    """
    below: list[Any] = []
    known = {id(tensor) for tensor in graph.inputs}
    nodes = calls(graph)
    for node in nodes:
        operation = node.operation
        idle = not getattr(operation, "weights", []) and not takes_training(operation)
        if (
            (operation.name in frozen or idle)
            and not _always_draws(operation)
            and all(id(t) in known for t in node.input_tensors)
        ):
            below.append(node)
            known |= {id(t) for t in node.outputs}
    if not any(getattr(node.operation, "weights", []) for node in below):
        below = []  # nothing there is worth computing once
    inside = {id(node) for node in below}
    above = [node for node in nodes if id(node) not in inside]
    made = {id(t): t for node in below for t in node.outputs}
    used = [t for node in above for t in node.input_tensors] + list(graph.outputs)
    given = {id(t): t for t in graph.inputs}
    crossing = {id(t): t for t in used if id(t) in made or id(t) in given}
    return Boundary(tuple(below), tuple(above), tuple(crossing.values()))


def _always_draws(operation: Any) -> bool:
    """Whether an operation is random in inference too, so that it cannot be computed once."""
    return not takes_training(operation) and any(is_seed_state(v) for v in getattr(operation, "variables", ()))


def cut_trunk(graph: keras.Model, edge: Boundary) -> keras.Model:
    """What lies below a boundary, as a network that gives the crossing tensors.

    A mask crosses as a tensor of its own: one that hung on the masked tensor too would make Keras warn.
    """
    crossing = [keras.ops.copy(t) if getattr(t, "_keras_mask", None) is not None else t for t in edge.tensors]
    return keras.Model(inputs_of(graph), one_or_list(crossing), name=f"{graph.name}_trunk")


def cut_head(graph: keras.Model, edge: Boundary, runner: Runner | None = None) -> keras.Model:
    """What lies above a boundary, as a network that takes the crossing tensors; ``runner`` runs each call again."""
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=f"crossing{i}") for i, t in enumerate(edge.tensors)]
    values: dict[int, Any] = {id(tensor): new for tensor, new in zip(edge.tensors, inputs, strict=True)}
    run(edge.above, values, runner)
    outputs = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs_of(graph))
    return keras.Model(one_or_list(inputs), outputs, name=f"{graph.name}_head")
