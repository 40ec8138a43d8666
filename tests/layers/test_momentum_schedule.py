"""A momentum that changes from step to step, against the equations, under everything else an optimizer does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.layers import optimizer_equations as equations
from tests.layers.resumed import goes_on_from_its_file
from tests.networks import dense_net
from zoo.errors import RecipeError
from zoo.layers import OneCycleMomentum, by_variable, optimizer, schedule, with_momentum
from zoo.layers.momentum_schedule import momentum_argument
from zoo.layers.optimizers import names

#: By the step, counted from 0: it falls and rises again, and starts at 0, where SGD has no velocity otherwise.
MOMENTA = [0.0, 0.9, 0.5, 0.2, 0.8, 0.95]
SPEC = {"name": "piecewise", "boundaries": [0, 1, 2, 3, 4], "values": MOMENTA}
CASES: dict[str, tuple[str, dict[str, Any], Callable[..., np.ndarray]]] = {
    "momentum": ("sgd", {}, equations.sgd),
    "nesterov": ("sgd", {"nesterov": True}, equations.nesterov),
    "rmsprop": ("rmsprop", {}, equations.rmsprop),
    "adam": ("adam", {}, equations.adam),
    "adamw": ("adamw", {}, equations.adamw),
    "adamax": ("adamax", {}, equations.adamax),
    "nadam": ("nadam", {}, equations.nadam),
    "lamb": ("lamb", {}, equations.lamb),
    "lion": ("lion", {}, equations.lion),
    "muon": ("muon", {}, equations.muon),
}


def made_by(case: str, **arguments: Any) -> keras.optimizers.Optimizer:
    name, own, _ = CASES[case]
    key = momentum_argument(names()[name])
    assert key is not None
    return optimizer(name, **{"learning_rate": 0.125, key: SPEC, **own, **arguments})


def sequence() -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(3, 4)), [rng.normal(0, 10.0 ** (step % 3 - 1), (3, 4)) for step in range(len(MOMENTA))]


def moved(made: keras.optimizers.Optimizer, gs: list[np.ndarray], w: np.ndarray, compiled: bool = False) -> np.ndarray:
    """Where the optimizer ends. Compiled, the steps are Keras's own, on a loss whose gradient is what the data say."""
    if not compiled:
        variable = keras.Variable(w, dtype="float32")
        made.build([variable])
        for g in gs:
            made.apply([keras.ops.convert_to_tensor(g, "float32")], [variable])
        return variable.numpy()
    model = keras.Sequential([keras.Input((3, 3)), keras.layers.Dense(4, use_bias=False)])
    model.set_weights([w])
    # The outputs of the three unit vectors are the kernel: weighted by g, their sum has the gradient g.
    model.compile(made, loss=lambda g, kernel: keras.ops.sum(g * kernel, axis=(1, 2)), jit_compile=False)
    made.build(model.trainable_variables)
    for g in gs:
        model.train_on_batch(np.eye(3)[None], g[None])
    return model.get_weights()[0]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("case", CASES)
def test_each_step_has_its_momentum(case: str, compiled: bool):
    w, gs = sequence()
    expected = CASES[case][2](w, gs, 0.125, mu=lambda t: MOMENTA[t - 1])
    np.testing.assert_allclose(moved(made_by(case), gs, w, compiled), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_another_momentum_is_another_way(case: str):
    """The comparison above can fail."""
    w, gs = sequence()
    right, wrong = (CASES[case][2](w, gs, 0.125, mu=lambda t, m=m: m[t - 1]) for m in (MOMENTA, [0.9] * 6))
    assert np.abs(right - wrong).max() > 0.01


def test_a_constant_schedule_is_keras_own_momentum():
    w, gs = sequence()
    constant = {"name": "piecewise", "boundaries": [0], "values": [0.9, 0.9]}
    for case, (name, own, _) in CASES.items():
        key = str(momentum_argument(names()[name]))
        plain = moved(optimizer(name, learning_rate=0.125, **own, **{key: 0.9}), gs, w)
        np.testing.assert_allclose(
            moved(made_by(case, **{key: constant}), gs, w), plain, rtol=1e-5, atol=1e-5, err_msg=case
        )


@pytest.mark.parametrize("case", ["adam", "adamw", "adamax"])
def test_under_one_gradient_every_step_of_adam_is_the_rate(case: str):
    """What the mean is divided by is the weight of the gradients in it, whatever the momentum was before."""
    steps = [np.full((1, 1), 3.0)] * len(MOMENTA)
    way = moved(made_by(case, **({"weight_decay": 0.0} if case == "adamw" else {})), steps, np.zeros((1, 1)))
    assert way[0, 0] == pytest.approx(-0.125 * len(MOMENTA), rel=1e-4)


# Together with all else

MANNERS: dict[str, dict[str, Any]] = {
    "clipnorm": {"clipnorm": 0.5},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "decay": {"weight_decay": 0.1},
    "average": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "loss scale": {"loss_scale_factor": 8.0},
}


@pytest.mark.parametrize(
    ("case", "manner"),
    # Not Adam's decay: by hand the corrected rate would scale it too.
    [(case, manner) for case in ("nesterov", "adam") for manner in MANNERS if (case, manner) != ("adam", "decay")],
)
def test_what_else_an_optimizer_does_it_does_as_before(case: str, manner: str):
    """Beside Keras's own with the momentum set by hand, as a number, before each step, in eager steps."""
    w, gs = sequence()
    name, own, _ = CASES[case]
    by_hand = optimizer(name, learning_rate=0.125, **own, **MANNERS[manner])
    key, product = str(momentum_argument(names()[name])), 1.0
    setattr(by_hand, key, 0.9)  # so that SGD makes its velocity
    variable = keras.Variable(w, dtype="float32")
    by_hand.build([variable])
    for step, (momentum, g) in enumerate(zip(MOMENTA, gs, strict=True), 1):
        setattr(by_hand, key, momentum or 1e-9)  # at 0 SGD would leave its velocity as it is
        product *= momentum
        right = (1 - momentum**step) / (1 - product) if name == "adam" else 1.0
        by_hand.learning_rate = 0.125 * right
        by_hand.apply([keras.ops.convert_to_tensor(g, "float32")], [variable])
    found = moved(made_by(case, **MANNERS[manner]), gs, w, compiled=manner != "loss scale")
    np.testing.assert_allclose(found, variable.numpy(), rtol=1e-4, atol=1e-4)


def test_under_accumulation_the_momentum_counts_batches_as_the_rate_does():
    """An update every two batches: the second, fourth and sixth, each with the momentum of its batch."""
    w, gs = sequence()
    found = moved(made_by("momentum", gradient_accumulation_steps=2), gs, w, compiled=True)
    means = [(one + other) / 2 for one, other in zip(gs[::2], gs[1::2], strict=True)]
    expected = equations.sgd(w, means, 0.125, mu=lambda t: MOMENTA[1::2][t - 1])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_under_accumulation_adams_correction_counts_updates():
    g = [np.full((1, 1), 3.0)] * len(MOMENTA)
    way = moved(made_by("adam", gradient_accumulation_steps=2), g, np.zeros((1, 1)))
    assert way[0, 0] == pytest.approx(-0.125 * 3, rel=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_each_variable_keeps_its_multiple(case: str):
    w, gs = sequence()
    values = [keras.Variable(w, dtype="float32", name=f"v{i}") for i in range(2)]
    made = by_variable(made_by(case), [0.5, 0.0])
    made.build(values)
    last = w
    for step, g in enumerate(gs[: 1 if case == "lamb" else 6]):  # Lamb's later steps follow from where it is
        made.apply([keras.ops.convert_to_tensor(g, "float32")] * 2, values)
        last = CASES[case][2](w, gs[: step + 1], 0.125, mu=lambda t: MOMENTA[t - 1])
    decay = CASES[case][0] in ("adamw", "muon")  # decays from where it is
    np.testing.assert_allclose(values[0].numpy() - w, (last - w) / 2, rtol=1e-3, atol=5e-3 if decay else 1e-4)
    np.testing.assert_array_equal(values[1].numpy(), w.astype("float32"))


def network(made: keras.optimizers.Optimizer, scaled: bool) -> keras.Model:
    model = dense_net()
    made = by_variable(made, [0.25, 0.25, 0.5, 0.5, 1.0, 1.0])
    model.compile(keras.optimizers.LossScaleOptimizer(made) if scaled else made, "categorical_crossentropy")
    return model


@pytest.mark.parametrize(("case", "scaled"), [*((case, False) for case in CASES), ("nesterov", True), ("adamw", True)])
def test_a_compiled_network_goes_on_from_its_file_where_it_was(case: str, scaled: bool, tmp_path: Path):
    """Momentum schedule, multipliers, slots and the product of the momenta: the same bytes after more steps."""
    model = network(made_by(case, learning_rate=0.01), scaled)
    goes_on_from_its_file(model, tmp_path, steps=3)


def test_one_cycles_momentum_takes_the_phases_of_its_rate():
    rate = {"name": "one_cycle", "max_learning_rate": 0.5, "pct_start": 0.25, "anneal": "linear"}
    made = optimizer("adam", steps=20, learning_rate=rate, beta_1={"name": "one_cycle_momentum", "max_momentum": 0.9})
    expected = {"steps": 20, "pct_start": 0.25, "anneal": "linear", "three_phase": False}
    assert isinstance(made.beta_1, OneCycleMomentum)
    assert made.beta_1.get_config() == {**expected, "base_momentum": 0.85, "max_momentum": 0.9}
    made = optimizer(
        "sgd", steps=20, learning_rate={**rate, "three_phase": True}, momentum={"name": "OneCycleMomentum"}
    )
    assert made.momentum.get_config()["three_phase"] is True
    rates, momenta = ([float(of(step)) for step in range(20)] for of in (made._learning_rate, made.momentum))
    assert np.argmax(rates) == np.argmin(momenta) == 4 and momenta[8] == momenta[19] == pytest.approx(0.95)


@pytest.mark.parametrize("name", ["adagrad", "schedulefreeadamw", "ftrl"])
def test_an_optimizer_without_one_is_refused(name: str):
    with pytest.raises(
        RecipeError, match=rf"'{name}' has no momentum that a schedule can change\. Expected adam, adamax"
    ):
        with_momentum(optimizer(name), schedule(SPEC))


def test_other_arguments_take_no_schedule():
    with pytest.raises(RecipeError, match=r"The optimizer 'adam' takes no schedule for 'beta_2'\. Give it a number\."):
        optimizer("adam", beta_2=SPEC)
    with pytest.raises(RecipeError, match=r"'schedulefreeadamw' takes no schedule for 'beta_1'"):
        optimizer("schedulefreeadamw", beta_1=SPEC)
    with pytest.raises(RecipeError, match=r"The optimizer 'adam' has no argument 'momentum'"):
        optimizer("adam", momentum=SPEC)


def test_a_schedule_that_is_no_momentums_is_refused():
    message = r"not one of a momentum\. Expected 0 to below 1; received 1 at step 0"
    with pytest.raises(RecipeError, match=message):
        with_momentum(optimizer("sgd"), schedule({"name": "power", "initial_learning_rate": 1.0}, 10))


PolynomialDecay = keras.optimizers.schedules.PolynomialDecay


@pytest.mark.parametrize(
    ("wrong", "received"),
    [
        (PolynomialDecay(0.9, 20, 1.5), r"1\.05 at step 5"),
        (PolynomialDecay(0.5, 20, -1.0), r"-0\.1 at step 8"),
        (keras.optimizers.schedules.PiecewiseConstantDecay([30], [0.9, 1.0]), "1 at step 31"),
        (keras.optimizers.schedules.ExponentialDecay(0.9, 20, -1.0), "nan at step 1"),
    ],
)
def test_a_schedule_that_leaves_the_momenta_later_is_refused_too(wrong: Any, received: str):
    with pytest.raises(RecipeError, match=rf"not one of a momentum\..*received {received}\."):
        with_momentum(optimizer("adam"), wrong)


def test_where_the_steps_are_known_they_are_what_is_tried():
    rises = PolynomialDecay(0.9, 100, 1.5)
    assert optimizer("sgd", steps=10, momentum=rises).momentum is not None
    with pytest.raises(RecipeError, match=r"received 1\.00521 at step 37"):
        optimizer("sgd", steps=60, momentum=PolynomialDecay(0.9, 211, 1.5))


@pytest.mark.parametrize("case", CASES)
def test_a_momentum_that_follows_a_schedule_cannot_be_set(case: str):
    """A step that is compiled already would not see it; so it is with a rate under a schedule."""
    made = made_by(case)
    key = str(momentum_argument(names()[CASES[case][0]]))
    before = getattr(made, key)
    with pytest.raises(RecipeError, match=rf"The {key} of this optimizer follows a schedule, and cannot be set\. Rec"):
        setattr(made, key, 0.5)
    assert getattr(made, key) is before and type(before).__name__ == "PiecewiseConstantDecay"
    plain = optimizer(CASES[case][0], learning_rate=0.1)
    setattr(plain, key, 0.5)
    assert getattr(plain, key) == 0.5
