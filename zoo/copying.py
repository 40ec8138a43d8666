"""Copies of networks that share nothing with the original."""

import tempfile
from collections.abc import Callable
from typing import Any

import keras

from .errors import SurgeryError
from .flattening import flat, known_as
from .graph import calls, inputs_of, node_of, outputs_of, run

#: What a network's own layers need, so that they can be copied.
OWN_LAYERS = (
    "Give its own layers a get_config(), and register its own functions: @keras.saving.register_keras_serializable()."
)
Rebuild = Callable[[keras.layers.Layer], keras.layers.Layer]


def rebuilt(layer: keras.layers.Layer, name: str | None = None) -> keras.layers.Layer:
    """A fresh layer of the same configuration, under another name if one is given; a ``Lambda``, which has no state and
    no safe configuration, as it is."""
    if isinstance(layer, keras.layers.Lambda):
        return known_as(layer, name or layer.name)
    config = layer.get_config()
    fresh = layer.__class__.from_config(config if name is None else {**config, "name": name})
    fresh.name = name or layer.name  # a configuration need not hold it
    return fresh


def clone(model: keras.Model, rebuild: Rebuild = rebuilt) -> keras.Model:
    """A copy of a network that shares nothing with it, models inside taken apart.

    Args:
        model: A Keras model.
        rebuild: Makes the fresh layer that stands for one of the model's.

    Returns:
        A functional model with the same layers' names and the same values.

    Raises:
        SurgeryError: if a layer cannot be rebuilt from its configuration.
    """
    graph = flat(model)
    copy = Copy(graph, rebuild)
    try:
        run(calls(graph), copy.values, copy.call)
        for layer, fresh in copy.layers():
            copy_layer(layer, fresh)
            copy_switches(layer, fresh)
    except (NotImplementedError, ValueError, TypeError, KeyError) as reason:
        what = f"The network '{model.name}' cannot be copied: {first_line(reason)}"
        raise SurgeryError(what, fix=OWN_LAYERS) from reason
    return copy.model(outputs_of(graph))


def first_line(reason: Exception) -> str:
    """What an error of Keras says first, not at length."""
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
    text = lines[0] if lines else type(reason).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


class Copy:
    """A copy of a flat network in the making: fresh inputs, and a fresh layer for each of its layers.

    ``values`` holds the tensors of the copy by the ``id`` of those that they stand for; :func:`zoo.graph.run` fills it.
    """

    def __init__(self, graph: keras.Model, rebuild: Rebuild = rebuilt):
        self.graph = graph
        self._rebuild = rebuild
        self._fresh: dict[int, tuple[Any, Any]] = {}
        self._inputs = [same_input(tensor) for tensor in graph.inputs]
        self.values: dict[int, Any] = {
            id(tensor): fresh for tensor, fresh in zip(graph.inputs, self._inputs, strict=True)
        }

    def call(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls what stands for an operation."""
        return self.layer(operation)(*args, **kwargs)

    def layer(self, operation: Any) -> Any:
        """What stands for an operation of the original."""
        if id(operation) not in self._fresh:
            layer = isinstance(operation, keras.layers.Layer)  # anything else has no state
            fresh = self._rebuild(operation) if layer else known_as(operation, operation.name)
            self._fresh[id(operation)] = (operation, fresh)
        return self._fresh[id(operation)][1]

    def layers(self) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
        """The original's layers that were called, each with the fresh one."""
        return [pair for pair in self._fresh.values() if isinstance(pair[0], keras.layers.Layer)]

    def model(self, outputs: Any) -> keras.Model:
        """The copy, with some of the original's tensors, in any structure, as its outputs."""
        of = self.values
        fresh = dict(zip(map(id, self.graph.inputs), self._inputs, strict=True))  # in `values` an edit may stand
        inputs = keras.tree.map_structure(lambda tensor: fresh[id(tensor)], inputs_of(self.graph))
        given = keras.tree.map_structure(lambda tensor: of[id(tensor)], outputs)
        return keras.Model(inputs, given, name=self.graph.name)


def same_input(tensor: Any) -> Any:
    """An input of the same name, shape and type."""
    made = node_of(tensor).operation
    optional = getattr(made, "optional", False)
    kind = {"sparse": True} if tensor.sparse else {"ragged": True} if getattr(tensor, "ragged", False) else {}
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=made.name, optional=optional, **kind)


def copy_state(source: keras.Model, target: keras.Model) -> None:
    """Copies everything that layers hold, between two flat networks of the same layers' names."""
    for layer in target.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            copy_layer(source.get_layer(layer.name), layer)


def copy_layer(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copies everything that a layer holds to another one of the same configuration.

    That is every variable, and what Keras saves beside them: vocabularies, and constants made of variables.
    """
    for given, to in zip(source._flatten_layers(), target._flatten_layers(), strict=True):
        _copy_beside_variables(given, to)
    for to, value in zip(target.variables, source.variables, strict=True):
        to.assign(value)  # last: what Keras saves of an adapted kernel is the sum, not its parts


def copy_switches(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Sets ``trainable`` in a copy as it is in the original: the configuration of a layer made of others (attention, a
    recurrent cell) does not say it of them."""
    for given, to in zip(source._flatten_layers(), target._flatten_layers(), strict=True):
        to.trainable = given.trainable
    for variable, given in zip(target.variables, source.variables, strict=True):
        variable.trainable = given.trainable  # beside an adapter, a layer's own kernel is fixed by itself


def copy_preprocessing(source: keras.Model, target: keras.Model) -> None:
    """Copies what layers hold that nothing trains: vocabularies, and the mean and variance of an adapted normalization.

    The statistics of batch normalization follow training, and are left as they are; so is the state of random
    generators.

    Args:
        source: A network.
        target: One of the same architecture, models inside it included.
    """
    for layer in target.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        twin = source.get_layer(layer.name)
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            copy_preprocessing(twin, layer)
            continue
        for to, given in zip(layer._flatten_layers(), twin._flatten_layers(), strict=True):
            if not _learns(given):
                for variable, value in zip(to._non_trainable_variables, given._non_trainable_variables, strict=True):
                    variable.assign(value)
                _copy_beside_variables(given, to)


def _learns(layer: keras.layers.Layer) -> bool:
    """Whether training moves what a layer holds: also where its user has frozen it."""
    inside = layer._flatten_layers()
    return isinstance(layer, keras.layers.BatchNormalization) or any(one._trainable_variables for one in inside)


def _copy_beside_variables(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    if type(source).load_own_variables is not keras.layers.Layer.load_own_variables:
        store: dict[str, object] = {}
        source.save_own_variables(store)
        target.load_own_variables(store)
    if hasattr(source, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)  # pyright: ignore[reportAttributeAccessIssue]
            target.load_assets(folder)  # pyright: ignore[reportAttributeAccessIssue]
