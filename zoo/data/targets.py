"""What is to be predicted, found from the stored values or said."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from zoo.data.dataset import Target
from zoo.errors import DataError, close_matches

Asked = Literal["auto", "classes", "labels", "numbers", "none"]
MANY_CLASSES = 100


class NoTargets(DataError):
    """Targets were asked for, and the data has none."""


def check_asked(asked: str) -> None:
    """Refuse a kind of target that does not exist."""
    if asked not in get_args(Asked):
        what = f"There is no kind of target {asked!r}."
        raise DataError(
            what, expected=f"one of {', '.join(get_args(Asked))}", fix=close_matches(asked, get_args(Asked))
        )


def no_target(count: int) -> Target:
    """The target of unlabelled data."""
    return Target("none", (), np.zeros((count, 0), np.float32))


def find_target(
    y: np.ndarray | None, count: int, *, asked: str = "auto", names: Sequence[str] | None = None
) -> tuple[Target, list[str]]:
    """What stored targets mean.

    Whole numbers and strings of one dimension are classes, 0/1 of two dimensions are labels, other numbers are numbers;
    ``asked`` wins where the values allow it.

    Args:
        y: One row for each example, or ``None``.
        count: The number of examples.
        asked: ``auto``, ``classes``, ``labels``, ``numbers`` or ``none``.
        names: The classes that whole numbers index, or the names of the columns.

    Returns:
        The target, and notes for the user.

    Raises:
        DataError: The values do not fit the examples, or what was asked.
    """
    check_asked(asked)
    if asked == "none":
        return no_target(count), []
    if y is None:
        if asked != "auto":
            what = f"The target {asked!r} was asked for, but the data has no targets."
            raise NoTargets(what, fix="Add them, or ask for target='none'.")
        return no_target(count), []
    y = _checked(np.asarray(y), count)
    kind, notes = _kind(y, asked)
    if kind == "classes":
        target = _classes(y, names)
        return target, notes + class_notes(target, whole=y.dtype.kind in "iu" and asked == "auto" and names is None)
    return _columns(y, kind, names), notes


def class_notes(target: Target, *, whole: bool = False) -> list[str]:
    """Lines about classes with one example, and about whole numbers that may be meant as numbers."""
    counts = Counter(target.values.tolist())
    lone = [name for i, name in enumerate(target.names) if counts[i] == 1]
    if whole and len(counts) > MANY_CLASSES and len(counts) > len(target.values) / 2:
        return [f"{len(counts)} different whole numbers are taken as classes; say target='numbers' for regression."]
    if not lone:
        return []
    shown = ", ".join(repr(name) for name in lone[:5]) + (", ..." if len(lone) > 5 else "")
    some = f"Class {shown} has" if len(lone) == 1 else f"{len(lone)} classes ({shown}) have"
    return [f"{some} one example: it can be trained on but neither validated nor tested."]


def _checked(y: np.ndarray, count: int) -> np.ndarray:
    if y.ndim not in (1, 2) or y.dtype.kind not in "biufUS":
        what = "The targets y are of a form that cannot be learned."
        received = f"shape {y.shape}, {y.dtype}"
        raise DataError(what, expected="one or two dimensions of numbers, or one of strings", received=received)
    if len(y) != count:
        what = "x and y are of different lengths."
        raise DataError(what, expected=f"{count} targets, one for each example", received=str(len(y)))
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argwhere(~np.isfinite(y))[0][0])
        what = f"The target of row {row} is not a number."
        raise DataError(what, received=str(y[row]), fix="Fill it in, or leave the row out.")
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return y.astype(np.int64) if y.dtype.kind == "b" else y


def _kind(y: np.ndarray, asked: str) -> tuple[str, list[str]]:
    text = y.dtype.kind == "U"
    if y.ndim == 2 and text:
        what = "The targets y are strings in two dimensions."
        raise DataError(what, expected="one string for each example, or a 0/1 column for each label")
    binary = not text and y.ndim == 2 and bool(np.isin(y, (0, 1)).all())
    one_hot = binary and bool((y.sum(axis=1) == 1).all())
    found = "classes" if text or (y.ndim == 1 and y.dtype.kind in "iu") else "labels" if binary else "numbers"
    if asked in ("auto", found):
        hint = "Every example has exactly one of the labels: say target='classes' if they exclude each other."
        return found, [hint] if one_hot and asked == "auto" else []
    whole = not text and y.ndim == 1 and bool((y == np.rint(y)).all())
    binary = binary or (not text and bool(np.isin(y, (0, 1)).all()))
    if {"classes": whole or one_hot, "labels": binary, "numbers": not text}[asked]:
        return asked, []
    what = f"The targets cannot be read as {asked}: they look like {found}."
    wanted = {
        "classes": "one whole number or string for each example, or one-hot rows",
        "labels": "a 0/1 column for each label",
        "numbers": "numbers",
    }
    raise DataError(what, expected=wanted[asked], fix=f"Say target={found!r}, or change the targets.")


def _classes(y: np.ndarray, names: Sequence[str] | None) -> Target:
    if y.ndim == 2:
        y = y.argmax(axis=1)
        names = names or tuple(str(i) for i in range(int(y.max()) + 1))
    if y.dtype.kind == "U":
        known = tuple(sorted(set(y.tolist()))) if names is None else tuple(names)
        place = {name: i for i, name in enumerate(known)}
        strange = sorted(set(y.tolist()) - set(known))
        if strange:
            what = f"The target {strange[0]!r} is not among the classes given."
            raise DataError(what, fix=close_matches(strange[0], known))
        return Target("classes", known, np.array([place[name] for name in y.tolist()], np.int64))
    if names is None:
        values, places = np.unique(y.astype(np.int64), return_inverse=True)
        return Target("classes", tuple(str(v) for v in values), places.astype(np.int64))
    y = y.astype(np.int64)
    if y.min() < 0 or y.max() >= len(names):
        what = "A target lies outside the classes given."
        raise DataError(what, expected=f"0 to {len(names) - 1}", received=f"{y.min()} to {y.max()}")
    return Target("classes", tuple(names), y)


def _columns(y: np.ndarray, kind: str, names: Sequence[str] | None) -> Target:
    with np.errstate(over="ignore"):  # told below
        values = (y[:, None] if y.ndim == 1 else y).astype(np.float32)
    if not np.isfinite(values).all():
        what = "A target is too large for float32."
        raise DataError(what, fix="Scale the targets.")
    known = tuple(names) if names else tuple(str(i) for i in range(values.shape[1]))
    if y.ndim == 1 and len(known) > 1:
        what = f"The targets are {len(known)} classes, so they cannot be taken as {kind}."
        fix = f"Leave target={kind!r} out, or give the data without names for its classes."
        raise DataError(what, received=f"classes named {', '.join(known[:5])}", fix=fix)
    if len(known) != values.shape[1]:
        what = "The names do not fit the targets."
        raise DataError(what, expected=f"{values.shape[1]} names, one for each column", received=str(len(known)))
    return Target("labels" if kind == "labels" else "numbers", known, values)
