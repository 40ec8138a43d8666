"""A CSV as a data set: of images, of numeric features, or of texts."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.data.arrays import ArrayData
from zoo.data.csv_file import Table, read_csv
from zoo.data.dataset import Dataset, Kind, TakenColumns
from zoo.data.decoded import Step
from zoo.data.files import EXTENSIONS, ImageEntry, ImageFiles, readable
from zoo.data.naming import naming
from zoo.data.targets import find_target
from zoo.errors import DataError

LABEL_NAMES = ("label", "labels", "class", "classes", "target", "targets", "y", "category", "tags")
"""A column of one of these names is the target, whatever its case."""
TEXT_NAMES = ("text", "texts", "sentence", "review", "comment", "message", "content")
SEPARATORS = ("|", ";")
"""What divides the labels in one cell."""


@dataclass(frozen=True)
class Columns:
    """What each column of a table is for."""

    kind: Kind
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    unused: tuple[str, ...]

    def taken(self) -> TakenColumns:
        """The columns under the names by which they are asked for."""
        (first, *_) = self.inputs
        return TakenColumns(
            label_column=self.labels,
            path_column=first if self.kind == "image" else None,
            text_column=first if self.kind == "text" else None,
            feature_columns=self.inputs if self.kind == "vector" else (),
        )

    def notes(self) -> list[str]:
        """How the table was taken, in words."""
        inputs = f"{len(self.inputs)} columns" if len(self.inputs) > 3 else ", ".join(map(repr, self.inputs))
        what = {"image": "image paths", "text": "texts"}.get(self.kind, "numeric features")
        target = f"the target is {', '.join(map(repr, self.labels[:5]))}" if self.labels else "there is no target"
        notes = [f"Columns: {inputs} as {what}; {target}."]
        if self.unused:
            notes.append(f"Columns not used: {', '.join(map(repr, self.unused))}.")
        return notes


def read_table(
    path: str | Path,
    *,
    skip_bad: bool = False,
    target: str = "auto",
    label_column: str | Sequence[str] | None = None,
    path_column: str | None = None,
    text_column: str | None = None,
    feature_columns: Sequence[str] | None = None,
    step: Step | None = None,
) -> Dataset:
    """Read a CSV of image paths, of numeric features, or of texts, with or without targets.

    A column of image paths makes it images; a column of free text makes it texts; else its numeric columns are the
    features. The target is the column named label, class, target or y, else the last. Cells divided by ``|`` or ``;``
    are several labels; numbers with decimals are numbers.

    Args:
        path: The file. Image paths are relative to its folder.
        skip_bad: Leave out images that cannot be read, instead of stopping.
        target: ``auto``, or what is to be predicted: ``classes``, ``labels``, ``numbers``, ``none``.
        label_column: The target's column; several for 0/1 labels or several numbers.
        path_column: The column of image paths.
        text_column: The column of texts.
        feature_columns: The columns of features.
        step: Told how many images have been read, and of how many.

    Returns:
        The data set; its notes say what each column was taken for.

    Raises:
        DataError: The table is not in order, a value is missing, or a column's use is not clear.
    """
    table = read_csv(path)
    with naming(path):
        labels = (label_column,) if isinstance(label_column, str) else tuple(label_column or ())
        said = {"image": path_column, "text": text_column, "vector": tuple(feature_columns or ()) or None}
        columns = _columns(table, labels, {kind: value for kind, value in said.items() if value}, target)
        y, names, asked, notes = _target(table, columns.labels, target)
    notes = [*columns.notes(), *notes]
    if columns.kind == "image":
        images = _images(table, columns.inputs[0], (y, names, asked), notes, skip_bad, step)
        images.columns = columns.taken()
        return images
    with naming(path):
        if columns.kind == "text":
            x = np.array(table.filled(columns.inputs[0]), object)
        else:
            x = np.array([table.numbers(column) for column in columns.inputs]).T
        rows = [f"row {number}" for number, _ in table.rows]
        data = ArrayData(x, y, classes=names, target=asked, kind=columns.kind, names=rows, source=str(path))
    data.notes = (*notes, *data.notes)
    data.columns = columns.taken()
    return data


def _images(
    table: Table, column: str, target: tuple, notes: list[str], skip_bad: bool, step: Step | None
) -> ImageFiles:
    y, names, asked = target
    folder = table.path.parent
    with naming(table.path):
        entries = [ImageEntry(str(folder / cell), cell) for cell in table.filled(column)]
    kept, seen, bad = readable(str(table.path), entries, skip_bad=skip_bad, step=step)
    if y is not None and bad:
        left = {id(entry) for entry in kept}
        y = y[[i for i, entry in enumerate(entries) if id(entry) in left]]
    with naming(table.path):
        found, more = find_target(y, len(kept), asked=asked, names=names)
    return ImageFiles(str(table.path), kept, seen, found, skipped=bad, notes=[*notes, *more])


def _columns(table: Table, labels: tuple[str, ...], said: dict, target: str) -> Columns:
    """Decide what each column is for."""
    if len(said) > 1:
        what = f"A table is of one kind, but columns were given for {', '.join(said)}."
        raise DataError(what, expected="one of path_column, text_column, feature_columns")
    for column in labels:
        table.known(column)
    if said:
        ((kind, value),) = said.items()
        inputs = (value,) if isinstance(value, str) else value
        for column in inputs:
            table.known(column)
        twice = [column for column in inputs if column in labels]
        if twice:
            what = f"The column {twice[0]!r} was given as input and as target."
            raise DataError(what, fix="Give it as one of them.")
        if target != "none":
            labels = labels or _found_labels(table, [c for c in table.header if c not in inputs])
    else:
        kind, inputs, labels = _found(table, labels, target)
    if target == "none":
        labels = ()
    unused = tuple(c for c in table.header if c not in inputs and c not in labels)
    return Columns(kind, inputs, labels, unused)


def _found(table: Table, labels: tuple[str, ...], target: str) -> tuple[Kind, tuple[str, ...], tuple[str, ...]]:
    """The kind, the inputs and the targets of a table of which nothing was said but, perhaps, the targets."""
    named = labels or _named_labels(table, several=target == "none")
    free = [column for column in table.header if column not in named]
    paths = [column for column in free if _holds_paths(table, column)]
    if paths:
        rest = [column for column in free if column != paths[0]]
        return "image", (paths[0],), named or _found_labels(table, rest)
    texts = [column for column in free if _holds_text(table, column)]
    words = [column for column in free if not table.numeric(column)]
    if not named and target != "none" and len(free) > 1 and (texts[:1] != free[-1:] or len(texts) > 1):
        named = (free[-1],)
        free, texts, words = ([c for c in some if c != named[0]] for some in (free, texts, words))
    if not free:
        what = "No column is left for the input."
        raise DataError(what, received=f"columns {', '.join(table.header)}")
    if len(texts) == 1 or (len(free) == 1 and words):
        return "text", ((texts or words)[0],), named
    if words:
        what = f"It is not clear what the column {words[0]!r} is for: it holds no numbers."
        fix = "Say text_column for texts, path_column for images, or feature_columns for the numeric ones."
        raise DataError(what, received=f"for instance {table.cells(words[0])[0]!r}", fix=fix)
    return "vector", tuple(free), named


def _named_labels(table: Table, several: bool = False) -> tuple[str, ...]:
    named = tuple(column for column in table.header if column.casefold() in LABEL_NAMES)
    if len(named) > 1 and not several:
        what = f"Several columns are named like a target: {', '.join(named)}."
        raise DataError(what, expected="one", fix="Say which with label_column.")
    return named


def _found_labels(table: Table, rest: list[str]) -> tuple[str, ...]:
    return tuple(c for c in _named_labels(table) if c in rest) or tuple(rest[-1:])


def _holds_paths(table: Table, column: str) -> bool:
    """Whether a column's cells end like images, or name files that exist."""
    cells = [cell for cell in table.cells(column) if cell]
    if not cells or table.numeric(column):
        return False
    if all(Path(cell).suffix.lower() in EXTENSIONS for cell in cells):
        return True
    return all(os.path.isfile(table.path.parent / cell) for cell in cells[:20])


def _holds_text(table: Table, column: str) -> bool:
    """Whether a column is named like a text, or most of its cells are of several words."""
    if table.numeric(column):
        return False
    cells = table.cells(column)
    return column.casefold() in TEXT_NAMES or sum(len(cell.split()) > 2 for cell in cells) > len(cells) / 2


def _target(
    table: Table, labels: tuple[str, ...], target: str
) -> tuple[np.ndarray | None, Sequence[str] | None, str, list[str]]:
    """The stored targets, the names of their columns, what kind they are said to be, and notes."""
    if target == "none" or not labels:
        return None, None, target, []
    column, *others = labels
    if others:
        return np.array([table.numbers(column) for column in labels]).T, labels, target, []
    cells = [unicodedata.normalize("NFC", cell) for cell in table.cells(column)]
    numeric = table.numeric(column)
    mark = next((mark for mark in SEPARATORS if any(mark in cell for cell in cells)), None)
    if not numeric and target in ("auto", "labels") and (mark or target == "labels"):
        if target == "auto":
            table.filled(column, "Fill it in, or remove the row; --target labels takes an empty cell as no label.")
        matrix, names = _several(cells, mark)
        note = [f"The cells of {column!r} are divided at {mark!r}: several labels for each example."] if mark else []
        return matrix, names, "labels", note
    if not numeric:
        table.filled(column)
        return np.array(cells), None, target, []
    if all(cell == str(int(cell)) for cell in cells if _whole(cell)) and all(map(_whole, cells)):
        return (
            np.array([int(cell) for cell in cells]),
            [column] if target in ("numbers", "labels") else None,
            target,
            [],
        )
    if all(map(_whole, cells)) and target != "numbers":  # 007 is a name
        return np.array(cells), None, target, []
    values = np.array(table.numbers(column))
    return values, None if target == "classes" else [column], target, []


def _whole(cell: str) -> bool:
    return cell.removeprefix("-").isdecimal() and cell.isascii() and len(cell) < 19


def _several(cells: list[str], mark: str | None) -> tuple[np.ndarray, list[str]]:
    """Cells of several labels as 0/1 columns, one for each label, ordered by code point."""
    sets = [{part.strip() for part in (cell.split(mark) if mark else [cell])} - {""} for cell in cells]
    names = sorted(set().union(*sets))
    return np.array([[name in labels for name in names] for labels in sets], np.float32), names
