"""Architectures, and the shelf of shipped cards and weights.

The table of builders is closed: a card names one of these, never a dotted path. Importing this package imports no
Keras; each architecture is imported when it is built.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["ARCHITECTURES", "builder"]

#: Every architecture that zoo builds, with one line on what it is.
ARCHITECTURES = {
    "convnet": "a small convolutional network: He initialization, ELU, batch normalization, three blocks",
    "dnn": "the chapter's deep fully connected network",
}


def builder(name: str) -> Callable[..., Any]:
    """The function that builds an architecture.

    Args:
        name: A key of ``ARCHITECTURES``.

    Returns:
        ``build(input_shape, classes, *, seed, ...) -> keras.Model``.

    Raises:
        KeyError: if there is no such architecture.

    Example:
        >>> builder("dnn").__module__
        'zoo.models.dnn'
    """
    if name not in ARCHITECTURES:
        raise KeyError(name)
    return import_module(f".{name}", __name__).build
