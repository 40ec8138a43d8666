"""Layers of a network by a pattern for their names."""

import re

import keras

from .errors import SurgeryError
from .graph import operations
from .surgery import no_such_layer


def layers_matching(graph: keras.Model, pattern: str | None) -> frozenset[str]:
    """The names of a flat network's layers that a pattern matches as a whole; all of them for ``None``.

    Raises:
        SurgeryError: if it matches none, or is no regular expression.
    """
    names = frozenset(operation.name for operation in operations(graph))
    if pattern is None:
        return names
    try:
        found = frozenset(name for name in names if name == pattern or re.fullmatch(pattern, name))
    except re.error as reason:
        what = f"{pattern!r} is not a regular expression: {reason}."
        raise SurgeryError(what) from None
    if not found:
        raise no_such_layer(graph, pattern)
    return found
