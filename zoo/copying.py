"""Copies of networks that share nothing with the original."""

import tempfile
from collections.abc import Callable

import keras

from .errors import SurgeryError
from .graph import flat

Rebuild = Callable[[keras.layers.Layer], keras.layers.Layer]


def rebuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A fresh layer of the same configuration; a ``Lambda``, which has no state and no safe configuration, as it is."""
    return layer if isinstance(layer, keras.layers.Lambda) else layer.__class__.from_config(layer.get_config())


def clone(model: keras.Model, rebuild: Rebuild = rebuilt) -> keras.Model:
    """A copy of a network that shares nothing with it, models inside taken apart.

    Args:
        model: A functional or Sequential model.
        rebuild: Makes the fresh layer that stands for one of the model's.

    Returns:
        A functional model with the same layers' names and the same values.

    Raises:
        SurgeryError: if a layer cannot be rebuilt from its configuration.
    """
    graph = flat(model)
    try:
        copy = keras.models.clone_model(graph, clone_function=rebuild)
        copy_state(graph, copy)
    except (NotImplementedError, ValueError, TypeError) as reason:
        what = f"The network '{model.name}' cannot be copied: {str(reason).splitlines()[0]}"
        raise SurgeryError(what, fix="Give its own layers a get_config().") from reason
    return copy


def copy_state(source: keras.Model, target: keras.Model) -> None:
    """Copies everything that layers hold, between two flat networks of the same layers' names.

    That is every variable, and what Keras saves beside them: vocabularies, and constants made of variables.
    """
    for layer in target.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue  # named anew by Keras where it had no name of its own
        twin = source.get_layer(layer.name)
        for to, value in zip(layer.variables, twin.variables, strict=True):
            to.assign(value)
        pairs = zip(layer._flatten_layers(), twin._flatten_layers(), strict=True)
        for to, given in pairs:
            _copy_beside_variables(given, to)


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
