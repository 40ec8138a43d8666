"""Rates by block: how far each block moves, beside plain Keras, and that a break in the middle changes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.checkpoint import load, save, weights_digest
from zoo.epochs import batches
from zoo.layers import by_variable, optimizer
from zoo.layers.optimizers import names
from zoo.precision import in_precision

from .networks import clusters, dense_net, quadrants, small_convnet, values
from .test_train import Kept, job, moved, one_hot, stage, train

#: One batch for one step.
VECTORS = clusters(16)[0], one_hot(clusters(16)[1], 3)
RATES = {"low1": 0.25, "low2": 0.5, "top": 1.0}
CLIPPINGS: list[dict[str, float]] = [{}, {"clipnorm": 0.1}, {"clipvalue": 0.01}, {"global_clipnorm": 0.1}]


def plain_step(
    model: keras.Model, x: np.ndarray, y: np.ndarray, made: keras.optimizers.Optimizer
) -> dict[str, np.ndarray]:
    """What one step of Keras's own optimizer, at one rate for all, moves every learning variable by."""
    before = [v.numpy() for v in model.trainable_variables]
    model.compile(optimizer=made, loss=job(x, y).loss)
    model.optimizer.build(model.trainable_variables)  # ScheduleFreeAdamW, built by its first step, forgets the weights
    model.train_on_batch(x, y)
    return {v.path: v.numpy() - old for v, old in zip(model.trainable_variables, before, strict=True)}


def assert_multiples(
    model: keras.Model, before: Mapping[str, np.ndarray], steps: Mapping[str, np.ndarray], rates: Mapping[str, float]
) -> None:
    """Every block moved by its multiple; each variable's largest move tells how exact that can be."""
    for variable in model.trainable_variables:
        rate = rates[variable.path.split("_")[0].split("/")[0]]
        step, plain = variable.numpy() - before[variable.path], steps[variable.path]
        largest = np.abs(plain).max()
        assert largest > 1e-5, f"{variable.path} does not move: nothing is shown"
        np.testing.assert_allclose(step, rate * plain, atol=2e-3 * largest, rtol=2e-3, err_msg=variable.path)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "global_clipnorm": 0.5},
        {"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.1, "clipvalue": 0.01},
        {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.5, "clipnorm": 0.1},
        {"name": "muon", "learning_rate": 0.01, "adam_weight_decay": 0.3, "weight_decay": 0.5},
        {"name": "lamb", "learning_rate": 0.1, "weight_decay": 0.5},
        {"name": "schedulefreeadamw", "learning_rate": 0.1},
        {"name": "adafactor", "learning_rate": 2.0, "weight_decay": 0.1},
        {
            "name": "adam",
            "learning_rate": {"name": "PolynomialDecay", "initial_learning_rate": 0.1, "decay_steps": 9},
        },
    ],
    ids=lambda given: str(given["name"]),
)
def test_each_block_moves_by_its_multiple_of_the_plain_step(given: dict[str, Any]):
    steps = plain_step(dense_net(), *VECTORS, optimizer(**given))
    model = dense_net()
    before = {v.path: v.numpy() for v in model.weights}
    train(model, zoo.freeze(model, multipliers={"low1": 0.25, "low2": 0.5}), job(*VECTORS), stage(**given))
    assert_multiples(model, before, steps, RATES)


#: Every optimizer under one kind of clipping, in turn, and one of each of two kinds under all.
PAIRS = [(name, i % len(CLIPPINGS)) for i, name in enumerate(sorted(names()))]
PAIRS += [(name, i) for name in ("adamw", "sgd") for i in range(len(CLIPPINGS)) if (name, i) not in PAIRS]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "clipping"), [pytest.param(n, CLIPPINGS[i], id=f"{n}-{i}") for n, i in PAIRS])
def test_every_optimizer_and_every_clipping_on_a_convnet(name: str, clipping: dict[str, float]):
    """Convolutions, and batch normalization in training, which is the same in plain Keras."""
    given = {"name": name, "learning_rate": 0.02, "weight_decay": 0.5, **clipping}
    x, labels = quadrants(16)
    x, y = x.astype("float32"), one_hot(labels, 4)
    steps = plain_step(small_convnet(4), x, y, optimizer(**given))
    model = small_convnet(4)
    before = {v.path: v.numpy() for v in model.weights}
    plan = zoo.freeze(model, layer_decay=0.5, batch_norm="train")
    train(model, plan, job(x, y), stage(**given))
    assert_multiples(model, before, steps, {row.block.name: row.rate for row in plan.rows})


def test_clipping_by_the_global_norm_counts_what_learns():
    """A frozen block's gradient, which nobody computes, does not shrink the steps of the others."""
    clipped = {"learning_rate": 1.0, "global_clipnorm": 0.01}
    plain = dense_net()
    with_all = plain_step(dense_net(), *VECTORS, optimizer("sgd", **clipped))
    plain.get_layer("low1").trainable = False
    steps = plain_step(plain, *VECTORS, optimizer("sgd", **clipped))
    assert np.abs(steps["top/kernel"]).max() > 1.05 * np.abs(with_all["top/kernel"]).max()
    model = dense_net()
    before = {v.path: v.numpy() for v in model.weights}
    what = stage(name="sgd", **clipped)
    train(model, zoo.freeze(model, multipliers={"low1": 0.0, "low2": 0.5}), job(*VECTORS), what)
    assert_multiples(model, before, steps, RATES)
    np.testing.assert_array_equal(model.get_layer("low1").kernel, before["low1/kernel"])


def test_multiplier_zero_does_not_move_in_a_hundred_steps_of_weight_decay():
    x, labels = clusters(64)
    model = dense_net()
    before = values(model)
    how = stage(25, name="adamw", learning_rate=0.01, weight_decay=0.5)  # four steps an epoch
    kept = Kept()
    train(model, zoo.freeze(model, multipliers={"low1": 0}), job(x, one_hot(labels, 3), callbacks=[kept]), how)
    assert int(kept.optimizer.iterations) == 100
    assert {path.split("/")[0] for path in moved(before, model)} == {"low2", "top"}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_multiples_hold_in_mixed_precision(policy: str):
    """In float16 Keras scales the loss, and its gradients back, before the step."""
    given = {"learning_rate": 0.05, "weight_decay": 0.5, "global_clipnorm": 0.1}
    plain = optimizer("adamw", **given)
    if policy == "mixed_float16":
        plain = keras.optimizers.LossScaleOptimizer(plain)
    steps = plain_step(in_precision(dense_net(), policy), *VECTORS, plain)
    model = in_precision(dense_net(), policy)
    before = {v.path: v.numpy() for v in model.weights}
    plan = zoo.freeze(model, multipliers={"low1": 0.25, "low2": 0.5})
    kept = Kept()
    train(model, plan, job(*VECTORS, precision=policy, callbacks=[kept]), stage(name="adamw", **given))
    assert isinstance(kept.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    assert_multiples(model, before, steps, RATES)


def test_multiples_hold_when_gradients_are_accumulated():
    x, labels = clusters(32)
    y = one_hot(labels, 3)
    given = {"learning_rate": 0.05, "weight_decay": 0.5, "clipnorm": 0.1, "gradient_accumulation_steps": 2}
    plain = dense_net()
    before = {v.path: v.numpy() for v in plain.weights}
    plain.compile(optimizer=optimizer("adamw", **given), loss=job(x, y).loss)
    for indices in batches(32, 16, 7, 0, 0):
        plain.train_on_batch(x[indices], y[indices])
    steps = {v.path: v.numpy() - before[v.path] for v in plain.weights}
    model = dense_net()
    train(
        model,
        zoo.freeze(model, multipliers={"low1": 0.25, "low2": 0.5}),
        job(x, y),
        stage(name="adamw", **given),
    )
    assert_multiples(model, before, steps, RATES)


@pytest.mark.parametrize(
    ("clipping", "largest"),
    [({"clipvalue": 1e-3}, 1e-3), ({"clipnorm": 1e-3}, 1e-3), ({"global_clipnorm": 1e-3}, 1e-3)],
)
def test_clipping_bounds_the_step(clipping: dict[str, float], largest: float):
    model = dense_net()
    before = [v.numpy() for v in model.weights]
    train(model, zoo.freeze(model), job(*VECTORS), stage(learning_rate=1.0, **clipping))
    steps = [v.numpy() - old for v, old in zip(model.weights, before, strict=True)]
    norms = [float(np.linalg.norm(step)) for step in steps]
    measured = {
        "clipvalue": max(float(np.abs(step).max()) for step in steps),
        "clipnorm": max(norms),
        "global_clipnorm": float(np.linalg.norm(norms)),
    }
    assert measured[next(iter(clipping))] == pytest.approx(largest, rel=0.01)


def test_an_average_of_the_weights_is_what_a_stage_ends_with():
    """As `fit` does: with `use_ema` the result is the average, not the last step."""
    model, kept = dense_net(), Kept()
    how = stage(3, use_ema=True, ema_momentum=0.9)
    train(model, zoo.freeze(model, layer_decay=0.5), job(*VECTORS, callbacks=[kept]), how)
    averages = kept.optimizer._model_variables_moving_average
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(variable, average)


# A break in the middle


def fresh(given: Mapping[str, Any], rates: tuple[float, ...], eagerly: bool = True) -> keras.Model:
    """A network with dropout, whose optimizer has its slots already."""
    base = dense_net()
    x = keras.layers.Dropout(0.5, seed=1, name="dropout")(base.get_layer("low2").output)
    model = keras.Model(base.inputs[0], base.get_layer("top")(x))
    arguments = dict(given)
    scaling = arguments.pop("scaling", False)
    made = by_variable(optimizer(**arguments), rates)
    model.compile(
        keras.optimizers.LossScaleOptimizer(made) if scaling else made, job(*VECTORS).loss, run_eagerly=eagerly
    )
    model.optimizer.build(model.trainable_variables)
    return model


SCALED = (0.25, 0.25, 0.5, 0.5, 1.0, 1.0)
BREAKS: dict[str, dict[str, Any]] = {name: {"name": name} for name in sorted(names())} | {
    "momentum": {"name": "sgd", "momentum": 0.9, "nesterov": True, "global_clipnorm": 0.1},
    "average": {"name": "adamw", "use_ema": True, "ema_overwrite_frequency": 2},
    "accumulation": {"name": "adamw", "gradient_accumulation_steps": 2},
    "loss scale": {"name": "adamw", "scaling": True},
    "schedule": {
        "name": "sgd",
        "learning_rate": {
            "name": "ExponentialDecay",
            "initial_learning_rate": 0.1,
            "decay_steps": 1,
            "decay_rate": 0.5,
        },
    },
}


def steps_of(model: keras.Model, first: int, last: int) -> None:
    """Steps whose batches follow from their number."""
    for step in range(first, last):
        x, labels = clusters(16, seed=step)
        model.train_on_batch(x, one_hot(labels, 3))


def assert_a_break_changes_nothing(model: keras.Model, other: keras.Model, file: Path) -> None:
    """Three steps, then two: in one go, and with a save and another network, which has moved already, in between."""
    steps_of(model, 0, 3)
    save(file, model, model.optimizer, {"step": 3})
    steps_of(other, 7, 8)
    assert load(file, other, other.optimizer) == {"step": 3}
    middle = weights_digest(model)
    for one in (model, other):
        steps_of(one, 3, 5)
    assert weights_digest(model) == weights_digest(other) != middle
    for one, two in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)


@pytest.mark.parametrize("manner", BREAKS)
def test_saving_and_loading_in_the_middle_changes_nothing(manner: str, tmp_path: Path):
    given = {"learning_rate": 0.05, "weight_decay": 0.1, **BREAKS[manner]}
    assert_a_break_changes_nothing(fresh(given, SCALED), fresh(given, SCALED), tmp_path / "state.safetensors")


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_a_break_changes_nothing_in_a_compiled_step(name: str, tmp_path: Path):
    given = {"name": name, "learning_rate": 0.05, "weight_decay": 0.1, "clipnorm": 0.5}
    one, other = (fresh(given, SCALED, eagerly=False) for _ in range(2))
    assert_a_break_changes_nothing(one, other, tmp_path / "state.safetensors")


def test_a_break_that_forgets_the_slots_shows(tmp_path: Path):
    """The comparison above can fail: the weights alone are not enough to go on."""
    given = {"name": "adamw", "learning_rate": 0.05}
    model, other = fresh(given, SCALED), fresh(given, SCALED)
    steps_of(model, 0, 3)
    for to, value in zip(other.variables, model.variables, strict=True):
        to.assign(value)
    for one in (model, other):
        steps_of(one, 3, 5)
    assert weights_digest(model) != weights_digest(other)
