"""The steps of a search for how much to reuse, as ``depth.csv`` holds them and as lines."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .atomic import write_text
from .depth_recipe import freeze_of, said
from .depth_search import Step, Tried, best_of
from .errors import RunError
from .measurement import headline_figures

#: A row for each step of the search that a run came from.
DEPTH = "depth.csv"
#: While a search lasts: the recipe of the best step so far.
BEST = "best.toml"
_HEADLINES = ("accuracy", "micro_f1", "rmse")


@dataclass(frozen=True)
class Measured:
    """A step that was trained, and measured on the validation side.

    Attributes:
        step: How much it reuses.
        figures: Of the validation side; empty where the network cannot be cut there.
        seconds: What it took.
        cut: The layer that is kept as the last; ``None`` where nothing is dropped.
        why: Why it could not be done, where it could not.
    """

    step: Step
    figures: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    cut: str | None = None
    why: str = ""

    @property
    def tried(self) -> Tried:
        """The step with its score: the loss."""
        loss = self.figures.get("loss")
        return Tried(self.step, float("inf") if loss is None else float(loss))

    @property
    def headline(self) -> tuple[str, float] | None:
        """The name of the figure that is quoted, and its value."""
        found = headline_figures(dict(self.figures))
        return next(((name, found[name]) for name in _HEADLINES if name in found), None)

    @property
    def shown(self) -> str:
        """Its figures in words."""
        if not self.figures:
            return f"not tried: {self.why}"
        name, value = self.headline or ("", 0.0)
        quoted = f", {name.replace('_', ' ')} {value:.4f}" if name else ""
        return f"val loss {self.tried.score:.4f}{quoted}; {self.seconds:.1f} s"


def write_depth(folder: Path, rows: Sequence[Measured], names: Sequence[str]) -> None:
    """Writes ``depth.csv``: a row a step, the best one marked.

    Args:
        folder: The run folder.
        rows: The steps so far.
        names: The blocks that are copied, bottom to top.
    """
    quoted = next((row.headline[0] for row in rows if row.headline), "accuracy")
    best = best_of([row.tried for row in rows]).step if rows else None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["step", "reuse", "dropped", "thawed", "cut", "freeze", "val_loss", f"val_{quoted}", "seconds", "best"]
    )
    for number, row in enumerate(rows, 1):
        step, value = row.step, row.headline
        where = [row.cut or "", freeze_of(step, names)]
        figures = [row.figures.get("loss", ""), value[1] if value else "", f"{row.seconds:.3f}"]
        mark = "best" if step == best else ""
        writer.writerow([number, said(step, names), step.dropped, step.thawed, *where, *figures, mark])
    write_text(folder / DEPTH, text.getvalue())


def check_no_search(folder: Path) -> None:
    """Refuses to go on with a search that did not end.

    Args:
        folder: What was asked to be resumed.

    Raises:
        RunError: if it holds one.
    """
    if not (folder / DEPTH).exists() or (folder / "recipe.toml").exists():
        return
    what = f"{folder} holds a search for how much to freeze that did not end, and that cannot be resumed."
    best = f"Its best step so far is trained by: zoo run {folder / BEST} --out ANOTHER. " * (folder / BEST).exists()
    again = "Search again with another --out: what frozen blocks gave is in the cache."
    raise RunError(what, fix=f"{best}{again}")
