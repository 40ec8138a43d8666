"""The layers that normalize: one list for all that read a network."""

from collections.abc import Iterator
from typing import Any

import keras

from .layers.batch_norm import FrozenBatchNorm

layers = keras.layers

#: Batch normalization, with statistics that move and with fixed ones.
BATCH_NORMS = (layers.BatchNormalization, FrozenBatchNorm)
#: Every layer that brings what passes through it to a fixed scale.
NORMALIZING = (
    *BATCH_NORMS,
    *(layers.LayerNormalization, layers.GroupNormalization, layers.RMSNormalization, layers.UnitNormalization),
)


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
