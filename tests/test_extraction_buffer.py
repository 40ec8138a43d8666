"""Rows on their way into a shard: copied, in order, and held once."""

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo import extraction
from zoo.extraction import Sink, fill
from zoo.extraction_buffer import ShardBuffer
from zoo.feature_folder import FeatureFolder, as_bytes


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(1, 100))
def test_rows_come_out_once_and_in_order(sizes, nbytes):
    whole = np.arange(sum(sizes) * 2, dtype="float32").reshape(-1, 2)
    buffer = ShardBuffer(nbytes, len(whole), 3)
    taken, stop = [], 0
    for size in sizes:
        start, stop = stop, stop + size
        buffer.add(np.arange(start, stop), [whole[start:stop], whole[start:stop, 0] > 3])
        assert buffer.full == (9 * len(buffer) >= nbytes)
        if buffer.full or stop == len(whole):
            positions, columns = buffer.taken()
            taken += positions.tolist()
            np.testing.assert_array_equal(columns[0], whole[positions])
            np.testing.assert_array_equal(columns[1], whole[positions, 0] > 3)
    assert taken == list(range(len(whole)))
    assert not len(buffer) and not buffer.full


def peak(folder: Path, count: int) -> int:
    """The most bytes that Python and NumPy hold while some examples' features of 1,024 bytes are computed."""
    examples = as_bytes([hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)])
    row = np.ones(256, "float32")
    tracemalloc.start()
    fill([Sink(FeatureFolder(folder), (0,))], examples, lambda x: [x[:, None] * row], lambda i: i.astype("float32"), 64)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_memory_hardly_grows_with_the_number_of_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_BYTES", 2**20)
    peak(tmp_path / "first", 100)  # code is loaded
    few, many = peak(tmp_path / "few", 3000), peak(tmp_path / "many", 13000)
    assert few < 3 * 2**20, "a shard's rows, and the image of its file"
    assert many - few < 10000 * 100, "not the 1,024 bytes of each example's features"
