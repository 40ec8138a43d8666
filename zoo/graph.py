"""A Keras network as what it is: calls of operations, in order.

Keras keeps the graph in the history of its symbolic tensors. ``layer.output`` is only a layer's first call, which is
the wrong one for a shared layer; so everything here starts from the model's own outputs and walks down to
its own inputs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras

#: Runs one operation on its filled-in arguments; the default simply calls it.
Runner = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def calls(model: keras.Model) -> list[Any]:
    """The model's own nodes (calls of operations), each after those whose outputs it takes; inputs are left out."""
    return calls_down_to({id(tensor) for tensor in model.inputs}, model.outputs)


def calls_down_to(reached: set[int], outputs: Sequence[Any]) -> list[Any]:
    """The calls between some tensors, by their ``id``, and outputs."""
    order: list[Any] = []
    done: set[int] = set()
    stack = [(node, False) for node in reversed([node_of(t) for t in outputs if id(t) not in reached])]
    while stack:
        node, expanded = stack.pop()
        if id(node) in done:
            continue
        if expanded:
            done.add(id(node))
            order.append(node)
            continue
        stack.append((node, True))
        stack.extend((node_of(t), False) for t in reversed(node.input_tensors) if id(t) not in reached)
    return [node for node in order if not node.is_input]


def inputs_of(graph: keras.Model) -> Any:
    """A functional model's inputs in their own structure: a model that takes a list of one warns of anything else."""
    return graph._inputs_struct


def outputs_of(graph: keras.Model) -> Any:
    """A functional model's outputs in their own structure; a list of one is the tensor itself, as it is when called."""
    struct = graph._outputs_struct
    return struct[0] if isinstance(struct, (list, tuple)) and len(struct) == 1 else struct


def operations(model: keras.Model) -> list[Any]:
    """The model's own operations, each once, in the order in which they are first called."""
    return list({id(node.operation): node.operation for node in calls(model)}.values())


def is_graph(model: Any) -> bool:
    """Whether something is a model whose calls can be seen: Keras's own ``call`` runs its graph."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        return False
    return type(model).call.__module__.startswith("keras.src.models")


def node_of(tensor: Any) -> Any:
    """The call that made a symbolic tensor."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def run(nodes: Iterable[Any], values: dict[int, Any], runner: Runner | None = None) -> None:
    """Runs calls again on other tensors.

    Args:
        nodes: In an order in which each call's inputs come before it.
        values: The tensors known so far, by the ``id`` of the symbolic tensor that they stand for; filled in further.
        runner: How to run one operation; by default it is called.
    """
    for node in nodes:
        args, kwargs = node.arguments.fill_in(values)
        outputs = runner(node.operation, args, kwargs) if runner else node.operation(*args, **kwargs)
        for reference, value in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
            values[id(reference)] = value


def arguments_anew(node: Any, values: dict[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments on other tensors, without the masks that its inputs carry.

    Keras works those out again: where something below has changed, another mask may be carried, or none.
    """
    args, kwargs = node.arguments.fill_in(values)
    carried = {id(getattr(tensor, "_keras_mask", None)) for tensor in node.input_tensors} - {id(None)}
    for name, given in node.arguments.kwargs.items():
        masks = [mask for mask in keras.tree.flatten(given) if mask is not None]
        if name.endswith("mask") and masks and all(id(mask) in carried for mask in masks):
            del kwargs[name]
    return args, kwargs


def leaves(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """A layer, or the layers inside it that hold variables of their own.

    Switches such as ``trainable`` are set on leaves: setting a parent whose value is the same already does nothing, and
    leaves its children as they are.
    """
    inside = list(layer._flatten_layers(include_self=False, recursive=False))
    if not inside:
        yield layer
        return
    own = {id(v) for v in layer.variables} - {id(v) for child in inside for v in child.variables}
    if own:
        yield layer
    for child in inside:
        yield from leaves(child)


def is_seed_state(variable: keras.Variable) -> bool:
    """Whether a variable is the state of a random generator, which moves with every draw."""
    return variable.name == "seed_generator_state"


def takes_training(operation: Any) -> bool:
    """Whether an operation may behave differently in training: it, or a layer inside it, takes ``training``."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    inside = operation._flatten_layers(include_self=True, recursive=True)
    return any("training" in layer.call_signature_parameters for layer in inside)


def one_or_list(tensors: Sequence[Any]) -> Any:
    """A single tensor as itself, several as a list: the structure that Keras expects the values in."""
    return tensors[0] if len(tensors) == 1 else list(tensors)
