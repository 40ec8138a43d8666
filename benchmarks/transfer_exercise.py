"""The chapter's transfer exercise, run from the shipped recipes: digits 0 to 4, then digits 5 to 9 from few labels.

A seed decides everything: the split, initial weights, batches and dropout. For each, the networks for the first task
are trained, then those for the second, which begin with the recipe's network of the same seed. Every run has a
``ZOO_HOME`` of its own, so that no cache helps another, and is timed in a process that has trained before. No setting
was chosen by a figure on digits: ``transfer_settings.py`` chose each row's on rendered letters, and the seeds were
fixed before. ``--labels`` says how many labels a class the second task has. The page is docs/transfer-exercise.md.
"""

import argparse
import csv
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from split_applications import machine, markdown, write_section

SEEDS = (0, 1, 2, 3, 4)
LABELS = 100


@dataclass(frozen=True)
class Row:
    """A row of the table: a shipped recipe, and what is set in it, as ``zoo run --set`` takes it."""

    label: str
    recipe: str
    edits: Mapping[str, Any] = field(default_factory=dict)


#: Exercise 8, digits 0 to 4. The last is the recipe as it is, and what the second task begins with.
FIRST = (
    Row("neither", "transfer-0-4", {"model.args.batch_norm": False, "top.dropout": 0.0}),
    Row("batch normalization", "transfer-0-4", {"top.dropout": 0.0}),
    Row(
        "dropout in every layer",
        "transfer-0-4",
        {
            "model.args.batch_norm": False,
            "model.args.dropout": 0.2,
            "top.dropout": 0.2,
            "stage.0.optimizer.learning_rate": 3e-3,
        },
    ),
    Row("both, dropout on the top", "transfer-0-4"),
)
#: Exercise 9, digits 5 to 9.
SECOND = (
    Row("all five frozen", "transfer-frozen"),
    Row("the same, not cached", "transfer-frozen-uncached"),
    Row("four of the five, frozen", "transfer-four-of-five"),
    Row("five, then the top two thawed", "transfer-two-thawed"),
    Row(
        "four, then the top two of them thawed",
        "transfer-two-thawed",
        {"model.cut": "hidden4_activation", "stage.1.train": ["top", "hidden4", "hidden3"]},
    ),
    Row("from scratch", "transfer-scratch"),
    Row(
        "`glyphs` in place of digits 0 to 4",
        "few-shot-digits",
        {"data.path": "digits:classes=5-9", "data.limit_per_class": LABELS, "data.val": 0.2},
    ),
)
#: The rows of the plot of accuracy by labels, with their colours.
PLOTTED = {
    "all five frozen": "#3d7dca",
    "four of the five, frozen": "#56b4e9",
    "five, then the top two thawed": "#d1603d",
    "from scratch": "#8a8f98",
    "`glyphs` in place of digits 0 to 4": "#2e8b57",
}


@dataclass(frozen=True)
class Result:
    """What one run gave. ``epoch`` is the median time of an epoch in its first stage, in milliseconds."""

    task: str
    row: str
    labels: int | None
    seed: int
    accuracy: float
    examples: int
    seconds: float
    epochs: int
    kept: int
    epoch: float
    weights: str


def main() -> None:
    """Runs every row for every seed and number of labels, and prints the tables."""
    options = _arguments()
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as aside:
        _warm_up(Path(aside) / "warm")
        for seed in options.seeds:
            found += _seed(Path(aside) / str(seed), seed, options.labels)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in found], indent=1) + "\n", encoding="utf-8")
    tables = {
        "first": first_table(found),
        "second": second_table(found, max(options.labels)),
        "labels": labels_table(found),
        "machine": _footer(found),
    }
    if options.write:
        for name, text in tables.items():
            write_section(options.write, name, text)
    if options.plot:
        draw(found, options.plot)
    print("\n\n".join(tables.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--labels", type=int, nargs="+", default=[LABELS], help="labels a class of the second task")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--write", type=Path, help="put the tables into this page")
    parser.add_argument("--plot", type=Path, help="draw accuracy by labels here (transfer-exercise.svg)")
    return parser.parse_args()


@contextmanager
def _own_home(folder: Path) -> Any:
    """A shelf and a cache that nothing else uses."""
    before = os.environ.get("ZOO_HOME")
    os.environ["ZOO_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("ZOO_HOME")
        if before is not None:
            os.environ["ZOO_HOME"] = before


def run(folder: Path, task: str, row: Row, seed: int, *, data: Any = None, **edits: Any) -> Result:
    """Runs a row.

    Args:
        folder: Where to.
        task: ``first`` or ``second``.
        row: Which.
        seed: Decides everything.
        data: A data set in place of the recipe's.
        **edits: More of them, by key of one table (``limit_per_class``, ``name``).
    """
    import zoo
    from zoo.progress import Progress

    places = {"limit_per_class": "data.limit_per_class", "name": "model.name"}
    recipe = zoo.read_recipe(row.recipe, set={**row.edits, **{places[key]: value for key, value in edits.items()}})
    with _own_home(folder.with_name(f"{folder.name}-home")):
        done = zoo.finetune(None, data, recipe=recipe, seed=seed, out=folder, progress=Progress(quiet=True))
    lock = tomllib.loads((folder / "recipe.lock").read_text(encoding="utf-8"))
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    stages, test = lock["stage"], done.metrics["test"]
    times = [float(line["seconds"]) for line in lines if line["stage"] == stages[0]["name"]]
    return Result(
        task,
        row.label,
        edits.get("limit_per_class"),
        seed,
        test["accuracy"],
        test["examples"],
        done.metrics["seconds"],
        sum(stage["epochs"] for stage in stages),
        stages[-1]["kept_epoch"],
        1000 * statistics.median(times),
        lock["result"]["weights"],
    )


def _warm_up(folder: Path) -> None:
    """What a process does once, such as loading TensorFlow, is no row's."""
    run(folder / "base", "first", FIRST[-1], 99)
    run(folder / "frozen", "second", SECOND[0], 99, name=str(folder / "base"))


def _seed(folder: Path, seed: int, labels: Sequence[int]) -> list[Result]:
    found = []
    for number, row in enumerate(FIRST):
        found.append(run(folder / f"first-{number}", "first", row, seed))
        _say(found[-1])
    base = folder / f"first-{len(FIRST) - 1}"
    for count, (number, row) in itertools.product(labels, enumerate(SECOND)):
        if count != max(labels) and row.label not in PLOTTED:
            continue
        begins = {"name": str(base)} if row.recipe not in ("transfer-scratch", "few-shot-digits") else {}
        place = folder / f"second-{count}-{number}"
        found.append(run(place, "second", row, seed, limit_per_class=count, **begins))
        _say(found[-1])
    return found


def _say(result: Result) -> None:
    said = f"seed {result.seed}, {result.row}: {result.accuracy:.4f} in {result.seconds:.1f} s"
    print(f"{time.strftime('%H:%M:%S')} {said}", file=sys.stderr, flush=True)


def first_table(found: Sequence[Result]) -> str:
    """Digits 0 to 4: what batch normalization and dropout do."""
    rows = []
    for label, results in by_row(found, "first", FIRST).items():
        kept = f"{statistics.mean(r.kept for r in results):.0f}"
        rows.append((label, *_accuracy(results), kept, _mean(results, "seconds", 1)))
    return markdown(("Digits 0 to 4", "Accuracy", "Range", "Best epoch", "Training, s"), rows)


def second_table(found: Sequence[Result], labels: int) -> str:
    """Digits 5 to 9: what reuse does."""
    rows = []
    for label, results in by_row([r for r in found if r.labels == labels], "second", SECOND).items():
        times = [_mean(results, name, digits) for name, digits in (("epochs", 0), ("epoch", 1), ("seconds", 1))]
        rows.append((label, *_accuracy(results), *times))
    head = (f"Digits 5 to 9, {labels} labels a class", "Accuracy", "Range", "Epochs", "An epoch, ms", "Training, s")
    return markdown(head, rows)


def labels_table(found: Sequence[Result]) -> str:
    """Digits 5 to 9 by the number of labels a class: mean accuracy, with its range."""
    counts = sorted({result.labels for result in found if result.labels})
    rows = []
    for label, results in by_row(found, "second", SECOND).items():
        if label in PLOTTED:
            cells = [_accuracy([r for r in results if r.labels == count]) for count in counts]
            rows.append((label, *(f"{mean} ({span})" for mean, span in cells)))
    return markdown(("Labels a class", *map(str, counts)), rows)


def by_row(found: Sequence[Result], task: str, rows: Sequence[Row]) -> dict[str, list[Result]]:
    """The results of one task by their rows' labels, in order."""
    return {row.label: [r for r in found if (r.task, r.row) == (task, row.label)] for row in rows}


def _accuracy(results: Sequence[Result]) -> tuple[str, str]:
    scores = [result.accuracy for result in results]
    return f"{statistics.mean(scores):.3f}", f"{min(scores):.3f} to {max(scores):.3f}"


def _mean(results: Sequence[Result], name: str, digits: int) -> str:
    return f"{statistics.mean(getattr(result, name) for result in results):.{digits}f}"


def _footer(found: Sequence[Result]) -> str:
    seeds = sorted({result.seed for result in found})
    most = max(result.labels or 0 for result in found)
    sizes = {t: [r.examples for r in found if r.task == t and r.labels in (None, most)] for t in ("first", "second")}
    first, second = (round(statistics.mean(sizes[task])) for task in ("first", "second"))
    return (
        f"Means over the seeds {', '.join(map(str, seeds))}; tested on about {first} examples of the first task and "
        f"{second} of the second ({most} labels a class). Two threads, on {machine()}."
    )


def draw(found: Sequence[Result], file: Path) -> None:
    """Accuracy on the second task by labels, with the range over the seeds."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("agg")
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(7.3, 3.8), layout="constrained")
    axes = figure.subplots()
    rows = by_row(found, "second", SECOND)
    counts = sorted({r.labels for r in found if r.labels})
    for label, colour in PLOTTED.items():
        scores = [[r.accuracy for r in rows[label] if r.labels == count] for count in counts]
        axes.plot(counts, [statistics.mean(s) for s in scores], "o-", color=colour, label=label.replace("`", ""))
        axes.fill_between(counts, [min(s) for s in scores], [max(s) for s in scores], color=colour, alpha=0.12, lw=0)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set(xlabel="labels a class of digits 5 to 9", ylabel="accuracy on the other digits 5 to 9")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
