"""How a frozen trunk is run: what crosses its boundary, once for every example.

Every call has one fixed, padded batch shape, because the last bits of a result depend on it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from .device import out_of_memory

#: The examples of a call; the same for every data set, so that an example's features do not depend on its neighbours.
BATCH = 64

Read = Callable[[np.ndarray], Any]


def outputs(
    network: keras.Model,
    read: Read,
    count: int,
    *,
    batch_size: int = BATCH,
    step: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """Runs a network in inference on every example.

    Args:
        network: Any Keras model.
        read: Gives the inputs of the examples of some indices, counted from 0: an array, or a list of them.
        count: The number of examples.
        batch_size: The examples of a call; the last batch is filled up with copies of its last example.
        step: Told how many examples are done, of how many.

    Returns:
        One array for each of the network's outputs, ``(count, ...)``.
    """
    parts = list(batches(network, read, count, batch_size=batch_size, step=step))
    if not parts:
        return [np.zeros((0, *[n or 0 for n in out.shape[1:]]), "float32") for out in network.outputs]
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def batches(
    network: keras.Model,
    read: Read,
    count: int,
    *,
    batch_size: int = BATCH,
    step: Callable[[int, int], None] | None = None,
) -> Iterator[list[np.ndarray]]:
    """Runs a network in inference, batch by batch; see :func:`outputs`.

    Yields:
        One array for each of the network's outputs, with the examples of one call.
    """
    for start in range(0, count, batch_size):
        indices = np.minimum(np.arange(start, start + batch_size), count - 1)
        kept = min(batch_size, count - start)
        with out_of_memory(batch_size, fix="Free memory, or compute on the processor: --device cpu."):
            result = network.predict_on_batch(as_input(read(indices)))
        if step is not None:
            step(start + kept, count)
        yield [np.asarray(part)[:kept] for part in keras.tree.flatten(result)]


def as_input(batch: Any) -> Any:
    """A batch as Keras takes it: texts become the backend's string tensor, arrays stay."""
    if isinstance(batch, np.ndarray) and batch.dtype == object:
        return keras.ops.convert_to_tensor(batch.tolist(), dtype="string")
    return batch


def rows_of(arrays: Sequence[np.ndarray]) -> Read:
    """Reads rows of arrays in memory: a single array as itself, several as a list."""

    def read(indices: np.ndarray) -> Any:
        taken = [array[indices] for array in arrays]
        return taken[0] if len(taken) == 1 else taken

    return read
