"""Few labels on real handwriting: from scratch, frozen and fine-tuned, on the same labels and the same test.

``make demo`` is this with seed 0, ``make bench`` with seeds 0 to 4. All the labels used are 10 a class, validation
included; the test is everything else. A seed decides which examples are labelled, initial weights and every batch.
No setting was chosen by looking at `digits`: each row's were chosen on handwritten letters of another data set, with
the same care for every row (docs/glyphs.md), and the seeds were fixed before any of it.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

LABELS = 10

#: What the rows have in common, and what sets them apart.
SHARED: dict[str, Any] = {"limit_per_class": LABELS, "test": "rest", "val": 0.0}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "from scratch": ("-scratch", {"from_scratch": True, "epochs": 100, "augment": "light"}),
    "frozen, new top": ("-frozen", {"freeze": "all"}),
    "fine-tuned": ("", {}),
}


def main() -> None:
    """Runs every row for every seed and number of labels, and prints the tables."""
    options = _arguments()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as aside:
        for labels, seed in itertools.product(options.labels, options.seeds):
            place = options.out or Path(aside) / f"{labels}-{seed}"
            for name, (ending, settings) in ROWS.items():
                found.append(_run(place.with_name(place.name + ending), name, settings, seed, labels))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        _plot(found, options.plot)
    for labels in options.labels:
        print(f"\n{_table([row for row in found if row['labels'] == labels])}")
    print(f"\n{sum(row['seconds'] for row in found):.0f} s of training altogether")
    if options.out:
        _say_next(options.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--labels", type=int, nargs="+", default=[LABELS], help="labels a class")
    parser.add_argument("--out", type=Path, help="keep the run folders (one seed, one number of labels)")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--plot", type=Path, help="draw accuracy by labels here")
    options = parser.parse_args()
    if options.out and len(options.seeds) * len(options.labels) > 1:
        parser.error("--out goes with one seed and one number of labels")
    folders = [options.out.with_name(options.out.name + ending) for ending, _ in ROWS.values()] if options.out else []
    there = " ".join(str(folder) for folder in folders if folder.exists())
    if there:
        sys.exit(f"There are runs already: remove them (rm -r {there}), or say make demo OUT=runs/NAME")
    return options


def _run(folder: Path, name: str, settings: dict[str, Any], seed: int, labels: int) -> dict[str, Any]:
    from zoo.commands.starting import quietly

    with quietly():
        import zoo
        from zoo.progress import Progress

    print(f"\n== {name}, seed {seed}", file=sys.stderr, flush=True)
    options = {**SHARED, **settings, "limit_per_class": labels, "seed": seed}
    run = zoo.finetune("glyphs", "digits", out=folder, progress=Progress(), **options)
    test = run.metrics["test"]
    figures = {"accuracy": test["accuracy"], "examples": test["examples"], "seconds": run.metrics["seconds"]}
    return {"row": name, "labels": labels, "seed": seed, **figures}


def _by_row(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [row for row in found if row["row"] == name] for name in ROWS}


def _table(found: list[dict[str, Any]]) -> str:
    from zoo.text_table import text_table

    cells = []
    for name, rows in _by_row(found).items():
        scores = [row["accuracy"] for row in rows]
        spread = f"{min(scores):.4f} to {max(scores):.4f}" if len(scores) > 1 else "-"
        seconds = statistics.mean(row["seconds"] for row in rows)
        cells.append((name, f"{statistics.mean(scores):.4f}", spread, f"{seconds:.1f}"))
    seeds = ", ".join(str(row["seed"]) for row in found if row["row"] == next(iter(ROWS)))
    labels, rest = found[0]["labels"], found[0]["examples"]
    head = f"glyphs on digits: {labels} labels a class, tested on the other {rest}; seed {seeds}"
    return f"{head}\n{text_table(('', 'test accuracy', 'range', 'seconds'), cells, right=(1, 2, 3))}"


def _plot(found: list[dict[str, Any]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    counts = sorted({row["labels"] for row in found})
    for (name, rows), colour in zip(_by_row(found).items(), ("#8a8f98", "#3d7dca", "#d1603d"), strict=True):
        scores = [[row["accuracy"] for row in rows if row["labels"] == n] for n in counts]
        axes.plot(counts, [statistics.mean(s) for s in scores], "o-", color=colour, label=name)
        axes.fill_between(counts, [min(s) for s in scores], [max(s) for s in scores], color=colour, alpha=0.15, lw=0)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set(xlabel="labelled examples a class", ylabel="test accuracy", title="glyphs on real handwritten digits")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(file, dpi=150)


def _say_next(out: Path) -> None:
    print(
        f"""
next:
  open {out}/report.html                    curves, confusion matrix, worst mistakes
  zoo evaluate {out} digits                 the same figure, from the saved model
  zoo predict {out} characters:examples=5   what it says of printed characters
  zoo info glyphs --blocks                       what can be frozen
  zoo finetune glyphs YOUR_FOLDER --out runs/mine
(the command `zoo` is .venv/bin/zoo: `source .venv/bin/activate`)"""
    )


if __name__ == "__main__":
    main()
