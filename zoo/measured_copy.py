"""The copies of a network that an inspection measures: as it is, and freshly initialized; both in float32."""

from collections.abc import Mapping
from typing import Any

import keras

from . import network as networks
from .copying import clone, rebuilt
from .errors import SurgeryError, WeightsError
from .flattening import as_graph
from .graph import is_graph
from .probing import opened
from .seeds import derive
from .tracing import trace


def measured_copy(model: keras.Model, x: Any) -> tuple[keras.Model, keras.Model]:
    """A flat copy of a network, to be measured.

    Args:
        model: Any Keras model. A subclassed one is traced, by what it was called with or else on the examples.
        x: The examples.

    Returns:
        What was copied: the model, or its trace where that alone can be; and the copy.

    Raises:
        SurgeryError: if it can be neither copied nor traced.
    """
    try:
        return model, clone(model, _in_float32)
    except SurgeryError:
        if is_graph(model) or isinstance(model, keras.Sequential):
            raise
    try:
        traced = _traced(model, x)
    except SurgeryError as reason:
        fix = "Or give it a get_config(): it is then measured as one layer." if _is_one_layer(model) else ""
        raise SurgeryError(str(reason), fix=fix) from reason
    return traced, clone(traced, _in_float32)


def _traced(model: keras.Model, x: Any) -> keras.Model:
    """A subclassed model on the examples, in one argument or in several."""
    if isinstance(x, (list, tuple)) and len(x) > 1:
        try:
            return trace(model, *x)
        except SurgeryError:
            pass  # its call takes them in one argument; if it does not, it is said below
    return trace(model, x)


def _is_one_layer(model: keras.Model) -> bool:
    """Whether a subclassed model can at least be called on symbolic inputs."""
    try:
        as_graph(model)
    except SurgeryError:
        return False
    return True


def fresh_copy(graph: keras.Model, seed: int) -> tuple[keras.Model | None, tuple[str, ...]]:
    """The same network, opened, with initial weights drawn anew; or a note, where its layers cannot say how they start.

    Args:
        graph: A flat network.
        seed: Its weights follow from it.
    """
    try:
        return opened(networks.drawn_anew(graph, derive(seed, "fresh"))), ()
    except (WeightsError, SurgeryError) as reason:
        return None, (f"no fresh network to compare with: {reason}",)


def _in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer as it is, computing in 32 bits: in 16, small gradients would be 0, and look as if they had vanished."""
    if isinstance(layer, keras.layers.Lambda) or "float16" not in str(config := layer.get_config()):
        return rebuilt(layer)
    fresh = layer.__class__.from_config(_widened(config))
    fresh.name = layer.name
    return fresh


def _widened(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {key: "float32" if key == "dtype" and "float16" in str(v) else _widened(v) for key, v in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_widened(value) for value in config)
    return config
