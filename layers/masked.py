"""A mask put back on the tensor that it belongs to."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="zoo")
class Masked(keras.layers.Layer):
    """Gives a tensor a mask that comes beside it.

    Where a network is cut, a mask crosses as a tensor of its own; some layers (attention) only see the mask that their
    input carries.

    Call arguments:
        inputs: A tensor, and its mask: boolean, ``(batch, steps)``.

    Example:
        >>> import keras, numpy as np
        >>> x, mask = np.ones((1, 3, 2)), np.array([[True, True, False]])
        >>> Masked()([x, mask])._keras_mask.numpy().tolist()
        [[True, True, False]]
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Takes a tensor and its mask."""
        return keras.ops.copy(inputs[0])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask that was given."""
        return inputs[1]
