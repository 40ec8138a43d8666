"""Weights in safetensors: names and arrays, nothing else.

The header is small JSON, so shapes and parameter counts are known without loading anything.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import completed
from ..errors import WeightsError
from .tensor import Tensor, reading

if TYPE_CHECKING:
    import keras
    import numpy as np

_HEADER_LIMIT = 100 * 1024 * 1024
_NUMPY_NAMES = {"BOOL": "bool", "BF16": "bfloat16", "I": "int", "U": "uint", "F": "float"}


def read_header(file: Path) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor in a file, from its header alone.

    Raises:
        WeightsError: if the file is not safetensors, or names a tensor twice (the specification forbids it; the library
            accepts it).
    """
    try:
        header = _whole_header(file)
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as reason:
        what = f"{file} is not a safetensors file: {reason}."
        raise WeightsError(what) from None


def metadata_of(file: Path) -> dict[str, str]:
    """The words that a file holds beside its tensors, from its header alone.

    Raises:
        WeightsError: if the file is not safetensors.
    """
    read_header(file)
    return dict(_whole_header(file).get("__metadata__", {}))


def _whole_header(file: Path) -> dict[str, Any]:
    import json

    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_HEADER_LIMIT, file.stat().st_size - 8):
            what = "its header's length is impossible"
            raise ValueError(what)
        return json.loads(stream.read(length), object_pairs_hook=_no_duplicates)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        what = "its header names a tensor twice"
        raise ValueError(what)
    return table


def parameter_count(file: Path, skip: tuple[str, ...] = ("moving_mean", "moving_variance")) -> int:
    """The number of parameters in a file; moving statistics are not parameters."""
    return sum(math.prod(shape) for name, shape in read_header(file).items() if name.rsplit("/", 1)[-1] not in skip)


def save_weights(model: "keras.Model", file: Path) -> None:
    """Writes a model's weights, by variable path, under the final name only when complete."""
    write_tensors(file, {v.path: v.numpy() for v in model.weights})


def write_tensors(file: Path, tensors: "Mapping[str, np.ndarray]", metadata: Mapping[str, str] | None = None) -> None:
    """Writes named arrays, completely or not at all.

    The library would make one copy of everything in memory first, or rename a file of its own over the part.
    """
    import numpy as np

    held = {k: np.asarray(v) for k, v in tensors.items()}
    held = {k: v.astype(v.dtype.newbyteorder("<"), copy=False) for k, v in held.items()}
    names = sorted(held, key=lambda name: (-held[name].dtype.itemsize, name))  # so that all of them are aligned
    header = _header({name: held[name] for name in names}, metadata)
    with completed(file) as part, part.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for name in names:
            stream.write(memoryview(np.ascontiguousarray(held[name]).reshape(-1).view("u1")))


def _header(arrays: "Mapping[str, np.ndarray]", metadata: Mapping[str, str] | None) -> bytes:
    """What begins a file: JSON, filled up with spaces to 8 bytes."""
    import json

    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        table[name] = {"dtype": _code(array.dtype), "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _code(dtype: "np.dtype[Any]") -> str:
    """A type's name in the format."""
    names = {"bool": "BOOL", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}
    if dtype.name not in names and dtype.kind not in "iuf":
        what = "Safetensors cannot hold this type."
        raise WeightsError(what, expected="numbers", received=dtype.name)
    return names.get(dtype.name) or f"{dtype.kind.upper()}{8 * dtype.itemsize}"


def read_tensors(file: Path) -> "dict[str, np.ndarray]":
    """All arrays of a file, by name.

    Raises:
        WeightsError: if the file is not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    read_header(file)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as reason:
        what = f"{file} cannot be read: {reason}."
        raise WeightsError(what) from None


@contextmanager
def opened(file: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of a safetensors file, in its header's order, each read when it is asked for.

    Args:
        file: The file.

    Yields:
        The tensors by name, such as ``hidden1/kernel``.

    Raises:
        WeightsError: if the file is not safetensors.
    """
    from safetensors import safe_open

    shapes = read_header(file)
    with reading(file, "a safetensors file"):
        handle = safe_open(file, framework="numpy")
    with handle:
        yield {name: _tensor(file, handle, name, shape) for name, shape in shapes.items()}


def _tensor(file: Path, handle: Any, name: str, shape: tuple[int, ...]) -> Tensor:
    code = handle.get_slice(name).get_dtype()
    letters = code.rstrip("0123456789")
    dtype = _NUMPY_NAMES.get(code) or _NUMPY_NAMES.get(letters, letters) + code[len(letters) :]

    def read() -> "np.ndarray":
        with reading(file, "a safetensors file"):
            return handle.get_tensor(name)

    return Tensor(name, shape, dtype, read)


def load_weights(model: "keras.Model", file: Path) -> None:
    """Loads a file's weights into a model: strictly, every name and shape must fit.

    Raises:
        WeightsError: with the names that are missing (-) and left over (+), or the shapes that differ.
    """
    tensors = read_tensors(file)
    variables = {v.path: v for v in model.weights}
    missing, extra = sorted(variables.keys() - tensors.keys()), sorted(tensors.keys() - variables.keys())
    if missing or extra:
        lines = "".join([*(f"\n  - {n}" for n in missing[:20]), *(f"\n  + {n}" for n in extra[:20])])
        what = f"The weights in {file} are not this network's."
        raise WeightsError(what, received=f"{len(missing)} missing (-), {len(extra)} left over (+){lines}")
    for path, variable in variables.items():
        if tuple(variable.shape) != tensors[path].shape:
            what = f"The weights in {file} do not fit: '{path}'."
            raise WeightsError(what, expected=str(tuple(variable.shape)), received=str(tensors[path].shape))
    for path, variable in variables.items():
        variable.assign(tensors[path])
