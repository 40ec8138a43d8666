"""What every data set is, whatever it was read from."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from ..input_form import InputForm, Kind

__all__ = ["BadFile", "Dataset", "InputForm", "Kind", "Side", "TakenColumns", "Target", "TargetKind"]

TargetKind = Literal["classes", "labels", "numbers", "none"]
Side = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    ``kind`` is ``classes`` (one of several: ``values`` is int64, shape ``(n,)``), ``labels`` (any of several: float32
    0/1, shape ``(n, k)``), ``numbers`` (regression: float32, shape ``(n, k)``) or ``none`` (unlabelled: shape
    ``(n, 0)``). ``names`` are the classes, the labels, or the numbers' column names.
    """

    kind: TargetKind
    names: tuple[str, ...]
    values: np.ndarray = field(repr=False)

    @property
    def size(self) -> int:
        """The number of outputs that a network needs for it."""
        return len(self.names)


@dataclass(frozen=True)
class BadFile:
    """A file that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class TakenColumns:
    """The columns that were taken from a table, by the names that :func:`open_data` and recipes have for them."""

    label_column: tuple[str, ...] = ()
    path_column: str | None = None
    text_column: str | None = None
    feature_columns: tuple[str, ...] = ()


class Dataset(ABC):
    """Examples by index, with their targets and digests.

    ``source`` is what the user named; ``kind`` says what an example is; ``skipped`` lists what ``--skip-bad`` left out;
    ``notes`` are lines for the user (ignored files, 16-bit images scaled, ...); ``sides`` gives each example's side
    where the data came split already, else ``None``; ``columns`` says which columns a table's examples and targets are
    from, and is ``None`` for all that is no table.
    """

    source: str
    kind: Kind
    target: Target
    skipped: tuple[BadFile, ...] = ()
    notes: tuple[str, ...] = ()
    sides: tuple[Side | None, ...] | None = None
    columns: TakenColumns | None = None

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abstractmethod
    def name_of(self, index: int) -> str:
        """How an example is named in reports: a path relative to the folder, or ``row 17``."""

    @abstractmethod
    def digest(self, index: int) -> str:
        """The SHA-256 (hex) of one example's content, its target not included."""

    @abstractmethod
    def native_shape(self) -> tuple[int, ...] | None:
        """The shape that all have as stored (images: height, width, channels), or ``None`` where they differ."""

    @abstractmethod
    def batch(self, indices: Sequence[int] | np.ndarray, form: InputForm) -> np.ndarray:
        """The examples as one array, float32 ``(len(indices), *form.shape)``; for text an object array of ``str``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, labels or numbers."""
        return self.target.names

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """Every example's digest, in order."""
        return tuple(self.digest(i) for i in range(len(self)))

    @cached_property
    def whole_digest(self) -> str:
        """The SHA-256 (hex) of the whole: examples and targets, in an order that does not depend on the file system."""
        rows = sorted(f"{d} {self._target_text(i)}" for i, d in enumerate(self.digests))
        return hashlib.sha256("\n".join([*self.target.names, "", *rows]).encode()).hexdigest()

    def _target_text(self, index: int) -> str:
        return np.ascontiguousarray(self.target.values[index]).tobytes().hex()
