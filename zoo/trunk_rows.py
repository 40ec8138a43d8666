"""The examples that a run's trunk is run on: all sides one after another, each known by its content."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import engine
from .feature_folder import as_bytes
from .side import Side

#: How many examples are read at a time where their content has to be hashed.
CHUNK = 256


@dataclass(frozen=True)
class TrunkRows:
    """The examples of several sides as one sequence of rows.

    Attributes:
        digests: What each row is known by: a SHA-256, as :func:`zoo.feature_folder.as_bytes` gives it.
        read: Gives the trunk's inputs for some rows.
        parts: The rows of each side; of one with views, view after view.
    """

    digests: np.ndarray
    read: engine.Read
    parts: dict[str, range]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.digests)


def trunk_rows(sides: Mapping[str, Side]) -> TrunkRows:
    """Puts sides one after another.

    Args:
        sides: The sides by name; empty ones are left out.
    """
    digests: list[np.ndarray] = []
    reads: list[engine.Read] = []
    parts: dict[str, range] = {}
    count = 0
    for name, side in sides.items():
        if not len(side):
            continue
        known = digests_of(side)
        parts[name] = range(count, count + len(known))
        count += len(known)
        digests.append(as_bytes(known))
        reads.append(side.read)
    starts = np.array([part.start for part in parts.values()], "int64")

    def read_rows(rows: np.ndarray) -> Any:
        rows = np.asarray(rows, "int64")
        place = np.searchsorted(starts, rows, "right") - 1
        several = np.unique(place)
        if len(several) == 1:
            return reads[several[0]](rows - starts[several[0]])
        found: list[np.ndarray] | None = None
        single = True
        for number in several:
            taken = np.flatnonzero(place == number)
            given = reads[number](rows[taken] - starts[number])
            single = not isinstance(given, list)
            arrays = [given] if single else given
            found = found or [np.empty((len(rows), *array.shape[1:]), array.dtype) for array in arrays]
            for whole, array in zip(found, arrays, strict=True):
                whole[taken] = array
        return (found or [])[0] if single else found

    return TrunkRows(np.concatenate([np.empty(0, "S32"), *digests]), read_rows, parts)


def digests_of(side: Side) -> Sequence[str]:
    """What a side's examples are known by: the digests of its data set, or those of the arrays that it reads."""
    if side.digests is not None:
        return side.digests()
    found: list[str] = []
    for start in range(0, len(side), CHUNK):
        given = side.read(np.arange(start, min(start + CHUNK, len(side))))
        arrays = given if isinstance(given, list) else [given]
        found.extend(_digest(row) for row in zip(*arrays, strict=True))
    return found


def _digest(row: tuple[Any, ...]) -> str:
    digest = hashlib.sha256()
    for value in row:
        if isinstance(value, (str, bytes)):
            text = value.encode() if isinstance(value, str) else value
            digest.update(f"text {len(text)}\n".encode() + text)
        else:
            array = np.ascontiguousarray(value)
            digest.update(f"{array.dtype} {array.shape}\n".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
