"""TensorFlow's advice on functions that are traced often, left out where the traces are meant."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def traces_meant() -> Iterator[None]:
    """Leaves out TensorFlow's warning that a function was traced anew in "5 out of the last 5 calls".

    It counts all functions that come from one line of Keras's code together: run several networks, and each has a trace
    of its own, once.
    """
    logger = logging.getLogger("tensorflow")

    def without(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger.addFilter(without)
    try:
        yield
    finally:
        logger.removeFilter(without)
