"""Files and folders appear under their final name only when they are complete."""

import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: as on a file system without locks
    fcntl = None

#: What a process wrote of which nothing can be told but the age is its own for so long, in seconds.
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
    part = hidden(file)
    try:
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(file)
        _sync(file.parent)
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
        life = alive(part)
        yield part
        for path in (*sorted(part.iterdir()), part):
            _sync(path)
        part.rename(folder)
        life.end()
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _sync(folder.parent)


def write_text(file: Path, text: str) -> None:
    """Writes a text file (UTF-8) completely or not at all."""
    with completed(file) as part:
        part.write_text(text, encoding="utf-8")


def hidden(path: Path) -> Path:
    """A name beside a path that says who works there: it begins with a point, where processes are counted, which."""
    return path.with_name(f".{_place()}.{os.getpid()}.{path.name}")


class Life:
    """A sign that a folder belongs to a process that runs: a shared lock on the folder itself, which ends with it.

    Where there are no locks it says nothing. It ends with ``end()``, with the object, or with the process.
    """

    def __init__(self, folder: Path):
        handle = os.open(folder, os.O_RDONLY)
        self.end = weakref.finalize(self, os.close, handle)
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def alive(folder: Path) -> Life:
    """Makes a folder, and says that it is this process's: :func:`remove_leftovers` leaves it alone.

    Args:
        folder: A path with a :func:`hidden` name; its parents are made too.

    Returns:
        What says so for as long as it is held, or until its ``end()``.

    Raises:
        OSError: if the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return Life(folder)


def remove_leftovers(folder: Path) -> int:
    """Removes what processes that have ended left half-written in a folder.

    What belongs to a process that runs stays: one that can be seen from here, or one, wherever it is, that holds the
    lock of :func:`alive`. Of processes that cannot be seen (on another machine, in another container, before the last
    start of this one) what has no such lock stays until it has not been changed for a day.

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
    place, process = _writer(path.name)
    if process is None:
        return False
    if place == _place():
        return not _runs(process)
    try:
        inside = path.iterdir() if path.is_dir() else ()
        changed = max(each.stat().st_mtime for each in (path, *inside))
    except OSError:  # it is gone, or going: its process has ended well
        return False
    return time.time() - changed > ABANDONED and not _lives(path)


def _lives(folder: Path) -> bool:
    """Whether a process holds the lock of :func:`alive`; a file has none."""
    if fcntl is None or not folder.is_dir():
        return False
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return True  # nobody can tell
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _writer(name: str) -> tuple[str, int | None]:
    """Where processes are counted, and which: of a temporary name, ``.PLACE.PROCESS.NAME``."""
    parts = name.split(".")
    if len(parts) > 3 and not parts[0] and parts[2].isdecimal():
        return parts[1], int(parts[2])
    return "", None


@cache
def _place() -> str:
    """What the numbers of processes are of: one start of one machine, and one container in it."""
    import hashlib
    import platform

    found = [platform.node()]
    with suppress(OSError):
        found.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        found.append(os.readlink("/proc/self/ns/pid"))
    return "m" + hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def _sync(path: Path) -> None:
    """Has what a file or a folder holds last through a loss of power; Windows opens no folders."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
