"""Computed rows on their way into a shard."""

from collections.abc import Sequence

import numpy as np


class ShardBuffer:
    """Rows that wait until they make a shard, in arrays that are made once and used again for the next one.

    Args:
        nbytes: How many bytes of rows make a shard.
        rows: How many rows there will be at most, over all shards.
        batch: How many come at once at most.

    Example:
        >>> buffer = ShardBuffer(16, rows=100, batch=2)
        >>> buffer.add(np.array([7, 3]), [np.array([[1.0], [2.0]])])
        >>> positions, columns = buffer.taken()
        >>> buffer.full, positions.tolist(), columns[0].tolist(), len(buffer)
        (False, [7, 3], [[1.0], [2.0]], 0)
    """

    def __init__(self, nbytes: int, rows: int, batch: int) -> None:
        self._nbytes, self._rows, self._batch = nbytes, rows, batch
        self._columns: list[np.ndarray] = []
        self._positions = np.empty(0, "int64")
        self._held = 0

    def __len__(self) -> int:
        """How many rows wait."""
        return self._held

    @property
    def full(self) -> bool:
        """Whether they make a shard."""
        return sum(column[: self._held].nbytes for column in self._columns) >= self._nbytes

    def add(self, positions: np.ndarray, columns: Sequence[np.ndarray]) -> None:
        """Copies some rows; a buffer that is full has to be emptied first.

        Args:
            positions: The example of each, ``(rows,)``.
            columns: One array for each tensor, ``(rows, ...)``.
        """
        if not self._columns:
            row = sum(column[:1].nbytes for column in columns)
            most = min(self._rows, -(-self._nbytes // max(row, 1))) + self._batch
            self._columns = [np.empty((most, *column.shape[1:]), column.dtype) for column in columns]
            self._positions = np.empty(most, "int64")
        stop = self._held + len(positions)
        for kept, column in zip([self._positions, *self._columns], [positions, *columns], strict=True):
            kept[self._held : stop] = column
        self._held = stop

    def taken(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Takes the rows out: their examples, and one array for each tensor; they stay until the next are added."""
        held, self._held = self._held, 0
        return self._positions[:held], [column[:held] for column in self._columns]
