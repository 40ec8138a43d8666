"""Decoded images, kept in memory while they fit."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from zoo.data.dataset import InputForm

In = TypeVar("In")
Out = TypeVar("Out")
Step = Callable[[int, int], None]
"""Told how many are done, and of how many."""
BUDGET = 2**30
"""Bytes of decoded images that one data set keeps."""


class Decoded:
    """Images brought to a form, each made once while the budget lasts, else made again.

    What comes out is a function of index and form alone: keeping changes the time, never a value.

    Args:
        make: Makes one image: ``make(index, form)`` is float32 ``form.shape``. Called from several threads.
        budget: How many bytes to keep.
    """

    def __init__(self, make: Callable[[int, InputForm], np.ndarray], budget: int = BUDGET):
        self._make = make
        self._left = budget
        self._kept: dict[tuple[InputForm, int], np.ndarray] = {}

    def batch(self, indices: Sequence[int] | np.ndarray, form: InputForm) -> np.ndarray:
        """The images as float32 ``(len(indices), *form.shape)``."""
        out = np.empty((len(indices), *form.shape), np.float32)
        missing: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            kept = self._kept.get((form, int(index)))
            if kept is None:
                missing.setdefault(int(index), []).append(place)
            else:
                out[place] = kept
        for index, image in zip(missing, parallel(lambda i: self._make(i, form), list(missing)), strict=True):
            out[missing[index]] = image
            self._keep(index, form, image)
        return out

    def _keep(self, index: int, form: InputForm, image: np.ndarray) -> None:
        small = image.astype(np.uint8)
        kept = small if np.array_equal(small, image) else image
        if kept.nbytes <= self._left:
            self._left -= kept.nbytes
            self._kept[form, index] = kept


def parallel(work: Callable[[In], Out], items: Sequence[In], step: Step | None = None) -> list[Out]:
    """The results in the order of the items, by a thread for each core; ``step`` is told how far it is."""
    workers = min(len(items), os.cpu_count() or 1)
    if workers < 2:
        return _collected(map(work, items), len(items), step)
    pool = ThreadPoolExecutor(workers)
    try:
        return _collected(pool.map(work, items), len(items), step)
    finally:  # after an error or an interrupt, what has not begun is not begun
        pool.shutdown(cancel_futures=True)


def _collected(results: Iterable[Out], total: int, step: Step | None) -> list[Out]:
    collected = []
    for result in results:
        collected.append(result)
        if step:
            step(len(collected), total)
    return collected
