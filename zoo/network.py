"""From a card to a plain ``keras.Model``: with its pretrained weights, or from random ones."""

import os
from typing import Any

import keras

from . import (
    layers,  # noqa: F401  (a run's file may hold its classes: importing the package registers them with Keras)
    models,
    registry,
)
from .card import KERAS_FILE, Card
from .copying import copy_preprocessing, rebuilt
from .errors import CardError, WeightsError
from .formats import safetensors
from .seeds import derive
from .skipped_attributes import remember_what_is_skipped
from .unknown_classes import unknown_classes

#: How the names of zoo's own classes begin where Keras has registered them.
OURS = "zoo>"


def load(name: str | os.PathLike[str] | Card) -> keras.Model:
    """Loads a pretrained network as a plain ``keras.Model``, preprocessing inside.

    Args:
        name: A name that ``zoo list`` shows, a path (``.keras``, safetensors with a card, a run folder), or a card.

    Returns:
        The network with its own top; it takes raw values (images: 0 to 255) and is not compiled.

    Raises:
        CardError: if nothing has that name, or it is an architecture without weights.
        WeightsError: if the weights were altered, or do not fit; if the file holds classes that nothing registered.

    Example:
        >>> import zoo
        >>> zoo.load("glyphs").input_shape
        (None, 8, 8, 1)
    """
    card = name if isinstance(name, Card) else registry.find(name)
    path = registry.checked_weights(card)
    if card.builder != KERAS_FILE:
        network = build(card, seed=0)
        safetensors.load_weights(network, path)
        return network
    remember_what_is_skipped()
    try:
        loaded = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as reason:
        raise _not_loaded(path, reason) from reason
    if not isinstance(loaded, keras.Model):
        what = f"{path} does not hold a Keras model."
        raise WeightsError(what, received=type(loaded).__name__)
    return loaded


def _not_loaded(path: os.PathLike[str], reason: Exception) -> WeightsError:
    """The error for a file that Keras does not load: it names the classes that are missing, where that is why."""
    unknown = unknown_classes(path)
    if not unknown:
        what = f"Keras cannot load {path}: {str(reason).splitlines()[0]}"
        fix = "Is it whole? If keras loads it with other arguments, give that model to zoo.finetune."
        return WeightsError(what, fix=fix)
    what = f"{path} holds classes that nothing has registered with Keras here: {', '.join(unknown)}."
    ours = [name for name in unknown if name.startswith(OURS)]
    if ours:
        fix = f"This version of zoo has no {' or '.join(ours)}; the run's recipe.lock names the version that saved it."
        return WeightsError(what, fix=fix)
    scope = f"keras.saving.custom_object_scope({{{unknown[0]!r}: {unknown[0].rpartition('>')[2]}}})"
    imported = "In Python, import the module that registers them before zoo loads it"
    return WeightsError(what, fix=f"The file is whole. {imported}, or say: with {scope}: ...")


def layers_of_zoo(model: keras.Model) -> list[str]:
    """The names of a model's layers that plain Keras does not know: it needs ``import zoo.layers`` to load them.

    Example:
        >>> import keras
        >>> from zoo.layers import Inference
        >>> layers_of_zoo(keras.Sequential([keras.Input((3,)), Inference(keras.layers.Dense(2, name="low"))]))
        ['low_held']
    """
    inside = model._flatten_layers(include_self=False)
    return [layer.name for layer in inside if keras.saving.get_registered_name(type(layer)).startswith(OURS)]


def build(card: Card, *, seed: int, outputs: int | None = None, output: str = "softmax", **args: Any) -> keras.Model:
    """Builds a card's network from random weights.

    Args:
        card: Its builder is one of ``zoo.models.ARCHITECTURES``, or its file is a ``.keras`` file, which gives the
            architecture, its initializers drawn anew.
        seed: All initial weights follow from it.
        outputs: The number of outputs; by default one for each of the card's labels, and no top where it has none.
        output: The activation of the outputs: ``softmax``, ``sigmoid`` or ``linear``.
        **args: The builder's arguments, over the card's.

    Returns:
        The network.

    Raises:
        CardError: if the card says no input, or the builder does not take the arguments.
    """
    if card.builder == KERAS_FILE:
        if args:
            what = f"'{card.full_name}' is a Keras file: its architecture is fixed, and takes no arguments."
            raise CardError(what, received=str(args), fix="Leave [model.args] out.")
        return drawn_anew(load(card), seed)
    if card.builder not in models.ARCHITECTURES:
        what = f"The card of '{card.full_name}' names a builder that zoo does not have."
        raise CardError(what, expected=" | ".join((*models.ARCHITECTURES, KERAS_FILE)), received=repr(card.builder))
    if card.input is None:
        what = f"'{card.full_name}' takes its input's shape from the data."
        raise CardError(what, fix="Say which data: zoo finetune MODEL DATA.")
    if card.input.kind == "text":
        what = f"'{card.builder}' takes numbers, not texts."
        raise CardError(what, fix="Use a network that takes strings: a .keras file with its own TextVectorization.")
    outputs = outputs if outputs is not None else (len(card.labels) or None)
    try:
        return models.builder(card.builder)(
            card.input.shape, outputs, **{**card.args, **args}, output=output, seed=derive(seed, "weights")
        )
    except TypeError as reason:
        what = f"The builder '{card.builder}' cannot be called with the card's arguments: {reason}."
        raise CardError(what, fix="Mend [args] in the card, or [model.args] in the recipe.") from None


def drawn_anew(network: keras.Model, seed: int) -> keras.Model:
    """The same architecture with initial weights drawn anew, as its layers' own initializers say.

    What no training moves stays: vocabularies, and the mean and variance of an adapted normalization.

    Raises:
        WeightsError: if a layer cannot be rebuilt from its configuration.
    """
    count = iter(range(10**9))

    def rebuild(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Lambda):
            return rebuilt(layer)
        return layer.__class__.from_config(_reseed(layer.get_config(), seed, count))

    try:
        fresh = keras.models.clone_model(network, clone_function=rebuild)
        copy_preprocessing(network, fresh)
        return fresh
    except (NotImplementedError, ValueError, TypeError) as reason:
        what = f"The network '{network.name}' cannot be rebuilt from its configuration: {str(reason).splitlines()[0]}"
        raise WeightsError(what, fix="Train it from scratch in Keras.") from reason


def _reseed(config: Any, seed: int, count: Any) -> Any:
    """A layer's configuration with every seed in it replaced; initializers of the same seed would draw the same."""
    if isinstance(config, dict):
        fresh = {key: _reseed(value, seed, count) for key, value in config.items()}
        if "seed" in fresh and not isinstance(fresh["seed"], dict):
            fresh["seed"] = derive(seed, "anew", next(count))
        return fresh
    if isinstance(config, (list, tuple)):
        return type(config)(_reseed(value, seed, count) for value in config)
    return config
