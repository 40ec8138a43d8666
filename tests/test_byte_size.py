"""Sizes as people write them."""

import pytest

from zoo.byte_size import size_of


@pytest.mark.parametrize(
    ("text", "size"),
    [("5", 5), ("5B", 5), ("2 kb", 2000), ("1.5GB", 1_500_000_000), (" 3 TB ", 3 * 10**12), ("0.5M", 500_000)],
)
def test_a_size_is_read(text, size):
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 PB", "1,5 GB", "1 GiB", "nan", "1e9"])
def test_what_is_no_size_is_none(text):
    assert size_of(text) is None
