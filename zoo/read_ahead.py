"""Reading beside computing."""

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

#: How many batches are read ahead.
AHEAD = 2

Read = Callable[[np.ndarray], Any]


def read_ahead(read: Read, batches: Sequence[np.ndarray]) -> Generator[Any, None, None]:
    """Reads batches in a thread of its own, a few ahead, so that reading and computing go on side by side.

    Args:
        read: Gives the inputs of the examples of some indices.
        batches: The indices of each batch.

    Yields:
        The inputs, in order; an error of ``read`` is raised where its batch would have come.

    Example:
        >>> [x.tolist() for x in read_ahead(lambda indices: indices * 10, [np.array([1, 2]), np.array([3])])]
        [[10, 20], [30]]
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(AHEAD)
    stop = threading.Event()

    def put(item: tuple[Any, BaseException | None]) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        for indices in batches:
            if stop.is_set():
                return
            try:
                item = (read(indices), None)
            except BaseException as error:  # it is raised where its batch is taken
                put((None, error))
                return
            put(item)

    thread = threading.Thread(target=work, name="zoo-reader", daemon=True)
    thread.start()
    try:
        for _ in batches:
            item, error = ready.get()
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        thread.join()
