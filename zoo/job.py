"""What stays the same over the stages of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from .layers.mixing import Mixing, mixing
from .progress import Progress
from .side import Side


@dataclass(frozen=True)
class Job:
    """What stays the same over the stages of a run.

    ``moments`` are mean and spread of each number of vectors; ``test`` is a side that is measured at the end, and whose
    features are computed along with the others'; ``views`` says how many views of an augmented example there are, and 0
    that it looks different in every epoch.
    """

    train: Side
    val: Side
    seed: int
    batch_size: int
    loss: Any
    metrics: Callable[[], list[Any]]
    augment: str | tuple[Mapping[str, Any], ...] = "none"
    kind: str = "image"
    moments: tuple[np.ndarray, np.ndarray] | None = None
    precision: str = "float32"
    test: Side | None = None
    views: int = 0
    callbacks: Sequence[keras.callbacks.Callback] = ()
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))

    @property
    def steps(self) -> int:
        """The steps of an epoch."""
        return -(-len(self.train) // self.batch_size)

    @property
    def sides(self) -> dict[str, Side]:
        """The sides by name."""
        found = {"train": self.train, "val": self.val}
        return found if self.test is None else {**found, "test": self.test}

    @cached_property
    def mixing(self) -> Mixing | None:
        """What mixes the examples of a batch with their targets, if anything does."""
        return mixing(self.augment, self.kind) if self.augment != "none" else None
