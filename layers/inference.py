"""A layer held in inference while the network around it trains."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="zoo")
class Inference(keras.layers.Layer):
    """Runs a layer with ``training=False``, whatever the mode of the network around it.

    Around batch normalization it fixes the statistics while scale and offset still learn; around dropout it drops
    nothing. Calling the layer with ``training=False`` in a functional model does not: ``fit`` passes its own
    ``training`` to every layer, and the moving statistics move.

    Args:
        layer: The layer to hold. It is shared, not copied.

    Call arguments:
        inputs: What the layer takes.

    Example:
        >>> import keras, numpy as np
        >>> held = Inference(keras.layers.Dropout(0.5))
        >>> bool((held(np.ones((2, 3)), training=True) == 1).numpy().all())
        True
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any):
        kwargs.setdefault("name", f"{layer.name}_held")
        super().__init__(dtype=layer.dtype_policy, **kwargs)
        self.layer = layer
        self.supports_masking = getattr(layer, "supports_masking", False)

    def build(self, *args: Any, **kwargs: Any) -> None:
        """The layer inside is built already, or builds itself when it is called."""
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer as in inference."""
        return self.layer(*args, **{**kwargs, "training": False})

    def get_config(self) -> dict[str, Any]:
        """The configuration, the layer's own inside it."""
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Inference":
        """Rebuilds the layer from its configuration."""
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)
