"""The features of one trunk: a folder of shards, indexed by the content of the examples."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import completed, hidden, remove_leftovers
from .feature_shard import Shard, dtype_of, read_shard, unwritable, write_shard
from .features import Features
from .file_lock import locked

ABOUT = "trunk.json"
USED = "used"
LOCK = "lock"

#: What examples are known by: a SHA-256 each, hexadecimal or, in a fifth of the memory, as :func:`as_bytes` gives it.
Digests = Sequence[str] | np.ndarray
#: How many digests are read at once: their texts take twice the memory of what is made of them.
_AT_ONCE = 4096


class FeatureFolder:
    """Reads and adds to the features of one trunk.

    Shards are never changed: what is new goes into a new one. Two that hold the same example agree in it, so it does
    not matter which of them is read.

    Args:
        path: The folder; it is made when something is written.
        about: What the features are of, for people: ``what`` is the line that ``zoo cache list`` shows.
        float16: Whether numbers are stored with 16 bits; a folder holds the one or the other.

    Example:
        >>> from hashlib import sha256
        >>> examples = [sha256(bytes([i])).hexdigest() for i in range(3)]
        >>> folder = FeatureFolder(tmp / "features")
        >>> folder.add(examples[:2], [np.array([[1.0], [2.0]])]).rows
        2
        >>> folder.missing(examples).tolist(), folder.features(examples[:2]).rows([1])[0].tolist()
        ([2], [[2.0]])
    """

    def __init__(self, path: Path, about: Mapping[str, Any] | None = None, *, float16: bool = False):
        self.path, self.about, self.float16 = path, dict(about or {}), float16
        self.shards: list[Shard] = []
        self._mapped: list[list[np.ndarray]] = []
        self._examples: list[np.ndarray] = []
        self._starts: list[int] = []
        self._bad: set[Path] = set()
        self._order: np.ndarray | None = None

    def refresh(self) -> "FeatureFolder":
        """Takes in the shards that have appeared; each file is read once, and compared with its digest.

        Returns:
            Itself.
        """
        known = {shard.folder for shard in self.shards} | self._bad
        for path in shards_in(self.path):
            if path in known:
                continue
            shard = read_shard(path)
            try:
                if shard is not None and shard.holds():
                    self._take(shard)
                    continue
            except (OSError, ValueError, TypeError, AttributeError):  # another process removed it meanwhile
                pass
            if path.exists():
                self._bad.add(path)
        return self

    def _take(self, shard: Shard) -> None:
        mapped, examples = shard.open(), shard.examples()
        self._mapped.append(mapped)
        self._starts.append(sum(map(len, self._examples)))
        self._examples.append(examples)
        self.shards.append(shard)
        self._order = None

    @property
    def damaged(self) -> tuple[Path, ...]:
        """The folders of shards that are not what was written."""
        return tuple(sorted(self._bad))

    def drop_damaged(self) -> int:
        """Removes what is damaged, so that it is computed again.

        Returns:
            How many shards.

        Raises:
            CacheError: if the folder cannot be written to.
        """
        dropped = len(self._bad)
        for path in sorted(self._bad):
            remove_folder(path)
        self._bad.clear()
        return dropped

    def remove_leftovers(self) -> int:
        """Removes what processes that have ended left half-written."""
        return remove_leftovers(self.path)

    def add(self, examples: Digests, columns: Sequence[np.ndarray]) -> Shard:
        """Writes the features of some examples as a new shard.

        Args:
            examples: What each row is known by.
            columns: One array for each crossing tensor, ``(len(examples), ...)``.

        Raises:
            CacheError: if it cannot be written; what was there before stays.
        """
        self._make()
        shard = write_shard(self.path, as_bytes(examples), columns, float16=self.float16)
        try:
            self._take(shard)
        except OSError as error:
            raise unwritable(self.path, error) from error
        return shard

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self.path / ABOUT).exists():
                with completed(self.path / ABOUT) as part:
                    part.write_text(json.dumps(self.about, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _indexed(self) -> tuple[np.ndarray, np.ndarray]:
        """The digests of all rows, shard after shard, and the rows in the order of their digests."""
        if self._order is None:
            self._examples = [np.concatenate([np.empty(0, "S32"), *self._examples])]
            self._order = np.argsort(self._examples[0], kind="stable").astype("int32")
        return self._examples[0], self._order

    def _found(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The row of each example, counted over all shards, and whether it is there; of several rows the first."""
        known, order = self._indexed()
        if not len(known):
            return np.zeros(len(examples), "int32"), np.zeros(len(examples), bool)
        places = np.searchsorted(known, examples, sorter=order)
        rows = order[np.minimum(places, len(known) - 1, out=places)]
        return rows, known[rows] == examples

    def holds(self, examples: Digests) -> np.ndarray:
        """Whether each example is there: ``(examples,)`` of bool."""
        return self._found(as_bytes(examples))[1]

    def missing(self, examples: Digests) -> np.ndarray:
        """The positions of those examples that are not there, in order; of several with one content, the first."""
        digests = as_bytes(examples)
        _, there = self._found(digests)
        first = np.zeros(len(digests), bool)
        first[np.unique(digests, return_index=True)[1]] = True
        return np.flatnonzero(first & ~there)

    def features(self, examples: Digests) -> Features:
        """The features of some examples, in their order; nothing is read yet.

        Raises:
            KeyError: if one is not there.
        """
        rows, there = self._found(as_bytes(examples))
        if not there.all():
            absent = examples[int(np.argmin(there))]
            raise KeyError(absent if isinstance(absent, str) else absent.ljust(32, b"\0").hex())
        starts = np.array(self._starts)
        shards = (np.searchsorted(starts, rows, side="right") - 1).astype("int32")
        given = [dtype_of(column.given) for column in self.shards[0].columns]
        return Features(self._mapped, shards, (rows - starts[shards]).astype("int32"), given)

    def agrees(self, examples: Digests, columns: Sequence[np.ndarray]) -> bool:
        """Whether what is stored for some examples is what is given now, to the last bit that is stored."""
        stored = self.features(examples).rows(np.arange(len(examples)))
        kinds = [dtype_of(column.stored) for column in self.shards[0].columns]
        return all(
            a.astype(kind).tobytes() == b.astype(kind).tobytes()
            for a, b, kind in zip(stored, columns, kinds, strict=True)
        )

    @property
    def rows(self) -> int:
        """How many different examples it holds."""
        return len(np.unique(self._indexed()[0]))

    @property
    def bytes(self) -> int:
        """What its features take on the disk."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def difference(self) -> float:
        """The largest difference that storing with 16 bits made, as a share of the mean magnitude in its tensor."""
        return max((shard.difference for shard in self.shards), default=0.0)

    def touch(self) -> None:
        """Notes that it was used now: what was used last is removed last."""
        with suppress(OSError):  # a disk that is full, or that may only be read: it stays the older one
            (self.path / USED).touch()

    @contextmanager
    def alone(self, waiting: Callable[[], None] | None = None) -> Iterator[bool]:
        """Waits until no other process adds to this folder.

        Where the file system has no working locks nobody waits, and examples may be computed twice: never wrong.

        Args:
            waiting: Called once before waiting begins.

        Yields:
            Whether it had to wait.

        Raises:
            CacheError: if the folder cannot be written to.
        """
        with ExitStack() as held:
            try:
                waited = held.enter_context(locked(self.path / LOCK, waiting=waiting))
            except OSError as error:
                raise unwritable(self.path, error) from error
            yield waited


def shards_in(path: Path) -> list[Path]:
    """The folders of a trunk's shards, damaged ones too."""
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def as_bytes(examples: Digests) -> np.ndarray:
    """Digests in hexadecimal as ``(examples,)`` of 32 bytes; what is that already stays as it is."""
    if isinstance(examples, np.ndarray):
        return examples
    made = np.empty(len(examples), "S32")
    for start in range(0, len(examples), _AT_ONCE):
        some = examples[start : start + _AT_ONCE]
        made[start : start + len(some)] = np.frombuffer(bytes.fromhex("".join(some)), "S32")
    return made


def remove_folder(path: Path) -> None:
    """Removes a folder: renamed first, so that no other process sees a part of it.

    Raises:
        CacheError: if the folder that it is in cannot be written to.
    """
    gone = hidden(path)
    try:
        os.rename(path, gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(path.parent, error) from error
    shutil.rmtree(gone, ignore_errors=True)
