"""Which examples go into which call of a trunk: batches of one size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Batch:
    """The examples of one call; fewer than its ``size`` are repeated until they fill it."""

    indices: np.ndarray
    size: int

    def full(self, inputs: Any) -> Any:
        """The inputs of its examples, repeated until they fill it.

        Args:
            inputs: An array, or a structure of arrays, ``(len(indices), ...)``.

        Example:
            >>> Batch(np.array([7, 8]), 5).full(np.array([70, 80])).tolist()
            [70, 80, 70, 80, 70]
        """
        if len(self.indices) == self.size:
            return inputs
        places = np.resize(np.arange(len(self.indices)), self.size)
        if isinstance(inputs, np.ndarray):
            return inputs[places]
        import keras

        return keras.tree.map_structure(lambda array: array[places], inputs)


def plan_batches(missing: Sequence[int] | np.ndarray, size: int) -> list[Batch]:
    """Batches of one size, as a pure function of what is missing.

    Args:
        missing: The examples to compute.
        size: The examples of a call.

    Example:
        >>> [b.indices.tolist() for b in plan_batches([4, 5, 6, 7, 8], 3)]
        [[4, 5, 6], [7, 8]]
    """
    order = np.asarray(missing, "int64")
    return [Batch(order[start : start + size], size) for start in range(0, len(order), size)]
