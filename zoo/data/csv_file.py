"""A CSV file, read strictly: every row as long as its header."""

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

from zoo.data.naming import naming
from zoo.errors import DataError, close_matches

ENDINGS = (".csv", ".tsv")
DELIMITERS = (",", ";", "\t")
MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?"))
"""What stands for a missing number; in texts, paths and labels only the empty cell is missing."""


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether a path is read as a table: by its ending, whatever its case.

    Example:
        >>> is_table("A.CSV"), is_table("a.npz")
        (True, False)
    """
    return Path(path).suffix.lower() in ENDINGS


@dataclass(frozen=True)
class Table:
    """A CSV's cells, as strings. Rows are numbered as a spreadsheet does: the header is row 1."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, list[str]], ...]

    def cells(self, column: str) -> list[str]:
        """A column's cells, without surrounding blanks."""
        place = self.header.index(column)
        return [row[place].strip() for _, row in self.rows]

    def filled(self, column: str, fix: str = "Fill it in, or remove the row.") -> list[str]:
        """A column's cells, none of which may be empty."""
        cells = self.cells(column)
        for (number, _), cell in zip(self.rows, cells, strict=True):
            if not cell:
                what = f"Row {number} has no value in the column {column!r}."
                raise DataError(what, fix=fix)
        return cells

    def numeric(self, column: str) -> bool:
        """Whether a column holds numbers, missing ones left aside."""
        cells = [cell for cell in self.cells(column) if cell.casefold() not in MISSING]
        return bool(cells) and all(_number(cell) is not None for cell in cells)

    def numbers(self, column: str) -> list[float]:
        """A column's numbers, none of which may be missing."""
        numbers = []
        for (number, _), cell in zip(self.rows, self.cells(column), strict=True):
            value = _number(cell)
            if value is None or value != value or value in (float("inf"), float("-inf")):
                missing = cell.casefold() in MISSING
                what = f"Row {number} has no number in the column {column!r}."
                fix = "Fill it in, or remove the row." if missing else "Mend the cell, or leave the column out."
                raise DataError(what, received=repr(cell), fix=fix)
            numbers.append(value)
        return numbers

    def known(self, column: str) -> str:
        """The column of that name, which must exist."""
        if column not in self.header:
            what = f"There is no column {column!r}."
            raise DataError(what, fix=close_matches(column, self.header))
        return column


def read_csv(path: str | Path) -> Table:
    """Read a CSV: UTF-8 with or without BOM, a header, columns divided by comma, semicolon or tab.

    Args:
        path: The file.

    Returns:
        Its cells.

    Raises:
        DataError: It is not UTF-8, has no rows, an unnamed or repeated column, or a row of another length.
    """
    with naming(path):
        text = _text(Path(path))
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
        try:
            rows = list(enumerate(lines, 1))
        except csv.Error as error:
            what = f"Line {lines.line_num} cannot be read as CSV."
            raise DataError(what, received=str(error)) from error
        rows = [(number, row) for number, row in rows if any(cell.strip() for cell in row)]
        if len(rows) < 2:
            what = "The table has no rows."
            raise DataError(what, expected="a header, and a row for each example")
        header = tuple(name.strip() for name in rows[0][1])
        _check_header(header)
        for number, row in rows[1:]:
            if len(row) != len(header):
                what = f"Row {number} is of another length than the header."
                fix = "Write quotes around a cell that holds the delimiter." if len(row) > len(header) else None
                raise DataError(what, expected=f"{len(header)} cells", received=str(len(row)), fix=fix)
        return Table(Path(path), header, tuple(rows[1:]))


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        what = f"Line {row} is not UTF-8."
        raise DataError(what, received=f"byte 0x{error.object[error.start]:02x}", fix="Save it as UTF-8.") from error
    except OSError as error:
        what = "It cannot be read."
        raise DataError(what, received=error.strerror) from error
    if "\0" in text:
        what = f"Line {text[: text.index(chr(0))].count(chr(10)) + 1} holds a NUL byte: this is no text file."
        raise DataError(what, expected="a CSV in UTF-8")
    return text


def _delimiter(text: str) -> str:
    """The delimiter that divides the header into most columns; a comma where none does."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(DELIMITERS, key=lambda mark: (len(next(csv.reader([first], delimiter=mark), [])), mark == ","))


def _check_header(header: tuple[str, ...]) -> None:
    for place, name in enumerate(header, 1):
        if not name:
            what = f"Column {place} has no name."
            fix = "Name it; if it is the index that pandas wrote, save with index=False."
            raise DataError(what, expected="a header with a name for each column", fix=fix)
        if name in header[: place - 1]:
            what = f"Two columns are named {name!r}."
            raise DataError(what, expected="names that differ", fix="Rename one of them in the header.")
    if all(_number(name) is not None for name in header):
        what = "The first row is all numbers: the table seems to have no header."
        raise DataError(what, received=", ".join(header[:5]), fix="Add a first row with a name for each column.")


def _number(cell: str) -> float | None:
    if "_" in cell:  # float() takes 1_000, which no spreadsheet writes
        return None
    try:
        return float(cell)
    except ValueError:
        return None
