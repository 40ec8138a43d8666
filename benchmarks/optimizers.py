"""The optimizers side by side on one task, and the schedules under one optimizer.

Optimizers: ``digits``, all 1,797 images, in a network of 10 dense layers of 64 ELU units, He's initialization; batches
of 64, cross-entropy, 1,000 steps (36 epochs). Each optimizer of Keras, with its default arguments, at the same five
rates, 0.0001 to 1; three seeds for weights and batches. Every 10 steps the loss over all the images is measured.
Counted are the steps to a loss of 0.1, and to one of 0.01; the median over the seeds. A run has diverged when its loss
is no number, or is above ten times that of guessing.

Schedules: ``characters``, 12,000 images of 62 characters (8,000 to train on, 1,500 for validation, 2,500 for the
test), in a network of the same kind; Nesterov's momentum of 0.9, batches of 128, 1,000 steps (16 epochs), so that
nothing learns them all. Each schedule at the same five rates, 0.003 to 0.3, with the numbers that stand beside it
(``compared_schedules.py``), among them those of ``zoo finetune --schedule NAME``; three seeds. Validation is every 50
steps, which is the epoch of performance scheduling. Each gets the rate with the lowest mean validation loss at the end;
the test accuracy is that rate's.

Design, grids, targets, budgets and seeds were fixed before the first figure was seen. One row came afterwards, when the
figures had shown that Keras's AdaGrad, whose sum starts at 0.1, hardly grows it here: AdaGrad with the chapter's start;
and so did the schedules with the command's own numbers where those of the others differ.

``--write docs`` puts the tables into ``optimizers.md`` and ``schedules.md`` and draws ``optimizers-compared.svg`` and
``schedules-compared.svg``; ``--json`` keeps every figure of every run; ``--quick`` is a small version for a test.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from compared_schedules import SCHEDULES, nesterov
from optimizer_tables import optimizer_table, schedule_table
from split_applications import machine, write_section

if TYPE_CHECKING:
    import keras

#: The chapter's in its order, Adam's family, and the others.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"name": "sgd"},
    "momentum 0.9": {"name": "sgd", "momentum": 0.9},
    "Nesterov 0.9": {"name": "sgd", "momentum": 0.9, "nesterov": True},
    "AdaGrad": {"name": "adagrad"},
    "AdaGrad, s from 0": {"name": "adagrad", "initial_accumulator_value": 0.0},
    "RMSProp": {"name": "rmsprop"},
    "Adam": {"name": "adam"},
    "AdamW": {"name": "adamw"},
    "Adamax": {"name": "adamax"},
    "Nadam": {"name": "nadam"},
    "Adadelta": {"name": "adadelta"},
    "Adafactor": {"name": "adafactor"},
    "Lamb": {"name": "lamb"},
    "Lion": {"name": "lion"},
    "Muon": {"name": "muon"},
    "ScheduleFreeAdamW": {"name": "schedulefreeadamw"},
    "FTRL": {"name": "ftrl"},
}


@dataclass(frozen=True)
class Budget:
    """What every run gets."""

    depth: int = 10
    width: int = 64
    steps: int = 1000
    seeds: tuple[int, ...] = (1, 2, 3)
    rates: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    schedule_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    examples: tuple[int, int, int] = (8000, 1500, 2500)


QUICK = Budget(2, 16, 100, (1,), (1e-3, 1e-2), (0.03,), (400, 100, 100))


@dataclass
class Curve:
    """A run: what it was, and the loss at each measurement."""

    name: str
    rate: float
    seed: int
    losses: list[float] = field(default_factory=list)
    effective: list[float] = field(default_factory=list)
    accuracy: float | None = None


class Training:
    """A network and an optimizer whose compiled steps are used for several runs."""

    def __init__(self, network: "keras.Model", optimizer: "keras.optimizers.Optimizer") -> None:
        import keras
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it warns of many compilations: there is one for each optimizer
        self.network, self.optimizer = network, optimizer
        network.compile(optimizer)  # so that a callback finds the optimizer
        optimizer.build(network.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy()

        @tf.function
        def advance(x: Any, y: Any) -> None:
            for i in tf.range(tf.shape(x)[0]):
                with tf.GradientTape() as tape:
                    value = loss(y[i], network(x[i], training=True))
                variables = network.trainable_variables
                optimizer.apply(tape.gradient(value, variables), variables)

        @tf.function
        def measure(x: Any, y: Any) -> tuple[Any, Any]:
            found = network(x, training=False)
            return loss(y, found), tf.reduce_mean(tf.cast(tf.argmax(found, 1) == y, "float32"))

        self.advance, self.measure = advance, measure

    def restart(self, weights: list[np.ndarray], fresh: "keras.optimizers.Optimizer") -> None:
        """Goes back to the start, with the state of an optimizer that has just been made for these weights."""
        self.network.set_weights(weights)
        fresh.build(self.network.trainable_variables)
        for to, value in zip(self.optimizer.variables, fresh.variables, strict=True):
            to.assign(value)


def batches(count: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Batches without an end, each epoch in an order of its own."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


def arguments(label: str) -> str:
    """The arguments of an optimizer other than its rate that are not Keras's defaults, which are the command's."""
    own = {key: value for key, value in OPTIMIZERS[label].items() if key != "name"}
    return ", ".join(f"`{key}={value}`" for key, value in own.items()) or "Keras's"


def network_of(budget: Budget, classes: int, seed: int) -> "keras.Model":
    """The network; its weights follow from the seed."""
    from zoo.models import dnn

    return dnn.build((8, 8, 1), classes, depth=budget.depth, width=budget.width, seed=seed)


def run_optimizers(budget: Budget) -> list[Curve]:
    """Every optimizer at every rate with every seed."""
    import zoo
    from zoo.layers import optimizer

    data = zoo.open_data("digits")
    x, y = data.x.astype("float32"), data.target.values
    starts = {seed: network_of(budget, 10, seed).get_weights() for seed in budget.seeds}
    found = []
    for label, spec in OPTIMIZERS.items():
        began = time.perf_counter()
        training = Training(network_of(budget, 10, 0), optimizer(learning_rate=0.1, **spec))
        for rate, seed in itertools.product(budget.rates, budget.seeds):
            training.restart(starts[seed], optimizer(learning_rate=rate, **spec))
            found.append(_one(training, Curve(label, rate, seed), x, y, budget))
        print(f"{label}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def _one(training: Training, curve: Curve, x: np.ndarray, y: np.ndarray, budget: Budget) -> Curve:
    """One run, until its budget is reached or it has diverged."""
    order = batches(len(x), 64, curve.seed)
    for _ in range(budget.steps // 10):
        chosen = np.stack([next(order) for _ in range(10)])
        training.advance(x[chosen], y[chosen])
        loss = float(training.measure(x, y)[0])
        curve.losses.append(loss)
        if curve.name.startswith(("AdaGrad", "RMSProp")):
            curve.effective.append(_rate_in_effect(training.optimizer))
        if not loss < 10 * np.log(10):
            break
    return curve


def _rate_in_effect(optimizer: Any) -> float:
    """The median over the weights of what AdaGrad and RMSProp multiply the gradient by."""
    slots = getattr(optimizer, "_accumulators", None) or optimizer._velocities
    sums = np.concatenate([np.asarray(slot).ravel() for slot in slots])
    return float(np.median(float(optimizer.learning_rate) / np.sqrt(sums + optimizer.epsilon)))


def run_schedules(budget: Budget) -> list[Curve]:
    """Every schedule at every rate with every seed."""
    import zoo

    data = zoo.open_data(f"characters:examples={sum(budget.examples)},seed=0")
    x, y = data.x.astype("float32"), data.target.values
    sides = np.split(np.random.default_rng(0).permutation(len(x)), np.cumsum(budget.examples)[:2])
    starts = {seed: network_of(budget, 62, seed).get_weights() for seed in budget.seeds}
    found = []
    for label in SCHEDULES:
        began = time.perf_counter()
        for rate in budget.schedule_rates:
            training = Training(network_of(budget, 62, 0), nesterov(label, rate, budget.steps))
            for seed in budget.seeds:
                training.restart(starts[seed], nesterov(label, rate, budget.steps))
                parts = [(x[side], y[side]) for side in sides]
                found.append(_scheduled(training, Curve(label, rate, seed), parts, budget))
        print(f"{label}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def _scheduled(training: Training, curve: Curve, parts: list[tuple[Any, Any]], budget: Budget) -> Curve:
    from zoo.layers import reduce_on_plateau

    patience = SCHEDULES[curve.name].patience
    callback = reduce_on_plateau({"factor": 0.1, "patience": patience or 1})
    callback.set_model(training.network)
    callback.on_train_begin()
    (x, y), val, test = parts
    order = batches(len(x), 128, curve.seed)
    for epoch in range(budget.steps // 50):
        chosen = np.stack([next(order) for _ in range(50)])
        training.advance(x[chosen], y[chosen])
        loss = float(training.measure(*val)[0])
        curve.losses.append(loss if np.isfinite(loss) else float("inf"))
        if not loss < 10 * np.log(62):
            break
        if patience:
            callback.on_epoch_end(epoch, {"val_loss": loss})
    curve.accuracy = float(training.measure(*test)[1])
    return curve


def main() -> None:
    """Runs both parts, prints their tables, and writes what it is asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="the pages' folder: tables and plots go there")
    parser.add_argument("--json", type=Path, help="keep every figure here")
    parser.add_argument("--read", type=Path, metavar="JSON", help="take the figures from there, train nothing")
    parser.add_argument("--quick", action="store_true", help="a small version of it all")
    options = parser.parse_args()
    budget = QUICK if options.quick else Budget()
    if options.read:
        kept = json.loads(options.read.read_text(encoding="utf-8"))
        optimizers, schedules = ([Curve(**one) for one in kept[part]] for part in ("optimizers", "schedules"))
    else:
        optimizers, schedules = run_optimizers(budget), run_schedules(budget)
    if options.json:
        kept = {"optimizers": [asdict(c) for c in optimizers], "schedules": [asdict(c) for c in schedules]}
        options.json.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    tables = {
        "optimizers": optimizer_table(optimizers, budget.rates, {name: arguments(name) for name in OPTIMIZERS}),
        "schedules": schedule_table(
            schedules, budget.schedule_rates, {name: row.numbers for name, row in SCHEDULES.items()}
        ),
    }
    print("\n\n".join(tables.values()))
    if options.write:
        from optimizer_plots import draw_optimizers, draw_schedules

        for page, table in tables.items():
            note = f"Measured by `python benchmarks/optimizers.py --write docs` on {machine()}."
            write_section(options.write / f"{page}.md", "compared", f"{table}\n\n{note}")
        draw_optimizers(optimizers, options.write / "images" / "optimizers-compared.svg")
        draw_schedules(schedules, options.write / "images" / "schedules-compared.svg")


if __name__ == "__main__":
    main()
