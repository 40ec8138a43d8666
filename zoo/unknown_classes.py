"""Classes and functions of a ``.keras`` file that Keras does not know, because nothing registered them yet."""

import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import keras

#: The modules of Keras that hold functions which a configuration has by name alone.
_FUNCTIONS = ("activations", "losses", "metrics", "initializers", "regularizers", "constraints", "ops")


def unknown_classes(file: str | os.PathLike[str]) -> list[str]:
    """The names, as they were registered (``PACKAGE>NAME``), of what a file needs and Keras cannot find.

    Args:
        file: A ``.keras`` file.

    Returns:
        Each name once, in the order of the file; none where the file has no configuration that can be read.

    Example:
        >>> import keras
        >>> @keras.saving.register_keras_serializable(package="mine")
        ... class Gate(keras.layers.Layer):
        ...     def call(self, x):
        ...         return x
        >>> keras.Sequential([keras.Input((2,)), Gate()]).save(tmp / "net.keras")
        >>> unknown_classes(tmp / "net.keras")
        []
        >>> _ = keras.saving.get_custom_objects().pop("mine>Gate")
        >>> unknown_classes(tmp / "net.keras")
        ['mine>Gate']
    """
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return []
    return list(dict.fromkeys(_unknown(config)))


def _unknown(config: Any) -> Iterator[str]:
    if isinstance(config, list):
        for value in config:
            yield from _unknown(value)
    if isinstance(config, dict):
        name = _needed(config)
        if name is not None and keras.saving.get_registered_object(name) is None:
            yield name
        for value in config.values():
            yield from _unknown(value)


def _needed(config: dict[str, Any]) -> str | None:
    """The name of what one configuration needs beside Keras's own, if it needs anything."""
    name, module = config.get("class_name"), config.get("module")
    if name == "function" and isinstance(function := config.get("config"), str):
        return None if any(hasattr(getattr(keras, m), function) for m in _FUNCTIONS) else function
    if name is None or "module" not in config or str(module).partition(".")[0] in ("builtins", "keras"):
        return None
    return config.get("registered_name") or name
