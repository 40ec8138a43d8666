"""Features as batches for Keras's own ``fit``, ``evaluate`` and ``predict``."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from .errors import DataError
from .seeds import generator

if TYPE_CHECKING:
    from .features import Features


class FeatureDataset(keras.utils.PyDataset):
    """Batches of features and targets; memory does not grow with the number of examples.

    Give it to ``fit`` with ``shuffle=False``: the order is this data set's own, another one every epoch, and a pure
    function of seed and epoch. By itself ``fit`` puts an epoch's batches into an order of Python's ``random``.

    Args:
        features: The features of the examples.
        targets: The examples' targets, ``(examples, ...)``.
        batch_size: The examples of a batch, 1 or more; the last one holds what is left.
        seed: Whence each epoch's order follows, a whole number; by default the order stays that of the examples.
        weights: The examples' weights, ``(examples,)``.

    Raises:
        DataError: if targets or weights are not as many as the examples, or another argument is not what it must be.

    Example:
        >>> from zoo.features import Features
        >>> features = Features.of([np.arange(5.0)[:, None]])
        >>> [batch[1].tolist() for batch in FeatureDataset(features, np.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        features: "Features",
        targets: np.ndarray,
        batch_size: int,
        *,
        seed: int | None = None,
        weights: np.ndarray | None = None,
    ):
        super().__init__()
        if not _is_whole(batch_size) or batch_size < 1:
            text = "The batch size of features is not what it must be."
            raise DataError(text, expected="a whole number, 1 or more", received=repr(batch_size))
        if seed is not None and not _is_whole(seed):
            text = "The seed of features is not what it must be."
            raise DataError(text, expected="a whole number, or None", received=repr(seed))
        for what, given in (("targets", targets), ("weights", weights)):
            if given is not None and len(given) != len(features):
                text = f"There are not as many {what} as examples."
                raise DataError(text, expected=str(len(features)), received=str(len(given)))
        self.features, self.targets, self.weights = features, targets, weights
        self.batch_size, self.epoch = int(batch_size), 0
        self.seed = None if seed is None else int(seed)
        self._order = self._ordered()

    def _ordered(self) -> np.ndarray:
        if self.seed is None:
            return np.arange(len(self.features))
        return generator(self.seed, "features", self.epoch).permutation(len(self.features))

    def __len__(self) -> int:
        """The batches of an epoch."""
        return -(-len(self.features) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """A batch: features (one array, or a tuple of several), targets, and weights where there are any."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        taken = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        rows = self.features.rows(taken)
        x = rows[0] if len(rows) == 1 else tuple(rows)
        return (x, self.targets[taken]) if self.weights is None else (x, self.targets[taken], self.weights[taken])

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch's order."""
        self.epoch += 1
        self._order = self._ordered()


def _is_whole(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)
