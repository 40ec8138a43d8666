"""What an epoch of a head over cached features costs, beside Keras's ``fit`` and scikit-learn.

10,000 examples of 1,280 features in 100 classes: a normal cloud around each class's centre, near enough to each other
that some examples are closer to another class's centre. A softmax layer learns them with Adam at 0.001 in batches of
32. Five do the same in turn, round by round, each an epoch of the network that it has trained on since its first round,
which compiles and does not count:

- ``fit``: the features as arrays in memory;
- ``fit, 32 steps``: the same with ``steps_per_execution=32``;
- ``zoo``: as ``zoo finetune`` trains a head, its loss and metric included;
- ``zoo, mapped``: the same, the features in a file that is mapped into memory;
- ``zoo, no XLA``: what a head with dropout takes.

Figures are medians over the rounds, by the clock and in processor seconds, which suffer less from whatever else the
machine does; ratios are medians of the ratios within a round. The share of the peak is the multiplications of forward
pass and gradient, by the clock, beside those of a product of two square matrices in the same round. Accuracy is that
on 2,000 more examples after all rounds. LogisticRegression (lbfgs, to its own tolerance) is one fit, where it is
installed.

Run it as ``python -m benchmarks.head``.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.split_applications import machine, markdown

EXAMPLES, TEST, FEATURES, CLASSES, BATCH, ROUNDS = 10_000, 2_000, 1_280, 100, 32, 7
#: The sides of the square matrices whose product measures the machine's peak.
SIDE = 2048
#: How far the classes' centres lie from 0, in units of the spread of each feature.
APART = 0.16


@dataclass(frozen=True)
class Row:
    """One way of training: seconds an epoch by the clock and of the processor, how many times faster than ``fit`` in
    both, share of the peak, accuracy on other examples, seconds of the first epoch, which compiles."""

    name: str
    seconds: float
    processor_seconds: float
    over_fit: float
    processor_over_fit: float
    share_of_peak: float
    accuracy: float
    first: float


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"the epochs that are timed (default: {ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), options.rounds)
    peer = logistic_regression()
    print(table(rows, peer))
    if options.json:
        figures = {"rows": [asdict(row) for row in rows], "logistic_regression": peer}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features and class numbers to train on, and those of other examples."""
    rng = np.random.default_rng(0)
    centres = APART * rng.standard_normal((CLASSES, FEATURES), "float32")
    labels = rng.integers(0, CLASSES, EXAMPLES + TEST)
    x = centres[labels] + rng.standard_normal((len(labels), FEATURES), "float32")
    return x[:EXAMPLES], labels[:EXAMPLES], x[EXAMPLES:], labels[EXAMPLES:]


def measure(folder: Path, rounds: int = ROUNDS) -> list[Row]:
    """Times all ways in turn.

    Args:
        folder: Where the file that is mapped into memory goes.
        rounds: The epochs that are timed, after one that compiles.
    """
    x, labels, other_x, other_labels = data()
    y, other_y = (np.eye(CLASSES, dtype="float32")[values] for values in (labels, other_labels))
    np.save(folder / "x.npy", x)
    ways: dict[str, tuple[Any, Callable[[int], Any]]] = {
        "fit": _fit(x, y, 1),
        "fit, 32 steps": _fit(x, y, 32),
        "zoo": _zoo(x, y, rounds, xla=True),
        "zoo, mapped": _zoo(np.load(folder / "x.npy", mmap_mode="r"), y, rounds, xla=True),
        "zoo, no XLA": _zoo(x, y, rounds, xla=False),
    }
    runs = {name: epoch for name, (_, epoch) in ways.items()}
    clock, busy = _times({**runs, "peak": _product()}, rounds + 1)
    work = 2 * 2 * EXAMPLES * FEATURES * CLASSES  # forward, and the gradient of the kernel
    rows = []
    for name, (model, _) in ways.items():
        seconds, used = clock[name][1:], busy[name][1:]
        shares = [work / own / (2 * SIDE**3 / best) for own, best in zip(seconds, clock["peak"][1:], strict=True)]
        right = model(other_x).numpy().argmax(axis=1) == other_y.argmax(axis=1)
        ratios = [
            statistics.median(a / b for a, b in zip(of["fit"][1:], of[name][1:], strict=True)) for of in (clock, busy)
        ]
        medians = [statistics.median(values) for values in (seconds, used)]
        rows.append(Row(name, *medians, *ratios, statistics.median(shares), float(right.mean()), clock[name][0]))
    return rows


def _head() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES, activation="softmax")])


def _compiled(model: Any, **how: Any) -> Any:
    import keras

    metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    loss = keras.losses.CategoricalCrossentropy()
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss=loss, weighted_metrics=metrics, **how)
    return model


def _fit(x: np.ndarray, y: np.ndarray, steps: int) -> tuple[Any, Callable[[int], Any]]:
    model = _compiled(_head(), steps_per_execution=steps)
    return model, lambda epoch: model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)


def _zoo(x: np.ndarray, y: np.ndarray, rounds: int, *, xla: bool) -> tuple[Any, Callable[[int], Any]]:
    """An epoch as ``zoo finetune`` has it, of a stage that is long enough, or not, for XLA to pay."""
    from zoo import engine
    from zoo.epochs import Epochs
    from zoo.job import Job
    from zoo.side import Side
    from zoo.stage_network import StageNetwork
    from zoo.step_rule import XLA_FROM

    head = _head()
    model = _compiled(StageNetwork([], None, head, "float32", head))
    model.optimizer.build(model.trainable_variables)
    side = Side(engine.rows_of([x]), y)
    nothing = Side(side.read, y[:0])
    job = Job(side, nothing, seed=0, batch_size=BATCH, loss=model.loss, metrics=list)
    enough = int(XLA_FROM // (head.count_params() * job.steps)) + 1
    epochs = Epochs(model, (side, nothing), 0, job, model.random_states(head), [], enough if xla else 1)
    return model, epochs.run


def _product() -> Callable[[int], Any]:
    import tensorflow as tf

    a, b = (tf.random.stateless_normal((SIDE, SIDE), (0, i)) for i in (1, 2))
    return lambda _: tf.linalg.matmul(a, b).numpy()


def _times(runs: dict[str, Callable[[int], Any]], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The seconds of each in each round, by the clock and of the processor."""
    clock: dict[str, list[float]] = {name: [] for name in runs}
    busy: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds):
        for name, run in runs.items():
            start, used = time.perf_counter(), time.process_time()
            run(i)
            clock[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - used)
    return clock, busy


def logistic_regression() -> dict[str, float] | None:
    """Time and accuracy of scikit-learn's; ``None`` where it is not installed."""
    if importlib.util.find_spec("sklearn") is None:
        return None
    from sklearn.linear_model import LogisticRegression

    x, labels, other_x, other_labels = data()
    start, used = time.perf_counter(), time.process_time()
    model = LogisticRegression(max_iter=1000).fit(x, labels)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    accuracy = float(model.score(other_x, other_labels))
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "accuracy": accuracy,
        "iterations": int(model.n_iter_[0]),
    }


def table(rows: list[Row], peer: dict[str, float] | None) -> str:
    """The figures, as Markdown."""
    headings = (
        "an epoch",
        "seconds",
        "processor seconds",
        "times faster than fit",
        "in processor seconds",
        "of peak",
        "accuracy",
        "first epoch",
    )
    cells = [
        (
            row.name,
            f"{row.seconds:.3f}",
            f"{row.processor_seconds:.3f}",
            f"{row.over_fit:.1f}",
            f"{row.processor_over_fit:.1f}",
            f"{100 * row.share_of_peak:.1f} %",
            f"{row.accuracy:.3f}",
            f"{row.first:.1f}",
        )
        for row in rows
    ]
    last = "scikit-learn is not installed: no LogisticRegression."
    if peer is not None:
        spent = f"{peer['seconds']:.1f} s ({peer['processor_seconds']:.1f} processor seconds)"
        last = f"LogisticRegression: {spent}, accuracy {peer['accuracy']:.3f}, {peer['iterations']} iterations."
    return f"{markdown(headings, cells)}\n\n{last}\n{machine()}"


if __name__ == "__main__":
    sys.exit(main())
