"""Keras's optimizers by name, with a rate for each variable."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import clusters, dense_net
from zoo.errors import PlanError, RecipeError
from zoo.layers import by_variable, optimizer
from zoo.layers.optimizers import names


def test_every_optimizer_of_keras_is_there():
    assert {"sgd", "adam", "adamw", "rmsprop", "nadam", "lion", "muon", "adafactor"} <= set(names())
    assert "lossscaleoptimizer" not in names()
    assert isinstance(optimizer("RMSprop"), keras.optimizers.RMSprop)


def test_all_arguments_are_keras_own():
    made = optimizer("sgd", learning_rate=0.1, momentum=0.9, nesterov=True, clipnorm=1.0)
    assert (made.momentum, made.nesterov, made.clipnorm) == (0.9, True, 1.0)


def test_schedules_by_name():
    spec = {"name": "CosineDecay", "initial_learning_rate": 0.1, "decay_steps": 10}
    made = optimizer("sgd", learning_rate=spec)
    assert float(made.learning_rate) == pytest.approx(0.1)
    assert spec["name"] == "CosineDecay", "what was given is left as it is"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("adm", {}, r"Keras has no optimizer 'adm'\..*adam"),
        ("adam", {"momentum": 0.9}, r"The optimizer 'adam' has no argument 'momentum'"),
        ("adam", {"learningrate": 0.9}, r"no argument 'learningrate'\..*learning_rate"),
        ("sgd", {"momentum": 2.0}, r"The optimizer 'sgd' refuses its arguments: .*momentum.* Received"),
        ("sgd", {"learning_rate": {"name": "Cosine"}}, r"no learning-rate schedule 'Cosine'\..*CosineDecay"),
        (
            "sgd",
            {"learning_rate": {"name": "CosineDecay", "steps": 1}},
            "schedule 'CosineDecay' has no argument 'steps'",
        ),
        ("adam", {"clipnorm": 1.0, "clipvalue": 1.0}, "Only one of .*clipnorm"),
        (None, {}, r"Keras has no optimizer 'None'\."),
        (3, {}, r"Keras has no optimizer '3'\."),
        ("adam", {"beta_2": float("nan")}, r"'adam' cannot compute with beta_2 = nan\. Expected a number\."),
        ("adamw", {"weight_decay": float("inf")}, r"cannot compute with weight_decay = inf\."),
    ],
)
def test_what_keras_has_not_is_refused(name: Any, arguments: dict, message: str):
    with pytest.raises(RecipeError, match=message):
        optimizer(name, **arguments)


def test_of_several_unknown_arguments_the_first_is_named():
    """In a set their order would be another in each process."""
    unknown = dict.fromkeys([f"unknown{i}" for i in range(40)], 1)
    with pytest.raises(RecipeError, match="has no argument 'unknown0'"):
        optimizer("sgd", **unknown)


def test_multipliers_of_one_change_nothing():
    plain = optimizer("adam")
    assert by_variable(plain, [1.0, 1.0]) is plain


# A multiple of the plain step

#: Three blocks of a kernel and a bias each, at three rates.
RATES = (0.25, 0.25, 0.5, 0.5, 1.0, 1.0)
SCALING = sorted(names())
#: Their step follows from the values that they have reached, so that after the first step another rate is another way.
BY_VALUE = {"adafactor", "lamb"}

Gradient = Callable[[int, int, np.ndarray], np.ndarray]


def starts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for shape in [(4, 3), (3,)] * 3]


def given_gradients(step: int, i: int, value: np.ndarray) -> np.ndarray:
    """Gradients of very different sizes that do not depend on the values."""
    return np.random.default_rng([step, i]).normal(0, 10.0 ** (i % 3 - 1), value.shape).astype("float32")


def moved(made: keras.optimizers.Optimizer, steps: int = 1, gradient: Gradient = given_gradients) -> list[np.ndarray]:
    """How far the six variables move."""
    variables = [keras.Variable(start, name=f"v{i}") for i, start in enumerate(starts())]
    made.build(variables)
    for step in range(steps):
        made.apply([keras.ops.array(gradient(step, i, v.numpy())) for i, v in enumerate(variables)], variables)
    return [v.numpy() - start for v, start in zip(variables, starts(), strict=True)]


def assert_multiples(plain: list[np.ndarray], scaled: list[np.ndarray], rates: tuple[float, ...] = RATES) -> None:
    """Each variable has moved by its multiple, but for the last bits of values of about 1."""
    for one, other, rate in zip(plain, scaled, rates, strict=True):
        assert np.abs(one).max() > 1e-5, "nothing moved: nothing is shown"
        np.testing.assert_allclose(other, rate * one, rtol=1e-5, atol=5e-7 * (1 + np.abs(one).max()))


CLIPPINGS: dict[str, dict[str, float]] = {
    "unclipped": {},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.5},
}


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("name", SCALING)
def test_every_optimizer_moves_by_the_multiple_with_clipping_and_decay(name: str, clipping: str):
    arguments = {"learning_rate": 0.1, "weight_decay": 0.5, **CLIPPINGS[clipping]}
    if name == "muon":
        arguments["adam_weight_decay"] = 0.3
    plain = moved(optimizer(name, **arguments))
    assert_multiples(plain, moved(by_variable(optimizer(name, **arguments), RATES)))


@pytest.mark.parametrize("change", [{"weight_decay": 0.5}, *(given for given in CLIPPINGS.values() if given)], ids=str)
def test_clipping_and_decay_change_the_step(change: dict[str, float]):
    """Else the test above would show nothing of them."""
    plain, other = moved(optimizer("sgd", learning_rate=0.1)), moved(optimizer("sgd", learning_rate=0.1, **change))
    assert max(float(np.abs(a - b).max()) for a, b in zip(plain, other, strict=True)) > 0.1


MANNERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.9, "nesterov": True},
    "schedule": {
        "learning_rate": {"name": "ExponentialDecay", "initial_learning_rate": 0.1, "decay_steps": 1, "decay_rate": 0.5}
    },
    "average": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "accumulation": {"gradient_accumulation_steps": 2, "global_clipnorm": 0.5},
    "loss scale": {"loss_scale_factor": 8.0},
}


@pytest.mark.parametrize(
    ("name", "manner"),
    [(name, "plain") for name in SCALING if name not in BY_VALUE]
    + [("sgd", manner) for manner in MANNERS if manner != "plain"]
    + [
        (name, manner)
        for name in ("adam", "schedulefreeadamw")
        for manner in MANNERS
        if manner not in ("plain", "momentum")
    ],
)
def test_the_multiple_holds_over_many_steps(name: str, manner: str):
    """On the same gradients the whole way is the multiple: slots, averages and accumulators go along."""
    arguments = {"learning_rate": 0.1, "weight_decay": 0.0, **MANNERS[manner]}
    if name == "muon":
        arguments["adam_weight_decay"] = 0.0
    plain = moved(optimizer(name, **arguments), 6)
    assert_multiples(plain, moved(by_variable(optimizer(name, **arguments), RATES), 6))


@pytest.mark.parametrize("name", sorted(BY_VALUE))
@pytest.mark.parametrize("manner", ["plain", "schedule", "accumulation"])
def test_a_later_step_from_the_same_state_is_the_multiple_too(name: str, manner: str):
    """Adafactor bounds its rate by the number of steps: at a high rate all blocks would learn at the bound."""
    arguments = {"learning_rate": 1.0, "weight_decay": 0.01, **MANNERS[manner]}
    ends = []
    for rates in ((1.0,) * 6, RATES):
        made, goes_on = optimizer(name, **arguments), by_variable(optimizer(name, **arguments), rates)
        variables = [keras.Variable(start, name=f"v{i}") for i, start in enumerate(starts())]
        made.build(variables)
        for step in range(3 if manner == "accumulation" else 4):
            made.apply(
                [keras.ops.array(given_gradients(step, i, v.numpy())) for i, v in enumerate(variables)], variables
            )
        before = [v.numpy() for v in variables]
        goes_on.build(variables)
        for to, value in zip(goes_on.variables, made.variables, strict=True):
            to.assign(value)
        goes_on.apply([keras.ops.array(given_gradients(9, i, v.numpy())) for i, v in enumerate(variables)], variables)
        ends.append([v.numpy() - old for v, old in zip(variables, before, strict=True)])
    assert_multiples(*ends)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.floats(0.0, 3.0, width=32), min_size=6, max_size=6), st.sampled_from(["sgd", "adamw", "lion", "muon"])
)
def test_a_multiple_is_a_rate_of_its_own(rates: list[float], name: str):
    """Each variable goes the way of a plain optimizer at its multiple of the rate: decay, slots and all."""
    arguments = {"weight_decay": 0.5, **({"momentum": 0.9} if name == "sgd" else {})}
    pull: Gradient = lambda step, i, value: (value - i) * (1 + 0.1 * step)  # noqa: E731
    together = moved(by_variable(optimizer(name, learning_rate=0.05, **arguments), rates), 3, pull)
    for i, rate in enumerate(rates):
        alone = moved(optimizer(name, learning_rate=0.05 * rate, **arguments), 3, pull)
        np.testing.assert_allclose(together[i], alone[i], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb", "schedulefreeadamw"])
def test_at_zero_nothing_moves_whatever_comes(name: str):
    """Bytes equal after 100 steps of weight decay, the last of them on a gradient that is no number."""
    made = by_variable(optimizer(name, learning_rate=0.1, weight_decay=0.5), [0.0, 1.0])
    still, moving = (keras.Variable(start, name=f"v{i}") for i, start in enumerate(starts()[:2]))
    still.assign(-0.0 * still)
    before = still.numpy().tobytes()
    made.build([still, moving])
    for step in range(100):
        gradients = [given_gradients(step, i, v.numpy()) for i, v in enumerate((still, moving))]
        if step == 99:
            gradients[0][:] = np.nan
        made.apply([keras.ops.array(g) for g in gradients], [still, moving])
    assert still.numpy().tobytes() == before
    assert np.abs(moving.numpy() - starts()[1]).max() > 1e-2


def test_at_one_a_variable_among_scaled_ones_moves_as_in_plain_keras():
    for name in ("adamw", "lamb"):
        arguments = {"learning_rate": 0.1, "weight_decay": 0.5}
        plain = moved(optimizer(name, **arguments), 3)
        scaled = moved(by_variable(optimizer(name, **arguments), RATES), 3)
        np.testing.assert_array_equal(scaled[4], plain[4])
        np.testing.assert_array_equal(scaled[5], plain[5])


def test_other_variables_than_the_multipliers_are_for_are_refused():
    made = by_variable(optimizer("sgd"), [0.5, 1.0])
    with pytest.raises(
        PlanError, match=r"has a multiplier for each variable.*Expected 2 variables; received 1 variables"
    ):
        made.build([keras.Variable([1.0])])


def test_kerass_own_ftrl_has_one_rate_for_all():
    with pytest.raises(RecipeError, match=r"Keras's own Ftrl cannot learn at a rate for each variable.*optimizer\("):
        by_variable(keras.optimizers.Ftrl(0.1), [1.0, 0.5])
    assert by_variable(ftrl := optimizer("ftrl"), [1.0, 1.0]) is ftrl


def test_a_copy_keeps_the_schedule():
    spec = {"name": "ExponentialDecay", "initial_learning_rate": 0.1, "decay_steps": 1, "decay_rate": 0.5}
    made = by_variable(optimizer("sgd", learning_rate=spec), [0.5])
    variable = keras.Variable([1.0])
    made.build([variable])
    for _ in range(2):
        made.apply([keras.ops.ones((1,))], [variable])
    assert float(variable.numpy()[0]) == pytest.approx(1 - 0.5 * (0.1 + 0.05))


# Saved and loaded

FILES: dict[str, dict[str, Any]] = {
    "adamw": {"name": "adamw", "clipnorm": 0.5},
    "nadam under accumulation": {"name": "nadam", "gradient_accumulation_steps": 2, "global_clipnorm": 0.5},
    "sgd with an average": {"name": "sgd", "momentum": 0.9, "use_ema": True, "ema_overwrite_frequency": 2},
    "lamb under loss scaling": {"name": "lamb", "scaling": True},
    "schedule-free": {"name": "schedulefreeadamw"},
}


def assert_goes_on(given: dict[str, Any], file: Path) -> None:
    """Three steps, a file, two more: with the optimizer of the file and with the one that went on, the same bytes."""
    given = {"learning_rate": 0.05, "weight_decay": 0.1, **given}
    scaling = given.pop("scaling", False)
    made = by_variable(optimizer(**given), RATES)
    model = dense_net()
    model.compile(keras.optimizers.LossScaleOptimizer(made) if scaling else made, "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    x, labels = clusters(16)
    y = np.eye(3, dtype="float32")[labels]
    for _ in range(3):
        model.train_on_batch(x, y)
    model.save(file)
    again = keras.models.load_model(file)
    loaded = again.optimizer.inner_optimizer if scaling else again.optimizer
    assert loaded.multipliers == RATES and loaded.get_config() == made.get_config()
    for one in (model, again):
        for _ in range(2):
            one.train_on_batch(x, y)
    states = [[*one.weights, *one.optimizer.variables] for one in (model, again)]
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)


@pytest.mark.parametrize("given", FILES.values(), ids=FILES)
def test_a_compiled_network_goes_on_from_its_file_where_it_was(given: dict[str, Any], tmp_path: Path):
    assert_goes_on(given, tmp_path / "model.keras")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCALING)
def test_every_optimizer_goes_on_from_its_file(name: str, tmp_path: Path):
    assert_goes_on({"name": name}, tmp_path / "model.keras")


@pytest.mark.parametrize("name", SCALING)
def test_the_multipliers_are_in_the_configuration(name: str):
    made = by_variable(optimizer(name, learning_rate=0.25), [0.5, 2.0])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert type(again) is type(made) and again.get_config() == made.get_config()
    assert again.multipliers == (0.5, 2.0)


def test_a_file_with_multipliers_loads_for_inference_in_plain_keras(tmp_path: Path):
    model = dense_net()
    model.compile(by_variable(optimizer("adam"), RATES), "categorical_crossentropy")
    model.save(tmp_path / "model.keras")
    code = """
import sys, keras
model = keras.models.load_model(sys.argv[1], compile=False)
print(float(abs(model(keras.ops.ones((1, 6)))).numpy().sum()), "zoo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "model.keras"], capture_output=True, text=True)
    total, zoo_was_there = done.stdout.split() or (done.stderr, "")
    assert float(total) == pytest.approx(1.0) and zoo_was_there == "False"
