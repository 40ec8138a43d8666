"""The features of one trunk: a folder of shards, indexed by the content of the examples."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import completed, hidden, remove_leftovers
from .errors import CacheError
from .feature_shard import Shard, dtype_of, merge_shards, read_shard, unwritable, write_shard
from .features import Features
from .file_lock import locked

ABOUT = "trunk.json"
USED = "used"
LOCK = "lock"

#: Where there are so many shards of less than half of these bytes, some of them become one of about so many.
MANY, MERGED = 32, 2**25

#: What examples are known by: a SHA-256 each, hexadecimal or, in a fifth of the memory, as :func:`as_bytes` gives it.
Digests = Sequence[str] | np.ndarray
#: How many digests are read at once: their texts take twice the memory of what is made of them.
_AT_ONCE = 4096


@dataclass(eq=False)
class _Held:
    """A shard that is known: the digests of its rows, and, once every byte of it was compared, its values, mapped."""

    shard: Shard
    examples: np.ndarray
    mapped: list[np.ndarray] | None = None


class FeatureFolder:
    """Reads and adds to the features of one trunk.

    Shards are never changed: what is new goes into a new one, and where many are small some of them are written again
    as one. Two that hold the same example agree in it, so it does not matter which of them is read.

    A shard's bytes are compared with what was written when rows of it are first asked for, once for each
    ``FeatureFolder``, and only then is it mapped. One that is damaged, or that another process has removed by then,
    holds nothing; one that is mapped can be read on whatever becomes of its file.

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
        self._held: list[_Held] = []
        self._bad: set[Path] = set()
        self._index: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def refresh(self) -> "FeatureFolder":
        """Takes in the shards that have appeared, and forgets those that are gone.

        What a shard holds is read, and compared with its digest; its values are not.

        Returns:
            Itself.
        """
        there = shards_in(self.path)
        self._forget([one for one in self._held if one.shard.folder not in set(there)])
        self._bad &= set(there)
        known = {one.shard.folder for one in self._held} | self._bad
        for path in there:
            if path not in known:
                self._read(path)
        return self

    def _read(self, path: Path) -> None:
        shard = read_shard(path)
        try:
            if shard is not None:
                return self._take(_Held(shard, shard.examples()))
        except (OSError, ValueError) as error:
            _unless_too_many(path, error)
        if path.exists():  # else another process has removed it meanwhile
            self._bad.add(path)
        return None

    def _take(self, one: _Held) -> None:
        self._held.append(one)
        self._index = None

    def _forget(self, gone: Sequence[_Held]) -> None:
        if gone:
            self._held = [one for one in self._held if one not in gone]
            self._index = None

    @property
    def shards(self) -> list[Shard]:
        """The shards that are known, and not known to be damaged."""
        return [one.shard for one in self._held]

    @property
    def damaged(self) -> tuple[Path, ...]:
        """The folders of shards that were found not to be what was written."""
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

    def mend(self) -> int:
        """Removes what is damaged, where the folder may be written to and no other process adds to it right now.

        Returns:
            How many shards.
        """
        if not self._bad:
            return 0
        try:
            with locked(self.path / LOCK, wait=False):
                return self.refresh().drop_damaged()
        except (OSError, CacheError):
            return 0

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
        digests = as_bytes(examples)
        shard = write_shard(self.path, digests, columns, float16=self.float16)
        try:
            self._take(_Held(shard, shard.examples(), shard.open()))
            self._merge()
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

    def _merge(self) -> None:
        """Writes many small shards as one. If that is cut short, some rows are there twice, and agree."""
        small = [one for one in self._held if one.shard.bytes < MERGED // 2]
        if len(small) < MANY:
            return
        some, size = [], 0
        for one in sorted(small, key=lambda one: one.shard.bytes):
            size += one.shard.bytes
            if size > MERGED:
                break
            some.append(one)
        some = [one for one in some if self._sound(one)]
        some = [one for one in some if _form(one.shard) == _form(some[0].shard)]
        if len(some) < 2:
            return
        opened = [one.mapped or [] for one in some]
        shard = merge_shards(self.path, [one.shard for one in some], [one.examples for one in some], opened)
        self._take(_Held(shard, shard.examples(), shard.open()))
        self._forget(some)
        for one in some:
            remove_folder(one.shard.folder)

    def _sound(self, one: _Held) -> bool:
        """Whether a shard is what was written; it is mapped then, and else forgotten."""
        if one.mapped is not None:
            return True
        folder = one.shard.folder
        try:
            mapped = one.shard.open()
            if one.shard.holds():
                one.mapped = mapped
                return True
        except (OSError, ValueError) as error:
            _unless_too_many(folder, error)
        self._forget([one])
        if folder.exists():
            self._bad.add(folder)
        return False

    def _indexed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The digests of all rows, shard after shard, the rows in the order of their digests, where shards begin."""
        if self._index is None:
            known = np.concatenate([np.empty(0, "S32"), *(one.examples for one in self._held)])
            starts = np.cumsum([0, *(len(one.examples) for one in self._held)])
            for one, start, stop in zip(self._held, starts[:-1], starts[1:], strict=True):
                one.examples = known[start:stop]  # they are in memory once
            self._index = known, np.argsort(known, kind="stable").astype("int32"), starts[:-1]
        return self._index

    def _found(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The shard of each example, its row there, and whether it is there at all; of several rows the first.

        Every shard that has one of them is sound.
        """
        while True:
            known, order, starts = self._indexed()
            if not len(known):
                nowhere = np.zeros(len(examples), "int32")
                return nowhere, nowhere, np.zeros(len(examples), bool)
            places = np.searchsorted(known, examples, sorter=order)
            rows = order[np.minimum(places, len(known) - 1, out=places)]
            there = known[rows] == examples
            shards = (np.searchsorted(starts, rows, side="right") - 1).astype("int32")
            used = [self._held[i] for i in np.flatnonzero(np.bincount(shards[there]))]
            if all([self._sound(one) for one in used]):
                return shards, (rows - starts[shards]).astype("int32"), there

    def holds(self, examples: Digests) -> np.ndarray:
        """Whether each example is there, undamaged: ``(examples,)`` of bool."""
        return self._found(as_bytes(examples))[2]

    def missing(self, examples: Digests) -> np.ndarray:
        """The positions of those examples that are not there, in order; of several with one content, the first.

        What is there is what was written: the shards with one of them are read for that, the others are not.
        """
        digests = as_bytes(examples)
        there = self.holds(digests)
        first = np.zeros(len(digests), bool)
        first[np.unique(digests, return_index=True)[1]] = True
        return np.flatnonzero(first & ~there)

    def features(self, examples: Digests) -> Features:
        """The features of some examples, in their order; notes that their shards were used now.

        Nothing is read, but what :meth:`missing` has not compared yet.

        Raises:
            KeyError: if one is not there.
        """
        features, used = self._features(examples)
        for one in used:
            with suppress(OSError):  # it is gone, or may only be read
                os.utime(one.shard.folder)
        return features

    def _features(self, examples: Digests) -> tuple[Features, list[_Held]]:
        shards, rows, there = self._found(as_bytes(examples))
        if not there.all():
            absent = examples[int(np.argmin(there))]
            raise KeyError(absent if isinstance(absent, str) else absent.ljust(32, b"\0").hex())
        numbers, parts = np.unique(shards, return_inverse=True)
        used = [self._held[i] for i in numbers]
        shown = used or [next(one for one in self._held if self._sound(one))]  # no example still has its shape
        given = [dtype_of(column.given) for column in shown[0].shard.columns]
        return Features([one.mapped or [] for one in shown], parts.astype("int32"), rows, given), used

    def shards_of(self, examples: Digests) -> set[Path]:
        """The folders of the shards that hold some of these examples: what a run that wants them keeps."""
        shards, _, there = self._found(as_bytes(examples))
        return {self._held[i].shard.folder for i in np.unique(shards[there])}

    @property
    def rows(self) -> int:
        """How many different examples it holds, undamaged: every byte is read for it."""
        digests = np.unique(self._indexed()[0])
        return int(np.count_nonzero(self.holds(digests)))

    @property
    def bytes(self) -> int:
        """What its features take on the disk."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def difference(self) -> float:
        """The largest difference that storing with 16 bits made, as a share of the mean magnitude in its tensor."""
        return max((shard.difference for shard in self.shards), default=0.0)

    def touch(self) -> None:
        """Notes that it was used now, for ``zoo cache list``; see :meth:`features` for what is removed last."""
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


def _form(shard: Shard) -> list[tuple[tuple[int, ...], str, str]]:
    return [(column.shape, column.stored, column.given) for column in shard.columns]


def _unless_too_many(path: Path, error: Exception) -> None:
    """That this process cannot open a shard does not mean that it is damaged.

    Raises:
        CacheError: if no more files can be opened, or mapped.
    """
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        what = f"Features cannot be read from {path}: {(error.strerror or str(error)).lower()}."
        raise CacheError(what, fix="Raise the limit (ulimit -n), or: --no-cache.") from error


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
