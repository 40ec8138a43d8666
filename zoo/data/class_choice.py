"""Some of a data set's classes: ``0-4``, ``A-E+x``."""

from collections.abc import Sequence

import numpy as np

from zoo.errors import DataError, close_matches


def chosen_classes(text: str, known: Sequence[str]) -> tuple[int, ...]:
    """The classes that a text names.

    Args:
        text: Names, and ranges ``FIRST-LAST`` in the data's own order, both ends included; several are joined by
            ``+``.
        known: The data's classes, in its order; none has ``-`` or ``+`` in its name.

    Returns:
        Their places in ``known``, ascending.

    Raises:
        DataError: The text is empty, names what is not there or a class twice, or a range runs backwards.

    Example:
        >>> chosen_classes("7+0-2", "0123456789")
        (0, 1, 2, 7)
    """
    found: list[int] = []
    for part in text.split("+"):
        first, dash, last = (end.strip() for end in part.partition("-"))
        start, stop = _place(first, text, known), _place(last if dash else first, text, known)
        if stop < start:
            what = f"The range {part.strip()!r} of classes runs backwards."
            raise DataError(what, expected=f"'{last}-{first}'", received=repr(text))
        found += range(start, stop + 1)
    twice = next((i for i in found if found.count(i) > 1), None)
    if twice is not None:
        what = f"The class {known[twice]!r} is chosen twice."
        raise DataError(what, received=repr(text), fix="Name each class once.")
    return tuple(sorted(found))


def _place(name: str, text: str, known: Sequence[str]) -> int:
    if name in known:
        return known.index(name)
    what = f"There is no class {name!r}." if name else "A choice of classes is incomplete."
    expected = f"names, or ranges such as '{known[0]}-{known[-1]}'; several joined by '+'"
    raise DataError(what, expected=expected, received=repr(text), fix=close_matches(name, known) if name else None)


def of_classes(places: Sequence[int], y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which examples are of the chosen classes, and their targets counted among these alone.

    Args:
        places: The chosen classes, ascending.
        y: Each example's class, int64 ``(n,)``.

    Returns:
        The indices of the examples kept, ascending; their classes, from 0, in the order of ``places``.

    Example:
        >>> kept, targets = of_classes((5, 7), np.array([7, 1, 5]))
        >>> kept.tolist(), targets.tolist()
        ([0, 2], [1, 0])
    """
    kept = np.flatnonzero(np.isin(y, places))
    return kept, np.searchsorted(np.asarray(places), y[kept])
