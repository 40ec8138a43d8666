"""Data augmentation: named presets of layers that are random in training, and lists of them.

Image layers are Keras's own and work on raw pixels, 0 to 255; vector layers work on raw numbers, in units of each
feature's spread. ``MixUp`` and ``CutMix`` stand in the same lists, but mix the targets too: ``mixing`` makes those. No
preset flips: a flipped digit or letter is another one, or none. Where it is not, say so:
``augment = [{ name = "RandomFlip", mode = "horizontal" }]``.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from zoo.errors import RecipeError, close_matches

from .vector_augmentation import FeatureDropout, FeatureNoise

#: A preset's name, or tables: each a layer by name, with its arguments.
Spec = str | Sequence[Mapping[str, Any]]

_FLIPS = ("horizontal_and_vertical", "horizontal", "vertical")
_BLACK = {"fill_mode": "constant", "fill_value": 0.0}
_STANDARD: tuple[dict[str, Any], ...] = (
    {"name": "RandomTranslation", "height_factor": 0.1, "width_factor": 0.1, **_BLACK},
    {"name": "RandomRotation", "factor": 0.04, **_BLACK},
    {"name": "RandomZoom", "height_factor": 0.15, "width_factor": 0.15, **_BLACK},
    {"name": "RandomBrightness", "factor": 0.1},
    {"name": "RandomContrast", "factor": 0.2},
)

#: What each preset for images holds, in order.
PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "none": (),
    "light": (
        {"name": "RandomTranslation", "height_factor": 0.06, "width_factor": 0.06, **_BLACK},
        {"name": "RandomRotation", "factor": 0.02, **_BLACK},
        {"name": "RandomZoom", "height_factor": 0.08, "width_factor": 0.08, **_BLACK},
    ),
    "standard": _STANDARD,
    "strong": (
        {"name": "RandomTranslation", "height_factor": 0.15, "width_factor": 0.15, **_BLACK},
        {"name": "RandomRotation", "factor": 0.08, **_BLACK},
        {"name": "RandomZoom", "height_factor": 0.25, "width_factor": 0.25, **_BLACK},
        {"name": "RandomShear", "x_factor": 0.15, "y_factor": 0.15, **_BLACK},
        {"name": "RandomBrightness", "factor": 0.2},
        {"name": "RandomContrast", "factor": 0.4},
        {"name": "RandomErasing", "factor": 0.5, "scale": (0.02, 0.1), "fill_value": 0.0},
    ),
    "mixup": (*_STANDARD, {"name": "MixUp", "alpha": 0.2}),
    "cutmix": (*_STANDARD, {"name": "CutMix", "alpha": 1.0}),
}

#: What each preset for vectors holds.
VECTOR_PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "none": (),
    "noise": ({"name": "FeatureNoise", "stddev": 0.1},),
    "feature_dropout": ({"name": "FeatureDropout", "rate": 0.1},),
    "mixup": ({"name": "MixUp", "alpha": 0.2},),
}

#: What mixes examples and their targets, by the kind of example.
_MIXING = {"image": ("MixUp", "CutMix"), "vector": ("MixUp",)}
_BY_KIND = {"image": PRESETS, "vector": VECTOR_PRESETS}
_VECTOR_LAYERS = {"FeatureNoise": FeatureNoise, "FeatureDropout": FeatureDropout}


def augmentation(
    spec: Spec, kind: str = "image", *, moments: tuple[Any, Any] | None = None
) -> list[keras.layers.Layer]:
    """The layers that a preset, or a list of layers by name, stands for.

    ``MixUp`` and ``CutMix`` are none of them, since they mix targets too: :func:`zoo.layers.mixing` makes what the same
    ``spec`` says of those. They come after these layers.

    Args:
        spec: ``none``, ``light``, ``standard``, ``strong``, ``mixup``, ``cutmix`` for images; ``none``, ``noise``,
            ``feature_dropout``, ``mixup`` for vectors; or tables such as ``{"name": "RandomFlip", "mode":
            "horizontal"}``.
        kind: What an example is: ``image`` or ``vector``.
        moments: For vectors: each feature's mean and standard deviation over the training data, ``(features,)`` each.
            Without them the vectors are taken to be standardized: 0 and 1.

    Returns:
        The layers, in order; they are random only in training.

    Raises:
        RecipeError: if it is no layer that changes raw pixels and keeps to their range, or raw numbers; does not take
            the arguments; or is for examples of another kind.

    Example:
        >>> [type(layer).__name__ for layer in augmentation("light")]
        ['RandomTranslation', 'RandomRotation', 'RandomZoom']
        >>> augmentation("noise", "vector", moments=([0.0, 5.0], [1.0, 20.0]))[0].spread
        (1.0, 20.0)
    """
    tables, _ = split_spec(spec, kind)
    if kind == "vector":
        return [_vector_layer(dict(table), moments) for table in tables]
    return [_image_layer(dict(table)) for table in tables]


def split_spec(spec: Spec, kind: str = "image") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Takes a preset, or a list of tables, apart: what changes examples alone, and what mixes them with their targets.

    Args:
        spec: As :func:`augmentation` takes it.
        kind: What an example is.

    Returns:
        The tables of layers, and those of ``MixUp`` and ``CutMix``.

    Raises:
        RecipeError: if there is no such preset for the kind, or nothing that augments it.

    Example:
        >>> layers, mixing = split_spec([{"name": "RandomRotation", "factor": 0.1}, {"name": "MixUp", "alpha": 0.2}])
        >>> [table["name"] for table in layers], [table["name"] for table in mixing]
        (['RandomRotation'], ['MixUp'])
    """
    if kind not in _BY_KIND:
        if not spec or spec == "none":
            return [], []
        what = "Augmentation needs images or vectors."
        raise RecipeError(what, expected='augment = "none"', received=f"{spec!r} on {kind}")
    if isinstance(spec, str):
        presets = _BY_KIND[kind]
        if spec not in presets:
            other = next((k for k, known in _BY_KIND.items() if spec in known), None)
            what = f"There is no augmentation '{spec}'{f' for {kind}s: it is for {other}s' if other else ''}."
            raise RecipeError(what, fix=close_matches("" if other else spec, presets))
        spec = presets[spec]
    tables = [dict(table) for table in spec]
    mixes = [str(table.get("name")) in _MIXING[kind] for table in tables]
    alone = [table for table, mix in zip(tables, mixes, strict=True) if not mix]
    return alone, [table for table, mix in zip(tables, mixes, strict=True) if mix]


def _vector_layer(arguments: dict[str, Any], moments: tuple[Any, Any] | None) -> keras.layers.Layer:
    name = str(arguments.pop("name", ""))
    if name not in _VECTOR_LAYERS:
        what = f"zoo does not augment vectors with '{name}'."
        expected = " | ".join([*_VECTOR_LAYERS, *_MIXING["vector"]])
        raise RecipeError(what, expected=expected)
    made = _VECTOR_LAYERS[name]
    given = "fill" if name == "FeatureDropout" else "spread"
    _check_arguments(made, name, arguments, left_out=("seed", given))
    if moments is not None:
        arguments[given] = moments[0] if given == "fill" else moments[1]
    return _made(made, name, arguments)


def _image_layer(arguments: dict[str, Any]) -> keras.layers.Layer:
    name = str(arguments.pop("name", ""))
    random = [n for n in dir(keras.layers) if n.startswith("Random") or n in ("AugMix", "RandAugment")]
    if name not in random:
        near = close_matches(name, [*random, *_MIXING["image"]])
        what = f"zoo does not augment with a layer '{name}'."
        expected = f"one of these layers of Keras, which work on raw pixels: {', '.join(random)}; or MixUp, CutMix"
        raise RecipeError(what, expected=expected, fix=near if near.startswith("Did") else None)
    made = getattr(keras.layers, name)
    _check_arguments(made, name, arguments, left_out=("seed",))
    if name == "RandomFlip" and arguments.get("mode", _FLIPS[0]) not in _FLIPS:
        what = "RandomFlip has no such mode."  # Keras would flip nothing, and not say so
        raise RecipeError(what, expected=" | ".join(_FLIPS), received=str(arguments["mode"]))
    if name in ("RandomBrightness", "RandomContrast", "RandomErasing"):
        arguments.setdefault("value_range", (0, 255))
    return _made(made, name, arguments)


def _check_arguments(made: type, name: str, arguments: dict[str, Any], left_out: Sequence[str]) -> None:
    known = [p for p in inspect.signature(made.__init__).parameters if p not in ("self", "kwargs", *left_out)]
    for argument in arguments:
        if argument not in known:
            what = f"The layer '{name}' has no argument '{argument}'."
            raise RecipeError(what, fix=close_matches(argument, known))


def _made(made: Any, name: str, arguments: dict[str, Any]) -> keras.layers.Layer:
    try:
        return made(**arguments, seed=0)
    except (TypeError, ValueError) as reason:
        what = f"The layer '{name}' refuses its arguments: {str(reason).splitlines()[0]}"
        raise RecipeError(what, received=str(arguments)) from None
