"""Real handwritten digits, shipped with zoo."""

from importlib.resources import files
from io import BytesIO

import numpy as np

CLASSES = tuple("0123456789")


def load() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The 1,797 handwritten digits of the UCI optical recognition set, written by 13 people.

    The original counts the inked pixels of each 4x4 block of a 32x32 bitmap, v = 0 to 16; here
    ``x = round(v * 255 / 16)``, white ink on black.

    Returns:
        ``x``, uint8 ``(1797, 8, 8, 1)``, 0 to 255; ``y``, int64 ``(1797,)``; the names of the ten classes.

    Reference:
        E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
        https://doi.org/10.24432/C50P49, CC BY 4.0.

    Example:
        >>> x, y, classes = load()
        >>> x.shape, classes[y[0]]
        ((1797, 8, 8, 1), '0')
    """
    with np.load(BytesIO(files("zoo.data.builtin").joinpath("digits.npz").read_bytes())) as stored:
        counts, y = stored["counts"], stored["y"]
    x = np.round(counts.astype(np.float64) * (255 / 16)).astype(np.uint8)
    return x[..., None], y.astype(np.int64), CLASSES
