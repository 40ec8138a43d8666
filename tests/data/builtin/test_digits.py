import hashlib

import numpy as np

from zoo.data.builtin import digits


def test_digits_are_the_known_ones():
    x, y, classes = digits.load()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1797, 8, 8, 1), np.uint8, (1797,), np.int64)
    assert classes == tuple("0123456789")
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    expected = "0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382"
    assert hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest() == expected


def test_digits_use_the_whole_range_of_a_pixel():
    x, _, _ = digits.load()
    assert np.unique(x).tolist() == [round(v * 255 / 16) for v in range(17)]
