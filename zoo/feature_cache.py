"""The features of frozen trunks on the disk: found by what they are, bounded in size, least recently used out first.

What is bounded and removed are single shards; what is listed are trunks. A shard's last use is the time of its folder.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .atomic import remove_leftovers
from .errors import CacheError, close_matches
from .feature_folder import ABOUT, LOCK, USED, FeatureFolder, remove_folder, shards_in
from .feature_shard import read_shard
from .file_lock import locked

#: The share of its disk that the cache may take where the user does not say: one tenth.
SHARE = 10
#: The characters of a digest that name a folder.
NAME = 32


@dataclass(frozen=True)
class Entry:
    """The features of one trunk: the name that commands know it by, what it is of, the examples in its shards, what it
    takes on the disk, when it was last used (seconds since 1970), and, where that was checked, the damaged shards."""

    name: str
    about: dict[str, Any]
    examples: int
    shards: int
    bytes: int
    used: float
    damaged: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Eviction:
    """What goes of one trunk's features: the name of its folder, what they are of, the shards, and what they take."""

    name: str
    about: dict[str, Any]
    folders: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class _Piece:
    """What goes at once: a shard, or the folder of a trunk that has none (``shard`` is empty then)."""

    trunk: Path
    shard: str
    bytes: int
    used: float


class FeatureCache:
    """All features under one folder.

    Args:
        root: The folder, such as ``zoo_home() / "features"``; it need not exist yet.
        limit: The bytes that it may take; by default a tenth of its disk.

    Example:
        >>> import numpy as np
        >>> cache = FeatureCache(tmp / "features")
        >>> cache.folder("ab" * 32, {"what": "glyphs up to block2"}).add(["00" * 32], [np.zeros((1, 8))]).rows
        1
        >>> [(entry.name[:4], entry.about["what"], entry.examples) for entry in cache.entries()]
        [('abab', 'glyphs up to block2', 1)]
    """

    def __init__(self, root: Path, limit: int | None = None):
        self.root = root
        self.limit = limit if limit is not None else _disk(root).total // SHARE

    def folder(self, digest: str, about: dict[str, Any] | None = None, *, float16: bool = False) -> FeatureFolder:
        """The features of one trunk.

        Args:
            digest: The SHA-256, hexadecimal, of everything that they depend on.
            about: See :class:`zoo.feature_folder.FeatureFolder`.
            float16: Whether they are stored with 16 bits; the digest must depend on it.
        """
        return FeatureFolder(self.root / digest[:NAME], about, float16=float16)

    def entries(self, *, verify: bool = False) -> list[Entry]:
        """What there is, the most recently used first; with ``verify`` every byte is read and compared."""
        return sorted((_entry(path, verify) for path in self._folders()), key=lambda entry: (-entry.used, entry.name))

    def _folders(self) -> list[Path]:
        return shards_in(self.root)

    def find(self, name: str) -> Path:
        """The folder that a name, or the beginning of one, stands for.

        Raises:
            CacheError: if there is none, or several.
        """
        known = [path.name for path in self._folders()]
        fitting = [each for each in known if name and each.startswith(name)]
        if len(fitting) == 1:
            return self.root / fitting[0]
        if fitting:
            what = f"Several features in the cache have a name that begins with '{name}'."
            raise CacheError(what, expected="enough of the name to tell them apart", received=", ".join(fitting))
        what = f"The cache has no features named '{name}'."
        raise CacheError(what, fix=close_matches(name, known))

    def remove(self, paths: Iterable[Path]) -> int:
        """Removes the features of some trunks; a process that reads them can read on.

        Returns:
            The bytes that became free.

        Raises:
            CacheError: if another process is computing some of them, or the folder cannot be written to.
        """
        freed = 0
        for path in paths:
            size = _size(path)
            if not _removed(path):
                what = f"The features {path.name} are being computed by another process."
                raise CacheError(what, fix="Wait until it has finished.")
            freed += size
        remove_leftovers(self.root)
        return freed

    def evictions(
        self, needed: int, keep: Collection[Path] = (), using: Collection[Path] = ()
    ) -> list[Eviction] | None:
        """Decides what has to go before ``needed`` more bytes are written: the shard used least recently goes first.

        Args:
            needed: The bytes that are to be written.
            keep: The folders of trunks of which nothing goes.
            using: The folders of shards that stay, see :meth:`zoo.feature_folder.FeatureFolder.shards_of`; others of
                the same trunks may go.

        Returns:
            What has to go, one entry for each trunk, in the order of their first shards; ``None`` where there is no
            room even without all that may go. Nothing is removed.
        """
        over = needed - self._left()
        going: dict[Path, list[_Piece]] = {}
        for piece in self._may_go(keep, using):
            if over <= 0:
                break
            going.setdefault(piece.trunk, []).append(piece)
            over -= piece.bytes
        return [_eviction(trunk, some) for trunk, some in going.items()] if over <= 0 else None

    def room(self, keep: Collection[Path] = (), using: Collection[Path] = ()) -> int:
        """The most bytes for which :meth:`evictions` finds room."""
        return self._left() + sum(piece.bytes for piece in self._may_go(keep, using))

    def evict(self, going: Iterable[Eviction]) -> list[Eviction]:
        """Removes what :meth:`evictions` says; of what another process is computing right now nothing goes.

        A process that reads what goes can read on. The folder of a trunk goes with the last of its shards.

        Returns:
            What was removed.

        Raises:
            CacheError: if the folder cannot be written to.
        """
        removed = [one for one in going if self._evicted(one)]
        remove_leftovers(self.root)
        return removed

    def _evicted(self, one: Eviction) -> bool:
        path = self.root / one.name
        try:
            with _alone(path):
                for name in one.folders:
                    remove_folder(path / name)
                if not shards_in(path):
                    remove_folder(path)
        except BlockingIOError:
            return False
        return True

    def _left(self) -> int:
        """The bytes that there are for more: under the limit, and on the disk."""
        return min(self.limit - sum(map(_size, self._folders())), _disk(self.root).free)

    def _may_go(self, keep: Collection[Path], using: Collection[Path]) -> list[_Piece]:
        """What may go, the least recently used first."""
        kept, used = {path.name for path in keep}, {(path.parent.name, path.name) for path in using}
        found = []
        for path in self._folders():
            if path.name not in kept:
                found += _pieces(path, {shard for trunk, shard in used if trunk == path.name})
        return sorted(found, key=lambda piece: (piece.used, piece.trunk.name, piece.shard))


def _pieces(path: Path, stay: Collection[str]) -> list[_Piece]:
    """The shards of a trunk that may go; what else is in its folder goes with the last of them, if none stays."""
    shards = [_Piece(path, each.name, _size(each), _mtime(each)) for each in shards_in(path)]
    going = sorted((piece for piece in shards if piece.shard not in stay), key=lambda piece: piece.used)
    if len(going) == len(shards):
        rest = max(0, _size(path) - sum(piece.bytes for piece in shards))
        last = going.pop() if going else _Piece(path, "", 0, _used(path))
        going.append(replace(last, bytes=last.bytes + rest))
    return going


def _eviction(trunk: Path, some: list[_Piece]) -> Eviction:
    folders = tuple(piece.shard for piece in some if piece.shard)
    return Eviction(trunk.name, about_of(trunk), folders, sum(piece.bytes for piece in some))


def _entry(path: Path, verify: bool) -> Entry:
    folders = shards_in(path)
    shards = [shard for shard in map(read_shard, folders) if shard is not None]
    damaged = None
    if verify:
        sound = {shard.folder for shard in shards if shard.holds()}
        damaged = tuple(folder.name for folder in folders if folder not in sound and folder.exists())
    examples = sum(shard.rows for shard in shards)
    return Entry(path.name, about_of(path), examples, len(folders), _size(path), _used(path), damaged)


def _removed(path: Path) -> bool:
    """Removes a folder, unless another process holds its lock; a folder that is gone already is removed too."""
    try:
        with _alone(path):
            remove_folder(path)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds a trunk's lock while something of it is removed.

    Raises:
        BlockingIOError: if another process holds it.
    """
    with ExitStack() as held:
        if path.exists():  # else there is nothing to lock
            try:
                held.enter_context(locked(path / LOCK, wait=False))
            except BlockingIOError:
                raise
            except OSError:  # no lock can be made on a full disk, and that is when room is needed
                pass
        yield


def about_of(path: Path) -> dict[str, Any]:
    """What the features in a folder are of; nothing where that cannot be read."""
    try:
        found = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _used(path: Path) -> float:
    return _mtime(path / USED) or _mtime(path)


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    """The bytes of all files in a folder; those that go meanwhile do not count."""
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += os.stat(os.path.join(folder, file)).st_size
            except OSError:
                continue
    return total


def _disk(root: Path) -> Any:
    """The size of the disk that a folder is on, or would be on, and what is free of it."""
    while not root.exists() and root != root.parent:
        root = root.parent
    return shutil.disk_usage(root)
