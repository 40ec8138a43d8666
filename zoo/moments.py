"""The mean and the variance of a layer's outputs, over all units and by unit."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Of some outputs, all units together.

    Attributes:
        count: How many there are.
        mean: Their mean.
        square: Their mean square.
        between: The variance of each unit over the examples, the mean over units: what tells examples apart.

    Example:
        >>> Moments.of(np.array([[1.0, 5.0], [3.0, 5.0]]))
        Moments(count=4, mean=3.5, square=15.0, between=0.5)
    """

    count: int
    mean: float
    square: float
    between: float

    @classmethod
    def of(cls, outputs: np.ndarray) -> "Moments":
        """Of outputs ``(examples, ...)``, added up in float64 without a copy of them in it."""
        by_unit = outputs.mean(axis=0, dtype="float64")
        flat = outputs.reshape(-1)
        square = float(np.einsum("i,i->", flat, flat, dtype="float64")) / flat.size
        return cls(flat.size, float(by_unit.mean()), square, square - float(np.square(by_unit).mean()))

    @property
    def variance(self) -> float:
        """Over examples, places and units."""
        return self.square - self.mean**2

    def joined(self, other: "Moments") -> "Moments":
        """Of both together; ``between`` is then the mean of the two."""
        share = other.count / (self.count + other.count)

        def mixed(one: float, two: float) -> float:
            return one * (1 - share) + two * share

        pairs = ((self.mean, other.mean), (self.square, other.square), (self.between, other.between))
        return Moments(self.count + other.count, *(mixed(*pair) for pair in pairs))
