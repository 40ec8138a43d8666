"""Whatever the user names, as a data set."""

import importlib
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.arrays import ArrayData
from zoo.data.class_choice import chosen_classes, of_classes
from zoo.data.csv_file import is_table
from zoo.data.dataset import Dataset
from zoo.data.decoded import Step
from zoo.data.decoding import UnreadableImage, image_format
from zoo.data.folder import read_folder
from zoo.data.images import read_bytes
from zoo.data.naming import naming
from zoo.data.npz import read_npz
from zoo.data.table import read_table
from zoo.data.targets import check_asked
from zoo.errors import DataError, close_matches

BUILTIN: dict[str, dict[str, type]] = {
    "digits": {"classes": str},
    "characters": {"examples": int, "seed": int, "size": int, "classes": str},
}
"""The built-in data, and the arguments that each takes after a colon; ``classes`` are chosen of the finished data."""


def open_data(
    source: "str | os.PathLike[str] | Dataset | np.ndarray | Sequence[np.ndarray | None]",
    *,
    skip_bad: bool = False,
    target: str = "auto",
    label_column: str | Sequence[str] | None = None,
    path_column: str | None = None,
    text_column: str | None = None,
    feature_columns: Sequence[str] | None = None,
    step: Step | None = None,
) -> Dataset:
    """Open a data set, whatever it is kept in.

    Args:
        source: A folder of class folders, or of images; a ``.csv``; an ``.npz``; a pair of arrays ``(x, y)``, or ``x``
            alone, unlabelled; a data set, returned as it is; or a built-in name, ``digits`` or ``characters``, with
            arguments after a colon: ``characters:examples=20000,seed=3``, ``digits:classes=0-4``. A file of such a
            name is written ``./digits``.
        skip_bad: Leave out image files that cannot be read, instead of stopping.
        target: ``auto``, or what is to be predicted: ``classes``, ``labels``, ``numbers``, ``none``.
        label_column: The column, or columns, of a CSV to be predicted.
        path_column: The column of a CSV that holds image paths, relative to the CSV's folder.
        text_column: The column of a CSV that holds texts.
        feature_columns: The columns of a CSV that hold numeric features.
        step: Told how many image files have been read, and of how many: ``step(done, total)``.

    Returns:
        The data set, every file of which has been read once.

    Raises:
        DataError: It is not there, is none of these, or holds what cannot be read.

    Example:
        >>> data = open_data((np.zeros((2, 8, 8), np.uint8), ["no", "yes"]))
        >>> len(data), data.kind, data.classes
        (2, 'image', ('no', 'yes'))
    """
    check_asked(target)
    columns: dict[str, Any] = {
        "label_column": label_column,
        "path_column": path_column,
        "text_column": text_column,
        "feature_columns": feature_columns,
    }
    if not isinstance(source, (str, os.PathLike)):
        return _in_memory(source, columns, target, skip_bad)
    name, _, arguments = str(source).partition(":")
    if isinstance(source, str) and name in BUILTIN:
        _no_columns(columns, "built-in data")
        return _builtin(source, name, arguments, target)
    path = Path(os.path.expanduser(source))
    if not os.path.exists(path):
        raise _missing(path)
    if path.is_dir():
        _no_columns(columns, "a folder")
        return read_folder(path, skip_bad=skip_bad, target=target, step=step)
    if path.suffix.lower() == ".npz":
        _no_columns(columns, "an .npz")
        return read_npz(path, target=target)
    if is_table(path):
        return read_table(path, skip_bad=skip_bad, target=target, step=step, **columns)
    what = f"'{path}' is not a kind of data that can be read."
    raise DataError(what, expected="a folder, a .csv, an .npz, or a built-in name", received=_looks(path))


def _looks(path: Path) -> str:
    try:
        found = image_format(read_bytes(path)[:32])
    except UnreadableImage as error:
        return str(error)
    if found:
        return f"one {found} image; zoo predict takes single files"
    return f"a file with the extension {path.suffix!r}" if path.suffix else "a file without extension"


def _no_columns(columns: dict[str, Any], of: str) -> None:
    for name, value in columns.items():
        if value is not None:
            what = f"{name}={value!r} was given for {of}, which has no columns."
            raise DataError(what, fix="Leave it out: it belongs to a .csv.")


def _in_memory(source: Any, columns: dict[str, Any], target: str, skip_bad: bool) -> Dataset:
    if isinstance(source, Dataset):
        _no_columns(columns, "a data set that is open already")
        _check_open(source, target, skip_bad)
        return source
    if hasattr(source, "__array__"):
        source = (source, None)
    listed = isinstance(source, list) and len(source) == 2 and hasattr(source[0], "__array__")
    if isinstance(source, tuple) or listed:
        _no_columns(columns, "arrays")
        return _pair(tuple(source), target)
    what = "This is not a kind of data that can be read."
    expected = "a path, a built-in name, arrays (x, y), an array x alone, or an open data set"
    raise DataError(what, expected=expected, received=f"a {type(source).__name__}", fix="Give the arrays as (x, y).")


def _check_open(data: Dataset, target: str, skip_bad: bool) -> None:
    """What is open already cannot be opened in another way."""
    if target not in ("auto", data.target.kind):
        what = f"target={target!r} was given for a data set that is open already."
        received = f"'{data.source}', whose target is of the kind {data.target.kind!r}"
        raise DataError(what, received=received, fix="Say target where it is opened.")
    if skip_bad and not data.skipped:
        what = "skip_bad=True was given for a data set that is open already, and left nothing out."
        raise DataError(what, fix="Say skip_bad where it is opened.")


def _pair(source: tuple, target: str) -> Dataset:
    if len(source) != 2:
        what = "A tuple of another length than two was given as data."
        raise DataError(what, expected="(x, y); y may be None", received=f"{len(source)} items")
    x, y = source
    try:
        x, y = np.asarray(x), None if y is None else np.asarray(y)
    except ValueError as error:
        what = "The data (x, y) cannot be made into arrays."
        raise DataError(what, expected="examples all of one shape", received=str(error)) from error
    return ArrayData(x, y, target=target)


def _builtin(source: str, name: str, arguments: str, target: str) -> Dataset:
    known, given = BUILTIN[name], {}
    for argument in arguments.split(",") if arguments else []:
        key, _, value = (part.strip() for part in argument.partition("="))
        if key not in known:
            what = f"{source!r}: the built-in data '{name}' has no argument {key!r}."
            raise DataError(what, fix=close_matches(key, known))
        try:
            given[key] = known[key](value)
        except ValueError as error:
            what = f"{source!r}: the argument {key} is not of its type."
            raise DataError(what, expected="a whole number", received=repr(value)) from error
    wanted = given.pop("classes", None)
    x, y, classes = importlib.import_module(f"zoo.data.builtin.{name}").load(**given)
    if wanted is None:
        return ArrayData(x, y, classes=classes, target=target, source=source)
    with naming(source):
        chosen = chosen_classes(wanted, classes)
    kept, y = of_classes(chosen, y)
    rows = [f"row {index}" for index in kept]  # of the whole data set
    named = [classes[place] for place in chosen]
    return ArrayData(x[kept], y, classes=named, target=target, names=rows, source=source)


def _missing(path: Path) -> DataError:
    try:
        siblings, where = os.listdir(path.parent), ""
    except OSError:  # the path's folder is missing too, and that is the news
        siblings, where = [], f" Nor is there a folder '{path.parent}'."
    known = [*(name for name in siblings if not name.startswith(".")), *BUILTIN]
    near = get_close_matches(path.name, known)
    return DataError(
        f"There is no file or folder '{path}'.{where}", fix=close_matches(path.name, near) if near else None
    )
