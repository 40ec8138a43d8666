"""The chapter's story on shipped data: one change at a time in a network of 20 dense layers.

Data: ``characters``, 8,000 images of 62 characters, 8x8 pixels each, so that guessing is right once in 62 times and
nothing learns them all within the budget: among the digits every network that learns at all would reach the same 95%.
About 5,000 are trained on, 1,000 are for validation, 2,000 for the test. Every pixel is standardized by its mean and
variance over the training side, for all networks alike.

Networks: 20 hidden layers of 100 units; biases start at 0, the kernel of the output layer by Xavier, in all of them.
Budget: 8 epochs of plain gradient descent, batches of 32, cross-entropy, the same for all; five learning rates, 0.01
to 1, of which each network gets the one with the best mean validation accuracy; three seeds for weights and batches.
One pair of networks is compared at the highest rate, 1: ReLU with and without clipping.

Measured on 1,000 training examples in training mode, at the start and at the end; see ``deep_signals.py``. The verdict
at the start is that of ``zoo.inspect`` on 256 of them, the worst of its layers. Design, budget, rates and seeds were
fixed before the first figure was seen.

``--write docs/deep-networks.md`` puts both tables into the page and draws ``deep-signals.svg`` and ``deep-dead.svg``
beside it; ``--json`` keeps every figure of every run; ``--quick`` is a small version of it all for the tests.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from deep_signals import Signals, signals
from deep_tables import end_table, footer, start_table
from split_applications import write_section

if TYPE_CHECKING:
    import keras

CLASSES = 62
HIGH = 1.0


@dataclass(frozen=True)
class Budget:
    """What every network gets."""

    depth: int = 20
    width: int = 100
    examples: int = 8000
    epochs: int = 8
    batch: int = 32
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, HIGH)
    seeds: tuple[int, ...] = (1, 2, 3)
    measured: int = 1000
    inspected: int = 256
    compiled: bool = True


QUICK = Budget(3, 16, 600, 1, rates=(0.1, HIGH), seeds=(1,), measured=100, inspected=64, compiled=False)


@dataclass(frozen=True)
class Network:
    """A network of the story.

    Attributes:
        label: What it is.
        base: The number of the network that it is one change away from; 0 for the first.
        activation: Of its hidden layers.
        initializer: Of their kernels; ``None`` is the default of ``zoo.models.dnn``.
        batch_norm: Whether batch normalization comes before each activation.
        lsuv: Whether LSUV replaces the initializer.
        clip: The largest norm of all gradients together.
        rate: The only rate that counts; by default validation chooses one.
    """

    label: str
    base: int
    activation: str
    initializer: Any = None
    batch_norm: bool = False
    lsuv: bool = False
    clip: float | None = None
    rate: float | None = None


def scaled(scale: float) -> dict[str, Any]:
    """Xavier's initializer with its variance multiplied."""
    config = {"scale": scale, "mode": "fan_avg", "distribution": "truncated_normal"}
    return {"class_name": "VarianceScaling", "config": config}


OLD = {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}}

#: Numbered from 1 in this order.
NETWORKS = (
    Network("logistic, N(0, 1)", 0, "sigmoid", OLD),
    Network("logistic, Xavier", 1, "sigmoid", "glorot_normal"),
    Network("logistic, Xavier x 4 (theory)", 2, "sigmoid", scaled(16)),
    Network("logistic, N(0, 1), batch norm", 1, "sigmoid", OLD, batch_norm=True),
    Network("logistic, LSUV", 1, "sigmoid", OLD, lsuv=True),
    Network("logistic, N(0, 1), clipping", 1, "sigmoid", OLD, clip=1.0),
    Network("tanh, Xavier (theory)", 2, "tanh", "glorot_normal"),
    Network("tanh, Xavier x 4 (the chapter)", 7, "tanh", scaled(16)),
    Network("tanh, Xavier, batch norm", 7, "tanh", "glorot_normal", batch_norm=True),
    Network("ReLU, Xavier", 7, "relu", "glorot_normal"),
    Network("ReLU, He", 10, "relu", "he_normal"),
    Network("ReLU, LSUV", 11, "relu", "he_normal", lsuv=True),
    Network("ReLU, He, batch norm", 11, "relu", "he_normal", batch_norm=True),
    Network("leaky ReLU (0.01), He", 11, "leaky_relu", "he_normal"),
    Network("very leaky ReLU (0.2), He", 11, "very_leaky_relu", "he_normal"),
    Network("RReLU, He", 11, "rrelu", "he_normal"),
    Network("PReLU, He", 11, "prelu", "he_normal"),
    Network("ELU, He", 11, "elu", "he_normal"),
    Network("SELU, LeCun", 11, "selu"),
    Network("ReLU, He, at rate 1", 11, "relu", "he_normal", rate=HIGH),
    Network("ReLU, He, clipping, at rate 1", 20, "relu", "he_normal", clip=1.0, rate=HIGH),
)


@dataclass(frozen=True)
class Sides:
    """Standardized vectors and their classes: training, validation, test."""

    train: tuple[np.ndarray, np.ndarray]
    val: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Trained:
    """One network after one seed and rate."""

    rate: float
    seed: int
    val: float
    test: float
    end: Signals


@dataclass
class Result:
    """All that was measured of one network: its starts by seed, and its runs."""

    number: int
    network: Network
    starts: list[Signals] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    runs: list[Trained] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The rate that counts: the given one, or that of the best mean validation accuracy; the lower of equals."""
        if self.network.rate is not None:
            return self.network.rate
        rates = sorted({run.rate for run in self.runs})
        return max(rates, key=lambda rate: np.mean([run.val for run in self.at(rate)]))

    def at(self, rate: float) -> list[Trained]:
        """The runs at a rate."""
        return [run for run in self.runs if run.rate == rate]


def main() -> None:
    """Runs, prints and writes."""
    options = _arguments()
    budget = QUICK if options.quick else Budget()
    wanted = options.only or range(1, len(NETWORKS) + 1)
    start = time.perf_counter()
    sides = data(budget)
    results = [_said(one) for one in results_of(wanted, sides, budget)]
    first, last = start_table(results), f"{end_table(results)}\n\n{footer(budget, time.perf_counter() - start)}"
    print(f"{first}\n\n{last}")
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n", encoding="utf-8")
    if options.write:
        from deep_plots import draw

        write_section(options.write, "at the start", first)
        write_section(options.write, "after training", last)
        draw(results, options.write.parent / "images")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", type=int, metavar="NUMBER", help="these networks instead of all")
    parser.add_argument("--quick", action="store_true", help="small networks, one epoch, one seed")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put tables and plots into this page")
    return parser.parse_args()


def _said(result: Result) -> Result:
    accuracy = np.mean([run.test for run in result.at(result.rate)])
    print(f"{result.network.label}: {accuracy:.1%} at {result.rate:g}", *result.verdicts, file=sys.stderr, flush=True)
    return result


def data(budget: Budget) -> Sides:
    """The characters as vectors, each pixel with mean 0 and variance 1 over the training side."""
    import zoo
    from zoo.data.splits import split
    from zoo.input_form import InputForm

    found = zoo.open_data(f"characters:examples={budget.examples}")
    sides = split(found, seed=0, val=0.125, test=0.25)
    pixels = found.batch(np.arange(len(found)), InputForm("image", (8, 8, 1))).reshape(len(found), -1).astype("float32")
    mean, std = pixels[sides.train].mean(axis=0), pixels[sides.train].std(axis=0)
    x = (pixels - mean) / np.where(std > 0, std, 1)
    classes = np.asarray(found.target.values)
    return Sides(*((x[rows], classes[rows]) for rows in (sides.train, sides.val, sides.test)))


def results_of(numbers: Sequence[int], sides: Sides, budget: Budget) -> Iterator[Result]:
    """Every network, one after the other; those that differ in nothing but the rate that counts are run once."""
    done: dict[tuple[str, ...], Result] = {}
    for number in numbers:
        network = NETWORKS[number - 1]
        key = tuple(str(v) for k, v in asdict(network).items() if k not in ("label", "base", "rate"))
        if key not in done:
            done[key] = _run(number, network, sides, budget)
        yield replace(done[key], number=number, network=network)


def build(network: Network, sides: Sides, budget: Budget, seed: int) -> "keras.Model":
    """A network at its start, with logits."""
    import zoo
    from zoo.models import dnn

    model = dnn.build(
        sides.train[0].shape[1:],
        CLASSES,
        depth=budget.depth,
        width=budget.width,
        activation=network.activation,
        initializer=network.initializer,
        batch_norm=network.batch_norm,
        output="linear",
        seed=seed,
    )
    if network.lsuv:
        zoo.lsuv(model, sides.train[0][: budget.measured], seed=seed)
    return model


def _run(number: int, network: Network, sides: Sides, budget: Budget) -> Result:
    """All seeds and rates of a network; one model is compiled once, and put back to each start."""
    import keras

    import zoo

    result = Result(number, network)
    model = build(network, sides, budget, 0)
    train = trainer(model, network, budget)
    sample = [part[: budget.measured] for part in sides.train]
    for seed in budget.seeds:
        fresh = build(network, sides, budget, seed)
        result.starts.append(signals(fresh, network.activation, *sample))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        looked_at = [part[: budget.inspected] for part in sample]
        result.verdicts.append(zoo.inspect(fresh, *looked_at, loss=loss, seed=seed).verdict)
        for rate in budget.rates:
            for variable, start in zip(model.variables, fresh.variables, strict=True):
                variable.assign(start)
            train(*sides.train, rate, seed)
            val, test = (accuracy(model, *side) for side in (sides.val, sides.test))
            result.runs.append(Trained(rate, seed, val, test, signals(model, network.activation, *sample)))
    return result


def trainer(
    model: "keras.Model", network: Network, budget: Budget
) -> Callable[[np.ndarray, np.ndarray, float, int], None]:
    """Plain gradient descent by Keras's optimizer; a function of examples, classes, rate and seed."""
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=network.clip)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=budget.compiled)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(y, model(x, training=True), from_logits=True)
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    @tf.function
    def epoch(x: Any, y: Any, batches: Any) -> None:
        for rows in batches:
            step(tf.gather(x, rows), tf.gather(y, rows))

    def train(x: np.ndarray, y: np.ndarray, rate: float, seed: int) -> None:
        optimizer.learning_rate = rate
        held = tf.constant(x), tf.constant(y)
        for number in range(budget.epochs):
            order = np.random.default_rng([seed, number]).permutation(len(x))
            batches = order[: len(x) // budget.batch * budget.batch].reshape(-1, budget.batch)
            epoch(*held, tf.constant(batches))

    return train


def accuracy(model: "keras.Model", x: np.ndarray, y: np.ndarray) -> float:
    """The share of right answers."""
    return float((np.asarray(model(x, training=False)).argmax(axis=1) == y).mean())


if __name__ == "__main__":
    main()
