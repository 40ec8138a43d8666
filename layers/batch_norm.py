"""Batch normalization that nothing moves: the layer that a reused network needs beside Keras's own."""

from typing import Any

import keras

from zoo.errors import SurgeryError

#: The vectors of batch normalization in Keras's order, each with what it is when the layer is fresh.
VECTORS = {"gamma": "ones", "beta": "zeros", "moving_mean": "zeros", "moving_variance": "ones"}


@keras.saving.register_keras_serializable(package="zoo")
class FrozenBatchNorm(keras.layers.Layer):
    r"""Batch normalization whose statistics, scale and offset are fixed, whatever ``training`` and ``trainable`` say.

    For each channel, ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``, as ``keras.layers.
    BatchNormalization`` computes it in inference, in float32 at least. All four vectors are non-trainable weights: no
    optimizer, weight decay, ``training=True`` or thawing of the whole network changes them. The gradient goes through
    to what lies below.

    A ``BatchNormalization`` whose ``trainable`` is false does the same until someone sets it to true on the network
    around it. The weights are in Keras's order, so that each layer takes the other's: ``set_weights``, or
    ``zoo.load_weights`` for files. (Keras's own ``load_weights`` goes by the classes' names.)

    Args:
        axis: The axis of the channels.
        epsilon: What is added to the variance.
        center: Whether there is an offset beta; without one it is 0.
        scale: Whether there is a scale gamma; without one it is 1.
        **kwargs: A layer's own, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: A tensor of any rank, ``(batch, ..., channels)`` for the default axis.

    Reference:
        Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 2; fixed in fine-tuning as in He et al., "Deep
        Residual Learning", 2015, appendix A.

    Example:
        >>> import keras, numpy as np
        >>> norm = keras.layers.BatchNormalization()
        >>> x = np.random.default_rng(0).normal(3, 2, (64, 5)).astype("float32")
        >>> _ = norm(x, training=True)
        >>> held = FrozenBatchNorm.of(norm)
        >>> bool(np.array_equal(held(x, training=True), norm(x, training=False)))
        True
        >>> len(held.trainable_weights), len(held.non_trainable_weights)
        (0, 4)
    """

    def __init__(
        self, axis: int = -1, epsilon: float = 1e-3, *, center: bool = True, scale: bool = True, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.axis = int(axis)
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        self.gamma: Any = None
        self.beta: Any = None
        self.moving_mean: Any = None
        self.moving_variance: Any = None
        self.supports_masking = True

    @classmethod
    def of(cls, layer: keras.layers.BatchNormalization) -> "FrozenBatchNorm":
        """The frozen form of a batch normalization, with copies of its vectors, under the same name.

        Args:
            layer: A built ``keras.layers.BatchNormalization``.

        Raises:
            SurgeryError: if it is something else, or has no weights yet.
        """
        if not isinstance(layer, keras.layers.BatchNormalization):
            what = f"'{getattr(layer, 'name', layer)}' cannot become a FrozenBatchNorm."
            raise SurgeryError(what, expected="a keras.layers.BatchNormalization", received=type(layer).__name__)
        if not layer.built:
            what = f"The batch normalization '{layer.name}' has no statistics yet: it was never called."
            raise SurgeryError(what, fix="Call it, or the network around it, once; or load its weights.")
        held = cls(
            axis=layer.axis,
            epsilon=layer.epsilon,
            center=layer.center,
            scale=layer.scale,
            name=layer.name,
            dtype=layer.dtype_policy,
        )
        held.build_from_config(layer.get_build_config())
        for vector in VECTORS:
            if getattr(layer, vector) is not None:
                getattr(held, vector).assign(getattr(layer, vector))
        return held

    def build(self, input_shape: Any) -> None:
        """Makes the vectors, one value a channel."""
        present = {"gamma": self.scale, "beta": self.center}
        for vector, initializer in VECTORS.items():
            if present.get(vector, True):
                made = self.add_weight(
                    name=vector,
                    shape=(input_shape[self.axis],),
                    initializer=initializer,
                    trainable=False,
                    autocast=False,
                )
                setattr(self, vector, made)
        channels = {self.axis: input_shape[self.axis]}
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes=channels)

    def call(self, inputs: Any) -> Any:
        """Normalizes by the fixed statistics."""
        wide = keras.backend.result_type(inputs.dtype, "float32")  # as Keras does: 16 bits would overflow
        mean, variance, offset, scale = (
            None if vector is None else keras.ops.cast(vector, wide)
            for vector in (self.moving_mean, self.moving_variance, self.beta, self.gamma)
        )
        outputs = keras.ops.batch_normalization(
            keras.ops.cast(inputs, wide), mean, variance, self.axis, offset, scale, self.epsilon
        )
        return keras.ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        own = {"axis": self.axis, "epsilon": self.epsilon, "center": self.center, "scale": self.scale}
        return {**super().get_config(), **own}
