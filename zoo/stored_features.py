"""What crosses a boundary for the examples of a run, side by side, as training reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import engine
from .boundary import Boundary
from .features import BUDGET, Features
from .side import Side


@dataclass(frozen=True)
class Stored:
    """What crosses a boundary for every row of some sides.

    Attributes:
        features: Those of all rows.
        digests: What each row is known by.
        parts: The rows of each side.
        edge: The boundary.
        trunk: The digest of what lies below it.
        facts: For the lock: key, engine, precision, batch, type, and the differences that were measured.
        memory: The bytes of a side's features that are held in memory; what is more is read from the disk.
    """

    features: Features
    digests: np.ndarray = field(repr=False)
    parts: Mapping[str, range]
    edge: Boundary = field(repr=False)
    trunk: str
    facts: Mapping[str, Any]
    memory: int = BUDGET
    _held: dict[str, engine.Read] = field(default_factory=dict, repr=False)

    @property
    def exact(self) -> bool:
        """Whether they are what the trunk gives in float32, but for rounding."""
        return self.facts.get("precision") == "float32" and self.facts.get("dtype") == "float32"

    def read(self, name: str) -> engine.Read:
        """Reads the features of a side's rows, from memory where they fit it."""
        if name not in self._held:
            rows = self.parts[name]
            self._held[name] = _read(self.features.part(rows.start, rows.stop).held(self.memory))
        return self._held[name]

    def side(self, name: str, side: Side) -> Side:
        """A side, read as what crosses the boundary; one that is empty stays."""
        return replace(side, read=self.read(name)) if name in self.parts else side


def _read(features: Features) -> engine.Read:
    if features.in_memory:
        return engine.rows_of(features.arrays())

    def read(indices: np.ndarray) -> Any:
        rows = features.rows(indices)
        return rows[0] if len(rows) == 1 else rows

    return read
