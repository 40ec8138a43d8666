"""The examples of a stage as its trunk is run on them, with the views that it goes through, if it does."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .job import Job
from .layers import augmentation
from .side import Side
from .trunk_rows import TrunkRows, digests_of, trunk_rows
from .views import Views


@dataclass(frozen=True)
class StageRows:
    """The examples of a stage.

    Attributes:
        job: What stays the same over the stages.
        layers: Augmentation on raw inputs.
        views: How many views of each training example there are: no more than the stage has epochs; 0 where the
            examples are not augmented, or look different in every epoch.
    """

    job: Job
    layers: list[Any]
    views: int

    @property
    def random(self) -> bool:
        """Whether training changes the examples otherwise than by views."""
        return (bool(self.layers) or self.job.mixing is not None) and not self.views

    @cached_property
    def train(self) -> Side:
        """The training side; with views, what it reads is augmented already."""
        side = self.job.train
        if not self.views:
            return side
        digests = list(digests_of(side))
        views = Views(self.layers, [self.job.augment, self.job.moments], self.job.seed, self.views)
        read, known = views.reader(side.read, digests), lambda: views.digests(digests)
        return Side(read, side.targets, side.weights, known, self.views)

    @cached_property
    def rows(self) -> TrunkRows:
        """All sides one after another."""
        return trunk_rows({**self.job.sides, "train": self.train})


def stage_rows(job: Job, epochs: int) -> StageRows:
    """The examples of a stage of some epochs."""
    layers = augmentation(job.augment, job.kind, moments=job.moments)
    return StageRows(job, layers, min(job.views, epochs) if layers and job.mixing is None else 0)
