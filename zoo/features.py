"""Features of examples, to read: in memory or mapped from the disk, whole or by rows."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .errors import CacheError

if TYPE_CHECKING:
    from .feature_dataset import FeatureDataset

#: The bytes of features that are held in memory where nobody says otherwise.
BUDGET = 2**30


class Features:
    """What crosses a boundary for every example of a data set, in its order: one or several tensors.

    Values lie in parts, such as the shards of a cache; a part is one array for each tensor, in memory or mapped.

    Args:
        parts: One list of arrays for each part, ``(rows of the part, ...)``.
        part: The part in which each example is, ``(examples,)``.
        row: Its row there, ``(examples,)``.
        dtypes: The type in which each tensor is read; by default that of the first part.

    Example:
        >>> features = Features.of([np.arange(6.0).reshape(3, 2)])
        >>> len(features), features.shapes, features.rows([2, 0])[0].tolist()
        (3, ((2,),), [[4.0, 5.0], [0.0, 1.0]])
    """

    def __init__(
        self,
        parts: Sequence[Sequence[np.ndarray]],
        part: np.ndarray,
        row: np.ndarray,
        dtypes: Sequence[np.dtype] | None = None,
    ):
        self._parts = [list(arrays) for arrays in parts]
        self._part, self._row = part, row
        self.dtypes = tuple(dtypes or (array.dtype for array in self._parts[0]))
        self.shapes = tuple(array.shape[1:] for array in self._parts[0])

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray]) -> "Features":
        """Arrays in memory, one for each tensor, ``(examples, ...)``."""
        count = len(arrays[0])
        return cls([arrays], np.zeros(count, "int32"), np.arange(count))

    def __len__(self) -> int:
        """The number of examples."""
        return len(self._part)

    @property
    def nbytes(self) -> int:
        """What they take in memory when all are read."""
        each = sum(prod(shape) * kind.itemsize for shape, kind in zip(self.shapes, self.dtypes, strict=True))
        return len(self) * each

    @property
    def in_memory(self) -> bool:
        """Whether they are held in memory, row after row."""
        return len(self._parts) == 1 and not any(_mapped(array) for array in self._parts[0])

    def rows(self, indices: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """The features of some examples, copied.

        Args:
            indices: The examples, counted from 0.

        Returns:
            One array for each tensor, ``(len(indices), ...)``.
        """
        indices = np.asarray(indices, "int64")
        part, row = self._part[indices], self._row[indices]
        made = [np.empty((len(indices), *shape), kind) for shape, kind in zip(self.shapes, self.dtypes, strict=True)]
        for number in np.unique(part):
            places = np.flatnonzero(part == number)
            for out, array in zip(made, self._parts[number], strict=True):
                out[places] = array[row[places]]
        return made

    def part(self, start: int, stop: int) -> "Features":
        """The features of the examples from ``start`` to before ``stop``; nothing is read."""
        return Features(self._parts, self._part[start:stop], self._row[start:stop], self.dtypes)

    def arrays(self, budget: int | None = None) -> list[np.ndarray]:
        """All features as arrays in memory.

        Args:
            budget: The bytes that they may take; by default as many as they need.

        Raises:
            CacheError: if they take more.
        """
        if budget is not None and self.nbytes > budget:
            what = "The features do not fit the memory that they may take."
            received = f"{self.nbytes:,} bytes"
            fix = "Raise the budget, or read them batch by batch: .rows(indices), .dataset(targets, batch_size)."
            raise CacheError(what, expected=f"at most {budget:,} bytes", received=received, fix=fix)
        if self.in_memory and np.array_equal(self._row, np.arange(len(self._parts[0][0]))):
            return list(self._parts[0])
        return self.rows(np.arange(len(self)))

    def held(self, budget: int = BUDGET) -> "Features":
        """The same features, read into memory where they fit.

        Args:
            budget: The bytes that they may take there.

        Returns:
            Features in memory; where they do not fit, these themselves.
        """
        return self if self.in_memory or self.nbytes > budget else Features.of(self.arrays())

    def dataset(
        self,
        targets: np.ndarray,
        batch_size: int,
        *,
        seed: int | None = None,
        weights: np.ndarray | None = None,
    ) -> "FeatureDataset":
        """Batches for ``fit`` of any Keras model; see :class:`zoo.feature_dataset.FeatureDataset`."""
        from .feature_dataset import FeatureDataset

        return FeatureDataset(self, targets, batch_size, seed=seed, weights=weights)


def _mapped(array: np.ndarray) -> bool:
    base = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return base is not None and type(base).__name__ == "mmap"
