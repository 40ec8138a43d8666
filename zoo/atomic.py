"""Files appear under their final name only when they are complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def completed(file: Path) -> Iterator[Path]:
    """A temporary path in the same folder; what is written there gets the final name when the block ends well.

    The ending stays the same, for libraries that go by it. If the block fails, nothing is left.

    Args:
        file: The final path.

    Yields:
        The path to write to.
    """
    part = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Writes a text file (UTF-8) completely or not at all."""
    with completed(file) as part:
        part.write_text(text, encoding="utf-8")
