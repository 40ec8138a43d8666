"""Reading beside computing: the order, the errors, and that nothing runs on."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest

from zoo.read_ahead import AHEAD, read_ahead

BATCHES = [np.array([i, i + 1]) for i in range(0, 40, 2)]


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "zoo-reader"]


def test_batches_come_in_order_and_the_thread_ends():
    assert [x.tolist() for x in read_ahead(lambda i: i * 2, BATCHES)] == [(b * 2).tolist() for b in BATCHES]
    assert not [*read_ahead(lambda i: i, [])]
    assert not readers()


def test_it_reads_while_the_other_computes_and_never_far_ahead():
    read, most = [], 0
    for done, _ in enumerate(read_ahead(lambda i: read.append(i), BATCHES)):
        time.sleep(0.005)
        most = max(most, len(read) - done)
    assert 1 < most <= AHEAD + 2  # those that wait, the one that is taken, and the one that is read


def test_an_error_of_reading_is_raised_where_its_batch_would_have_come():
    def read(indices: np.ndarray) -> np.ndarray:
        if indices[0] == 6:
            what = "broken.jpg"
            raise KeyError(what)
        return indices

    taken = []
    with pytest.raises(KeyError, match=r"broken\.jpg"):
        for x in read_ahead(read, BATCHES):
            taken.append(int(x[0]))
    assert taken == [0, 2, 4]
    assert not readers()


def test_leaving_early_ends_the_thread():
    with closing(read_ahead(lambda i: i, BATCHES)) as ready:
        assert next(ready).tolist() == [0, 1]
    assert not readers()
