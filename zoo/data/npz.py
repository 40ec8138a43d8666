"""Data in an ``.npz`` file."""

import zipfile
import zlib
from math import prod
from pathlib import Path

import numpy as np

from zoo.data.arrays import ArrayData
from zoo.data.naming import naming
from zoo.errors import DataError, close_matches

KEYS = ("x", "y", "classes")
MAX_RATIO = 1100
"""Deflate packs at most about 1,032 to 1."""
_FAULTS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def read_npz(path: str | Path, *, target: str = "auto") -> ArrayData:
    """Read an ``.npz`` with ``x`` and, optionally, ``y`` and ``classes``; nothing in it is ever unpickled.

    Args:
        path: The file.
        target: What y is said to be; see `ArrayData`.

    Returns:
        The data, all in memory.

    Raises:
        DataError: It is no ``.npz``, has other keys, holds objects, or claims a size that it does not have.
    """
    try:
        sizes = _claims(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in sizes}
    except MemoryError as error:
        what = f"'{path}' does not fit in memory."
        raise DataError(what, fix="Store the images as files in class folders: they are read as needed.") from error
    except _FAULTS as error:
        what = f"'{path}' cannot be read as an .npz file."
        raise DataError(what, received=str(error) or type(error).__name__) from error
    classes = [str(name) for name in arrays["classes"].ravel()] if "classes" in arrays else None
    with naming(path):
        return ArrayData(arrays["x"], arrays.get("y"), classes=classes, target=target, source=str(path))


def _claims(path: str | Path) -> list[str]:
    """The keys, after what every header claims has been compared with what is stored."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        _check_keys(path, list(members))
        for key, info in members.items():
            with archive.open(info) as file:
                shape, dtype = _header(file)
                stored = info.file_size - file.tell()
            if dtype.hasobject:
                what = f"'{path}': {key!r} holds Python objects, which are not read: they could run any code."
                raise DataError(what, fix="Store a plain array of numbers or strings, all of one shape.")
            claimed = prod(shape) * dtype.itemsize
            if claimed != stored or info.file_size > MAX_RATIO * max(info.compress_size, 1):
                what = f"'{path}': {key!r} is damaged: its header claims more or less than is stored."
                received = f"{stored} in {info.compress_size} compressed"
                raise DataError(what, expected=f"{claimed} bytes", received=received)
    return list(members)


def _check_keys(path: str | Path, found: list[str]) -> None:
    strange = sorted(set(found) - set(KEYS))
    if "x" not in found or strange:
        what = f"'{path}' does not have the arrays that are read."
        near = close_matches(strange[0], KEYS) if strange else ""
        fix = f"Save it with numpy.savez(path, x=..., y=...). {near}".strip()
        raise DataError(what, expected="x, and optionally y and classes", received=", ".join(found) or "none", fix=fix)


def _header(file) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if reader is None:
        what = f"its arrays are of version {version} of the npy format"
        raise ValueError(what)
    shape, _, dtype = reader(file)
    return shape, dtype
