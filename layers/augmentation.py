"""Data augmentation: named presets of Keras's own layers, and lists of them.

Layers work on raw pixels, 0 to 255. No preset flips: a flipped digit or letter is another one, or none. Where it is
not, say so: ``augment = [{ name = "RandomFlip", mode = "horizontal" }]``.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from zoo.errors import RecipeError, close_matches

_FLIPS = ("horizontal_and_vertical", "horizontal", "vertical")
_BLACK = {"fill_mode": "constant", "fill_value": 0.0}

#: What each preset holds, in order: Keras's layers with their arguments.
PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "none": (),
    "light": (
        {"name": "RandomTranslation", "height_factor": 0.06, "width_factor": 0.06, **_BLACK},
        {"name": "RandomRotation", "factor": 0.02, **_BLACK},
        {"name": "RandomZoom", "height_factor": 0.08, "width_factor": 0.08, **_BLACK},
    ),
    "standard": (
        {"name": "RandomTranslation", "height_factor": 0.1, "width_factor": 0.1, **_BLACK},
        {"name": "RandomRotation", "factor": 0.04, **_BLACK},
        {"name": "RandomZoom", "height_factor": 0.15, "width_factor": 0.15, **_BLACK},
        {"name": "RandomBrightness", "factor": 0.1},
        {"name": "RandomContrast", "factor": 0.2},
    ),
    "strong": (
        {"name": "RandomTranslation", "height_factor": 0.15, "width_factor": 0.15, **_BLACK},
        {"name": "RandomRotation", "factor": 0.08, **_BLACK},
        {"name": "RandomZoom", "height_factor": 0.25, "width_factor": 0.25, **_BLACK},
        {"name": "RandomShear", "x_factor": 0.15, "y_factor": 0.15, **_BLACK},
        {"name": "RandomBrightness", "factor": 0.2},
        {"name": "RandomContrast", "factor": 0.4},
        {"name": "RandomErasing", "factor": 0.5, "scale": (0.02, 0.1), "fill_value": 0.0},
    ),
}


def augmentation(spec: str | Sequence[Mapping[str, Any]]) -> list[keras.layers.Layer]:
    """The layers that a preset, or a list of Keras layers by name, stands for.

    Args:
        spec: ``none``, ``light``, ``standard``, ``strong``, or tables such as ``{"name": "RandomFlip", "mode":
            "horizontal"}``.

    Returns:
        The layers, in order; they are random only in training.

    Raises:
        RecipeError: if it is not one of Keras's layers that change raw pixels and keep to their range, or does not take
            the arguments.

    Example:
        >>> [type(layer).__name__ for layer in augmentation("light")]
        ['RandomTranslation', 'RandomRotation', 'RandomZoom']
    """
    if isinstance(spec, str):
        if spec not in PRESETS:
            what = f"There is no augmentation '{spec}'."
            raise RecipeError(what, fix=close_matches(spec, PRESETS))
        spec = PRESETS[spec]
    return [_layer(dict(table)) for table in spec]


def _layer(arguments: dict[str, Any]) -> keras.layers.Layer:
    name = str(arguments.pop("name", ""))
    random = [n for n in dir(keras.layers) if n.startswith("Random") or n in ("AugMix", "RandAugment")]
    if name not in random:
        near = close_matches(name, random)
        what = f"zoo does not augment with a layer '{name}'."
        expected = f"one of these layers of Keras, which work on raw pixels: {', '.join(random)}"
        raise RecipeError(what, expected=expected, fix=near if near.startswith("Did") else None)
    made = getattr(keras.layers, name)
    known = [p for p in inspect.signature(made.__init__).parameters if p not in ("self", "kwargs", "seed")]
    for argument in arguments:
        if argument not in known:
            what = f"The layer '{name}' has no argument '{argument}'."
            raise RecipeError(what, fix=close_matches(argument, known))
    if name == "RandomFlip" and arguments.get("mode", _FLIPS[0]) not in _FLIPS:
        what = "RandomFlip has no such mode."  # Keras would flip nothing, and not say so
        raise RecipeError(what, expected=" | ".join(_FLIPS), received=str(arguments["mode"]))
    if name in ("RandomBrightness", "RandomContrast", "RandomErasing"):
        arguments.setdefault("value_range", (0, 255))
    try:
        return made(**arguments, seed=0)
    except (TypeError, ValueError) as reason:
        what = f"The layer '{name}' refuses its arguments: {str(reason).splitlines()[0]}"
        raise RecipeError(what, received=str(arguments)) from None
