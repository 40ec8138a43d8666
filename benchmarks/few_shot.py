"""Few labels on real handwriting: from scratch beside frozen beside fine-tuned, each on the same labels and the same test.

``make demo`` is this with seed 0, ``make bench`` with seeds 0 to 4. All the labels used are 10 a class, validation
included; the test is everything else. A seed decides which examples are labelled, the initial weights and every batch.
Nothing here was chosen by looking at `digits`: the settings were chosen on handwritten Latin letters of another data set
(see docs/glyphs.md), for every row alike, and the seeds before any of it.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LABELS = 10

#: What the rows have in common, and what sets them apart.
SHARED: dict[str, Any] = {"limit_per_class": LABELS, "test": "rest", "val": 0.0}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "from scratch": ("-scratch", {"from_scratch": True, "epochs": 100, "augment": "light"}),
    "frozen, new top": ("-frozen", {"freeze": "all"}),
    "fine-tuned": ("", {"freeze": "none", "augment": "light", "epochs": 60}),
}


def main() -> None:
    """Runs every row for every seed, and prints the table."""
    options = _arguments()
    started = time.perf_counter()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in ROWS}
    with tempfile.TemporaryDirectory() as aside:
        for seed in options.seeds:
            place = options.out or Path(aside) / f"seed{seed}"
            for name, (ending, settings) in ROWS.items():
                results[name].append(_run(place.with_name(place.name + ending), name, settings, seed, options.labels))
    seconds = time.perf_counter() - started
    if options.json:
        print(json.dumps({"labels": options.labels, "seeds": options.seeds, "rows": results, "seconds": seconds}, indent=1))
        return
    print(f"\n{_table(results, options.labels)}\n\nin {seconds:.0f} s altogether, {_training(results):.0f} s of it training")
    if options.out:
        _say_next(options.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--labels", type=int, default=LABELS, help="labels a class")
    parser.add_argument("--out", type=Path, help="keep the run folders (one seed only)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.out and len(options.seeds) > 1:
        parser.error("--out goes with one seed")
    for ending, _ in ROWS.values() if options.out else ():
        folder = options.out.with_name(options.out.name + ending)
        if folder.exists():
            sys.exit(f"{folder} exists already. Remove it, or choose another: make demo OUT=runs/NAME")
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
    return {"seed": seed, "accuracy": test["accuracy"], "examples": test["examples"], "seconds": run.metrics["seconds"]}


def _training(results: dict[str, list[dict[str, Any]]]) -> float:
    return sum(row["seconds"] for rows in results.values() for row in rows)


def _table(results: dict[str, list[dict[str, Any]]], labels: int) -> str:
    from zoo.text_table import text_table

    cells = []
    for name, rows in results.items():
        scores = [row["accuracy"] for row in rows]
        spread = f"{min(scores):.3f} to {max(scores):.3f}" if len(scores) > 1 else "-"
        seconds = statistics.mean(row["seconds"] for row in rows)
        cells.append((name, f"{statistics.mean(scores):.4f}", spread, f"{seconds:.1f}"))
    first = next(iter(results.values()))
    head = f"glyphs on digits, {labels} labels a class, tested on the other {first[0]['examples']}, seeds {[r['seed'] for r in first]}"
    return f"{head}\n{text_table(('', 'test accuracy', 'range', 'seconds'), cells, right=(1, 2, 3))}"


def _say_next(out: Path) -> None:
    print(
        f"""
next:
  open {out}/report.html                    curves, confusion matrix, worst mistakes
  zoo evaluate {out} digits                 the same figure, from the saved model
  zoo predict {out} digits                  what it says of each example
  zoo info glyphs --blocks                       what can be frozen
  zoo finetune glyphs YOUR_FOLDER --out runs/mine
(the command `zoo` is .venv/bin/zoo: `source .venv/bin/activate`)"""
    )


if __name__ == "__main__":
    main()
