"""Using a result: how good it is on data, and what it says about new examples."""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from . import engine
from .data import BadFile, Dataset, InputForm, Target, is_table, open_data, read_images
from .data.files import NothingReadable, left_out, nothing_readable
from .data.targets import NoTargets
from .errors import DataError, close_matches
from .measurement import figures_of, reader
from .progress import Progress
from .recipe import DataPart
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
    opened = _opened_like(run, data, skip_bad, progress)
    if opened.skipped and not (skip_bad or isinstance(data, Dataset)):
        progress.line("files that cannot be read are left out, as the run's recipe says (skip_bad = true)")
    for note in opened.notes:
        progress.line(note)
    own = opened.whole_digest == _own_digest(run)
    aligned = _with_names_of(run, opened)
    sides = [run.sides.get(digest) for digest in opened.digests]
    if own:
        taken = [i for i, side in enumerate(sides) if side == "test"]
        progress.line(f"the run's own data: its test side, {len(taken)} of {len(opened)} examples")
    else:
        taken = [i for i, side in enumerate(sides) if side not in ("train", "val")]
        if len(taken) < len(opened):
            left = f"{len(opened) - len(taken)} of {len(opened)} examples left out"
            progress.line(f"{left}: the run was trained or validated on them")
    if not taken:
        what = "There is nothing to evaluate: the run was trained or validated on every example."
        raise DataError(what, fix="Use data that it has not seen.")
    data, indices = _Aligned(opened, aligned), np.array(taken)
    return figures_of(run.model, data, indices, reader(data, indices, _form(run)), progress)


def _form(run: Run) -> InputForm:
    if run.card.input is None:
        what = f"The card of the run at {run.folder} says no input."
        raise DataError(what, expected="[input] in its card.toml", fix="Run it again, into another folder.")
    return run.card.input


def _own_digest(run: Run) -> str:
    return tomllib.loads((run.folder / "recipe.lock").read_text(encoding="utf-8"))["data"]["digest"]


def _opened_like(run: Run, data: Any, skip_bad: bool, progress: Progress) -> Dataset:
    """Opens data as the run opened its own: the same columns and the same kind of target."""
    if isinstance(data, Dataset):
        return data
    part = run.recipe.data
    kind = {"classification": "classes", "labels": "labels", "regression": "numbers"}[run.card.task]
    columns = _input_columns(part, data)
    if columns:
        columns["label_column"] = list(part.label_column) or None
    try:
        skip_bad = skip_bad or part.skip_bad
        return open_data(data, target=kind, skip_bad=skip_bad, step=_reading(progress), **columns)
    except NoTargets as error:
        raise _nothing_to_compare(os.fspath(data) if isinstance(data, (str, os.PathLike)) else "arrays") from error


def _input_columns(part: DataPart, data: Any) -> dict[str, Any]:
    """The columns that the run took its examples from, for :func:`open_data`; none where the data is no table."""
    if not isinstance(data, (str, os.PathLike)) or not is_table(data):
        return {}
    features = list(part.feature_columns) or None
    return {"path_column": part.path_column, "text_column": part.text_column, "feature_columns": features}


def _reading(progress: Progress) -> Callable[[int, int], None]:
    return lambda done, total: progress.step("reading", done, total, "files")


def _nothing_to_compare(source: str) -> DataError:
    what = "The data has no targets to compare with."
    return DataError(what, received=f"'{source}', unlabelled", fix="Give labels, or use zoo predict.")


def _with_names_of(run: Run, data: Dataset) -> Target:
    """The data's targets, numbered as the run's are.

    Raises:
        DataError: if a class or column is not one of the run's.
    """
    names, target = run.card.labels, data.target
    if target.kind == "none":
        raise _nothing_to_compare(data.source)
    foreign = [name for name in target.names if name not in names]
    if foreign:
        what = f"The data has {target.kind} that the run does not know: {', '.join(foreign[:5])}."
        raise DataError(what, expected=f"some of {', '.join(names[:20])}", fix=close_matches(foreign[0], names))
    places = np.array([names.index(name) for name in target.names])
    if target.kind == "classes":
        return Target("classes", names, places[target.values])
    if target.kind == "numbers" and len(places) != len(names):
        what = "The data lacks columns that the run predicts."
        received = ", ".join(target.names)
        raise DataError(what, expected=", ".join(names), received=received, fix="Add them to the data.")
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
    sets, bad = _data_of(run, items, skip_bad, progress)
    for note in left_out(bad):
        progress.line(note)
    for data in sets:
        for note in data.notes:
            progress.line(note)
        found.extend(_predicted(run, data, top, progress))
    return found


def _data_of(run: Run, items: Any, skip_bad: bool, progress: Progress) -> tuple[list[Dataset], list[BadFile]]:
    """The items as data sets; files on their own are read together. And what is left out as nothing beside it is good.

    Raises:
        DataError: if an item cannot be read; with ``skip_bad``, if nothing of any can.
    """
    alone = isinstance(items, (str, os.PathLike, Dataset, Mapping)) or hasattr(items, "__array__")
    items = [items] if alone or not isinstance(items, Iterable) else list(items)
    sets: list[Dataset] = []
    bad: list[BadFile] = []
    for single, group in groupby(items, _is_single_file):
        for item in [[Path(file) for file in group]] if single else group:
            try:
                if single:
                    sets.append(read_images(item, skip_bad=skip_bad, step=_reading(progress)))
                else:
                    sets.append(_opened_item(run, item, skip_bad, progress))
            except NothingReadable as error:
                if not skip_bad or len(items) == 1:
                    raise
                bad.extend(error.bad)
    if bad and not sets:
        source = f"{len(items)} items"
        raise nothing_readable(source, bad)
    return sets, bad


def _opened_item(run: Run, item: Any, skip_bad: bool, progress: Progress) -> Dataset:
    """One item, unlabelled; of a table the columns that the run took."""
    if isinstance(item, Dataset):
        return item
    columns = _input_columns(run.recipe.data, item)
    return open_data(item, target="none", skip_bad=skip_bad, step=_reading(progress), **columns)


def _is_single_file(item: Any) -> bool:
    """Whether an item is a file of its own: an image, unless its ending says that it is a table or arrays."""
    if not isinstance(item, (str, os.PathLike)):
        return False
    path = Path(item)
    return path.is_file() and not is_table(path) and path.suffix.lower() != ".npz"


def _predicted(run: Run, data: Dataset, top: int, progress: Progress) -> list[Prediction]:
    form, native = _form(run), data.native_shape()
    if form.kind != data.kind or (form.kind != "image" and native not in (None, form.shape)):
        what = f"The network does not take this: {data.source}."
        received = f"{data.kind} of shape {native}"
        fix = "Give examples like those that the run was trained on."
        raise DataError(what, expected=f"{form.kind} of shape {form.shape}", received=received, fix=fix)
    step = lambda done, total: progress.step("predicting", done, total, "examples")  # noqa: E731
    rows = engine.outputs(run.model, reader(data, np.arange(len(data)), form), len(data), step=step)[0]
    classes = run.card.task == "classification"
    results = []
    for i, row in enumerate(rows):
        order = np.argsort(-row, kind="stable")[:top] if classes else range(len(row))
        named = tuple((run.card.labels[j], float(row[j])) for j in order)
        results.append(Prediction(data.name_of(i), named))
    return results
