"""Files and folders appear under their final name only when they are complete."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What is being written belongs to a process of this machine, or of another one, for no longer than this, in seconds.
ABANDONED = 86400.0


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


@contextmanager
def completed_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the final one; it gets the final name, with all of its files, when the block ends well.

    Files and names are synced: what has the final name lasts through a loss of power. If the block fails, nothing is
    left; if the process is killed, :func:`remove_leftovers` removes what is.

    Args:
        folder: The final path; it must be new.

    Yields:
        The folder to write to.
    """
    import shutil

    part = hidden(folder)
    try:
        part.mkdir()
        yield part
        for path in (*sorted(part.iterdir()), part):
            _sync(path)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _sync(folder.parent)


def write_text(file: Path, text: str) -> None:
    """Writes a text file (UTF-8) completely or not at all."""
    with completed(file) as part:
        part.write_text(text, encoding="utf-8")


def hidden(path: Path) -> Path:
    """A name beside a path that says which process works there: it begins with a point, machine and process."""
    return path.with_name(f".{_machine()}.{os.getpid()}.{path.name}")


def remove_leftovers(folder: Path) -> int:
    """Removes what processes that have ended left half-written in a folder.

    What belongs to a process that runs stays, and so does what another machine wrote, unless it is a day old.

    Args:
        folder: The folder in which :func:`completed` and its like were used.

    Returns:
        How many files and folders were removed.
    """
    import shutil

    left = [path for path in folder.glob(".*") if _is_left(path)]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(left)


def _is_left(path: Path) -> bool:
    machine, process = _writer(path.name)
    if process is None:
        return False
    try:
        old = time.time() - path.stat().st_mtime > ABANDONED
    except OSError:  # it is gone: its process has ended well
        return False
    return old or (machine in ("", _machine()) and not _runs(process))


def _writer(name: str) -> tuple[str, int | None]:
    """The machine and the process of a temporary name: ``.MACHINE.PROCESS.NAME``, or ``.PROCESS.NAME``."""
    parts = name.split(".")
    if len(parts) > 2 and parts[1].isdecimal():
        return "", int(parts[1])
    if len(parts) > 3 and parts[2].isdecimal():
        return parts[1], int(parts[2])
    return "", None


def _machine() -> str:
    import platform

    return "m" + platform.node().replace(".", "-").replace("/", "-")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
