"""Values that are numbers, and those that are not: NaN and infinity."""

import numpy as np


def not_finite(array: np.ndarray, rows: np.ndarray) -> str:
    """How many examples hold a value that is no number, and which is the first; empty where none does.

    Args:
        array: The examples, one a row; of any type.
        rows: The row in the user's data of each.

    Example:
        >>> not_finite(np.array([[1.0], [np.nan], [np.inf]]), np.array([4, 7, 9]))
        'NaN or infinity in 2 of 3 examples, the first in row 7, counted from 0'
    """
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return ""
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    first = rows[int(np.argmax(bad))]
    return f"NaN or infinity in {bad.sum()} of {len(array)} examples, the first in row {first}, counted from 0"
