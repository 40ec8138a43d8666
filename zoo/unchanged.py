"""Whether a run that is done again, or goes on, is still about what it began with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .data import Dataset, Split
from .errors import RunError
from .run import read_split
from .run_files import split_rows


def check_given(folder: Path, lock: Mapping[str, Any], given: Sequence[str], call: str) -> None:
    """Refuses to go on where other things were given in Python than when the run began.

    Args:
        folder: The run folder.
        lock: Its lock.
        given: What was given now; see :func:`zoo.finetuning.given_in_python`.
        call: What the user calls, such as ``zoo.resume``.

    Raises:
        RunError: if they are others.
    """
    before = list(lock.get("given", []))
    if before != list(given):
        what = f"The run at {folder} began with other things given in Python."
        arguments = "network=..., data=..., plan=..., loss=..., callbacks=..."
        fix = f"Give the same again: {call}({str(folder)!r}, {arguments})."
        raise RunError(what, expected=", ".join(before) or "none", received=", ".join(given) or "none", fix=fix)


def change_of_data(folder: Path, lock: Mapping[str, Any], data: Dataset, split: Split) -> str | None:
    """What has changed in a run's data since it began, in words: the first example, and how many more.

    A file that has another name counts only where that gives the examples another order: batches depend on it.

    Args:
        folder: The run folder, with its ``split.csv``.
        lock: Its lock.
        data: The data as it is now.
        split: The side of each example now.

    Returns:
        A clause; ``None`` where nothing has changed that a result depends on.
    """
    rows = read_split(folder)
    if data.whole_digest != lock["data"]["digest"]:
        return _another_content({name: digest for name, digest, _ in rows}, data)
    pairs = [(*old, *new) for old, new in zip(rows, split_rows(data, split), strict=False)]
    order = [_moved(old, new) for old, a, _, new, b, _ in pairs if a != b][:1]
    sides = [f"'{name}' is on the side {now}, and was on {was}" for _, _, was, name, _, now in pairs if was != now]
    return _first(order or sides) if order or sides else None


def _moved(old: str, new: str) -> str:
    """Rows go by their number, so that they have no name to be recognised by."""
    if old == new:
        return f"the order is another, from '{old}' on"
    return f"the order is another: '{new}' is where '{old}' was"


def _another_content(before: Mapping[str, str], data: Dataset) -> str:
    now = {data.name_of(i): data.digest(i) for i in range(len(data))}
    gone = [f"'{name}' is gone" for name in before if name not in now]
    new = [f"'{name}' is new" for name in now if name not in before]
    other = [f"'{name}' has another content" for name in now if name in before and now[name] != before[name]]
    return _first([*other, *gone, *new] or ["the targets are others"])


def _first(found: Sequence[str]) -> str:
    return found[0] + (f", and {len(found) - 1} more" if len(found) > 1 else "")
