"""Weights in a ``.keras`` file, which is a zip of configuration and weights.

Both are read as data: no layer is made, so nothing that the configuration asks for happens.
"""

import json
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from . import h5
from .tensor import Tensor, reading

_FORM = "a .keras file"
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_CONFIG_LIMIT = 64 * 1024 * 1024
_WEIGHTS_RATIO = 100
"""Weights hardly pack at all, and Keras stores them unpacked."""


@contextmanager
def opened(file: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of a ``.keras`` file; the network itself is not loaded.

    Args:
        file: The file.

    Yields:
        The tensors by the layer's name and the variable's number, such as ``hidden1/0``.

    Raises:
        WeightsError: if it is none, or is damaged.
    """
    with ExitStack() as stack:
        with reading(file, _FORM):
            archive = stack.enter_context(zipfile.ZipFile(file))
            names = dict(_names_of(json.loads(_config(archive))))
            part = Path(stack.enter_context(tempfile.TemporaryDirectory())) / _WEIGHTS
            _take_out(archive, part)
        yield stack.enter_context(h5.opened(part, called=file, names=names))


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        what = f"it holds {name} {len(found)} times"
        raise ValueError(what)
    return found[0]


def _config(archive: zipfile.ZipFile) -> bytes:
    info = _member(archive, _CONFIG)
    if info.file_size > _CONFIG_LIMIT:
        what = f"its {_CONFIG} claims {info.file_size} bytes"
        raise ValueError(what)
    return archive.read(info)


def _take_out(archive: zipfile.ZipFile, part: Path) -> None:
    """HDF5 wants a file of its own; on the way, the zip's checksum is compared."""
    info = _member(archive, _WEIGHTS)
    if info.file_size > _WEIGHTS_RATIO * max(info.compress_size, 1):
        what = f"its {_WEIGHTS} claims {info.file_size} bytes; {info.compress_size} are stored"
        raise ValueError(what)
    with archive.open(info) as source, part.open("wb") as target:
        shutil.copyfileobj(source, target)


def _names_of(config: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """The names of layers by their groups in the weights, which Keras before 3.6 did not hold.

    Keras numbers the groups by class: ``layers/dense``, ``layers/dense_1``.
    """
    inner = config.get("config") if isinstance(config, dict) else None
    entries = inner.get("layers") if isinstance(inner, dict) else None
    numbers: Counter[str] = Counter()
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or "class_name" not in entry:
            continue  # a subclassed model's own setting that is called `layers`
        group = _snake_case(str(entry["class_name"]))
        path = f"{above}layers/{group}{f'_{numbers[group]}' if numbers[group] else ''}"
        numbers[group] += 1
        settings = entry.get("config")
        name = entry.get("name") or (settings.get("name") if isinstance(settings, dict) else None)
        if isinstance(name, str):
            yield path, name
        yield from _names_of(entry, f"{path}/")


def _snake_case(name: str) -> str:
    """As Keras does it."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
