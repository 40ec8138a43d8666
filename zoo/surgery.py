"""Taking a network apart and putting it together again.

Everything here returns new plain ``keras.Model``s; the original is untouched. :func:`split` alone shares its layers with
the network it was given, since what its head learns must arrive there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from .errors import SurgeryError, close_matches
from .graph import Runner, calls, flat, node_of, run, takes_training
from .seeds import derive

if TYPE_CHECKING:
    from .plan import Plan

#: The initializer that suits each activation: He for ReLU and its variants, LeCun for SELU, Glorot for the rest.
_HE = ("relu", "elu", "leaky_relu", "gelu", "silu", "swish", "mish", "celu", "relu6", "hard_silu", "hard_swish")


_BYTES = {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1, "bool": 1}


def clone(model: keras.Model) -> keras.Model:
    """A copy of a network that shares nothing with it, models inside taken apart.

    Args:
        model: A functional or Sequential model.

    Returns:
        A functional model with the same layers' names and the same values.

    Raises:
        SurgeryError: if a layer cannot be rebuilt from its configuration.
    """
    graph = flat(model)
    try:
        copy = keras.models.clone_model(graph)
    except (NotImplementedError, ValueError, TypeError) as reason:
        what = f"The network '{model.name}' cannot be copied: {str(reason).splitlines()[0]}"
        raise SurgeryError(what, fix="Give its own layers a get_config().") from reason
    copy_variables(graph, copy)
    return copy


def copy_variables(source: keras.Model, target: keras.Model) -> None:
    """Copies every variable, layer by layer, between two flat networks of the same layers' names."""
    for layer in target.layers:
        for to, value in zip(layer.variables, source.get_layer(layer.name).variables, strict=True):
            to.assign(value)


def drop_above(model: keras.Model, cut: str) -> keras.Model:
    """Drops everything above a layer.

    Args:
        model: A functional or Sequential model.
        cut: The layer kept as the last.

    Returns:
        A new network that ends with the output of ``cut``; its weights are copies.

    Raises:
        SurgeryError: if there is no such layer.

    Example:
        >>> import zoo
        >>> zoo.drop_above(zoo.load("glyphs"), "block2_pool").layers[-1].name
        'block2_pool'
    """
    graph = flat(model)
    tensor = _output_of(graph, cut)
    return clone(keras.Model(one_or_list(graph.inputs), tensor, name=model.name))


def _output_of(graph: keras.Model, name: str) -> Any:
    found = [node for node in calls(graph) if node.operation.name == name]
    if not found:
        what = f"The network '{graph.name}' has no layer '{name}'."
        raise SurgeryError(what, fix=close_matches(name, [node.operation.name for node in calls(graph)]))
    if len(found) > 1 or len(found[0].outputs) > 1:
        what = f"'{name}' cannot be the last layer: it gives several outputs, or is called several times."
        raise SurgeryError(what, fix="Cut at a layer above or below it.")
    return found[0].outputs[0]


def default_cut(model: keras.Model) -> str:
    """The layer below the classifier: what the last layer with weights takes its input from.

    A network that ends without a dense layer has no top: its own last layer is the cut.
    """
    graph = flat(model)
    nodes = calls(graph)
    weighted = [node for node in nodes if getattr(node.operation, "weights", [])]
    dense = bool(weighted) and isinstance(weighted[-1].operation, keras.layers.Dense)
    if len(model.outputs) != 1 or not dense or len(weighted[-1].input_tensors) != 1:
        return nodes[-1].operation.name
    below = weighted[-1].input_tensors[0]
    while not any(below is tensor for tensor in graph.inputs):
        node = node_of(below)
        if not isinstance(node.operation, keras.layers.Dropout):
            return node.operation.name
        below = node.input_tensors[0]
    what = f"The network '{model.name}' is a single layer: nothing is left below its top."
    raise SurgeryError(what, fix="Use a deeper network.")


def replace_top(
    model: keras.Model,
    *,
    cut: str | None = None,
    classes: int,
    hidden: Sequence[int] = (),
    activation: str = "elu",
    dropout: float = 0.0,
    output: str = "softmax",
    seed: int = 0,
) -> keras.Model:
    """Drops everything above a layer and puts a fresh top there.

    A feature map is averaged over space first. Then come the hidden layers (each dense, activation, dropout) and one
    dense output layer. The top's layers are named ``top_...``, so its block is ``top``.

    Args:
        model: A functional or Sequential model.
        cut: The layer kept as the last; by default the one below the classifier.
        classes: The number of outputs.
        hidden: The widths of the hidden layers; none by default.
        activation: The hidden layers' activation, by its Keras name; their initializer follows from it (He for ReLU and
            its variants, LeCun for SELU, Glorot otherwise).
        dropout: The share of units dropped before each dense layer above the first; 0 to below 1.
        output: ``softmax``, ``sigmoid`` or ``linear``.
        seed: The top's initial weights follow from it.

    Returns:
        A new network; the weights below are copies.

    Raises:
        SurgeryError: if there is no such layer, or a number is out of range.

    Example:
        >>> import zoo
        >>> net = zoo.replace_top(zoo.load("glyphs"), cut="features", classes=10, hidden=[64])
        >>> net.output_shape
        (None, 10)
    """
    _check_top(classes, hidden, activation, dropout)
    base = drop_above(model, cut if cut is not None else default_cut(model))
    taken = {layer.name for layer in base.layers}
    x = _pooled(base.outputs[0], taken)
    if len(hidden):
        scale_name = "lecun_normal" if activation == "selu" else "he_normal" if activation in _HE else "glorot_uniform"
    else:
        scale_name = "glorot_uniform"
    for i, width in enumerate(hidden, 1):
        initializer = _seeded(scale_name, derive(seed, "top", i))
        x = keras.layers.Dense(width, kernel_initializer=initializer, name=_free(f"top_dense{i}", taken))(x)
        x = keras.layers.Activation(activation, name=_free(f"top_activation{i}", taken))(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=derive(seed, "top dropout", i), name=_free(f"top_dropout{i}", taken))(x)
    x = keras.layers.Dense(
        classes,
        activation=output,
        kernel_initializer=_seeded("glorot_uniform", derive(seed, "top", 0)),
        dtype="float32",
        name=_free("top_output", taken),
    )(x)
    return keras.Model(one_or_list(base.inputs), x, name=model.name)


def _seeded(name: str, seed: int) -> keras.initializers.Initializer:
    return keras.initializers.get({"class_name": name, "config": {"seed": seed}})


def _check_top(classes: int, hidden: Sequence[int], activation: str, dropout: float) -> None:
    if classes < 1 or any(width < 1 for width in hidden):
        what = "A top needs at least one output, and at least one unit in each hidden layer."
        raise SurgeryError(what, received=f"classes={classes}, hidden={list(hidden)}")
    if not 0 <= dropout < 1:
        what = "The share of units dropped is out of range."
        raise SurgeryError(what, expected="0 <= dropout < 1", received=str(dropout))
    try:
        keras.activations.get(activation)
    except (ValueError, TypeError):
        what = f"Keras has no activation '{activation}'."
        names = [n for n in dir(keras.activations) if n.islower() and not n.startswith("_")]
        raise SurgeryError(what, fix=close_matches(str(activation), names)) from None


def _pooled(x: Any, taken: set[str]) -> Any:
    """Features as one vector an example: a feature map or a sequence is averaged."""
    pools = {3: keras.layers.GlobalAveragePooling1D, 4: keras.layers.GlobalAveragePooling2D, 5: keras.layers.GlobalAveragePooling3D}
    rank = len(x.shape)
    if rank == 2:
        return x
    if rank not in pools:
        what = "A top cannot be put on this layer's output."
        raise SurgeryError(what, expected="(batch, features), or a feature map", received=f"shape {x.shape}")
    return pools[rank](name=_free("top_pool", taken))(x)


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered where the network below has a layer of that name already."""
    free = name if name not in taken else next(f"{name}_{i}" for i in range(2, 10**6) if f"{name}_{i}" not in taken)
    taken.add(free)
    return free


@dataclass(frozen=True)
class Crossing:
    """A tensor that crosses the deepest frozen boundary: the layer it comes from, and its size for one example."""

    layer: str
    shape: tuple[int | None, ...]
    bytes: int | None

    def __str__(self) -> str:
        size = "" if self.bytes is None else f", {self.bytes / 1024:.1f} kB an example"
        return f"{self.layer} ({'x'.join('?' if n is None else str(n) for n in self.shape)}{size})"


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


def boundary(graph: keras.Model, frozen: frozenset[str], live: frozenset[str] = frozenset()) -> Boundary:
    """Finds the deepest frozen boundary of a flat network.

    A call is below it if everything under it is, and it is of a frozen layer, or of one that learns nothing and behaves
    the same in training (a pooling, an activation).

    Args:
        graph: A flat network.
        frozen: The names of the layers that the plan freezes.
        live: Names of layers that must stay above, whatever they are.
    """
    below: list[Any] = []
    known = {id(tensor) for tensor in graph.inputs}
    nodes = calls(graph)
    for node in nodes:
        operation = node.operation
        fixed = operation.name in frozen or not (getattr(operation, "weights", []) or takes_training(operation))
        if fixed and operation.name not in live and all(id(t) in known for t in node.input_tensors):
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


def split(model: keras.Model, plan: "Plan") -> tuple[keras.Model, keras.Model]:
    """Splits a network at its deepest frozen boundary: ``head(trunk(x)) == model(x)``.

    Args:
        model: The network that the plan was made for.
        plan: What is frozen; see :func:`zoo.freeze`.

    Returns:
        Trunk and head; they share their layers with ``model``, so that training the head trains the model. Where skip
        connections cross the boundary, the trunk gives a list of tensors, and the head takes it.

    Raises:
        SurgeryError: if nothing is frozen from the input upwards, or nothing is left above.
    """
    graph = flat(model)
    edge = boundary(graph, plan.frozen_layers)
    if not edge.below:
        what = "The network has no trunk: its lowest layers are not frozen."
        raise SurgeryError(what, fix="Freeze from the bottom: zoo.freeze(model, upto=...).")
    if not edge.above:
        what = "The network has no head: everything in it is frozen."
        raise SurgeryError(what, fix="Leave at least the top out of the freeze.")
    return cut_trunk(graph, edge), cut_head(graph, edge)


def cut_trunk(graph: keras.Model, edge: Boundary) -> keras.Model:
    """What lies below a boundary, as a network that gives the crossing tensors."""
    return keras.Model(one_or_list(graph.inputs), one_or_list(edge.tensors), name=f"{graph.name}_trunk")


def cut_head(graph: keras.Model, edge: Boundary, runner: Runner | None = None) -> keras.Model:
    """What lies above a boundary, as a network that takes the crossing tensors; each call is run again by ``runner``."""
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=f"crossing{i}") for i, t in enumerate(edge.tensors)]
    values: dict[int, Any] = {id(tensor): new for tensor, new in zip(edge.tensors, inputs, strict=True)}
    run(edge.above, values, runner)
    outputs = [values[id(tensor)] for tensor in graph.outputs]
    return keras.Model(one_or_list(inputs), one_or_list(outputs), name=f"{graph.name}_head")


def one_or_list(tensors: Sequence[Any]) -> Any:
    """A single tensor as itself, several as a list: the structure that Keras expects the values in."""
    return tensors[0] if len(tensors) == 1 else list(tensors)
