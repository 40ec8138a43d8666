"""The batch normalizations that are parts of a layer."""

from collections.abc import Iterator
from typing import Any

import keras

from .layers.normalizing import BATCH_NORMS

layers = keras.layers


def batch_norms_inside(operation: Any) -> Iterator[keras.layers.Layer]:
    """The batch normalizations that are parts of a layer, of both kinds: in a wrapper, a recurrent cell, a model whose
    layers cannot be told apart.

    Example:
        >>> steps = keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="norm"))
        >>> [norm.name for norm in batch_norms_inside(steps)]
        ['norm']
    """
    if isinstance(operation, layers.Layer) and not isinstance(operation, BATCH_NORMS):
        for layer in operation._flatten_layers(include_self=False):
            if isinstance(layer, BATCH_NORMS):
                yield layer
