"""The features of frozen trunks on the disk: found by what they are, bounded in size, least recently used out first."""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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

    def evictions(self, needed: int, keep: Sequence[Path] = ()) -> list[Entry] | None:
        """Decides what has to go before ``needed`` more bytes are written: what was used least recently goes first.

        Args:
            needed: The bytes that are to be written.
            keep: The folders that do not go: the features in use.

        Returns:
            What has to go, first to last; ``None`` where there is no room even without all that may go. Nothing is
            removed.
        """
        entries, kept = self.entries(), {path.name for path in keep}
        over = max(sum(entry.bytes for entry in entries) + needed - self.limit, needed - _disk(self.root).free)
        going = []
        for entry in reversed(entries):
            if over <= 0:
                break
            if entry.name not in kept:
                going.append(entry)
                over -= entry.bytes
        return going if over <= 0 else None

    def evict(self, going: Iterable[Entry]) -> list[Entry]:
        """Removes what :meth:`evictions` says; what another process is computing right now stays.

        Returns:
            What was removed.
        """
        removed = [entry for entry in going if _removed(self.root / entry.name)]
        remove_leftovers(self.root)
        return removed


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
    if not path.exists():
        return True
    try:
        with locked(path / LOCK, wait=False):
            remove_folder(path)
    except BlockingIOError:
        return False
    except OSError:  # no lock can be made on a full disk, and that is when room is needed
        remove_folder(path)
    return True


def about_of(path: Path) -> dict[str, Any]:
    """What the features in a folder are of; nothing where that cannot be read."""
    try:
        found = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _used(path: Path) -> float:
    for file in (path / USED, path):
        try:
            return file.stat().st_mtime
        except OSError:
            continue
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
