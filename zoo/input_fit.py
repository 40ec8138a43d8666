"""Whether examples have the form of a network's inputs."""

from typing import Any

import keras
import numpy as np

from . import engine
from .errors import DataError
from .graph import inputs_of, node_of


def check_input_fit(graph: keras.Model, x: Any) -> None:
    """Refuses examples whose structure, shapes or types are not what a network takes; the first one is looked at.

    Args:
        graph: A functional model.
        x: At least one example, first axis the example: an array, or a list or dictionary of arrays.

    Raises:
        DataError: if they do not fit.

    Example:
        >>> import keras, numpy as np
        >>> inputs = keras.Input((4,), name="vector")
        >>> check_input_fit(keras.Model(inputs, keras.layers.Dense(2)(inputs)), np.zeros((10, 3)))
        Traceback (most recent call last):
        ...
        zoo.errors.DataError: The examples do not fit the network's inputs. Expected vector (None, 4); received (10, 3).
    """
    takes = _named(graph)
    try:
        if isinstance(x, dict) and takes.keys() - x.keys():
            raise KeyError
        # One more axis of 1, or one less, is Keras's to mend.
        given = graph._standardize_inputs(keras.tree.map_structure(lambda array: engine.as_input(array[:1]), x))
        for tensor, value in zip(graph.inputs, given, strict=True):
            if any(n not in (None, m) for n, m in zip(tensor.shape[1:], value.shape[1:], strict=True)):
                raise ValueError
    except (ValueError, TypeError, KeyError):
        what = "The examples do not fit the network's inputs."
        expected = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in takes.items())
        raise DataError(what, expected=expected, received=_described(x)) from None


def _named(graph: keras.Model) -> dict[str, Any]:
    """The inputs by the names that a dictionary of arrays has for them."""
    struct = inputs_of(graph)
    if isinstance(struct, dict) and all(isinstance(tensor, keras.KerasTensor) for tensor in struct.values()):
        return dict(struct)
    return {node_of(tensor).operation.name: tensor for tensor in graph.inputs}


def _described(x: Any) -> str:
    if isinstance(x, dict):
        return ", ".join(f"{name} {np.shape(part)}" for name, part in x.items())
    return ", ".join(str(np.shape(part)) for part in keras.tree.flatten(x))
