"""Which examples go into which call of a trunk: batches of one size, and what is computed twice as a check."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: How many examples are computed again, in another batch, to see that they come out the same.
CHECKED = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """The examples of one call.

    The first ``new`` are to be stored. Those at the places ``again`` were computed before, in another batch, and must
    come out the same; those at the places ``remembered`` are the ones that a later batch computes again.
    """

    indices: np.ndarray
    new: int
    again: tuple[int, ...] = ()
    remembered: tuple[int, ...] = ()


def plan_batches(missing: Sequence[int] | np.ndarray, known: Sequence[int], size: int) -> list[Batch]:
    """Batches of one size, as a pure function of what is missing.

    The places that are left over in the one short batch are filled with examples that are known already, or else with
    those of the first batch; it comes as early as it can. Where there is no such place, and nothing is known yet, one
    batch more is run for the check.

    Args:
        missing: The examples to compute.
        known: Examples whose features are stored.
        size: The examples of a call.

    Example:
        >>> [(b.indices.tolist(), b.new, b.again) for b in plan_batches([4, 5, 6, 7, 8], [], 3)]
        [([4, 5, 6], 3, ()), ([7, 8, 4], 2, (2,))]
        >>> [(b.indices.tolist(), b.new, b.again) for b in plan_batches([4], [1, 2], 3)]
        [([4, 1, 2], 1, (1, 2))]
    """
    order = np.asarray(missing, "int64")
    if not len(order):
        return []
    whole = len(order) // size * size
    full = [order[start : start + size] for start in range(0, whole, size)]
    short = order[whole:]
    if known:
        rest = [_filled(short, np.asarray(known[:CHECKED], "int64"), size)] if len(short) else []
        return [*rest, *(Batch(part, size) for part in full)]
    if len(order) == 1:
        return [Batch(np.resize(order, size), 1)]
    if len(order) <= size:
        again = order[: min(CHECKED, (len(order) + 1) // 2)]
        first = Batch(np.resize(order, size), len(order), remembered=tuple(range(len(again))))
        return [first, _filled(order[:0], again[::-1], size)]
    again = order[: min(CHECKED, max(1, size // 2))]
    first = Batch(full[0], size, remembered=tuple(range(len(again))))
    # Where no place is left over, a batch that stores nothing: some of the first, between those of the last.
    check = _filled(short, again, size) if len(short) else _filled(full[-1][: size - len(again)], again, size, new=0)
    return [first, check, *(Batch(part, size) for part in full[1:])]


def _filled(front: np.ndarray, again: np.ndarray, size: int, *, new: int | None = None) -> Batch:
    indices = np.concatenate([front, np.resize(again, size - len(front))])
    return Batch(indices, len(front) if new is None else new, again=tuple(range(len(front), size)))
