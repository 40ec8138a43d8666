"""Errors that name the file they are about."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import DataError


@contextmanager
def naming(source: str | Path) -> Iterator[None]:
    """Within it, every `DataError` begins with the source's name, and stays of its type."""
    try:
        yield
    except DataError as error:
        what = f"'{source}': {error}"
        raise type(error)(what) from error
