"""What each activation costs beside ReLU, and the table of docs/activations.md.

Each activation of ``zoo.layers.activation_facts`` runs by itself on a million numbers from N(0, 1), a batch of 256 with
4,096 units, in float32, compiled to a graph: forwards as in inference, and forwards and backwards as in training. The
least of many rounds counts, taken in turns so that what else the machine does falls on all alike; each is divided by
ReLU's. A dense layer from and to as many units is there for comparison.

``--measure`` prints the figures, for the table in ``layers/activation_facts.py``; ``--write`` puts the page's table,
made of that table, into the page.
"""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from split_applications import markdown, write_section

if TYPE_CHECKING:
    import keras

ROUNDS = 60
SHAPE = (256, 4096)


def main() -> None:
    """Measures, or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure, and print the costs")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    options = parser.parse_args()
    if options.measure:
        for name, (predict, train) in costs().items():
            print(f"{name:16} ({predict:.1f}, {train:.1f})", flush=True)
    if options.write:
        write_section(options.write, "table of activations", table())


def costs() -> dict[str, tuple[float, float]]:
    """The time of each activation relative to ReLU's: to predict, and to train."""
    import keras
    import numpy as np
    import tensorflow as tf

    from zoo.layers import activation
    from zoo.layers.activation_facts import FACTS

    x, above = (tf.constant(drawn.astype("float32")) for drawn in np.random.default_rng(0).normal(size=(2, *SHAPE)))
    runs = {name: _runs(activation(name, rank=2, seed=0), x, above) for name in FACTS}
    runs["a dense layer"] = _runs(keras.layers.Dense(SHAPE[1]), x, above)
    least = {name: [math.inf, math.inf] for name in runs}
    for _ in range(ROUNDS):
        for name, both in runs.items():
            for side, run in enumerate(both):
                start = time.perf_counter()
                run()
                least[name][side] = min(least[name][side], time.perf_counter() - start)
    predict, train = least["relu"]
    print(f"relu: {predict * 1e3:.2f} and {train * 1e3:.2f} ms")
    return {name: (one / predict, two / train) for name, (one, two) in least.items()}


def _runs(layer: "keras.layers.Layer", x: object, above: object) -> tuple[Callable[[], object], Callable[[], object]]:
    """Two compiled functions of one layer; each gives all that it computes, else TensorFlow would leave some out."""
    import tensorflow as tf

    layer.build(x.shape)

    @tf.function
    def predict() -> object:
        return layer(x, training=False)

    @tf.function
    def train() -> object:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, x, output_gradients=above)

    return predict, train


def table() -> str:
    """The page's table in Markdown."""
    from zoo.layers.activation_facts import FACTS, initializer_text

    head = ("Name", "$f(z)$", "Slope at 0", "Saturates", "Cost", "Initializer", "Source")
    rows = []
    for name, facts in FACTS.items():
        left, right = (f"{slope:.3g}" for slope in facts.at_zero)
        slopes = left if facts.smooth else f"{left} and {right}"
        cost = f"{facts.cost[0]:.1f}, {facts.cost[1]:.1f}"
        rows.append(
            (f"`{name}`", f"${facts.formula}$", slopes, facts.saturates, cost, initializer_text(name), facts.source)
        )
    return markdown(head, rows, text=len(head))


if __name__ == "__main__":
    main()
