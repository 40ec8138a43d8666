"""One file of features: HDF5, written once and whole, with a manifest beside it that says what its bytes must be.

The HDF5 library never writes to the disk: a full disk, or a kill, in the middle of that leaves files that cannot be
opened, and can end the process. Here it makes an image in memory, which is written, synced and renamed like any file.
"""

import hashlib
import io
import json
import mmap
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import completed_folder
from .errors import CacheError

SCHEMA = 2
DATA, MANIFEST = "features.h5", "manifest.json"


@dataclass(frozen=True)
class Column:
    """Where one crossing tensor's values lie in a shard: row after row from the byte ``offset`` on, each of ``shape``.

    ``stored`` is the type on the disk, ``given`` the one that the trunk gave, and that is read again.
    """

    offset: int
    shape: tuple[int, ...]
    stored: str
    given: str


@dataclass(frozen=True)
class Shard:
    """A complete folder of one file of features and its manifest.

    ``sha256`` and ``bytes`` are the file's; ``rows`` counts its examples, whose digests lie from the byte ``digests``
    on, and have the SHA-256 ``digests_sha256``: what a shard holds can be trusted before all of it is read.
    ``difference`` is the largest that storing made to a value, as a share of the mean magnitude in its tensor.
    """

    folder: Path
    sha256: str
    bytes: int
    rows: int
    digests: int
    digests_sha256: str
    columns: tuple[Column, ...]
    difference: float

    def holds(self) -> bool:
        """Whether the file's bytes are those that were written, every one of them; they are read for it."""
        try:
            with (self.folder / DATA).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256
        except OSError:
            return False

    def examples(self) -> np.ndarray:
        """What each row is known by: ``(rows,)`` of 32 bytes; nothing else is read.

        Raises:
            OSError: if the file is not there.
            ValueError: if they are not what was written, or the file has another length.
        """
        with (self.folder / DATA).open("rb") as stream:
            length = stream.seek(0, io.SEEK_END)
            stream.seek(self.digests)
            found = stream.read(32 * self.rows)
        if length != self.bytes or hashlib.sha256(found).hexdigest() != self.digests_sha256:
            what = f"{self.folder} is not what was written"
            raise ValueError(what)
        return np.frombuffer(found, "S32")

    def open(self) -> list[np.ndarray]:
        """The values of each column, mapped and not read: ``(rows, ...)``, of the type that is stored.

        What is mapped can be read on after the file has been removed.

        Raises:
            OSError: if the file is not there, or too many are open.
            ValueError: if it is shorter than it was.
        """
        with (self.folder / DATA).open("rb") as stream:
            whole = np.ndarray(self.bytes, "u1", _mapped(stream.fileno(), self.bytes))
        found = []
        for column in self.columns:
            kind, shape = dtype_of(column.stored), (self.rows, *column.shape)
            size = prod(shape) * kind.itemsize
            values = whole[column.offset : column.offset + size].view(kind) if size else np.zeros(0, kind)
            found.append(values.reshape(shape))
        return found


def _mapped(file: int, size: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):  # else each keeps a file open, and there may be more shards than that
        return mmap.mmap(file, size, access=mmap.ACCESS_READ, trackfd=False)
    return mmap.mmap(file, size, access=mmap.ACCESS_READ)


def write_shard(parent: Path, examples: np.ndarray, columns: Sequence[np.ndarray], *, float16: bool = False) -> Shard:
    """Writes features so that they are there whole, or not at all.

    Args:
        parent: The folder for the shard's own.
        examples: What each row is known by, ``(rows,)`` of 32 bytes.
        columns: One array for each crossing tensor, ``(rows, ...)``.
        float16: Whether numbers of more bits are stored with 16.

    Returns:
        The shard.

    Raises:
        CacheError: if there is no room, the folder cannot be written to, or a value is beyond what float16 holds.
    """
    narrow = [_narrowed(column) if float16 else column for column in columns]
    pairs = list(zip(columns, narrow, strict=True))
    difference = max((_difference(column, kept) for column, kept in pairs if kept is not column), default=0.0)
    return _write(parent, examples, narrow, [column.dtype.name for column in columns], difference)


def merge_shards(
    parent: Path, shards: Sequence[Shard], known: Sequence[np.ndarray], opened: Sequence[Sequence[np.ndarray]]
) -> Shard:
    """Writes what several shards of one trunk hold as one; an example that several hold is there once.

    Args:
        parent: The folder for the new shard's own.
        shards: The shards, of tensors of the same shapes and types; their files are not read.
        known: What :meth:`Shard.examples` gave for each.
        opened: What :meth:`Shard.open` gave for each.

    Returns:
        The new shard.

    Raises:
        CacheError: if it cannot be written.
    """
    examples, kept = np.unique(np.concatenate(known), return_index=True)
    columns = [np.concatenate(parts)[kept] for parts in zip(*opened, strict=True)]
    given = [column.given for column in shards[0].columns]
    return _write(parent, examples, columns, given, max(shard.difference for shard in shards))


def _write(
    parent: Path, examples: np.ndarray, columns: Sequence[np.ndarray], given: Sequence[str], difference: float
) -> Shard:
    image, offsets = _image(examples, columns)
    found = [
        Column(offset, tuple(column.shape[1:]), column.dtype.name, name)
        for offset, column, name in zip(offsets[1:], columns, given, strict=True)
    ]
    folder = parent / secrets.token_hex(8)
    data = image.getbuffer()
    digests = hashlib.sha256(np.ascontiguousarray(examples).tobytes()).hexdigest()
    digest = hashlib.sha256(data).hexdigest()
    shard = Shard(folder, digest, len(data), len(examples), offsets[0], digests, tuple(found), difference)
    try:
        with completed_folder(folder) as part:
            (part / DATA).write_bytes(data)
            (part / MANIFEST).write_text(_manifest(shard), encoding="utf-8")
    except OSError as error:
        raise unwritable(parent, error, received=f"{len(data) / 1e6:.1f} MB to write") from error
    return shard


def unwritable(path: Path, error: OSError, *, received: str | None = None) -> CacheError:
    """The error for a folder of features that cannot be written to."""
    what = f"Features cannot be written to {path}: {(error.strerror or str(error)).lower()}."
    fix = "Make room, or set ZOO_HOME to another disk; what is there already stays usable. Or: --no-cache."
    return CacheError(what, received=received, fix=fix)


def read_shard(folder: Path) -> Shard | None:
    """What a shard's manifest says, or ``None`` where it is not, to the last byte, what was written."""
    try:
        text = (folder / MANIFEST).read_bytes()
        table = json.loads(text)
        columns = tuple(Column(**{**c, "shape": tuple(c["shape"])}) for c in table.pop("columns"))
        del table["schema"], table["manifest"]
        shard = Shard(folder, columns=columns, **table)
        return shard if _manifest(shard).encode() == text else None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def dtype_of(name: str) -> np.dtype[Any]:
    """A type by its name; NumPy knows bfloat16 and its like where ``ml_dtypes`` has been imported."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))


def _in_hdf5(kind: np.dtype[Any]) -> bool:
    return kind.kind in "biufc"


def _narrowed(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind != "f" or column.dtype.itemsize <= 2:
        return column
    with np.errstate(over="ignore"):
        kept = column.astype("float16")
    lost = np.isinf(kept) & np.isfinite(column)
    if lost.any():
        what = "Features are too large for float16."
        largest = f"{np.abs(column[lost]).max():g}"
        raise CacheError(what, expected="at most 65504", received=largest, fix="Store them as float32.")
    return kept


def _difference(column: np.ndarray, kept: np.ndarray) -> float:
    finite = np.isfinite(column)
    if not finite.any():
        return 0.0
    mean = float(np.mean(np.abs(column), dtype="float64", where=finite))
    with np.errstate(invalid="ignore"):  # infinity less infinity
        largest = float(np.max(np.abs(column - kept.astype(column.dtype)), initial=0.0, where=finite))
    return largest / mean if mean else 0.0


def _image(examples: np.ndarray, columns: Sequence[np.ndarray]) -> tuple[io.BytesIO, list[int]]:
    """The bytes of an HDF5 file, and where in it digests and columns begin."""
    import h5py

    memory = io.BytesIO()
    offsets = []
    layout: dict[str, Any] = {"alignment_threshold": 512, "alignment_interval": 64, "libver": ("earliest", "v108")}
    with h5py.File(memory, "w", **layout) as file:
        arrays = {"examples": np.ascontiguousarray(examples).view("u1").reshape(len(examples), 32)}
        arrays |= {f"crossing{i}": column for i, column in enumerate(columns)}
        for name, array in arrays.items():
            plain = array if _in_hdf5(array.dtype) else array.view(f"u{array.dtype.itemsize}")
            made: Any = file.create_dataset(name, data=plain, track_times=False)
            if plain is not array:
                made.attrs["dtype"] = array.dtype.name
            offsets.append(made.id.get_offset() or 0)
    return memory, offsets


def _manifest(shard: Shard) -> str:
    """The manifest's text; it ends with its own digest, and there is one text for one shard."""
    table: dict[str, Any] = {"schema": SCHEMA, **asdict(shard)}
    del table["folder"]
    digest = hashlib.sha256(json.dumps(table).encode()).hexdigest()
    return json.dumps(table | {"manifest": digest}) + "\n"
