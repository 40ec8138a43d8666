"""Tables of plain text, for a terminal and for ``plan.txt``."""

import unicodedata
from collections.abc import Sequence
from typing import Any


def width_of(text: str) -> int:
    """How many columns a text takes: Korean, Chinese and Japanese characters take two.

    Example:
        >>> width_of("abc"), width_of("한글")
        (3, 4)
    """
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def text_table(header: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> str:
    """Aligns rows under a header.

    Args:
        header: The columns' names.
        rows: The cells, written with ``str``.
        right: The columns that are aligned to the right, such as numbers.

    Returns:
        The table's lines, without trailing blanks.

    Example:
        >>> print(text_table(("block", "parameters"), [("block1", 120)], right=(1,)))
        block   parameters
        block1         120
    """
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(width_of(row[i]) for row in cells) for i in range(len(header))]

    def pad(text: str, column: int) -> str:
        blanks = " " * (widths[column] - width_of(text))
        return blanks + text if column in right else text + blanks

    return "\n".join("  ".join(pad(cell, i) for i, cell in enumerate(row)).rstrip() for row in cells)
