"""SHA-256 of many arrays, by a thread for each core: hashing lets go of Python's lock."""

import hashlib
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import keras
import numpy as np

#: Smaller arrays are hashed at once: handing them over costs more.
HANDED_OVER = 2**16
#: What may wait to be hashed, in bytes.
WAITING = 2**28


class Later:
    """A SHA-256, hexadecimal, that may still be computed; its text is waited for."""

    def __init__(self, found: "str | Future[str]"):
        self._found = found

    def __str__(self) -> str:
        return self._found if isinstance(self._found, str) else self._found.result()

    def __repr__(self) -> str:
        return repr(str(self))


class ArrayDigests:
    """Hashes the bytes of arrays, in the order of their elements, beside whatever else is done meanwhile.

    Example:
        >>> with ArrayDigests() as digests:
        ...     found = [digests.of(np.zeros(size, "uint8")) for size in (0, 100_000)]
        >>> [str(digest)[:8] for digest in found]
        ['e3b0c442', '9192c25b']
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="zoo-digests")
        self._waiting: deque[tuple[Future[str], int]] = deque()
        self._bytes = 0

    def __enter__(self) -> "ArrayDigests":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)

    def of(self, array: np.ndarray) -> Later:
        """The digest of an array's bytes; its elements must not change until it is known."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if data.nbytes < HANDED_OVER:
            return Later(_digest(data))
        future = self._pool.submit(_digest, data)
        self._waiting.append((future, data.nbytes))
        self._bytes += data.nbytes
        while self._bytes > WAITING:
            oldest, size = self._waiting.popleft()
            oldest.result()
            self._bytes -= size
        return Later(future)


def _digest(data: np.ndarray) -> str:
    return hashlib.sha256(data.data).hexdigest()


def variable_digests(variables: Iterable[keras.Variable]) -> dict[int, str]:
    """The SHA-256 of each variable's bytes, by its ``id``."""
    with ArrayDigests() as digests:
        found: dict[int, Any] = {id(variable): digests.of(variable.numpy()) for variable in variables}
        return {key: str(digest) for key, digest in found.items()}
