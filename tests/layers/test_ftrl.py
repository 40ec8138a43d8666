"""FTRL from the weights that are there: against the published equations, under every schedule and beside Keras's."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.layers import optimizer_equations as equations
from tests.layers.resumed import goes_on_from_its_file
from tests.networks import clusters, dense_net
from tests.test_train import one_hot
from zoo.errors import RecipeError
from zoo.layers import by_variable, optimizer, reduce_on_plateau, schedule
from zoo.layers.schedules import SHORT

STEPS = 12
#: Whatever can be said by name, and each with the numbers that it needs.
RATES: dict[str, Any] = {
    "constant": 0.1,
    "piecewise": {"name": "piecewise", "values": [0.1, 0.5, 0.01]},
    "exponential": {"name": "exponential", "initial_learning_rate": 0.1},
    "power": {"name": "power", "initial_learning_rate": 0.1},
    "inverse_time": {"name": "inverse_time", "initial_learning_rate": 0.1, "decay_rate": 3.0},
    "polynomial": {"name": "polynomial", "initial_learning_rate": 0.1, "end_learning_rate": 0.0},
    "cosine": {"name": "cosine", "initial_learning_rate": 0.1, "decay_steps": 8},  # at 0 from step 8 on
    "cosine with warm-up": {"name": "cosine", "initial_learning_rate": 0.1, "warmup_steps": 3},  # from 0
    "cosine_restarts": {"name": "cosine_restarts", "initial_learning_rate": 0.1},
    "one_cycle": {"name": "one_cycle", "max_learning_rate": 0.1},
    "warm_up": {"name": "warm_up", "after": 0.1, "steps": 4},
}
MANNERS: dict[str, dict[str, float]] = {
    "plain": {},
    "beta": {"beta": 1.0},
    "n from 0": {"initial_accumulator_value": 0.0},
    "n from 0, beta": {"initial_accumulator_value": 0.0, "beta": 0.5},
    "a power of 0": {"learning_rate_power": 0.0},
    "a power of -1": {"learning_rate_power": -1.0},
}


def sequence(shape: tuple[int, ...] = (5,)) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(8)
    return rng.normal(size=shape), [rng.normal(0, 10.0 ** (step % 3 - 1), shape) for step in range(STEPS)]


def moved(made: keras.optimizers.Optimizer, w: np.ndarray, gs: list[np.ndarray], dtype: str = "float64") -> np.ndarray:
    variable = keras.Variable(w, dtype=dtype)
    made.build([variable])
    for g in gs:
        made.apply([keras.ops.convert_to_tensor(g, dtype)], [variable])
    return variable.numpy()


def test_every_schedule_is_tried():
    assert set(SHORT) - {"one_cycle_momentum"} <= set(RATES)


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("rate", RATES)
def test_without_a_gradient_no_weight_moves_under_any_schedule(rate: str, manner: str):
    """The same bytes: pretrained weights are not rescaled, whatever the rate does."""
    w = np.array([5.0, -1e-3, 0.0, 1e-30, -7.7], "float32")
    made = optimizer("ftrl", steps=STEPS, learning_rate=RATES[rate], **MANNERS[manner])
    assert moved(made, w, [np.zeros(5)] * STEPS, "float32").tobytes() == w.tobytes()


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("rate", [rate for rate in RATES if rate not in ("cosine with warm-up", "warm_up", "cosine")])
def test_its_steps_are_the_published_ones_at_the_rate_of_each_step(rate: str, manner: str):
    w, gs = sequence()
    numbers = {"l1": 0.7, "l2": 0.25, "start": MANNERS[manner].get("initial_accumulator_value", 0.1)}
    numbers |= {"beta": MANNERS[manner].get("beta", 0.0), "power": MANNERS[manner].get("learning_rate_power", -0.5)}
    given = {"l1_regularization_strength": 0.7, "l2_regularization_strength": 0.25, **MANNERS[manner]}
    made = schedule(RATES[rate], STEPS) if isinstance(RATES[rate], dict) else lambda step: RATES[rate]
    etas = [float(made(step)) for step in range(STEPS)]
    expected = equations.ftrl(w, gs, etas, **numbers)
    found = moved(optimizer("ftrl", steps=STEPS, learning_rate=RATES[rate], **given), w, gs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected - w).max())
    np.testing.assert_array_equal(found == 0, expected == 0)


@pytest.mark.parametrize("manner", [manner for manner in MANNERS if manner != "n from 0"])
def test_from_zero_at_a_constant_rate_every_step_is_kerass_own(manner: str):
    """Where Keras's start is right, ours is the same; its shrinkage too."""
    _, gs = sequence()
    strengths = {name: 0.3 for name in ("l1", "l2", "l2_shrinkage")}
    given = {f"{name}_regularization_strength": value for name, value in strengths.items()} | MANNERS[manner]
    for steps in range(1, STEPS):
        keras_own = moved(keras.optimizers.Ftrl(0.125, **given), np.zeros(5), gs[:steps])
        ours = moved(optimizer("ftrl", learning_rate=0.125, **given), np.zeros(5), gs[:steps])
        np.testing.assert_allclose(ours, keras_own, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(ours == 0, keras_own == 0)


def test_kerass_own_forgets_the_weights_that_it_is_given():
    w, _ = sequence()
    np.testing.assert_array_equal(moved(keras.optimizers.Ftrl(0.125), w, [np.zeros(5)]), 0.0)


@pytest.mark.parametrize("start", [0.1, 0.0])
def test_without_a_penalty_it_takes_adagrads_steps(start: float):
    """McMahan et al., 2013, section 3.1: it is gradient descent at AdaGrad's rates, if it starts where that does."""
    w, gs = sequence()
    for rate in (0.125, RATES["one_cycle"]):
        given = {"steps": STEPS, "learning_rate": rate, "initial_accumulator_value": start}
        ftrl, adagrad = (moved(optimizer(name, **given), w, gs) for name in ("ftrl", "adagrad"))
        np.testing.assert_allclose(ftrl, adagrad, rtol=1e-5)


def test_at_a_rate_of_zero_nothing_moves_and_the_next_step_is_the_first():
    w, gs = sequence()
    numbers = {"l1_regularization_strength": 0.5, "l2_regularization_strength": 0.5}
    rate = {"name": "piecewise", "boundaries": [0], "values": [0.0, 0.1]}
    np.testing.assert_array_equal(moved(optimizer("ftrl", learning_rate=rate, **numbers), w, gs[:1]), w)
    found = moved(optimizer("ftrl", learning_rate=rate), w, gs[:2])
    np.testing.assert_allclose(found, w - 0.1 * gs[1] / np.sqrt(0.1 + gs[0] ** 2 + gs[1] ** 2), rtol=1e-6)


def test_a_weight_that_starts_without_n_stays_until_its_first_gradient():
    """Pixels that are black in every image: Keras's own divides 0 by 0 there."""
    given = {"initial_accumulator_value": 0.0, "l1_regularization_strength": 0.5, "l2_regularization_strength": 0.1}
    g = [np.array([0.0, 2.0])] * 3
    found = moved(optimizer("ftrl", learning_rate=0.1, **given), np.ones(2), g)
    assert found[0] == 1.0
    np.testing.assert_allclose(found, np.where(g[0], equations.ftrl(np.ones(2), g, 0.1, 0.5, 0.1, start=1e-30), 1.0))
    with np.errstate(invalid="ignore"):
        assert np.isnan(moved(keras.optimizers.Ftrl(0.1, initial_accumulator_value=0.0), np.ones(2), g)[0])


def test_what_else_moves_the_weights_is_not_undone():
    """Weight decay, constraints, averages: Keras's own computes the weights anew from z, as if nothing had been."""
    w, nothing = np.ones(3), [np.zeros(3)] * 4
    decayed = moved(optimizer("ftrl", learning_rate=0.5, weight_decay=0.1), w, nothing)
    np.testing.assert_allclose(decayed, 0.95**4, rtol=1e-6)
    variable = keras.Variable(w)
    variable.constraint = lambda value: keras.ops.minimum(value, 0.5)
    made = optimizer("ftrl", learning_rate=0.1)
    for g in (np.full(3, -1.0), np.zeros(3)):
        made.apply([keras.ops.convert_to_tensor(g, "float32")], [variable])
        np.testing.assert_array_equal(variable.numpy(), 0.5)


def test_lowered_on_a_plateau_it_goes_on_from_its_weights():
    model = dense_net()
    x, labels = clusters(16)
    model.compile(optimizer("ftrl", learning_rate=0.5), "categorical_crossentropy")
    callback = reduce_on_plateau({"factor": 0.01, "patience": 1})
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(3):
        before = model.get_weights()
        model.train_on_batch(x, one_hot(labels, 3))
        callback.on_epoch_end(epoch, {"val_loss": 1.0})
    assert float(model.optimizer.learning_rate) == pytest.approx(5e-5)
    model.train_on_batch(x, one_hot(labels, 3))
    for now, then in zip(model.get_weights(), before, strict=True):
        assert np.abs(now).max() > 0.05 * np.abs(then).max() or not then.any(), "rescaled by the factor"


@pytest.mark.parametrize("rate", ["constant", "one_cycle", "cosine with warm-up"])
def test_a_compiled_network_keeps_its_weights_and_learns(rate: str):
    """The first compiled step builds it; one gradient of 0, then those of a loss."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(optimizer("ftrl", steps=STEPS, learning_rate=RATES[rate]), "mse", jit_compile=False)
    for target in [1.0] * 4:
        model.train_on_batch(np.ones((4, 1)), np.full((4, 1), target))
    assert model.get_weights()[0][0, 0] == 1.0
    for _ in range(3):
        model.train_on_batch(np.ones((4, 1)), np.zeros((4, 1)))
    assert 0.0 < model.get_weights()[0][0, 0] < 0.98


@pytest.mark.parametrize("rate", ["one_cycle", "cosine with warm-up"])
@pytest.mark.parametrize("rates", [(1.0,) * 6, (0.0, 0.25, 0.5, 0.5, 1.0, 1.0)], ids=["plain", "by block"])
def test_saved_and_loaded_in_the_middle_it_goes_on_where_it_was(rates: tuple[float, ...], rate: str, tmp_path: Path):
    given = {"l1_regularization_strength": 0.01, "beta": 0.5}
    model = dense_net()
    made = by_variable(optimizer("ftrl", steps=STEPS, learning_rate=RATES[rate], **given), rates)
    model.compile(made, "categorical_crossentropy")
    goes_on_from_its_file(model, tmp_path, steps=5)


def test_by_block_each_variable_has_the_rate_of_its_own_also_under_penalties():
    w, gs = sequence()
    numbers = {"l1_regularization_strength": 0.7, "l2_regularization_strength": 0.25}
    variables = [keras.Variable(w, dtype="float64", name=f"v{i}") for i in range(3)]
    made = by_variable(optimizer("ftrl", learning_rate=0.5, **numbers), [0.0, 0.25, 1.0])
    made.build(variables)
    for g in gs:
        made.apply([keras.ops.convert_to_tensor(g, "float64")] * 3, variables)
    np.testing.assert_array_equal(variables[0].numpy(), w)
    for variable, rate in zip(variables[1:], (0.125, 0.5), strict=True):
        np.testing.assert_allclose(variable.numpy(), equations.ftrl(w, gs, rate, 0.7, 0.25), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beta": -1.0}, r"cannot divide by a number below 0\. Expected beta of 0 or more; received beta = -1\.0\."),
        ({"beta": float("nan")}, r"cannot compute with beta = nan"),
        ({"initial_accumulator_value": -1.0}, r"'ftrl' refuses its arguments: .*initial_accumulator_value"),
        ({"learning_rate_power": 0.5}, r"'ftrl' refuses its arguments: .*learning_rate_power"),
        ({"bta": 1.0}, r"The optimizer 'ftrl' has no argument 'bta'\. Did you mean 'beta'"),
    ],
)
def test_numbers_that_make_no_step_are_refused(given: dict[str, float], message: str):
    with pytest.raises(RecipeError, match=message):
        optimizer("ftrl", **given)
