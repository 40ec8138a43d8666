"""The run folder: everything that a run was and gave, to be evaluated, predicted with, and read next year."""

import csv
import errno
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import write_text
from .card import Card, read_card
from .errors import RunError
from .file_lock import locked
from .recipe import Recipe, read_recipe

if TYPE_CHECKING:
    import keras
    import numpy as np

MODEL, METRICS, SPLIT, LOCK = "model.keras", "metrics.json", "split.csv", "recipe.lock"
RECIPE, PLAN, STEPS, REPORT = "recipe.toml", "plan.txt", "steps.csv", "report.html"

#: How a system says that a disk takes nothing more; HDF5 says it in words.
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS, errno.EFBIG)


class Run:
    """A finished run.

    Args:
        folder: The run folder.

    Raises:
        RunError: if the folder is not a run, or the run did not finish.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        check_run(self.folder)
        missing = [
            name for name in (MODEL, METRICS, SPLIT, "card.toml", "recipe.toml") if not (self.folder / name).exists()
        ]
        if missing:
            what = f"The run at {self.folder} did not finish, or is not one: {', '.join(missing)} missing."
            raise RunError(what, fix=f"Go on with: zoo resume {self.folder}")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The figures of ``metrics.json``: the test side's under ``test``, the validation side's under ``val``."""
        return json.loads((self.folder / METRICS).read_text(encoding="utf-8"))

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, every default written out."""
        return read_recipe(self.folder / "recipe.toml")

    @cached_property
    def card(self) -> Card:
        """The result as a network of its own."""
        return read_card(self.folder / "card.toml")

    @cached_property
    def model(self) -> "keras.Model":
        """The result: a plain ``keras.Model`` that takes raw values."""
        from .network import load

        return load(self.card)

    @cached_property
    def sides(self) -> dict[str, str]:
        """The side that each content was on, by its digest: ``train``, ``val``, ``test`` or ``unused``.

        A copy of a content that was trained on counts as trained on, whatever became of the copy.
        """
        rows = [(digest, side) for _, digest, side in read_split(self.folder)]
        weight = {"train": 3, "val": 2, "test": 1}
        return dict(sorted(rows, key=lambda row: weight.get(row[1], 0)))

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


def check_one_run(folder: Path) -> None:
    """Refuses a folder that is not there, and one that holds the runs of several seeds.

    Raises:
        RunError: in either case.
    """
    if not folder.is_dir():
        what = f"There is no run at {folder}."
        raise RunError(what, expected="a folder that zoo finetune wrote (its --out)")
    seeds = sorted(file.parent.name for file in folder.glob("seed-*/recipe.toml"))
    if seeds and not (folder / RECIPE).exists():
        what = f"{folder} holds the runs of several seeds."
        raise RunError(what, expected="one run", received=", ".join(seeds), fix=f"Name one: {folder / seeds[0]}")


def check_run(folder: Path) -> None:
    """Refuses a folder that is not that of a run, finished or not.

    Raises:
        RunError: if it is none.
    """
    check_one_run(folder)
    if not (folder / RECIPE).exists():
        what = f"{folder} is not a run folder."
        raise RunError(what, expected="a folder that zoo finetune wrote (its --out)")


def create_folder(out: Path) -> Path:
    """Makes the folder of a new run; nothing is overwritten.

    Raises:
        RunError: if there is something already, or the folder cannot be made.
    """
    if out.exists():
        what = f"{out} exists already."
        raise RunError(what, expected="a path where nothing is", fix="Choose another --out, or remove it.")
    try:
        (out / "checkpoints").mkdir(parents=True)
    except OSError as reason:
        what = f"The folder {out} cannot be made: {reason}."
        raise RunError(what, fix="Choose an --out that can be written.") from None
    return out


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Holds a run folder, so that nobody else writes into it.

    Raises:
        RunError: if another process does.
    """
    holding = locked(folder / ".lock", wait=False)
    try:
        holding.__enter__()
    except BlockingIOError:
        what = f"Another process is writing into the run {folder}."
        raise RunError(what, fix="Wait until it has ended, or end it.") from None
    except OSError as reason:
        what = f"The run folder {folder} cannot be written: {reason}."
        raise RunError(what, fix="Make it writable, or make room.") from None
    try:
        yield
    finally:
        (folder / ".lock").unlink(missing_ok=True)
        holding.__exit__(None, None, None)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns a disk that takes nothing more into an error that says how the run goes on.

    Raises:
        RunError: if the disk is full, or is no longer written to.
    """
    try:
        yield
    except OSError as reason:
        if reason.errno not in _NO_ROOM and os.strerror(errno.ENOSPC) not in str(reason):
            raise
        what = f"The run folder {folder} cannot be written: {reason}."
        raise RunError(what, fix=f"Make room, then: zoo resume {folder}") from reason


def write_history(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes ``history.csv``: a row an epoch, the stage and the epoch first."""
    first = ["stage", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    last = ["learning_rate", "seconds"]
    seen = dict.fromkeys(key for row in rows for key in row)
    columns = [c for c in first if c in seen] + [c for c in seen if c not in first + last] + last
    write_text(folder / "history.csv", _csv(columns, [[row.get(c, "") for c in columns] for row in rows]))


def write_steps(folder: Path, stages: "Sequence[tuple[str, int, np.ndarray]]") -> None:
    """Writes ``steps.csv``: the loss of every step, as a number and as the bits of its 32.

    Args:
        folder: The run folder.
        stages: The name of each stage, the steps of one of its epochs, and the loss of each step.
    """
    rows = []
    for name, each, losses in stages:
        shown = zip(losses.astype("float32"), losses.astype(">f4").view(">u4"), strict=True)
        places = ((i // each + 1, i % each + 1) for i in range(len(losses)))
        rows += [(name, *place, str(loss), f"{bits:08x}") for place, (loss, bits) in zip(places, shown, strict=True)]
    write_text(folder / STEPS, _csv(["stage", "epoch", "step", "loss", "bits"], rows))


def write_split(folder: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Writes ``split.csv``: the name, digest and side of each example."""
    write_text(folder / SPLIT, _csv(["example", "digest", "side"], rows))


def read_split(folder: Path) -> list[tuple[str, str, str]]:
    """The name, digest and side of each example, from ``split.csv``.

    Raises:
        RunError: if it is missing or damaged.
    """
    try:
        with (folder / SPLIT).open(encoding="utf-8", newline="") as file:
            return [(row["example"], row["digest"], row["side"]) for row in csv.DictReader(file, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as reason:
        what = f"{folder / SPLIT} cannot be read: {reason}."
        raise RunError(what, expected="the file that the run wrote, with example, digest and side") from None


def read_plan(folder: Path) -> str:
    """The plans of the stages in words, from ``plan.txt``.

    Raises:
        RunError: if it is missing or damaged.
    """
    try:
        return (folder / PLAN).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        what = f"{folder / PLAN} cannot be read: {reason}."
        raise RunError(what, expected="the file that the run wrote") from None


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_json(file: Path, data: Any) -> None:
    """Writes a JSON file that people can read too."""
    write_text(file, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
