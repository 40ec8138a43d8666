"""What stands next to what in a network: the activation that follows a layer, what normalizes it, where ways rejoin."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from .graph import calls
from .layers.activations import Function
from .layers.normalizing import NORMALIZING
from .layers.selu import DROPPING
from .orthonormal import DEPTHWISE, FULL, SEPARABLE, TRANSPOSED
from .probing import curve_of, multiplying_weights

layers = keras.layers

#: Layers that multiply by a kernel.
WEIGHTED = (*FULL, *DEPTHWISE, *SEPARABLE, *TRANSPOSED, layers.EinsumDense)
#: What rearranges values, or chooses among them, but does not change what activation comes next.
_PASSING = (
    *(*DROPPING, layers.AlphaDropout, layers.GaussianNoise, layers.Identity, layers.Flatten, layers.Reshape),
    *(layers.Permute, layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Cropping2D, layers.RepeatVector),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D, layers.UpSampling2D),
)


@dataclass(frozen=True)
class Applied:
    """An activation where it is applied: its name, and the slope below zero of one that has a choice of it."""

    name: str
    slope: float | None = None


def applied_by(operation: Any) -> Applied | None:
    """The activation that an operation applies: it is one, or has one of its own; ``None`` for none known to Keras.

    Example:
        >>> applied_by(keras.layers.Dense(3, activation="leaky_relu", name="dense"))
        Applied(name='leaky_relu', slope=0.2)
    """
    fused = isinstance(operation, WEIGHTED)
    inner = operation.activation if fused or isinstance(operation, layers.Activation) else operation
    if isinstance(inner, layers.Layer) or not callable(inner) or inner is operation:
        return _of_layer(inner)
    name = getattr(inner, "__name__", "")
    if inner is keras.activations.linear or inner is not getattr(keras.activations, name, None):
        return None
    return Applied(name, 0.2 if name == "leaky_relu" else None)


def _of_layer(layer: Any) -> Applied | None:
    if isinstance(layer, layers.Activation):
        return applied_by(layer)
    if isinstance(layer, layers.Softmax) or type(layer).__name__ == "Softmax":
        return Applied("softmax")
    curve = curve_of(layer)
    if curve is None:
        return None
    slope = getattr(layer, "negative_slope", None)
    if isinstance(layer, Function):
        slope = layer.arguments.get("negative_slope", 0.2 if curve.name == "leaky_relu" else None)
    if curve.name == "relu" and slope:
        return Applied("leaky_relu", float(slope))
    return Applied(curve.name, float(slope) if curve.name == "leaky_relu" and slope is not None else None)


@dataclass(frozen=True)
class Following:
    """What comes after a weighted layer, up to the next one: the calls in order, and the activation among them.

    ``activation`` is ``None`` where the way forks or rejoins first; ``call`` is the call that applies it,
    ``normalized`` whether something normalizes before it.
    """

    calls: tuple[Any, ...]
    activation: Applied | None
    call: Any
    normalized: bool


class Wiring:
    """A flat network, read.

    Args:
        graph: The network; nothing in it is changed.
    """

    def __init__(self, graph: keras.Model):
        self.graph = graph
        self.nodes = calls(graph)
        self._made = {id(tensor): node for node in self.nodes for tensor in node.outputs}
        self._users: dict[int, list[Any]] = {}
        for node in self.nodes:
            for tensor in node.input_tensors:
                self._users.setdefault(id(tensor), []).append(node)
        self._outputs = {id(tensor) for tensor in graph.outputs}

    def of(self, kinds: tuple[type, ...]) -> Iterator[Any]:
        """The calls of layers of some kinds, bottom to top."""
        return (node for node in self.nodes if isinstance(node.operation, kinds))

    def users(self, node: Any) -> list[Any]:
        """The calls that take what a call gives."""
        return [user for tensor in node.outputs for user in self._users.get(id(tensor), [])]

    def sources(self, node: Any) -> list[Any]:
        """The calls that gave what a call takes; inputs are left out."""
        return [self._made[id(tensor)] for tensor in node.input_tensors if id(tensor) in self._made]

    def is_output(self, node: Any) -> bool:
        """Whether a call gives an output of the network."""
        return any(id(tensor) in self._outputs for tensor in node.outputs)

    def next(self, node: Any) -> Any:
        """The one call that a call leads to; ``None`` at a fork and at the network's output."""
        users = self.users(node)
        return users[0] if len(users) == 1 and not self.is_output(node) else None

    def following(self, node: Any) -> Following:
        """What comes after a call of a weighted layer."""
        own = applied_by(node.operation)
        if own is not None:
            return Following((), own, node, False)
        passed: list[Any] = []
        normalized = False
        while (user := self.next(node)) is not None:
            applied = None if isinstance(user.operation, WEIGHTED) else applied_by(user.operation)
            if applied is not None:
                return Following(tuple(passed), applied, user, normalized)
            if not isinstance(user.operation, (*_PASSING, *NORMALIZING)):
                break
            normalized = normalized or isinstance(user.operation, NORMALIZING)
            passed.append(user)
            node = user
        return Following(tuple(passed), None, None, normalized)

    @cached_property
    def top(self) -> frozenset[int]:
        """The ``id`` of the calls with no layer with weights above them: outputs, and what comes after them."""
        below: set[int] = set()
        for node in reversed(self.nodes):
            if any(id(user) in below or multiplying_weights(user.operation) for user in self.users(node)):
                below.add(id(node))
        return frozenset(id(node) for node in self.nodes) - below

    @cached_property
    def branches(self) -> frozenset[int]:
        """The ``id`` of the calls that another way goes around: an addition (skip connections) or a product (gates)
        joins what came from one place."""
        place = {id(node): i for i, node in enumerate(self.nodes)}
        under: list[int] = []
        for i, node in enumerate(self.nodes):
            bits = 1 << i
            for source in self.sources(node):
                bits |= under[place[id(source)]]
            under.append(bits)
        found = 0
        for node in self.nodes:
            if type(node.operation).__name__ not in ("Add", "Average", "Multiply"):
                continue
            sides = [under[place[id(self._made[id(t)])]] if id(t) in self._made else 0 for t in node.input_tensors]
            shared = sides[0] if sides else 0
            for side in sides[1:]:
                shared &= side
            whole = 0
            for side in sides:
                whole |= side
            if shared or any(id(t) not in self._made for t in node.input_tensors):
                found |= whole & ~shared
        return frozenset(id(node) for i, node in enumerate(self.nodes) if found >> i & 1)

    def most_in_a_row(self, wanted: Callable[[Any], bool]) -> int:
        """How many calls of a sort lie one above another, on the way where these are the most."""
        most: dict[int, int] = {}
        for node in self.nodes:
            below = max((most[id(source)] for source in self.sources(node)), default=0)
            most[id(node)] = below + bool(wanted(node))
        return max(most.values(), default=0)
