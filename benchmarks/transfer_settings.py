"""The settings of the transfer exercise, chosen on rendered letters: A to E, then F to J from 100 labels a class.

Each row of ``transfer_exercise.py`` gets a search of its own, that from scratch the widest; what counts is the mean
test accuracy over two seeds, and the first of equals. Nothing here looks at digits. The recipes have what it chose.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transfer_exercise import FIRST, SECOND, Row, run

SEEDS = (10, 11)
#: As many letters of a class as there are digits; and 100 labels of each class with 300 to be tested on.
LETTERS = {
    "first": "characters:examples=11160,seed=1,classes=A-E",
    "second": "characters:examples=24800,seed=2,classes=F-J",
}
RATE, FINE_TUNE = "stage.0.optimizer.learning_rate", "stage.1.optimizer.learning_rate"
DROPOUT, EVERYWHERE, NORMALIZED = "top.dropout", "model.args.dropout", "model.args.batch_norm"

#: What each row's search tries: all combinations, and that from scratch the most.
RATES = {RATE: (1e-3, 3e-3)}
HEAD = {RATE: (3e-3, 1e-2), DROPOUT: (0.0, 0.2, 0.5)}
TRIED: dict[str, Mapping[str, tuple[Any, ...]]] = {
    "neither": RATES,
    "batch normalization": RATES,
    "dropout in every layer": {**RATES, EVERYWHERE: (0.2, 0.5)},
    "both, dropout on the top": {**RATES, DROPOUT: (0.2, 0.5)},
    "all five frozen": HEAD,
    "four of the five, frozen": HEAD,
    "five, then the top two thawed": {
        FINE_TUNE: (3e-4, 1e-3, 3e-3),
        "stage.1.batch_norm": ("fixed_statistics", "train"),
    },
    "from scratch": {**RATES, DROPOUT: (0.0, 0.2, 0.5), NORMALIZED: (True, False)},
}
#: Whose settings the first stage of a row in two stages takes.
HEAD_OF = {"five, then the top two thawed": "all five frozen"}


def main() -> None:
    """Searches for every row, the first task's before the second's, and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    import zoo

    data = {task: zoo.open_data(source) for task, source in LETTERS.items()}
    found: dict[str, list[tuple[dict[str, Any], list[float]]]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as aside:
        bases: dict[int, str] = {}
        for task, row in [*(("first", row) for row in FIRST), *(("second", row) for row in SECOND)]:
            if row.label not in TRIED:
                continue
            if task == "second" and not bases:
                bases = _bases(Path(aside), chosen[FIRST[-1].label], data["first"])
            begun = replace(row, edits={**row.edits, **chosen.get(HEAD_OF.get(row.label, ""), {})})
            scratch = row.recipe == "transfer-scratch"
            places = {} if task == "first" or scratch else bases
            tried = list(_tried(Path(aside) / row.label, task, begun, TRIED[row.label], data[task], places))
            found[row.label] = tried
            chosen[row.label] = max(tried, key=lambda one: statistics.mean(one[1]))[0]
            print(_said(row, chosen[row.label], tried), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _bases(aside: Path, settings: Mapping[str, Any], data: Any) -> dict[int, str]:
    """For each seed the network that the second task begins with, with the settings that were chosen for it."""
    row = Row(FIRST[-1].label, FIRST[-1].recipe, settings)
    for seed in SEEDS:
        run(aside / f"base-{seed}", "first", row, seed, data=data)
    return {seed: str(aside / f"base-{seed}") for seed in SEEDS}


def _tried(
    folder: Path, task: str, row: Row, grid: Mapping[str, tuple[Any, ...]], data: Any, bases: Mapping[int, str]
) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """Every combination, with its accuracy for each seed."""
    for number, values in enumerate(itertools.product(*grid.values())):
        settings = dict(zip(grid, values, strict=True))
        if row.label == "dropout in every layer":
            settings[DROPOUT] = settings[EVERYWHERE]
        scores = []
        for seed in SEEDS:
            begins = {"name": bases[seed]} if bases else {}
            tried = replace(row, edits={**row.edits, **settings})
            scores.append(run(folder / f"{number}-{seed}", task, tried, seed, data=data, **begins).accuracy)
        print(f"{row.label} {settings}: {statistics.mean(scores):.4f}", file=sys.stderr, flush=True)
        yield settings, scores


def _said(row: Row, chosen: Mapping[str, Any], tried: list[tuple[dict[str, Any], list[float]]]) -> str:
    means = sorted(statistics.mean(scores) for _, scores in tried)
    settings = ", ".join(f"{key} = {value}" for key, value in chosen.items())
    return f"{row.label}: {settings}: {means[-1]:.3f} (the others {means[0]:.3f} to {means[-2]:.3f})"


if __name__ == "__main__":
    main()
