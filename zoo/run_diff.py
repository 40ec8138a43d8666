"""Two runs side by side: in what their recipes, their locks and their results differ."""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .environment import shown
from .errors import RunError
from .lock_file import lock_of
from .run import LOCK, METRICS, MODEL, RECIPE, SPLIT, STEPS, check_run, read_split
from .step_losses import first_difference, read_steps
from .text_table import text_table

#: What other keys say: the recipe's digest, and why the device was chosen.
_LEFT_OUT = ("recipe", "device_reason")
NOTHING = "–"


@dataclass(frozen=True)
class Difference:
    """A key in which two runs differ.

    Attributes:
        part: ``recipe``, ``lock`` or ``result``.
        key: Its dotted name; stages go by theirs.
        left: The value of the one run; ``None`` where it has none.
        right: That of the other.
    """

    part: str
    key: str
    left: Any
    right: Any


@dataclass(frozen=True)
class RunDiff:
    """In what two runs differ; it prints itself.

    Attributes:
        left: The folder of the one.
        right: That of the other.
        rows: What differs.
        notes: What is to be said beside that, a line each: what is missing of a run that did not finish.
    """

    left: Path
    right: Path
    rows: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    def table(self) -> dict[str, Any]:
        """All of it for JSON."""
        rows = [asdict(row) for row in self.rows]
        return {"left": str(self.left), "right": str(self.right), "differences": rows, "notes": list(self.notes)}

    def __str__(self) -> str:
        if not self.rows:
            what = "recipe, lock and results" if not self.notes else "as far as they have got"
            return "\n".join([f"the two runs are the same: {what}", *self.notes])
        parts = []
        for part in dict.fromkeys(row.part for row in self.rows):
            rows = [(row.key, _cell(row.left), _cell(row.right)) for row in self.rows if row.part == part]
            parts.append(text_table((part, str(self.left), str(self.right)), rows))
        return "\n\n".join([*parts, *(["\n".join(self.notes)] if self.notes else [])])


def compare_runs(left: str | os.PathLike[str], right: str | os.PathLike[str]) -> RunDiff:
    """Compares two runs by the files in their folders; nothing is computed.

    Args:
        left: A run folder; the run need not have finished.
        right: Another.

    Returns:
        The keys in which they differ: of the recipes with every default written out, of the locks, and of the results.

    Raises:
        RunError: if one is no run folder, or a file in it is damaged.

    Example:
        >>> import zoo
        >>> from zoo.run_diff import compare_runs
        >>> one = zoo.finetune("glyphs", "digits", out=tmp / "1", limit_per_class=2, freeze="all", head_epochs=1)
        >>> two = zoo.finetune("glyphs", "digits", out=tmp / "2", limit_per_class=2, freeze="all", head_epochs=2)
        >>> found = compare_runs(one.folder, two.folder)
        >>> [(row.key, row.left, row.right) for row in found.rows if row.part == "recipe"]
        [('stage.head.epochs', 1, 2)]
        >>> print(compare_runs(one.folder, one.folder))
        the two runs are the same: recipe, lock and results
    """
    folders = Path(left), Path(right)
    rows: list[Difference] = []
    for part, read in (("recipe", _recipe), ("lock", _lock), ("result", _result)):
        one, other = (dict(read(folder)) for folder in folders)
        keys = [*one, *(key for key in other if key not in one)]
        rows += [Difference(part, k, one.get(k), other.get(k)) for k in keys if one.get(k) != other.get(k)]
    rows += [*_examples(*folders), *_steps(*folders)]
    notes = tuple(f"{folder} has not finished" for folder in folders if not _finished(folder))
    return RunDiff(*folders, tuple(sorted(rows, key=lambda row: ("recipe", "lock", "result").index(row.part))), notes)


def _recipe(folder: Path) -> Iterator[tuple[str, Any]]:
    check_run(folder)
    return _flat(_parsed(folder / RECIPE))


def _parsed(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        return json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as reason:
        what = f"{file} cannot be read: {reason}."
        raise RunError(what, expected="the file that the run wrote") from None


def _lock(folder: Path) -> Iterator[tuple[str, Any]]:
    if (folder / LOCK).exists():
        lock = lock_of(folder)
        lock.pop("result", None)
        yield from _flat(lock)


def _result(folder: Path) -> Iterator[tuple[str, Any]]:
    """The digest of the final weights, and every figure that is a single number."""
    if (folder / LOCK).exists():
        yield from ((key, v) for key, v in _flat(lock_of(folder).get("result", {})) if key == "weights")
    if (folder / METRICS).exists():
        metrics = _parsed(folder / METRICS)
        sides = ((side, metrics[side]) for side in ("test", "val") if side in metrics)
        for side, figures in sides:
            yield from ((f"{side}.{key}", v) for key, v in figures.items() if not isinstance(v, (list, dict)))


def _flat(table: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with their dotted names; of several tables headed alike each goes by its name, or its number."""
    for key, value in table.items():
        if key in _LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{key}.")
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value):
                yield from _flat(one, f"{under}{key}.{one.get('name', number)}.")
        else:
            yield f"{under}{key}", value


def _examples(left: Path, right: Path) -> list[Difference]:
    """How many examples are on each side of one run that are not on it in the other."""
    one, other = _sides(left), _sides(right)
    if not one or not other:
        return []
    found = []
    for side in ("train", "val", "test", "unused"):
        mine, theirs = one.get(side, set()), other.get(side, set())
        if mine != theirs:
            alone = [f"{len(a - b)} not in the other's" for a, b in ((mine, theirs), (theirs, mine))]
            found.append(Difference("lock", f"data.{side} (contents)", *alone))
    return found


def _sides(folder: Path) -> dict[str, set[str]]:
    if not (folder / SPLIT).exists():
        return {}
    found: dict[str, set[str]] = {}
    for _, digest, side in read_split(folder):
        found.setdefault(side, set()).add(digest)
    return found


def _steps(left: Path, right: Path) -> list[Difference]:
    """The first step whose loss differs."""
    if not all((folder / STEPS).exists() for folder in (left, right)):
        return []
    first = first_difference(read_steps(left), read_steps(right))
    if first is None:
        return []
    key = f"first other loss: {first.where}"
    return [Difference("result", key, first.one and first.one.loss, first.other and first.other.loss)]


def _finished(folder: Path) -> bool:
    return all((folder / name).exists() for name in (MODEL, METRICS, LOCK))


def _cell(value: Any) -> str:
    return NOTHING if value is None else shown(value)
