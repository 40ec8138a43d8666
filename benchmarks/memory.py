"""What extraction and training hold in memory, at 10,000 and at 100,000 examples.

Anonymous resident memory: what the process has allocated, TensorFlow included, without pages of mapped files, which the
system takes back when it needs them (``RssAnon`` of Linux). Each run has a process of its own:

- ``extraction``: ``zoo.extraction.fill`` through the engine ``tensorflow``, a small convolution network's 1,280 numbers
  for each example. Images are made from their numbers when they are read, so they take no memory.
- ``training``: ``zoo.epochs.run_epochs`` on these features, mapped, as ``zoo finetune`` trains a head: a softmax layer
  of 100 classes, Adam, batches of 32, four fifths of the examples to train on and one to validate on, in three epochs.
- ``training, dropout``: the same with dropout, which is not compiled by XLA; see ``zoo.step_rule``.

Features may take 16 MiB of memory: those of 10,000 examples are three times as many, those of 100,000 thirty times.

A process first does the same with 500 examples, so that code is loaded and functions are traced once. All that follows
counts: compiling what a run needs for itself, and what has to be held for each example, which is its digest (as text,
121 bytes), where its features are, the number of its class, its place in an epoch. A thread looks every 5 ms: the
largest figure is the peak. The end is what the run still holds when it is done, after what is free has been handed back
to the system. Both are the whole process's memory, TensorFlow's share included; beside them stands by how many bytes
the peak grew for each of the 90,000 examples more. Figures are medians over the rounds.

Run it as ``python -m benchmarks.memory``.
"""

import argparse
import ctypes
import hashlib
import json
import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.own_process import in_a_process
from benchmarks.split_applications import machine, markdown

COUNTS, WARM, ROUNDS = (10_000, 100_000), 500, 3
SIDE, FEATURES, CLASSES, BATCH, EPOCHS = 16, 1_280, 100, 32, 3
#: The bytes of features that may be held in memory.
BUDGET = 2**24
#: How much more memory ten times the examples may take.
TARGET = 1.10
KINDS = ("extraction", "training", "training, dropout")


@dataclass(frozen=True)
class Row:
    """A run: the bytes of anonymous memory before it, at its peak, and at its end."""

    kind: str
    examples: int
    before: int
    peak: int
    end: int


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of each kind (default: {ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument("--one", nargs=3, metavar=("KIND", "COUNT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.one:
        kind, count, folder = options.one
        print(json.dumps(asdict(measure(kind, int(count), Path(folder)))))
        return
    found = [row for _ in range(options.rounds) for row in measured()]
    rows = [median([row for row in found if (row.kind, row.examples) == each]) for each in product(KINDS, COUNTS)]
    print(table(rows))
    if options.json:
        figures = {"rows": [asdict(row) for row in rows], "runs": [asdict(row) for row in found], "target": TARGET}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measured() -> list[Row]:
    """Every run once, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            Row(**in_a_process("benchmarks.memory", "--one", kind, str(count), str(Path(folder, str(count)))))
            for count in COUNTS
            for kind in KINDS
        ]


def median(rows: list[Row]) -> Row:
    """The medians of several runs of one kind."""
    before, peak, end = (
        int(statistics.median(getattr(row, name) for row in rows)) for name in ("before", "peak", "end")
    )
    return Row(rows[0].kind, rows[0].examples, before, peak, end)


def measure(kind: str, count: int, folder: Path) -> Row:
    """Does one run, after a small one of its kind.

    Args:
        kind: One of ``KINDS``.
        count: The number of examples.
        folder: Where features go that are extracted, and come from that are trained on.
    """
    run = extracting if kind == "extraction" else training
    small = folder.with_name(f"{folder.name}-small")
    with watched(kind, WARM):
        run(kind, WARM, small)
    with watched(kind, count) as found:
        held = run(kind, count, folder)
    del held
    return found[0]


def extracting(kind: str, count: int, folder: Path) -> Any:
    """Fills a folder with the features of some examples, and gives what is still held then."""
    from zoo import engine
    from zoo.engines.interface import Setup
    from zoo.extraction import Sink, fill
    from zoo.feature_folder import FeatureFolder

    made = engine.build(trunk(), "tensorflow", Setup(threads=os.cpu_count() or 1))
    digests, sinks = examples(count), [Sink(FeatureFolder(folder), (0,))]
    fill(sinks, digests, made.run, images, engine.BATCH)
    return digests, sinks, made


def training(kind: str, count: int, folder: Path) -> Any:
    """Trains a head on features that lie on the disk, and gives what is still held then."""
    from zoo import step_rule
    from zoo.epochs import run_epochs
    from zoo.feature_folder import FeatureFolder
    from zoo.job import Job
    from zoo.one_hot import OneHot
    from zoo.recipe_stage import StagePart
    from zoo.side import Side

    if not folder.exists():  # the small run's
        extracting(kind, count, folder)
    digests, stored = examples(count), FeatureFolder(folder).refresh()
    features = stored.features(digests).held(BUDGET)
    labels = np.random.default_rng(0).integers(0, CLASSES, count)
    order, cut = np.random.default_rng(1).permutation(count), count * 4 // 5

    def side(taken: np.ndarray) -> Side:
        return Side(lambda indices: features.rows(taken[indices])[0], OneHot(labels[taken], CLASSES))

    train, val = side(order[:cut]), side(order[cut:])
    step_rule.XLA_FROM = 0.0  # for as many examples as there are
    model = head(dropout=0.5 if "dropout" in kind else 0.0)
    job = Job(train, val, seed=0, batch_size=BATCH, loss=model.loss, metrics=list)
    stage = StagePart("head", EPOCHS, {"name": "adam"})
    history = run_epochs(model, (train, val), stage, 0, job, model.random_states(model.head), [])
    return digests, stored, features, job, history


def examples(count: int) -> list[str]:
    """What the examples are known by."""
    return [hashlib.sha256(f"example {i}".encode()).hexdigest() for i in range(count)]


def images(indices: np.ndarray) -> np.ndarray:
    """The pixels of some examples: noise that follows from their numbers."""
    places = np.arange(SIDE * SIDE * 3, dtype="uint32")
    mixed = (np.asarray(indices, "uint32")[:, None] * np.uint32(2_654_435_761) + places) * np.uint32(2_246_822_519)
    return (mixed >> np.uint32(24)).astype("uint8").reshape(-1, SIDE, SIDE, 3)


def trunk() -> Any:
    """A small frozen network that gives 1,280 numbers for an image."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3), dtype="uint8"),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(FEATURES // 64, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
        ]
    )


def head(dropout: float) -> Any:
    """A compiled softmax layer on the features, after dropout where there is any."""
    import keras

    from zoo.stage_network import StageNetwork

    keras.utils.set_random_seed(0)
    dropping = [keras.layers.Dropout(dropout, seed=0)] if dropout else []
    network = keras.Sequential([keras.Input((FEATURES,)), *dropping, keras.layers.Dense(CLASSES, activation="softmax")])
    model = StageNetwork([], None, network, "float32", network)
    metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    model.compile(optimizer="adam", loss=keras.losses.CategoricalCrossentropy(), weighted_metrics=metrics)
    model.optimizer.build(model.trainable_variables)
    return model


@contextmanager
def watched(kind: str, count: int) -> Iterator[list[Row]]:
    """Gives, at the end, a run's figures."""
    found: list[Row] = []
    before, stop = anonymous(), threading.Event()
    peak = before

    def look() -> None:
        nonlocal peak
        while not stop.wait(0.005):
            peak = max(peak, anonymous())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    end = anonymous()
    found.append(Row(kind, count, before, max(peak, end), end))


def anonymous() -> int:
    """The bytes of anonymous memory that this process holds."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def table(rows: list[Row]) -> str:
    """The figures, as Markdown."""
    headings = (
        "",
        "examples",
        "before, MB",
        "peak, MB",
        "at the end, MB",
        "peak, times",
        "end, times",
        "bytes an example",
    )
    cells = []
    first: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: KINDS.index(row.kind)):
        base = first.setdefault(row.kind, row)
        grown = (row.peak - base.peak) / (row.examples - base.examples) if row is not base else None
        times = (
            ("", "", "")
            if grown is None
            else (f"{row.peak / base.peak:.3f}", f"{row.end / base.end:.3f}", f"{grown:.0f}")
        )
        held = (f"{each / 1e6:.1f}" for each in (row.before, row.peak, row.end))
        cells.append((row.kind, f"{row.examples:,}", *held, *times))
    return f"{markdown(headings, cells)}\n\nAsked for: at most {TARGET:.2f} times.\n{machine()}"


if __name__ == "__main__":
    sys.exit(main())
