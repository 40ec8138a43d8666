"""Weights in an ``.npz`` file: one ``.npy`` of plain numbers for each tensor."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tensor import MAX_RATIO, Tensor, by_name, reading

if TYPE_CHECKING:
    import numpy as np

_FORM = "an .npz file"


@contextmanager
def opened(file: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of an ``.npz`` file, in its order; nothing in it is ever unpickled.

    Args:
        file: The file.

    Yields:
        The tensors by name, such as ``hidden1/kernel``.

    Raises:
        WeightsError: if it is none, is damaged, holds objects, or claims other sizes than are stored.
    """
    with reading(file, _FORM):
        archive = zipfile.ZipFile(file)
    with archive:
        with reading(file, _FORM):
            tensors = by_name(file, [_tensor(file, archive, info) for info in archive.infolist()])
        yield tensors


def _tensor(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    name = info.filename.removesuffix(".npy")
    with archive.open(info) as stream:
        shape, dtype = _header(stream)
        stored = info.file_size - stream.tell()
    if dtype.hasobject:
        what = f"'{name}' holds Python objects, which are not read: they could run any code"
        raise ValueError(what)
    if prod(shape) * dtype.itemsize != stored or info.file_size > MAX_RATIO * max(info.compress_size, 1):
        what = f"'{name}' claims {prod(shape) * dtype.itemsize} bytes; {info.compress_size} are stored"
        raise ValueError(what)
    bfloat16 = dtype.kind == "V" and dtype.names is None and dtype.itemsize == 2  # NumPy stores it without its name

    def read() -> "np.ndarray":
        import ml_dtypes
        from numpy.lib.format import read_array

        with reading(file, _FORM), archive.open(info) as stream:
            values = read_array(stream, allow_pickle=False)
            return values.view(ml_dtypes.bfloat16) if bfloat16 else values

    return Tensor(name, shape, "bfloat16" if bfloat16 else dtype.name, read)


def _header(stream: Any) -> tuple[tuple[int, ...], "np.dtype[Any]"]:
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if reader is None:
        what = f"its arrays are of version {version} of the npy format"
        raise ValueError(what)
    shape, _, dtype = reader(stream)
    return shape, dtype
