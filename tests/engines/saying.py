"""What TensorFlow says through Python's logging."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def said_by_tensorflow() -> Iterator[list[str]]:
    """The warnings that TensorFlow logs meanwhile, a line each."""
    logger, heard = logging.getLogger("tensorflow"), _Heard()
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(heard)
    try:
        yield heard.lines
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)
        logger.propagate = propagate
