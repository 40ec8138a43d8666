"""The layers that normalize: one list for all that read a network."""

import keras

from .batch_norm import FrozenBatchNorm

layers = keras.layers

#: Batch normalization, with statistics that move and with fixed ones.
BATCH_NORMS = (layers.BatchNormalization, FrozenBatchNorm)
#: Every layer that brings what passes through it to a fixed scale.
NORMALIZING = (
    *BATCH_NORMS,
    *(layers.LayerNormalization, layers.GroupNormalization, layers.RMSNormalization, layers.UnitNormalization),
)
