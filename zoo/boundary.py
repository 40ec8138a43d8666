"""The deepest frozen boundary: below it every example is computed once, above it lies what learns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .byte_size import dtype_bytes, size_said
from .graph import Runner, calls, inputs_of, is_seed_state, node_of, one_or_list, outputs_of, run, takes_training
from .layers import Masked


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
    total = "?" if None in sizes else size_said(sum(n for n in sizes if n is not None), 1024)
    return total if len(sizes) == 1 else f"{len(sizes)} tensors, {total}"


@dataclass(frozen=True)
class Boundary:
    """The deepest frozen boundary: the calls below it, those above it, and the tensors that cross."""

    below: tuple[Any, ...]
    above: tuple[Any, ...]
    tensors: tuple[Any, ...]

    @property
    def places(self) -> tuple[tuple[Any, ...], ...]:
        """Which calls lie below, and which of their outputs cross: two cuts of one network differ in it."""
        order = {id(node): i for i, node in enumerate(self.below)}
        made = [(node_of(tensor), tensor) for tensor in self.tensors]
        crossing = [(order.get(id(node), -1), [id(t) for t in node.outputs].index(id(t))) for node, t in made]
        return (tuple(node.operation.name for node in self.below), tuple(crossing))

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """What crosses, for printing."""
        return tuple(_crossing(tensor) for tensor in self.tensors)


def _crossing(tensor: Any) -> Crossing:
    shape = tuple(tensor.shape[1:])
    size = None if None in shape else math.prod(shape) * dtype_bytes(str(tensor.dtype))
    return Crossing(node_of(tensor).operation.name, shape, size)


def boundary(graph: keras.Model, frozen: frozenset[str], live: frozenset[str] = frozenset()) -> Boundary:
    """Finds the deepest frozen boundary of a flat network.

    A call is below it if everything under it is, and it is of a frozen layer, or of one that learns nothing and behaves
    the same in training (a pooling, an activation).

    Args:
        graph: A flat network.
        frozen: The names of the layers that the plan freezes.
        live: The names of layers that are never below, such as :func:`augmenting` ones.
    """
    below: list[Any] = []
    known = {id(tensor) for tensor in graph.inputs}
    nodes = calls(graph)
    for node in nodes:
        operation = node.operation
        idle = not getattr(operation, "weights", []) and not takes_training(operation)
        if (
            (operation.name in frozen or idle)
            and operation.name not in live
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
    crossing |= {id(mask): mask for mask in _carried(below, above, list(crossing.values())).values()}
    return Boundary(tuple(below), tuple(above), tuple(crossing.values()))


def augmenting(graph: keras.Model) -> frozenset[str]:
    """The names of a network's own augmentation: layers below all weights that change its inputs at random in training.

    They go on doing so under a frozen block too, since that is what their user put them there for; dropout is none.
    """
    raw = {id(tensor) for tensor in graph.inputs}
    found = set()
    for node in calls(graph):
        operation = node.operation
        if getattr(operation, "weights", []) or not all(id(t) in raw for t in node.input_tensors):
            continue
        raw |= {id(t) for t in node.outputs}
        if draws_in_training(operation) and "Dropout" not in type(operation).__name__:
            found.add(operation.name)
    return frozenset(found)


def prepares_input(graph: keras.Model) -> bool:
    """Whether anything below a network's weights changes values, such as a rescaling, and not only their places."""
    raw = {id(tensor) for tensor in graph.inputs}
    for node in calls(graph):
        operation = node.operation
        if not all(id(t) in raw for t in node.input_tensors):
            continue
        kind = type(operation).__name__
        moves = kind.startswith(("ZeroPadding", "Cropping", "Reshape", "Resizing", "UpSampling", "Cast", "Identity"))
        if isinstance(operation, keras.layers.Normalization):
            return True
        if not getattr(operation, "weights", []):
            if not moves and not draws_in_training(operation):
                return True
            raw |= {id(t) for t in node.outputs}
    return False


def draws_in_training(operation: Any) -> bool:
    """Whether an operation is random in training, and not in inference."""
    return takes_training(operation) and any(is_seed_state(v) for v in getattr(operation, "variables", ()))


def _mask_of(tensor: Any) -> Any:
    return getattr(tensor, "_keras_mask", None)


def _carried(below: Sequence[Any], above: Sequence[Any], tensors: Sequence[Any]) -> dict[int, Any]:
    """The masks that crossing tensors carry to a layer that heeds them, by the tensor's ``id``."""
    heeded = {id(t) for node in above if _heeds_masks(node.operation) for t in node.input_tensors}
    carrying = _carrying(below)
    return {id(t): _mask_of(t) for t in tensors if id(t) in heeded & carrying}


def _carrying(nodes: Sequence[Any]) -> set[int]:
    """The tensors, by ``id``, that carry a mask once some calls are made.

    Keras's attention takes the masks off what it is called on: whatever takes that later sees none, and hands none on,
    unless the mask is an argument of its call.
    """
    carrying: set[int] = set()
    for node in nodes:
        given = any(name.endswith("mask") and value is not None for name, value in node.arguments.kwargs.items())
        whole = given or all(id(t) in carrying for t in node.input_tensors if _mask_of(t) is not None)
        if isinstance(node.operation, keras.layers.MultiHeadAttention):
            carrying -= {id(t) for t in node.input_tensors}
        if whole:
            carrying |= {id(t) for t in node.outputs if _mask_of(t) is not None}
    return carrying


def _heeds_masks(operation: Any) -> bool:
    """Whether a layer uses the masks that its inputs carry, or hands them on."""
    named = getattr(operation, "call_signature_parameters", ())
    return getattr(operation, "supports_masking", False) or any(name.endswith("mask") for name in named)


def _always_draws(operation: Any) -> bool:
    """Whether an operation is random in inference too, so that it cannot be computed once."""
    return not takes_training(operation) and any(is_seed_state(v) for v in getattr(operation, "variables", ()))


def cut_trunk(graph: keras.Model, edge: Boundary) -> keras.Model:
    """What lies below a boundary, as a network that gives the crossing tensors.

    A mask crosses as a tensor of its own: one that hung on the masked tensor too would make Keras warn.
    """
    crossing = [keras.ops.copy(t) if _mask_of(t) is not None else t for t in edge.tensors]
    return keras.Model(inputs_of(graph), one_or_list(crossing), name=f"{graph.name}_trunk")


def cut_between(graph: keras.Model, lower: Boundary, upper: Boundary) -> keras.Model | None:
    """What lies between two boundaries of one network, as a network from the lower one's tensors to the upper one's.

    Returns:
        The network; ``None`` where the lower one does not lie below the upper one, or masks cross.
    """
    inside = {id(node) for node in upper.below}
    if len(lower.below) >= len(upper.below) or not all(id(node) in inside for node in lower.below):
        return None
    if any(_mask_of(t) is not None for t in (*lower.tensors, *upper.tensors)):
        return None
    done = {id(node) for node in lower.below}
    between = [node for node in upper.below if id(node) not in done]
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype) for t in lower.tensors]
    values: dict[int, Any] = {id(tensor): new for tensor, new in zip(lower.tensors, inputs, strict=True)}
    needed = {id(t) for node in between for t in node.input_tensors} | {id(t) for t in upper.tensors}
    made = {id(t) for node in between for t in node.outputs}
    if not needed <= made | values.keys():
        return None
    run(between, values)
    outputs = [values[id(tensor)] for tensor in upper.tensors]
    return keras.Model(one_or_list(inputs), one_or_list(outputs), name=f"{graph.name}_between")


def cut_head(graph: keras.Model, edge: Boundary, runner: Runner | None = None) -> keras.Model:
    """What lies above a boundary, as a network that takes the crossing tensors; ``runner`` runs each call again."""
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=f"crossing{i}") for i, t in enumerate(edge.tensors)]
    crossed: dict[int, Any] = {id(tensor): new for tensor, new in zip(edge.tensors, inputs, strict=True)}
    values: dict[int, Any] = dict(crossed)
    for key, mask in _carried(edge.below, edge.above, edge.tensors).items():
        values[key] = Masked(name=f"{crossed[key].name}_masked")([crossed[key], crossed[id(mask)]])
    run(edge.above, values, runner)
    outputs = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs_of(graph))
    return keras.Model(one_or_list(inputs), outputs, name=f"{graph.name}_head")
