"""A Keras network as what it is: calls of operations, in order.

Keras keeps the graph in the history of its symbolic tensors. ``layer.output`` is only a layer's first call, which is
the wrong one for a shared layer; so everything here starts from the model's own outputs and walks down to
its own inputs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras

from .errors import SurgeryError

#: Runs one operation on its filled-in arguments; the default simply calls it.
Runner = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def flat(model: keras.Model) -> keras.Model:
    """The same network as one functional model without models inside, sharing every layer with the original.

    Args:
        model: A functional or Sequential model.

    Returns:
        The model itself where it is flat already.

    Raises:
        SurgeryError: if the model is not a graph: subclassed, or not built yet.
    """
    graph = as_graph(model)
    if not any(_is_model(node.operation) for node in calls(graph)):
        return graph
    values = {id(tensor): tensor for tensor in graph.inputs}
    run(calls(graph), values)
    outputs = _like(model, "outputs", values)
    _check_names(model, keras.tree.flatten(outputs))
    return keras.Model(_like(model, "inputs", values), outputs, name=model.name)


def _check_names(model: keras.Model, outputs: list[Any]) -> None:
    """Layers are known by their names: those of models inside must differ too."""
    names = [op.name for op in {id(n.operation): n.operation for n in _calls_down_to(set(), outputs)}.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        what = f"The network '{model.name}' has several layers called '{twice}', in different models inside it."
        raise SurgeryError(what, fix="Name them apart where they are made: keras.layers.Dense(..., name=...).")


def as_graph(model: keras.Model) -> keras.Model:
    """A Sequential model as a functional one; a functional model as it is."""
    if not isinstance(model, keras.Model):
        what = "This is not a network."
        raise SurgeryError(what, expected="a keras.Model", received=type(model).__name__)
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        kind = "a Sequential model that is not built" if isinstance(model, keras.Sequential) else "a subclassed model"
        what = f"The layers of '{model.name}' cannot be told apart."
        fix = "Give it an Input, or build it as a functional model: keras.Model(inputs, outputs)."
        raise SurgeryError(what, expected="a functional or Sequential model", received=kind, fix=fix)
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def _is_model(operation: Any) -> bool:
    return isinstance(operation, keras.Model) and bool(getattr(operation, "inputs", None))


def _like(model: keras.Model, side: str, values: dict[int, Any]) -> Any:
    """A model's inputs or outputs in their own structure (list, dictionary), as the tensors that ``values`` holds."""
    struct = getattr(model, f"_{side}_struct", None)
    if struct is None:
        struct = getattr(model, side)
        struct = struct[0] if len(struct) == 1 else struct
    return keras.tree.map_structure(lambda tensor: values[id(tensor)], struct)


def calls(model: keras.Model) -> list[Any]:
    """The model's own nodes (calls of operations), each after those whose outputs it takes; inputs are left out."""
    return _calls_down_to({id(tensor) for tensor in model.inputs}, model.outputs)


def _calls_down_to(reached: set[int], outputs: Sequence[Any]) -> list[Any]:
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


def operations(model: keras.Model) -> list[Any]:
    """The model's own operations, each once, in the order in which they are first called."""
    return list({id(node.operation): node.operation for node in calls(model)}.values())


def node_of(tensor: Any) -> Any:
    """The call that made a symbolic tensor."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def run(nodes: Iterable[Any], values: dict[int, Any], runner: Runner | None = None) -> None:
    """Runs calls again on other tensors, going into models inside.

    Args:
        nodes: In an order in which each call's inputs come before it.
        values: The tensors known so far, by the ``id`` of the symbolic tensor that they stand for; filled in further.
        runner: How to run one operation; by default it is called.
    """
    for node in nodes:
        args, kwargs = node.arguments.fill_in(values)
        operation = node.operation
        if _is_model(operation):
            inner = as_graph(operation)
            given = keras.tree.flatten(args)
            inside: dict[int, Any] = {id(ref): value for ref, value in zip(inner.inputs, given, strict=False)}
            run(calls(inner), inside, runner)
            outputs = [inside[id(tensor)] for tensor in inner.outputs]
        else:
            outputs = keras.tree.flatten(runner(operation, args, kwargs) if runner else operation(*args, **kwargs))
        for reference, value in zip(node.outputs, outputs, strict=True):
            values[id(reference)] = value


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
