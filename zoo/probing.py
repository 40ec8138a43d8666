"""Where a network is measured: at its layers with weights, each with the activation that follows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .graph import calls, inputs_of, leaves, outputs_of, run
from .layers.activations import Function
from .layers.normalizing import NORMALIZING
from .layers.rrelu import RReLU
from .naming import free_name

layers = keras.layers

#: Bounded on both sides, and steep between: by name, the largest slope.
S_SHAPED = {
    "sigmoid": 0.25,
    "hard_sigmoid": 1 / 6,
    "sparse_sigmoid": 0.5,
    "tanh": 1.0,
    "hard_tanh": 1.0,
    "softsign": 1.0,
}
#: The others that act on each value by itself. Not softmax and its like, which compare values.
_ELEMENTWISE = frozenset(S_SHAPED) | {
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "hard_silu", "mish"),
    *("softplus", "squareplus", "sparse_plus", "log_sigmoid", "tanh_shrink", "soft_shrink", "hard_shrink", "threshold"),
}
_LAYERS = {
    layers.ReLU: "relu",
    layers.LeakyReLU: "leaky_relu",
    layers.ELU: "elu",
    layers.PReLU: "prelu",
    RReLU: "rrelu",
}
#: Layers that apply an activation of their own to all that they give, last.
_FUSED = (
    *(layers.Dense, layers.EinsumDense, layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D, layers.SeparableConv2D),
)


@dataclass(frozen=True)
class Curve:
    """An activation that acts on each value by itself.

    ``steepest`` is the largest slope of one that is bounded on both sides; ``cap`` the value from which on a rectifier
    is flat.
    """

    name: str
    steepest: float | None = None
    cap: float | None = None


@dataclass(frozen=True)
class Place:
    """Where outputs are measured: behind a layer with weights, its normalization and its activation; or behind an
    activation that stands alone, as after an addition.

    ``normalizations`` lie between layer and activation; ``before`` is what the activation takes, ``apply`` the
    activation itself; ``axis`` is the one of the units. ``output`` says that no layer with weights lies above.
    """

    name: str
    kind: str
    layer: keras.layers.Layer | None
    outputs: Any
    curve: Curve | None
    before: Any
    apply: Any
    normalizations: tuple[keras.layers.Layer, ...]
    axis: int
    output: bool


def curve_of(operation: Any) -> Curve | None:
    """The activation that an operation is; ``None`` where it is none, or not one of Keras's on single values.

    Example:
        >>> curve_of(keras.layers.ReLU(max_value=6.0))
        Curve(name='relu', steepest=None, cap=6.0)
    """
    cap = None
    if isinstance(operation, layers.Activation):
        function: Any = operation.activation
        if isinstance(function, layers.Layer):
            return curve_of(function)
        name = getattr(function, "__name__", "")
        if function not in (getattr(keras.activations, name, None), getattr(keras.ops, name, None)):
            return None
    elif isinstance(operation, Function):
        name, cap = operation.function, operation.arguments.get("max_value")
    elif isinstance(operation, layers.Layer):
        name = next((name for kind, name in _LAYERS.items() if isinstance(operation, kind)), "")
        cap = getattr(operation, "max_value", None)
    else:
        plain = type(operation).__name__.lower() if type(operation).__module__.startswith("keras.src.ops") else ""
        name = next((name for name in _ELEMENTWISE if name.replace("_", "") == plain), "")
    if name not in _ELEMENTWISE:
        return None
    cap = 6.0 if name == "relu6" else cap
    return Curve(name, S_SHAPED.get(name), None if cap is None else float(cap))


def opened(graph: keras.Model) -> keras.Model:
    """The network with each layer's own activation in a layer behind it, so that what goes into it can be seen.

    Args:
        graph: A flat network, whose layers are changed.
    """
    taken = {op.name for op in graph.operations}
    apart: dict[int, Any] = {}

    def runner(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outputs = operation(*args, **kwargs) if id(operation) in apart else None
        if outputs is None and _is_fused(operation):
            function = operation.activation
            name = free_name(f"{operation.name}_activation", taken)
            taken.add(name)
            apart[id(operation)] = layers.Activation(function, name=name, dtype=operation.dtype_policy)
            operation.activation = keras.activations.linear
        outputs = operation(*args, **kwargs) if outputs is None else outputs
        return apart[id(operation)](outputs) if id(operation) in apart else outputs

    values = {id(tensor): tensor for tensor in graph.inputs}
    run(calls(graph), values, runner)
    outputs = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs_of(graph))
    return keras.Model(inputs_of(graph), outputs, name=graph.name)


def _is_fused(operation: Any) -> bool:
    if not isinstance(operation, _FUSED) or not type(operation).call.__module__.startswith("keras.src.layers"):
        return False
    return operation.activation not in (None, keras.activations.linear)


def multiplying_weights(operation: Any) -> list[keras.Variable]:
    """The weights of an operation that multiply: kernels, embeddings, projections, whether they are frozen or not.

    Not biases, scales and offsets, nor what belongs to a normalization or an activation.
    """
    if not isinstance(operation, layers.Layer) or isinstance(operation, (*NORMALIZING, layers.PReLU)):
        return []
    inside = [leaf for leaf in leaves(operation) if not isinstance(leaf, (*NORMALIZING, layers.PReLU))]
    return [v for leaf in inside for v in leaf._trainable_variables if len(v.shape) > 1 and "float" in v.dtype]


def places(graph: keras.Model) -> list[Place]:
    """Where a network is measured, bottom to top.

    Args:
        graph: An :func:`opened` network.
    """
    return _Search(graph).places()


def references(graph: keras.Model) -> list[Any]:
    """What the lowest layers with weights take: the input as it is after all preprocessing.

    Of an embedding, which takes no numbers to compute with, what it gives; whatever the type of what it takes.
    """
    return _Search(graph).references()


class _Search:
    def __init__(self, graph: keras.Model):
        self._nodes = calls(graph)
        self._outputs = {id(tensor) for tensor in graph.outputs}
        self._users: dict[int, list[Any]] = {}
        for node in self._nodes:
            for tensor in node.input_tensors:
                self._users.setdefault(id(tensor), []).append(node)
        self._weighted = {id(node) for node in self._nodes if multiplying_weights(node.operation)}
        self._above = self._reach(reversed(self._nodes), lambda n: n.outputs, lambda n: n.input_tensors)
        self._below = self._reach(self._nodes, lambda n: n.input_tensors, lambda n: n.outputs)

    def _reach(self, nodes: Any, near: Any, far: Any) -> set[int]:
        """The calls that have one with weights beyond them, and the tensors towards it."""
        reached: set[int] = set()
        for node in nodes:
            beyond = any(id(t) in reached for t in near(node))
            if beyond:
                reached.add(id(node))
            if beyond or id(node) in self._weighted:
                reached.update(id(t) for t in far(node))
        return reached

    def places(self) -> list[Place]:
        found: list[Place] = []
        taken: set[int] = set()
        names: set[str] = set()
        for node in self._nodes:
            if id(node) not in self._weighted:
                continue
            chain = self._chain(node)
            taken.update(id(link) for link in chain)
            found.append(self._place(node, chain, free_name(node.operation.name, names, ":")))
            names.add(found[-1].name)
        for node in self._nodes:
            alone = id(node) not in taken and curve_of(node.operation) is not None
            if alone and id(node) in self._above and id(node) in self._below:
                found.append(self._place(node, [node], free_name(node.operation.name, names, ":")))
                names.add(found[-1].name)
        order = {id(t): i for i, node in enumerate(self._nodes) for t in node.outputs}
        return sorted(found, key=lambda place: order[id(place.outputs)])

    def _chain(self, node: Any) -> list[Any]:
        """A call, and those behind it that only it leads to: normalizations, then one activation."""
        chain = [node]
        while True:
            tensor = self._main(chain[-1])
            users = self._users.get(id(tensor), [])
            if id(tensor) in self._outputs or len(users) != 1:
                return chain
            if curve_of(users[0].operation) is not None:
                return [*chain, users[0]]
            if not isinstance(users[0].operation, NORMALIZING):
                return chain
            chain.append(users[0])

    def _main(self, node: Any) -> Any:
        """The first of a call's outputs that is used."""
        used = (t for t in node.outputs if id(t) in self._users or id(t) in self._outputs)
        return next(used, node.outputs[0])

    def _place(self, node: Any, chain: Sequence[Any], name: str) -> Place:
        operation, last = node.operation, chain[-1]
        curve = curve_of(last.operation)
        outputs = self._main(last)
        first = getattr(operation, "data_format", None) == "channels_first" and len(outputs.shape) > 2
        return Place(
            name=name,
            kind=type(operation).__name__,
            layer=operation if id(node) in self._weighted else None,
            outputs=outputs,
            curve=curve,
            before=last.input_tensors[0] if curve else None,
            apply=last.operation if curve else None,
            normalizations=tuple(link.operation for link in chain if isinstance(link.operation, NORMALIZING)),
            axis=1 if first else -1,
            output=id(node) not in self._above,
        )

    def references(self) -> list[Any]:
        found: dict[int, Any] = {}
        for node in self._nodes:
            if id(node) not in self._weighted or id(node) in self._below:
                continue
            taken = [t for t in node.input_tensors if "float" in str(t.dtype)]
            taken = [] if self._embeds(node) else taken
            found.update({id(t): t for t in taken or [self._main(node)]})
        return list(found.values())

    def _embeds(self, node: Any) -> bool:
        """Whether a call looks its inputs up in a table: their type does not say, since Keras takes floats for it."""
        inside = [node.operation] if isinstance(node.operation, layers.Embedding) else list(leaves(node.operation))
        if not any(isinstance(leaf, layers.Embedding) for leaf in inside):
            return False
        given = self._main(node)  # a table of positions in a layer that takes vectors adds no axis
        return all(len(given.shape) == len(t.shape) + 1 for t in node.input_tensors)
