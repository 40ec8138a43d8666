"""Blocks: the parts of a network that freezing speaks in, bottom to top.

A card names its network's blocks. For any other network they are derived from its graph: it is divided where it narrows
to a single tensor, and neighbours whose layers share a name's beginning (``block2_conv``, ``block2_bn``) are one block.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .boundary import draws_in_training, shape_text
from .card import BlockPattern
from .errors import SurgeryError, close_matches
from .flattening import flat, is_opaque
from .graph import calls
from .naming import free_name
from .text_table import text_table

TOP = "top"


@dataclass(frozen=True)
class Block:
    """A block: its layers' names from bottom to top, its number of parameters, and the shape that leaves it.

    ``parameters`` counts weights, moving statistics included, as Keras's summary does; ``output_shape`` leaves the
    batch out and is ``None`` where a size is not fixed; ``opaque`` names those of the layers that are models whose own
    layers cannot be told apart.
    """

    name: str
    layers: tuple[str, ...]
    parameters: int
    output_shape: tuple[int | None, ...]
    opaque: tuple[str, ...] = ()


class Blocks(tuple[Block, ...]):
    """The blocks of a network, bottom to top; printed as a table."""

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The blocks' names, bottom to top."""
        return tuple(block.name for block in self)

    def index_of(self, name: str) -> int:
        """Where a block stands, counted from the bottom.

        Raises:
            SurgeryError: if no block has that name.
        """
        if name not in self.names:
            what = f"The network has no block '{name}'."
            raise SurgeryError(what, fix=close_matches(name, self.names))
        return self.names.index(name)

    def __str__(self) -> str:
        rows = [
            (
                b.name,
                len(b.layers),
                f"{b.parameters:,}",
                shape_text(b.output_shape),
            )
            for b in self
        ]
        return text_table(("block", "layers", "parameters", "output"), rows, right=(1, 2))


def blocks(model: keras.Model, patterns: Sequence[BlockPattern] = ()) -> Blocks:
    """Divides a network into its blocks, bottom to top.

    Args:
        model: A functional or Sequential model.
        patterns: A card's blocks; layers that none of them matches are divided as in any other network.

    Returns:
        The blocks; each layer is in exactly one.

    Raises:
        SurgeryError: if the model's layers cannot be told apart, or a pattern matches nothing.

    Example:
        >>> import keras
        >>> low, top = keras.layers.Dense(3, name="low"), keras.layers.Dense(2, name="top")
        >>> model = keras.Sequential([keras.Input((4,)), low, top])
        >>> blocks(model).names
        ('low', 'top')
    """
    graph = flat(model)
    nodes = calls(graph)
    label = _named_by_card(nodes, patterns) if patterns else {}
    _name_segments(_segments(graph, nodes), label)
    order: dict[str, list[Any]] = {}
    for node in nodes:
        order.setdefault(label[id(node.operation)], [])
    for operation in _unique(node.operation for node in nodes):
        order[label[id(operation)]].append(operation)
    last = {label[id(node.operation)]: node for node in nodes}
    return Blocks(_block(name, operations, last[name]) for name, operations in order.items())


def _unique(operations: Iterable[Any]) -> list[Any]:
    return list({id(operation): operation for operation in operations}.values())


def _block(name: str, operations: list[Any], last: Any) -> Block:
    variables = {id(v): v for op in operations for v in getattr(op, "weights", [])}
    return Block(
        name,
        tuple(op.name for op in operations),
        sum(math.prod(v.shape) for v in variables.values()),
        tuple(last.outputs[0].shape[1:]),
        tuple(op.name for op in operations if is_opaque(op)),
    )


def _named_by_card(nodes: list[Any], patterns: Sequence[BlockPattern]) -> dict[int, str]:
    """Each matched operation's block; the first pattern wins, and what has no weights goes with what is below it."""
    label: dict[int, str] = {}
    for node in nodes:
        for pattern in patterns:
            if re.fullmatch(pattern.layers, node.operation.name):
                label.setdefault(id(node.operation), pattern.name)
                break
    unmatched = [p.name for p in patterns if p.name not in label.values()]
    if unmatched:
        what = f"The card's block '{unmatched[0]}' matches no layer of the network."
        raise SurgeryError(what, fix="Mend its pattern: `layers` must match the whole name of a layer.")
    return label


def _segments(graph: keras.Model, nodes: list[Any]) -> list[list[Any]]:
    """The network, divided at every point where it narrows to a single tensor; a mask goes with what it masks."""
    last_use = {id(t): i for i, node in enumerate(nodes) for t in node.input_tensors if t.dtype != "bool"}
    last_use.update({id(t): len(nodes) for t in graph.outputs})
    live = {id(t) for t in graph.inputs}
    segments: list[list[Any]] = [[]]
    for i, node in enumerate(nodes):
        segments[-1].append(node)
        live |= {id(t) for t in node.outputs}
        live = {t for t in live if last_use.get(t, -1) > i}
        if len(live) == 1 and i + 1 < len(nodes):
            segments.append([])
    return segments


def _name_segments(segments: list[list[Any]], label: dict[int, str]) -> None:
    """Names what has no name yet: segments with weights by their layers, those without go with the one below,
    or with the one above where they bear its name, or drop what it takes: a dropout is of the layer that it is for."""
    named: list[tuple[str | None, list[Any]]] = []
    for segment in segments:
        operations = _unique(node.operation for node in segment if id(node.operation) not in label)
        names = [label[id(node.operation)] for node in segment if id(node.operation) in label]
        if names and operations:
            named.append((names[-1], operations))
        elif operations:
            named.append((_segment_name(operations), operations))
        else:
            named.append((names[-1], []))
    for i, (name, operations) in enumerate(named):
        above = next((n for n, _ in named[i + 1 :] if n), None)
        opens = {_prefix(op.name) for op in operations} == {above}  # a pooling that opens a block is named after it
        drops = any(draws_in_training(op) for op in operations) and any(n for n, _ in named[:i])
        if name is None and above and (opens or drops):
            named[i] = (above, operations)
    given = set(label.values())
    asked = current = next((name for name, _ in named if name), "all")
    used: set[str] = set()
    for name, operations in named:
        if name and name != asked:
            used.add(current)
            asked, current = name, name if not operations or name in given else free_name(name, used, "-")
        for operation in operations:
            label.setdefault(id(operation), current)


def _segment_name(operations: list[Any]) -> str | None:
    """What the layers with weights are called together; ``None`` where the segment adds none of its own."""
    weighted = [op for op in operations if getattr(op, "weights", [])]
    if not [op for op in weighted if not _is_normalization(op)]:
        named = {_prefix(op.name) for op in weighted if not _is_automatic(op)}
        return named.pop() if len(named) == 1 else None
    prefixes = {_prefix(op.name) for op in weighted if not _is_automatic(op)}
    if len(prefixes) == 1:
        return prefixes.pop()
    closing = operations[-1]
    return weighted[0].name if len(weighted) == 1 or _is_automatic(closing) else closing.name


def _is_normalization(operation: Any) -> bool:
    return type(operation).__name__.endswith("Normalization")


def _is_automatic(operation: Any) -> bool:
    """Whether Keras made the name itself: the class's name in snake case, numbered."""
    own = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3_\2\4", type(operation).__name__).lower()
    plain = re.sub(r"_?\d+$", "", operation.name)
    return plain.replace("_", "") in (own.replace("_", ""), type(operation).__name__.lower())


def _prefix(name: str) -> str:
    """The beginning that a block's layers share: up to the first number that ends a word; without one, the first word.

    ``block2_conv`` and ``block2_bn`` share ``block2``, ``conv2_block1_1_conv`` is of ``conv2``, ``block_1_expand`` of
    ``block_1``, ``top_output`` of ``top``.
    """
    words = name.split("_")
    if words[0] == TOP:  # whatever follows: a top is one block
        return TOP
    for i, word in enumerate(words):
        if re.fullmatch(r"[A-Za-z]*\d+[a-z]?", word) and (i + 1 < len(words) or i == 0):
            return "_".join(words[: i + 1])
    return words[0] if len(words) > 1 else name


def covering(block_list: Blocks, graph: keras.Model) -> dict[int, str]:
    """Each operation's block, by the operation's ``id``.

    Raises:
        SurgeryError: if an operation of the graph is in no block.
    """
    by_name = {layer: block.name for block in block_list for layer in block.layers}
    found: dict[int, str] = {}
    for node in calls(graph):
        if node.operation.name not in by_name:
            what = f"The layer '{node.operation.name}' is in no block: the plan was made for another network."
            raise SurgeryError(what, fix="Make the plan for this network: zoo.freeze(model, ...).")
        found[id(node.operation)] = by_name[node.operation.name]
    return found


def top_block(found: Blocks) -> str:
    """The block of the network's top: the highest, whatever it is called (EfficientNet calls one below it ``top``)."""
    return found.names[-1]
