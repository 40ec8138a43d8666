"""Taking a network apart and putting it together again.

Everything here returns new plain ``keras.Model``s; the original is untouched. :func:`split` alone shares its layers
with the network it was given, since what its head learns must arrive there.
"""

from collections.abc import Sequence
from typing import Any

import keras

from .boundary import boundary, cut_head, cut_trunk
from .copying import clone
from .errors import SurgeryError, close_matches
from .flattening import flat, is_opaque
from .graph import calls, inputs_of, node_of, one_or_list, operations
from .layers.activations import Activation
from .plan import Plan, check_fits
from .top import check_top, with_top


def drop_above(model: keras.Model, cut: str) -> keras.Model:
    """Drops everything above a layer.

    Args:
        model: A Keras model.
        cut: The layer kept as the last; of a model inside, by the layer's own name (``zoo.blocks`` lists them).

    Returns:
        A new network that ends with the output of ``cut`` (a list where that layer gives several); its weights are
        copies, and it takes what ``model`` takes.

    Raises:
        SurgeryError: if there is no such layer, or it is called several times.

    Example:
        >>> import zoo
        >>> zoo.drop_above(zoo.load("glyphs"), "block2_pool").layers[-1].name
        'block2_pool'
    """
    return clone(_below(model, cut))


def _below(model: keras.Model, cut: str) -> keras.Model:
    """What is left of a network, sharing its layers."""
    graph = flat(model)
    inside = {layer.name for layer in model._flatten_layers(include_self=False) if isinstance(layer, keras.Model)}
    if cut in inside - {op.name for op in operations(graph)}:
        what = f"'{cut}' is a model inside '{model.name}', and models inside are taken apart."
        raise SurgeryError(what, fix="Name the last of its layers that is to be kept: zoo.blocks(model) lists them.")
    return keras.Model(inputs_of(graph), _output_of(graph, cut), name=model.name)


def _output_of(graph: keras.Model, name: str) -> Any:
    """What a layer gives: a tensor, or a list of them."""
    found = [node for node in calls(graph) if node.operation.name == name]
    if not found:
        raise no_such_layer(graph, name)
    if len(found) > 1:
        what = f"'{name}' cannot be the last layer: it is called {len(found)} times."
        raise SurgeryError(what, fix="Cut at a layer above or below it.")
    return one_or_list(found[0].outputs)


def no_such_layer(graph: keras.Model, name: str) -> SurgeryError:
    """The error for a layer that a flat network does not have; it names close ones, and what is opaque."""
    what = f"The network '{graph.name}' has no layer '{name}'."
    fix = close_matches(name, [node.operation.name for node in calls(graph)])
    opaque = [op.name for op in operations(graph) if is_opaque(op)]
    if opaque:
        fix += f" The layers inside '{opaque[0]}' cannot be told apart; zoo.trace says why."
    return SurgeryError(what, fix=fix)


def default_cut(model: keras.Model) -> str:
    """The layer below the classifier: what the last layer with weights takes its input from.

    A classifier is a dense layer, or the 1x1 convolution of a 1x1 map that stands for one (MobileNet). A network that
    ends without one has no top: its own last layer is the cut.
    """
    graph = flat(model)
    nodes = calls(graph)
    weighted = [node for node in nodes if getattr(node.operation, "weights", [])]
    classifies = bool(weighted) and _is_classifier(weighted[-1])
    if len(graph.outputs) != 1 or not classifies or len(weighted[-1].input_tensors) != 1:
        return nodes[-1].operation.name
    below = weighted[-1].input_tensors[0]
    while not any(below is tensor for tensor in graph.inputs):
        node = node_of(below)
        if not isinstance(node.operation, keras.layers.Dropout | keras.layers.AlphaDropout):
            return node.operation.name
        below = node.input_tensors[0]
    what = f"The network '{model.name}' is a single layer: nothing is left below its top."
    raise SurgeryError(what, fix="Use a deeper network.")


def _is_classifier(node: Any) -> bool:
    if isinstance(node.operation, keras.layers.Dense):
        return True
    sizes = {*node.operation.kernel_size} if isinstance(node.operation, keras.layers.Conv2D) else set()
    return sizes == {1} and set(node.input_tensors[0].shape[1:3]) == {1}


def replace_top(
    model: keras.Model,
    *,
    cut: str | None = None,
    classes: int,
    hidden: Sequence[int] = (),
    activation: Activation = "elu",
    dropout: float = 0.0,
    output: str = "softmax",
    seed: int = 0,
) -> keras.Model:
    """Drops everything above a layer and puts a fresh top there.

    A feature map is averaged over space first. Then come the hidden layers (each dense, activation, dropout) and one
    dense output layer. The top's layers are named ``top_...``, so its block is ``top``; or ``top2``, where the network
    below has such layers already.

    Args:
        model: A Keras model.
        cut: The layer kept as the last; by default the one below the classifier.
        classes: The number of outputs.
        hidden: The widths of the hidden layers; none by default.
        activation: The hidden layers' activation: a name, or a table with its arguments, see
            :func:`zoo.layers.activation`. Their initializer follows from it (He for ReLU and its variants, LeCun for
            SELU, Glorot otherwise).
        dropout: The share of units dropped after each hidden layer (by alpha dropout for SELU), or of the features
            where there is none; 0 to below 1.
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
    check_top(classes, hidden, activation, dropout)
    cut = cut if cut is not None else default_cut(model)
    top = {"classes": classes, "hidden": hidden, "activation": activation, "dropout": dropout}
    return _topped(drop_above(model, cut), cut, output=output, seed=seed, **top)


def retopped(model: keras.Model, *, cut: str | None = None, **top: Any) -> keras.Model:
    """As :func:`replace_top`, for a network that nobody else holds: where it is flat its layers are taken, not copied.

    Args:
        model: A Keras model; it is used up.
        cut: The layer kept as the last; by default the one below the classifier.
        **top: As :func:`replace_top` has them.

    Raises:
        SurgeryError: as :func:`replace_top`.
    """
    check_top(**top)
    cut = cut if cut is not None else default_cut(model)
    base = _below(model, cut) if flat(model) is model else drop_above(model, cut)
    kept = {id(node) for node in calls(base)}
    for operation in operations(base):  # Keras would hold on to what was above, weights and all
        operation._outbound_nodes = [node for node in operation._outbound_nodes if id(node) in kept]
    return _topped(base, cut, **top)


def _topped(base: keras.Model, cut: str, **top: Any) -> keras.Model:
    if len(base.outputs) > 1:
        what = f"A top cannot be put on '{cut}': it gives {len(base.outputs)} tensors."
        raise SurgeryError(what, fix="Cut at a layer above or below it.")
    return keras.Model(inputs_of(base), with_top(base, **top), name=base.name)


def split(model: keras.Model, plan: Plan) -> tuple[keras.Model, keras.Model]:
    """Splits a network at its deepest frozen boundary: ``head(trunk(x)) == model(x)``.

    Args:
        model: The network that the plan was made for.
        plan: What is frozen; see :func:`zoo.freeze`.

    Returns:
        Trunk and head; they share their layers with ``model``, so that training the head trains the model. Where skip
        connections cross the boundary, the trunk gives a list of tensors, and the head takes it. The trunk takes what
        ``model`` takes, and the head gives what ``model`` gives, dictionaries included.

    Raises:
        SurgeryError: if nothing is frozen from the input upwards, or nothing is left above.
        PlanError: if the plan was made for another network.
    """
    graph = flat(model)
    if not isinstance(plan, Plan):
        what = "A network is split by its plan."
        raise SurgeryError(what, expected="zoo.freeze(model, ...)", received=type(plan).__name__)
    check_fits(plan, graph)
    edge = boundary(graph, plan.frozen_layers)
    if not edge.below:
        what = "The network has no trunk: its lowest layers are not frozen."
        raise SurgeryError(what, fix="Freeze from the bottom: zoo.freeze(model, upto=...).")
    if not edge.above:
        what = "The network has no head: everything in it is frozen."
        raise SurgeryError(what, fix="Leave at least the top out of the freeze.")
    return cut_trunk(graph, edge), cut_head(graph, edge)
