"""Does more time mend it? The networks of ``deep_networks.py``, five times its epochs, at the rates chosen there.

Added after the tables of ``deep_networks.py`` were seen: no network had come to its end within the budget, so that they
say how fast each learns, not how far. Nothing is chosen here; the rates are those of the shorter budget, seeds, batches
and data the same.

``--from all.json`` is what ``deep_networks.py --json`` wrote; ``--write`` puts the table into the page.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from deep_networks import NETWORKS, QUICK, Budget, Result, Sides, Trained, accuracy, build, data, trainer
from split_applications import machine, markdown, write_section

TIMES = 5


def main() -> None:
    """Runs, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, required=True, metavar="JSON", help="the shorter budget's")
    parser.add_argument("--quick", action="store_true", help="for what was made with --quick")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    options = parser.parse_args()
    short = QUICK if options.quick else Budget()
    budget = replace(short, epochs=TIMES * short.epochs)
    start, sides = time.perf_counter(), data(budget)
    rows = [_row(found, sides, budget) for found in json.loads(options.source.read_text(encoding="utf-8"))]
    head = ("#", "Network", "Rate", f"{short.epochs} epochs", f"{budget.epochs} epochs", "Range")
    minutes = (time.perf_counter() - start) / 60
    text = f"{markdown(head, rows, text=2)}\n\nThe whole took {minutes:.0f} minutes on {machine()}."
    print(text)
    if options.write:
        write_section(options.write, "longer", text)


def _row(found: dict[str, Any], sides: Sides, budget: Budget) -> tuple[str, ...]:
    """One network's accuracy on the test side after the shorter and the longer budget."""
    network = NETWORKS[found["number"] - 1]
    short = Result(found["number"], network, runs=[Trained(**{**run, "end": None}) for run in found["runs"]])
    rate, before = short.rate, np.mean([run.test for run in short.at(short.rate)])
    model = build(network, sides, budget, 0)
    train, after = trainer(model, network, budget), []
    for seed in budget.seeds:
        for variable, first in zip(model.variables, build(network, sides, budget, seed).variables, strict=True):
            variable.assign(first)
        train(*sides.train, rate, seed)
        after.append(accuracy(model, *sides.test))
    print(f"{network.label}: {np.mean(after):.1%}", file=sys.stderr, flush=True)
    span = f"{min(after):.1%} to {max(after):.1%}"
    return str(found["number"]), network.label, f"{rate:g}", f"{before:.1%}", f"{np.mean(after):.1%}", span


if __name__ == "__main__":
    main()
