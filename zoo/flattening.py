"""Networks as flat graphs: models inside are taken apart, subclassed ones traced, equal names told apart."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras

from .errors import SurgeryError
from .graph import calls, inputs_of, is_graph, node_of, outputs_of
from .naming import free_name
from .tracing import bare_variable, built_input, trace


def flat(model: keras.Model) -> keras.Model:
    """The same network as one functional model without models inside, sharing every layer with the original.

    Where layers of several models inside bear one name, each is known here by its model's name and its own
    (``left_conv1``). A subclassed model whose ``call`` is made of Keras operations is traced; any other stays one
    opaque layer. What makes an output of a model inside that the network does not use is left out.

    Args:
        model: A Keras model; a subclassed one must have been called once.

    Returns:
        The model itself where it is flat already.

    Raises:
        SurgeryError: if the model is not built yet, or uses a variable outside a layer.
    """
    graph = as_graph(model)
    parts = _Parts(graph)
    if not parts.flat:
        values = {id(tensor): tensor for tensor in graph.inputs}
        parts.run(calls(graph), values)
        outputs = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs_of(graph))
        graph = keras.Model(inputs_of(graph), outputs, name=model.name)
    bare = bare_variable(graph)
    if bare is not None:
        what = f"The network '{model.name}' uses the weight '{bare}' outside its layer: no plan or copy can hold it."
        raise SurgeryError(what, fix="Use it in a layer of your own, which has it as an attribute.")
    return graph


def as_graph(model: keras.Model) -> keras.Model:
    """A model as a functional one, models inside left whole; a functional model as it is.

    Raises:
        SurgeryError: if it is not a model, or not built.
    """
    if not isinstance(model, keras.Model):
        what = "This is not a network."
        raise SurgeryError(what, expected="a keras.Model", received=type(model).__name__)
    if is_graph(model):
        if isinstance(model, keras.Sequential):
            return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        return model
    if isinstance(model, keras.Sequential):
        what = f"The layers of '{model.name}' cannot be told apart: it is a Sequential model that is not built."
        raise SurgeryError(what, fix="Give it an Input first: keras.Sequential([keras.Input(SHAPE), ...]).")
    try:
        return trace(model)
    except SurgeryError as reason:
        return _whole(model, reason)


def _whole(model: keras.Model, reason: SurgeryError) -> keras.Model:
    """A model that cannot be traced, as a graph of one opaque layer."""
    inputs = built_input(model)
    try:
        return keras.Model(inputs, model(inputs), name=model.name)
    except (ValueError, TypeError, NotImplementedError, AttributeError):
        raise reason from None


def is_opaque(operation: Any) -> bool:
    """Whether an operation of a flat network is a model that could not be taken apart."""
    return isinstance(operation, keras.Model)


class _Parts:
    """What a network is made of at every depth: the graph of each model inside, and each layer's name."""

    def __init__(self, graph: keras.Model):
        self._graphs: dict[int, keras.Model | None] = {}
        self._found: dict[int, tuple[Any, tuple[str, ...]]] = {}
        self._look_into(graph, ())
        names = Counter(operation.name for operation, _ in self._found.values())
        self.flat = not any(self._graphs.values())
        self._named = {key: operation for key, (operation, _) in self._found.items()}
        inputs = {node_of(tensor).operation.name for tensor in graph.inputs}
        names.update(inputs)
        self.flat = self.flat and all(count == 1 for count in names.values())
        inside = [(key, entry) for key, entry in self._found.items() if names[entry[0].name] > 1 and entry[1]]
        taken = {self._found[key][0].name for key in self._found.keys() - {key for key, _ in inside}} | inputs
        for key, (operation, chain) in inside:
            name = free_name("_".join((*chain, operation.name)), taken)
            taken.add(name)
            self._named[key] = known_as(operation, name)

    def _look_into(self, graph: keras.Model, chain: tuple[str, ...]) -> None:
        nodes = calls(graph)
        whole = {id(node.operation) for node in nodes if not _takes_tensors_alone(node)}
        for node in nodes:
            operation = node.operation
            if not isinstance(operation, keras.Model):
                self._found.setdefault(id(operation), (operation, chain))
            elif id(operation) not in self._graphs:
                inner = None if id(operation) in whole else _inner_graph(operation, node)
                self._graphs[id(operation)] = inner
                if inner is None:
                    self._found[id(operation)] = (operation, chain)
                else:
                    self._look_into(inner, (*chain, operation.name))

    def run(self, nodes: Sequence[Any], values: dict[int, Any], training: bool | None = None) -> None:
        """Runs calls again, going into models inside; a ``training`` that such a model was called with goes with it."""
        for node in nodes:
            args, kwargs = node.arguments.fill_in(values)
            inner = self._graphs.get(id(node.operation))
            if inner is None:
                if training is not None and "training" in getattr(node.operation, "call_signature_parameters", ()):
                    kwargs["training"] = training
                outputs = keras.tree.flatten(self._named[id(node.operation)](*args, **kwargs))
            else:
                given = keras.tree.flatten(args or kwargs["inputs"])
                inside = {id(ref): _as_taken(value, ref) for ref, value in zip(inner.inputs, given, strict=True)}
                mode = kwargs.get("training")
                self.run(calls(inner), inside, training if mode is None else mode)
                outputs = [inside[id(tensor)] for tensor in inner.outputs]
            for reference, value in zip(node.outputs, outputs, strict=True):
                values[id(reference)] = value
        for reference in (tensor for node in nodes for tensor in node.outputs):
            mask = values.get(id(getattr(reference, "_keras_mask", None)))
            if mask is not None:  # the one that the calls above were given, not the one that Keras has made beside it
                values[id(reference)]._keras_mask = mask


def _takes_tensors_alone(node: Any) -> bool:
    """Whether a call gives nothing but tensors, and a mode: not a mask other than what the tensors carry, or a flag."""
    args, kwargs = node.arguments.args, dict(node.arguments.kwargs)
    mask = kwargs.pop("mask", None)
    given = keras.tree.flatten(args or kwargs.get("inputs"))
    if kwargs.keys() - {"inputs", "training"} or not all(isinstance(t, keras.KerasTensor) for t in given):
        return False
    carried = [getattr(tensor, "_keras_mask", None) for tensor in given]
    return mask is None or all(one is other for one, other in zip(keras.tree.flatten(mask), carried, strict=False))


def _inner_graph(model: keras.Model, node: Any) -> keras.Model | None:
    """The graph of a model inside another one; ``None`` where it is opaque."""
    if is_graph(model):
        return as_graph(model)
    masks = [getattr(tensor, "_keras_mask", None) for tensor in node.input_tensors]
    if "mask" in model.call_signature_parameters and any(mask is not None for mask in masks):
        return None  # it may do anything with them
    try:
        return trace(model, *node.arguments.args)
    except SurgeryError:
        return None


def _as_taken(value: Any, reference: Any) -> Any:
    """A tensor as a model inside takes it: Keras casts to the type of its input, adds or drops a last axis of 1, and
    keeps the mask."""
    taken: Any = value
    if keras.backend.standardize_dtype(value.dtype) != keras.backend.standardize_dtype(reference.dtype):
        taken = keras.ops.cast(taken, reference.dtype)
    if len(value.shape) == len(reference.shape) + 1:
        taken = keras.ops.squeeze(taken, axis=-1)
    elif len(value.shape) == len(reference.shape) - 1:
        taken = keras.ops.expand_dims(taken, axis=-1)
    if taken is not value:
        taken._keras_mask = getattr(value, "_keras_mask", None)
    return taken


def known_as(operation: Any, name: str) -> Any:
    """The same layer under another name: it shares every variable and every setting, and has calls of its own."""
    twin = object.__new__(type(operation))
    twin.__dict__.update(operation.__dict__, name=name, _inbound_nodes=[], _outbound_nodes=[])
    return twin
