"""A batch as an engine takes it."""

from typing import Any

import keras
import numpy as np

from ..graph import inputs_of


def as_input(batch: Any) -> Any:
    """A batch as Keras takes it: texts become the backend's string tensor, arrays stay."""
    if isinstance(batch, np.ndarray) and batch.dtype == object:
        return keras.ops.convert_to_tensor(batch.tolist(), dtype="string")
    return batch


def network_inputs(network: keras.Model, batch: Any) -> Any:
    """A batch in the structure of a network's own inputs: Keras warns of any other.

    Args:
        network: Any Keras model; what is no functional one takes the batch as it is.
        batch: An array, or a structure of as many as there are inputs, in their order.
    """
    given = keras.tree.map_structure(as_input, batch)
    arrays = keras.tree.flatten(given)
    if not hasattr(network, "_inputs_struct") or len(arrays) != len(network.inputs):
        return given
    return keras.tree.pack_sequence_as(inputs_of(network), arrays)


def as_arrays(trunk: keras.Model, batch: Any, size: int) -> list[np.ndarray]:
    """A batch as one array for each of a trunk's inputs, in their order, of the trunk's types and ranks.

    Args:
        trunk: The network.
        batch: An array, or a structure of them like the trunk's own inputs.
        size: How many examples it must hold.

    Returns:
        Arrays that lie in memory row by row; nothing is copied that is so already.

    Raises:
        ValueError: if it holds another number of arrays or examples.
    """
    arrays = [np.asarray(array) for array in keras.tree.flatten(batch)]
    if [len(array) for array in arrays] != [size] * len(trunk.inputs):
        held = f"{len(arrays)} arrays of {sorted({len(array) for array in arrays})} examples"
        what = f"An engine runs {len(trunk.inputs)} arrays of exactly {size} examples; received {held}."
        raise ValueError(what)
    return [_fitting(array, tensor) for array, tensor in zip(arrays, trunk.inputs, strict=True)]


def _fitting(array: np.ndarray, tensor: Any) -> np.ndarray:
    rank = len(tensor.shape)
    if array.ndim == rank - 1 and tensor.shape[-1] == 1:
        array = array[..., None]
    elif array.ndim == rank + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    return np.ascontiguousarray(array, dtype=tensor.dtype)


def not_dense(trunk: keras.Model) -> str | None:
    """What of a trunk's inputs no engine but Keras's takes; ``None`` where there is nothing."""
    for tensor in trunk.inputs:
        if str(tensor.dtype) == "string":
            return f"its input '{tensor.name}' is text"
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            return f"its input '{tensor.name}' is no dense array"
    return None


def open_shape(trunk: keras.Model) -> str | None:
    """An input or output of a trunk whose shape is not fixed; ``None`` where all are."""
    for tensor in (*trunk.inputs, *trunk.outputs):
        if any(size is None for size in tensor.shape[1:]):
            return f"'{tensor.name}' has no fixed shape: {tuple(tensor.shape)}"
    return None
