"""The examples of one side, training or validation, as the training loop reads them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import engine
from .one_hot import OneHot
from .views import view_of


@dataclass(frozen=True)
class Side:
    """The examples of one side.

    Attributes:
        read: Reads the inputs of some examples, counted from 0.
        targets: Their targets, ``(examples, ...)``.
        weights: Their weights, ``(examples,)``.
        digests: Gives what each is known by, a SHA-256 of its content; without it, what is read is hashed.
        views: How many views of each example ``read`` holds, one view of all after another; see :meth:`at`.
    """

    read: engine.Read
    targets: np.ndarray | OneHot
    weights: np.ndarray | None = None
    digests: Callable[[], Sequence[str]] | None = None
    views: int = 1

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, epoch: int) -> "Side":
        """The side as an epoch sees it: with the view of each example whose turn it is."""
        if self.views == 1:
            return self
        first = view_of(epoch, self.views) * len(self)
        return replace(self, read=lambda indices: self.read(first + indices), views=1)
