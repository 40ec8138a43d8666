"""The examples of one side, training or validation, as the training loop reads them."""

from dataclasses import dataclass

import numpy as np

from . import engine


@dataclass(frozen=True)
class Side:
    """The examples of one side: how to read their inputs (by indices counted from 0), targets, and weights."""

    read: engine.Read
    targets: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)
