"""Training in mixed precision: a copy that computes in 16 bits, its variables in 32."""

from typing import Any

import keras

from .graph import flat
from .surgery import copy_variables


def in_precision(network: keras.Model, policy: str) -> keras.Model:
    """A copy of a network whose layers compute under another dtype policy; its outputs stay float32.

    Args:
        network: A functional or Sequential model in float32.
        policy: ``mixed_bfloat16`` or ``mixed_float16``; with ``float32`` the network itself is given back.

    Returns:
        The copy; :func:`zoo.surgery.copy_variables` brings back what it learned.
    """
    if policy == "float32":
        return network
    graph = flat(network)
    last = {tensor._keras_history.operation.name for tensor in graph.outputs}

    def rebuild(layer: keras.layers.Layer) -> keras.layers.Layer:
        config: dict[str, Any] = layer.get_config()
        if layer.name not in last and layer.dtype_policy.name == "float32" and not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = policy
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(graph, clone_function=rebuild)
    copy_variables(graph, copy)
    return copy
