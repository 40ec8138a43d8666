"""Images in files: each read once when the data set opens, and decoded again as batches want it."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path

import numpy as np

from zoo.data.dataset import BadFile, Dataset, InputForm, Side, Target
from zoo.data.decoded import Decoded, Step, parallel
from zoo.data.decoding import ACCEPTED, UnreadableImage, check_and_tell, decode, strict_pillow
from zoo.data.images import fit_image, read_bytes
from zoo.data.targets import no_target
from zoo.errors import DataError

EXTENSIONS = frozenset(".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .webp .tif .tiff .heic .heif .avif".split())
"""A file with one of these is meant as an image, accepted or not: if it cannot be read, that is an error."""
SHOWN = 20


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image file: where it is, how it is named in reports, its label and its side, if it has them."""

    path: str
    name: str
    label: str | None = None
    side: Side | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What reading a file once has shown; ``digest`` is the SHA-256 of its bytes."""

    digest: bytes
    shape: tuple[int, ...]
    told: tuple[str, ...]


def shown_name(path: Path | str) -> str:
    """A path as it can be printed anywhere: ``/`` between folders, composed (NFC), without undecodable bytes.

    Example:
        >>> shown_name("cafe\u0301/a.png")
        'café/a.png'
    """
    text = os.fsencode(str(path)).decode("utf-8", "replace").replace(os.sep, "/")
    return unicodedata.normalize("NFC", text)


def examine(paths: Sequence[str], step: Step | None = None) -> list[Seen | BadFile]:
    """Read and check every file once, by a thread for each core; the results are in the order of the paths."""
    with strict_pillow():
        return parallel(_examine, paths, step)


def _examine(path: str) -> Seen | BadFile:
    try:
        content = read_bytes(path)
        shape, told = check_and_tell(content)
    except UnreadableImage as error:
        return BadFile(shown_name(path), str(error))
    return Seen(hashlib.sha256(content).digest(), _one(shape), _one(told))


@cache
def _one(shared: tuple) -> tuple:
    """One of all tuples that are equal: a hundred thousand files have a few shapes."""
    return shared


def readable(
    source: str, entries: Sequence[ImageEntry], *, skip_bad: bool, step: Step | None = None
) -> tuple[list[ImageEntry], list[Seen], list[BadFile]]:
    """Read every file once; stop with a list of the bad ones, or leave them out.

    Args:
        source: What the user named.
        entries: The files.
        skip_bad: Leave bad files out.
        step: Told how many files have been read, and of how many.

    Returns:
        The entries that are left, what was seen of each, and the bad files.

    Raises:
        DataError: A file cannot be read and ``skip_bad`` is off, or no file can.
    """
    paths = list(dict.fromkeys(entry.path for entry in entries))
    found = dict(zip(paths, examine(paths, step), strict=True))
    bad = [BadFile(entry.name, seen.reason) for entry in entries if isinstance(seen := found[entry.path], BadFile)]
    good = [(entry, seen) for entry in entries if isinstance(seen := found[entry.path], Seen)]
    if bad and not good:
        raise nothing_readable(source, bad)
    if bad and not skip_bad:
        fix = "Repair or remove them, or leave them out with --skip-bad (skip_bad=True)."
        raise DataError(_listing(source, bad, len(entries)), expected=f"each to be {ACCEPTED}", fix=fix)
    return [entry for entry, _ in good], [seen for _, seen in good], bad


class NothingReadable(DataError):
    """Not one of the files can be read; ``bad`` are all of them."""

    bad: tuple[BadFile, ...] = ()


def nothing_readable(source: str, bad: Sequence[BadFile]) -> NothingReadable:
    """The error that lists all of the files."""
    expected = f"each to be {ACCEPTED}"
    error = NothingReadable(_listing(source, bad, len(bad)), expected=expected, fix="Repair or remove them.")
    error.bad = tuple(bad)
    return error


def _listing(source: str, bad: Sequence[BadFile], total: int) -> str:
    lines = "".join(f"\n  {file.path}: {file.reason}" for file in bad[:SHOWN])
    more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    count = "1 file" if len(bad) == 1 else f"{len(bad)} files"
    return f"'{source}': {count} of {total} cannot be read:{lines}{more}\n"


class ImageFiles(Dataset):
    """Image files with their targets; made by the readers of folders and tables.

    Args:
        source: What the user named.
        entries: The files, all readable.
        seen: What reading each once has shown.
        target: Their targets.
        skipped: Files left out.
        notes: Lines for the user; those about what was converted are added.
        sides: Each file's side, where the data came split.
    """

    kind = "image"

    def __init__(
        self,
        source: str,
        entries: Sequence[ImageEntry],
        seen: Sequence[Seen],
        target: Target,
        *,
        skipped: Sequence[BadFile] = (),
        notes: Sequence[str] = (),
        sides: Sequence[Side | None] | None = None,
    ):
        self.source = source
        self.target = target
        self.skipped = tuple(skipped)
        self.sides = tuple(sides) if sides is not None else None
        self._entries = tuple(entries)
        self._seen = tuple(seen)
        shapes = {one.shape for one in seen}
        self._native = shapes.pop() if len(shapes) == 1 else None
        self._decoded = Decoded(self._read)
        self.notes = (*notes, *_told(seen), *left_out(skipped))

    def __len__(self) -> int:
        """The number of images."""
        return len(self._entries)

    def name_of(self, index: int) -> str:
        """The image's path as it was named: relative to the folder, or as in the table."""
        return self._entries[index].name

    def path_of(self, index: int) -> Path:
        """Where the image's file is."""
        return Path(self._entries[index].path)

    def digest(self, index: int) -> str:
        """The SHA-256 (hex) of the file's bytes."""
        return self._seen[index].digest.hex()

    def native_shape(self) -> tuple[int, ...] | None:
        """Height, width and channels (1 or 3) that all have when upright, or ``None`` where they differ."""
        return self._native

    def batch(self, indices: Sequence[int] | np.ndarray, form: InputForm) -> np.ndarray:
        """The images as float32 ``(len(indices), *form.shape)``; flattened to a vector form of as many values."""
        native = self._native
        if form.kind == "image":
            return self._decoded.batch(indices, form)
        if native is None or form.kind == "text" or prod(native) != prod(form.shape):
            what = f"These images cannot take the form that the network wants: {form.kind} {form.shape}."
            raise DataError(what, received=f"images of {native or 'several sizes'}")
        rows = self._decoded.batch(indices, InputForm("image", native))
        return rows.reshape(len(rows), *form.shape)

    def _read(self, index: int, form: InputForm) -> np.ndarray:
        entry = self._entries[index]
        fix = "Open the data set again."
        try:
            content = read_bytes(entry.path)
            if hashlib.sha256(content).digest() == self._seen[index].digest:
                return fit_image(decode(content), form)
        except UnreadableImage as error:
            what = f"'{entry.path}' could be read when the data set was opened, and no more: {error}."
            raise DataError(what, fix=fix) from error
        what = f"'{entry.path}' has changed since the data set was opened."
        raise DataError(what, fix=fix)


def _told(seen: Sequence[Seen]) -> list[str]:
    counts = Counter(text for one in seen for text in one.told)
    return [f"{'1 image is' if n == 1 else f'{n} images are'} {text}." for text, n in sorted(counts.items())]


def left_out(skipped: Sequence[BadFile]) -> list[str]:
    """A line that names the files that were left out, if there are any."""
    if not skipped:
        return []
    named = ", ".join(file.path for file in skipped[:5]) + (", ..." if len(skipped) > 5 else "")
    some = "1 file that cannot be read is" if len(skipped) == 1 else f"{len(skipped)} files that cannot be read are"
    return [f"{some} left out: {named}."]


def read_images(paths: Sequence[Path], *, skip_bad: bool = False, step: Step | None = None) -> ImageFiles:
    """Single image files, unlabelled, in the order given.

    Args:
        paths: The files; whatever their extension, they are meant as images.
        skip_bad: Leave out files that cannot be read, instead of stopping.
        step: Told how many files have been read, and of how many.

    Returns:
        The images.

    Raises:
        DataError: Files cannot be read; the message lists all of them.
    """
    entries = [ImageEntry(str(path), shown_name(path)) for path in paths]
    source = entries[0].name if len(entries) == 1 else f"{len(entries)} files"
    entries, seen, bad = readable(source, entries, skip_bad=skip_bad, step=step)
    return ImageFiles(source, entries, seen, no_target(len(entries)), skipped=bad)
