"""Targets of classes as a loss takes them, made when they are read."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class OneHot:
    """One column for each class, 1 in that of an example's own: ``(examples, classes)`` of float32.

    Only the class numbers are held: 100,000 examples of 1,000 classes take 0.4 MB, and 400 MB as an array.

    Args:
        numbers: The examples' class numbers, from 0, ``(examples,)``.
        classes: How many classes there are.

    Example:
        >>> targets = OneHot([2, 0, 1], 3)
        >>> len(targets), targets.shape, targets[[0, 1]].tolist()
        (3, (3, 3), [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        >>> np.asarray(targets.of([1]))
        array([[1., 0., 0.]], dtype=float32)
    """

    dtype = np.dtype("float32")
    ndim = 2

    def __init__(self, numbers: Sequence[int] | np.ndarray, classes: int) -> None:
        self.numbers, self.classes = np.asarray(numbers).astype("int32"), int(classes)

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.numbers)

    @property
    def shape(self) -> tuple[int, int]:
        """Examples and classes."""
        return len(self.numbers), self.classes

    def __getitem__(self, indices: Any) -> np.ndarray:
        """The targets of some examples, as an array."""
        numbers = self.numbers[indices]
        made = np.zeros((*np.shape(numbers), self.classes), self.dtype)
        np.put_along_axis(made, np.expand_dims(numbers, -1), 1.0, axis=-1)
        return made

    def of(self, indices: Any) -> "OneHot":
        """The targets of some examples, again without making them."""
        return OneHot(self.numbers[indices], self.classes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of them as an array."""
        return self[:] if dtype is None else self[:].astype(dtype)
