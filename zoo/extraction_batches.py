"""Which examples go into which call of a trunk: batches of one size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: How many examples are read at once where each has a call of its own.
READ = 64


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples that are read at once, for calls of ``size``; fewer than that are repeated until they fill one."""

    indices: np.ndarray
    size: int

    def calls(self, inputs: Any) -> Iterator[tuple[np.ndarray, Any]]:
        """The examples of each call, and its inputs.

        Args:
            inputs: An array, or a structure of arrays, ``(len(indices), ...)``.

        Example:
            >>> [(of.tolist(), x.tolist()) for of, x in Batch(np.array([7, 8]), 5).calls(np.array([70, 80]))]
            [([7, 8], [70, 80, 70, 80, 70])]
        """
        if len(self.indices) == self.size:
            yield self.indices, inputs
            return
        for start in range(0, len(self.indices), self.size):
            own = self.indices[start : start + self.size]
            yield own, _rows(inputs, start + np.resize(np.arange(len(own)), self.size))


def plan_batches(missing: Sequence[int] | np.ndarray, size: int) -> list[Batch]:
    """What is read at once, as a pure function of what is missing.

    Args:
        missing: The examples to compute.
        size: The examples of a call.

    Example:
        >>> [b.indices.tolist() for b in plan_batches([4, 5, 6, 7, 8], 3)]
        [[4, 5, 6], [7, 8]]
    """
    order, count = np.asarray(missing, "int64"), size if size > 1 else READ
    return [Batch(order[start : start + count], size) for start in range(0, len(order), count)]


def _rows(inputs: Any, places: np.ndarray) -> Any:
    if isinstance(inputs, np.ndarray):
        return inputs[places]
    import keras

    return keras.tree.map_structure(lambda array: array[places], inputs)
