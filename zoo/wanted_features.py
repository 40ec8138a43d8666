"""A boundary of a network, and everything that is decided about what crosses it."""

from dataclasses import dataclass, field, replace
from typing import Any

import keras

from .boundary import Boundary, size_text
from .caching import Caching
from .engine_choice import Decision
from .engines.interface import Setup


def _there(value: Any) -> Any:
    if value is None:
        what = "nothing is decided of what is not computed once"
        raise AttributeError(what)
    return value


@dataclass(frozen=True)
class Wanted:
    """A boundary, and what is decided about what crosses it.

    Attributes:
        edge: The boundary.
        caching: What becomes of its features. Where they are not kept, nothing of what follows is there.
        network: What lies below it.
        digest: That network's digest.
        asked: How the engine is to be run: a whole batch, where it may be.
        decision: Which engine runs it.
        unknown: The layers in it whose code is the user's own.
        each: The bytes of its features for one example; ``None`` where they are not fixed.
        known: How many rows are in the cache.
    """

    edge: Boundary
    caching: Caching
    network: keras.Model | None = None
    digest: str = ""
    asked: Setup = field(default_factory=Setup)
    decision: Decision | None = None
    unknown: tuple[str, ...] = ()
    each: int | None = None
    known: int = 0

    def with_caching(self, caching: Caching, known: int) -> "Wanted":
        """The same, with what becomes of its features."""
        return replace(self, caching=caching, known=known)

    @property
    def trunk(self) -> keras.Model:
        """What lies below the boundary."""
        return _there(self.network)

    @property
    def decided(self) -> Decision:
        """Which engine runs it."""
        return _there(self.decision)

    @property
    def engine(self) -> str:
        """The engine's name, where it is decided."""
        return self.decided.engine or ""

    @property
    def setup(self) -> Setup:
        """How the engine is run: one example at a time where that is known to be needed."""
        return self.decided.setup

    @property
    def name(self) -> str:
        """The boundary in words."""
        layers = [crossing.layer for crossing in self.edge.crossings]
        more = f" and {len(layers) - 2} more" if len(layers) > 2 else ""
        return f"{', '.join(layers[:2])}{more}"

    @property
    def size(self) -> str:
        """What crosses it, for one example."""
        return size_text(self.edge.crossings)
