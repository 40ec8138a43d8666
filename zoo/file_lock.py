"""A lock that one process at a time holds, and that ends with it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nobody waits, as on a file system without locks
    fcntl = None


@contextmanager
def locked(file: Path, *, wait: bool = True, waiting: Callable[[], None] | None = None) -> Iterator[bool]:
    """Holds a lock on a file, by ``flock``; it is let go of when the process ends, however it does.

    Some network file systems have no locks, or grant them to everybody: what it guards must be right without it too.

    Args:
        file: The file; it is made, with its folder, where it does not exist.
        wait: Whether to wait for another process that holds it.
        waiting: Called once before waiting begins.

    Yields:
        Whether it had to wait.

    Raises:
        BlockingIOError: if it is held by another process, and ``wait`` is false.
        OSError: if the file cannot be made.
    """
    waited = False
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            waited = _acquire(handle, wait, None if waited else waiting) or waited
            if not _is(file, handle):  # it was removed, with its folder, while this process waited
                continue
            yield waited
            return
        finally:
            os.close(handle)


def _acquire(handle: int, wait: bool, waiting: Callable[[], None] | None) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise
        if waiting is not None:
            waiting()
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    except OSError:  # a file system without locks
        return False
    return False


def _is(file: Path, handle: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(handle))
    except OSError:
        return False
