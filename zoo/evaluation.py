"""Using a result: how good it is on data, and what it says about new examples."""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from . import engine
from .data import Dataset, TakenColumns, Target, is_table, open_data, read_images
from .errors import DataError, close_matches
from .finetuning import figures_of, reader
from .preparation import open_part
from .progress import Progress
from .run import Run


def evaluate(
    run: Run | str | os.PathLike[str], data: Any, *, progress: Progress | None = None, skip_bad: bool = False
) -> dict[str, Any]:
    """Measures a run's result on data that it was not trained on.

    On the run's own data the test side is taken. On other data, examples whose content the run was trained or validated
    on are recognised by their digest and left out, with a line that says how many.

    Args:
        run: A run, or its folder.
        data: A built-in name, a path, a data set, or ``(x, y)``; its classes must be among the run's.
        progress: Where lines go; by default to standard error.
        skip_bad: Whether to leave out files that cannot be read.

    Returns:
        The figures, as in ``metrics.json``.

    Raises:
        DataError: if nothing is left to evaluate, or the targets are not the run's.

    Example:
        >>> import zoo
        >>> run = zoo.finetune("glyphs", "digits", out=tmp / "run", limit_per_class=2, freeze="all", head_epochs=2)
        >>> zoo.evaluate(run, "digits")["accuracy"] == run.metrics["test"]["accuracy"]
        True
    """
    progress = progress or Progress()
    run = run if isinstance(run, Run) else Run(run)
    opened = _opened_like(run, data, skip_bad)
    own = opened.whole_digest == _own_digest(run)
    aligned = _with_names_of(run, opened)
    sides = [run.sides.get(digest) for digest in opened.digests]
    if own:
        taken = [i for i, side in enumerate(sides) if side == "test"]
        progress.line(f"the run's own data: its test side, {len(taken)} of {len(opened)} examples")
    else:
        taken = [i for i, side in enumerate(sides) if side not in ("train", "val")]
        if len(taken) < len(opened):
            progress.line(f"{len(opened) - len(taken)} of {len(opened)} examples left out: the run was trained on them")
    if not taken:
        what = "There is nothing to evaluate: the run was trained on every example."
        raise DataError(what, fix="Use data that it has not seen.")
    form = run.card.input
    if form is None:
        what = "The run's card says no input."
        raise DataError(what)
    return figures_of(run.model, _Aligned(opened, aligned), np.array(taken), form, progress)


def _own_digest(run: Run) -> str:
    return tomllib.loads((run.folder / "recipe.lock").read_text(encoding="utf-8"))["data"]["digest"]


def _opened_like(run: Run, data: Any, skip_bad: bool) -> Dataset:
    """Opens data as the run opened its own: the same columns and the same kind of target."""
    part = run.recipe.data
    kind = {"classification": "classes", "labels": "labels", "regression": "numbers"}[run.card.task]
    asked = replace(part, target=kind, skip_bad=skip_bad or part.skip_bad)
    named = isinstance(data, (str, os.PathLike))
    if not (named and is_table(data)):
        asked = replace(asked, **vars(TakenColumns()))
    return open_part(replace(asked, path=os.fspath(data))) if named else open_part(asked, data)


def _with_names_of(run: Run, data: Dataset) -> Target:
    """The data's targets, numbered as the run's are.

    Raises:
        DataError: if a class or column is not one of the run's.
    """
    names, target = run.card.labels, data.target
    if target.kind == "none":
        what = "The data has no targets to compare with."
        raise DataError(what, fix="Use zoo predict, or give labels.")
    foreign = [name for name in target.names if name not in names]
    if foreign:
        what = f"The data has {target.kind} that the run does not know: {', '.join(foreign[:5])}."
        raise DataError(what, expected=f"some of {', '.join(names[:20])}", fix=close_matches(foreign[0], names))
    places = np.array([names.index(name) for name in target.names])
    if target.kind == "classes":
        return Target("classes", names, places[target.values])
    if target.kind == "numbers" and len(places) != len(names):
        what = "The data lacks columns that the run predicts."
        raise DataError(what, expected=", ".join(names), received=", ".join(target.names))
    values = np.zeros((len(data), len(names)), "float32")
    values[:, places] = target.values
    return Target(target.kind, names, values)


class _Aligned(Dataset):
    """A data set under other targets."""

    def __init__(self, data: Dataset, target: Target):
        self._data = data
        self.source, self.kind, self.target = data.source, data.kind, target

    def __len__(self) -> int:
        return len(self._data)

    def name_of(self, index: int) -> str:
        return self._data.name_of(index)

    def digest(self, index: int) -> str:
        return self._data.digest(index)

    def native_shape(self) -> tuple[int, ...] | None:
        return self._data.native_shape()

    def batch(self, indices: Any, form: Any) -> np.ndarray:
        return self._data.batch(indices, form)


@dataclass(frozen=True)
class Prediction:
    """What a network says about one example: names with probabilities, the most probable first; or named numbers."""

    example: str
    outputs: tuple[tuple[str, float], ...]


def predict(
    run: Run | str | os.PathLike[str],
    items: Sequence[str | os.PathLike[str]] | Any,
    *,
    top: int = 3,
    progress: Progress | None = None,
    skip_bad: bool = False,
) -> list[Prediction]:
    """What a run's result says about new examples.

    Args:
        run: A run, or its folder.
        items: Image files, folders of them, ``.csv`` or ``.npz`` files, or a built-in name; or an array of examples.
        top: How many classes to give for each example; labels and numbers are all given.
        progress: Where lines go; by default to standard error.
        skip_bad: Whether to leave out files that cannot be read.

    Returns:
        One prediction an example, in order.

    Raises:
        DataError: if an item cannot be read, or is not what the network takes.

    Example:
        >>> import numpy as np, zoo
        >>> run = zoo.finetune("glyphs", "digits", out=tmp / "run", limit_per_class=2, freeze="all", head_epochs=2)
        >>> len(zoo.predict(run, np.zeros((2, 8, 8, 1), "uint8"), top=1))
        2
    """
    progress = progress or Progress()
    run = run if isinstance(run, Run) else Run(run)
    if top < 1:
        what = "At least one class has to be given for each example."
        raise DataError(what, expected="--top 1 or more", received=str(top))
    found: list[Prediction] = []
    for data in _data_of(run, items, skip_bad):
        for note in data.notes:
            progress.line(note)
        found.extend(_predicted(run, data, top, progress))
    return found


def _data_of(run: Run, items: Any, skip_bad: bool) -> list[Dataset]:
    """The items as data sets; files on their own are read together."""
    if isinstance(items, (np.ndarray, Dataset)):
        return [open_data(items if isinstance(items, Dataset) else (items, None), target="none")]
    items = [items] if isinstance(items, (str, os.PathLike)) else list(items)
    part = run.recipe.data
    sets: list[Dataset] = []
    for single, group in groupby(items, _is_single_file):
        if single:
            sets.append(read_images([Path(item) for item in group], skip_bad=skip_bad))
            continue
        for item in group:
            columns = {
                "path_column": part.path_column,
                "text_column": part.text_column,
                "feature_columns": list(part.feature_columns) or None,
            }
            asked: dict[str, Any] = columns if is_table(item) else {}
            sets.append(open_data(item, target="none", skip_bad=skip_bad, **asked))
    return sets


def _is_single_file(item: str | os.PathLike[str]) -> bool:
    """Whether an item is a file of its own: an image, unless its ending says that it is a table or arrays."""
    path = Path(item)
    return path.is_file() and not is_table(path) and path.suffix.lower() != ".npz"


def _predicted(run: Run, data: Dataset, top: int, progress: Progress) -> list[Prediction]:
    form = run.card.input
    native = data.native_shape()
    if form is None or form.kind != data.kind or (form.kind != "image" and native not in (None, form.shape)):
        what = f"The network does not take this: {data.source}."
        wanted = "nothing" if form is None else f"{form.kind} of shape {form.shape}"
        raise DataError(what, expected=wanted, received=f"{data.kind} of shape {native}")
    step = lambda done, total: progress.step("predicting", done, total, "examples")  # noqa: E731
    rows = engine.outputs(run.model, reader(data, np.arange(len(data)), form), len(data), step=step)[0]
    classes = run.card.task == "classification"
    results = []
    for i, row in enumerate(rows):
        order = np.argsort(-row, kind="stable")[:top] if classes else range(len(row))
        named = tuple((run.card.labels[j], float(row[j])) for j in order)
        results.append(Prediction(data.name_of(i), named))
    return results
