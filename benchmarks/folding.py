"""What folding batch normalization changes in the outputs of four networks of keras.applications, and in their speed.

Each network is built in a process of its own with random weights and five logits, and made live: batch normalization
gets the statistics of one pass over 32 random images. Then ``zoo.fold_batch_norm`` folds it, and 8 images are run
through both.

All differences are the largest of any logit and image, relative to the largest standard deviation of a logit over the
images:

- exact: a copy of the network in float64 beside the same copy, folded;
- rounding: the network in float32 beside its copy in float64: what it is off by itself;
- folded: the folded network in float32 beside the network's copy in float64.

The speed is that of ``predict_on_batch`` in plain Keras, 32 images at 224x224, the two networks in turn; the speed-up
is the median over the rounds of the ratio of the two times. Both suffer alike from whatever else the machine does.

Run it as ``python -m benchmarks.folding``.
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.own_process import in_a_process
from benchmarks.split_applications import (
    CALIBRATE,
    CLASSES,
    COMPARE,
    machine,
    make_live,
    markdown,
    networks,
    pictures,
    smallest,
    spread_of,
    write_section,
)

if TYPE_CHECKING:
    import keras

NETWORKS = ("ResNet50", "MobileNetV2", "EfficientNetB0", "DenseNet121")
SIZE, BATCH, ROUNDS = 224, 32, 7


@dataclass(frozen=True)
class Row:
    """One network: its batch normalizations and those left, its layers, three differences, and images a second."""

    network: str
    norms: int
    left: int
    layers_before: int
    layers_after: int
    exact: float
    plain: float
    folded: float
    speed_before: float = 0.0
    speed_after: float = 0.0
    speed_up: float = 0.0


def main() -> None:
    """Prints the table, and writes it where it is asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS, help="these networks")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(options.one))))
        return
    if options.write and options.only != NETWORKS:
        parser.error("--write takes the table of all networks: leave --only out")
    text = table([Row(**in_a_process("benchmarks.folding", "--one", name)) for name in options.only])
    print(text)
    if options.write:
        write_section(options.write, "folding", text)


def measure(name: str, size: int = SIZE, rounds: int = ROUNDS) -> Row:
    """Folds a network, and compares it with what it was.

    Args:
        name: One of ``NETWORKS``.
        size: The height and width of its images; 0 for the smallest that it takes.
        rounds: How often the two are timed; 0 for not at all.
    """
    made = networks()[name]
    import keras

    import zoo
    from zoo.copying import clone

    keras.utils.set_random_seed(0)
    options = {"weights": None, "classes": CLASSES, "classifier_activation": None}
    model = made(input_shape=(size, size, 3), **options) if size else smallest(made)
    x = pictures(CALIBRATE, model.input_shape[1])
    make_live(model, x)
    folded, decision = zoo.fold_batch_norm(model), zoo.foldable(model)
    wide = clone(model, lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float64"}))
    few = x[:COMPARE]
    plain, ours, exact, ours_exact = (
        np.asarray(network(few, training=False), "float64")
        for network in (model, folded, wide, zoo.fold_batch_norm(wide))
    )
    spread = spread_of(exact)
    differences = [float(np.abs(one - exact).max()) / spread for one in (ours_exact, plain, ours)]
    counts = (len(decision.rows), len(decision.rows) - len(decision.folded), len(model.layers), len(folded.layers))
    return Row(name, *counts, *differences, *(speeds(model, folded, x[:BATCH], rounds) if rounds else ()))


def speeds(model: "keras.Model", folded: "keras.Model", x: np.ndarray, rounds: int) -> tuple[float, float, float]:
    """Images a second through each, and the speed-up."""
    times: list[list[float]] = [[], []]
    for i in range(rounds + 1):
        for network, taken in zip((model, folded), times, strict=True):
            start = time.perf_counter()
            network.predict_on_batch(x)
            if i:  # the first traces
                taken.append(time.perf_counter() - start)
    before, after = (len(x) / statistics.median(taken) for taken in times)
    return before, after, statistics.median(a / b for a, b in zip(*times, strict=True))


HEADINGS = (
    "network", "batch norms", "left", "layers", "layers folded", "exact", "rounding", "folded", "images/s",
    "images/s folded", "speed-up",
)  # fmt: skip


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, with what they were measured on above it."""
    cells = [
        (
            row.network,
            *(str(count) for count in (row.norms, row.left, row.layers_before, row.layers_after)),
            *(f"{difference:.0e}" for difference in (row.exact, row.plain, row.folded)),
            f"{row.speed_before:.0f}",
            f"{row.speed_after:.0f}",
            f"{row.speed_up:.2f}",
        )
        for row in rows
    ]
    return f"Measured on {machine()}.\n\n{markdown(HEADINGS, cells)}"


if __name__ == "__main__":
    main()
