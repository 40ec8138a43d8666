"""Keras's optimizers step by step against their equations, and the page's table against Keras's signatures."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.layers import optimizer_equations as equations
from zoo.layers import optimizer
from zoo.layers.optimizers import names

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"
#: A rate that 32 bits hold exactly. Keras keeps it in them, and some betas: 1 - 0.999 loses five digits so.
ETA = 0.125
EXACT = 3e-5
STEPS = 6

CASES: dict[str, tuple[str, dict[str, Any], Callable[..., np.ndarray], dict[str, Any]]] = {
    "plain gradient descent": ("sgd", {}, equations.sgd, {}),
    "momentum": ("sgd", {"momentum": 0.9}, equations.sgd, {"mu": lambda t: 0.9}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}, equations.nesterov, {}),
    "adagrad": ("adagrad", {}, equations.adagrad, {}),
    "rmsprop": ("rmsprop", {}, equations.rmsprop, {}),
    "rmsprop with momentum": ("rmsprop", {"momentum": 0.5}, equations.rmsprop, {"mu": lambda t: 0.5}),
    "rmsprop, centered": ("rmsprop", {"centered": True}, equations.rmsprop, {"centered": True}),
    "adadelta": ("adadelta", {}, equations.adadelta, {}),
    "adam": ("adam", {}, equations.adam, {}),
    "amsgrad": ("adam", {"amsgrad": True}, equations.adam, {"amsgrad": True}),
    "adamw": ("adamw", {}, equations.adamw, {}),
    "adamax": ("adamax", {}, equations.adamax, {}),
    "nadam": ("nadam", {}, equations.nadam, {}),
    "lion": ("lion", {}, equations.lion, {}),
    "lamb": ("lamb", {}, equations.lamb, {}),
    "adafactor": ("adafactor", {}, equations.adafactor, {}),
    "ftrl": ("ftrl", {}, equations.ftrl, {}),
    "ftrl, sparse": (
        "ftrl",
        {"l1_regularization_strength": 1.5, "l2_regularization_strength": 0.25},
        equations.ftrl,
        {"l1": 1.5, "l2": 0.25},
    ),
    "ftrl, beta and another power": (
        "ftrl",
        {"beta": 1.0, "learning_rate_power": -0.75, "initial_accumulator_value": 0.0},
        equations.ftrl,
        {"beta": 1.0, "power": -0.75, "start": 0.0},
    ),
    "muon": ("muon", {}, equations.muon, {}),
    "schedulefreeadamw": (
        "schedulefreeadamw",
        {},
        equations.schedulefreeadamw,
        {"paper": keras.backend.backend() != "tensorflow"},
    ),
}


def sequence(shape: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Values and a fixed sequence of gradients, small and large."""
    rng = np.random.default_rng(len(shape))
    return rng.normal(size=shape), [rng.normal(0, 10.0 ** (step % 3 - 1), shape) for step in range(STEPS)]


def kerass(made: keras.optimizers.Optimizer, w: np.ndarray, gs: list[np.ndarray]) -> np.ndarray:
    """Where Keras's optimizer ends on the same gradients, in 64 bits."""
    # Keras's Muon mixes its 32-bit rate with the values, and takes no others than 32-bit ones.
    variable = keras.Variable(w, dtype="float32" if isinstance(made, keras.optimizers.Muon) else "float64")
    made.build([variable])
    for g in gs:
        made.apply([keras.ops.convert_to_tensor(g, variable.dtype)], [variable])
    return variable.numpy()


@pytest.mark.parametrize("shape", [(3, 4), (5,)], ids=["matrix", "vector"])
@pytest.mark.parametrize("case", CASES)
def test_keras_computes_the_equation(case: str, shape: tuple[int, ...]):
    name, arguments, equation, numbers = CASES[case]
    w, gs = sequence(shape)
    found = kerass(optimizer(name, learning_rate=ETA, **arguments), w, gs)
    expected = equation(w, gs, ETA, **numbers)
    assert np.abs(expected - w).max() > 1e-4, "nothing moved: nothing is shown"
    np.testing.assert_allclose(found, expected, rtol=EXACT, atol=EXACT * np.abs(expected - w).max())


def test_every_optimizer_of_keras_has_its_equation():
    assert {case[0] for case in CASES.values()} == set(names())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow alone")
def test_keras_on_tensorflow_does_not_compute_the_schedule_free_papers_step():
    """If this fails, Keras has mended it: the page says that it has not."""
    w, gs = sequence((5,))
    found, papers = (
        kerass(optimizer("schedulefreeadamw", learning_rate=ETA), w, gs),
        equations.schedulefreeadamw(w, gs, ETA),
    )
    assert np.abs(found - papers).max() > 0.02 * np.abs(papers - w).max()


def test_weight_decay_is_taken_before_the_step_at_the_rate():
    w, gs = sequence((5,))
    found = kerass(optimizer("sgd", learning_rate=ETA, weight_decay=0.5), w, gs[:1])
    np.testing.assert_allclose(found, w - ETA * 0.5 * w - ETA * gs[0], rtol=1e-6)


def test_keras_nesterov_is_the_chapters_seen_from_where_the_gradient_is_taken():
    """The chapter takes the gradient at theta - beta m; Keras's variable is that point."""
    slopes, beta = np.array([1.0, 4.0, 0.25]), 0.9
    theta, m = np.array([1.0, -2.0, 3.0]), np.zeros(3)
    variable = keras.Variable(theta, dtype="float64")
    made = optimizer("sgd", learning_rate=ETA, momentum=beta, nesterov=True)
    for _ in range(10):
        m = beta * m + ETA * slopes * (theta - beta * m)
        theta = theta - m
        made.apply([keras.ops.convert_to_tensor(slopes * variable.numpy())], [variable])
        np.testing.assert_allclose(variable.numpy(), theta - beta * m, atol=1e-6)


def test_adams_epsilon_stands_beside_the_root_that_is_not_corrected():
    """The paper's "epsilon hat": in the first step it counts 32 times as much as the chapter's."""
    g, epsilon = 1e-6, 1e-7
    move = -kerass(optimizer("adam", learning_rate=ETA), np.zeros(1), [np.full(1, g)])[0]
    assert move == pytest.approx(ETA * g / (g + epsilon / np.sqrt(0.001)), rel=EXACT)
    assert move < 0.3 * ETA * g / (g + epsilon), "the chapter's"


def test_adagrad_and_rmsprop_have_their_epsilon_in_the_root():
    g = np.full(1, 1e-5)
    move = -kerass(optimizer("rmsprop", learning_rate=ETA), np.zeros(1), [g])[0]
    assert move == pytest.approx(ETA * 1e-5 / np.sqrt(0.1 * 1e-10 + 1e-7), rel=1e-6)
    slow = -kerass(optimizer("adagrad", learning_rate=ETA), np.zeros(1), [g])[0]
    assert slow == pytest.approx(ETA * 1e-5 / np.sqrt(0.1 + 1e-10 + 1e-7), rel=1e-6)


# By hand: numbers that a reader can check, not the functions above

W, G = 2.0, (0.5, -1.0)  # one weight, two gradients
BY_HAND: dict[str, tuple[str, dict[str, Any], float]] = {
    "sgd": ("sgd", {}, 2 - 0.125 * 0.5 + 0.125 * 1.0),
    # m = -0.0625; then 0.9 (-0.0625) + 0.125 = 0.06875
    "momentum": ("sgd", {"momentum": 0.9}, 2 - 0.0625 + 0.06875),
    # 0.9 (-0.0625) - 0.0625 = -0.11875; then 0.9 * 0.06875 + 0.125 = 0.186875
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}, 2 - 0.11875 + 0.186875),
    # s = 0.35, then 1.35
    "adagrad": ("adagrad", {}, 2 - 0.0625 / 0.35**0.5 + 0.125 / 1.35**0.5),
    # s = 0.025, then 0.1225, of which the root is 0.35
    "rmsprop": ("rmsprop", {}, 2 - 0.0625 / 0.025**0.5 + 0.125 / 0.35),
    # first sign(g); then m = -0.055 over 0.19, s = 0.00124975 over 0.001999
    "adam": ("adam", {}, 2 - 0.125 + 0.125 * (0.055 / 0.19) / (0.00124975 / 0.001999) ** 0.5),
    # the same way, each step after 0.9995 of the weight
    "adamw": (
        "adamw",
        {},
        0.9995 * (0.9995 * 2 - 0.125) + 0.125 * (0.055 / 0.19) / (0.00124975 / 0.001999) ** 0.5,
    ),
    # u = 0.5, then max(0.4995, 1)
    "adamax": ("adamax", {}, 2 - 0.125 + 0.125 * (0.055 / 0.19) / 1.0),
    # mu = 0.9 (1 - 0.48) = 0.468, 0.9 (1 - 0.4608) = 0.48528, 0.9 (1 - 0.442368) = 0.5018688; products 0.22711104,
    # 0.113979...; the first step's mean is 0.48528 * 0.05 / 0.77288896 + 0.532 * 0.5 / 0.532
    "nadam": (
        "nadam",
        {},
        2
        - 0.125 * (0.024264 / 0.77288896 + 0.5) / 0.5
        - 0.125
        * (0.5018688 * -0.055 / (1 - 0.22711104 * 0.5018688) + 0.51472 * -1.0 / 0.77288896)
        / (0.00124975 / 0.001999) ** 0.5,
    ),
    # s = 0.0125, d = sqrt(1e-7) / sqrt(0.0125) * 0.5; D = 0.05 d^2; then s = 0.061875
    "adadelta": (
        "adadelta",
        {},
        2 - 0.125 * (8e-6**0.5 * 0.5) + 0.125 * ((1e-7 + 0.05 * 2e-6) ** 0.5 / 0.061875**0.5),
    ),
    # t = 1: v = g^2, u = 1, rate min(0.125, 1), times the weight's size: 1.75. t = 2: beta = 1 - 2^-0.8 = 0.425651,
    # v = 0.425651 * 0.25 + 0.574349 = 0.680762, u = 1 / 0.825083 = 1.212, clipped to 1
    "adafactor": ("adafactor", {}, 1.75 + 0.125 * 1.75),
    # the norm of one weight over that of its step: eta times the weight, by sign
    "lamb": ("lamb", {}, (2 - 0.125 * 2) * 1.125),
    # sign(0.05); m = 0.005; sign(0.0045 - 0.1)
    "lion": ("lion", {}, 2 - 0.125 + 0.125),
    "muon": ("muon", {}, 0.9995 * (0.9995 * 2 - 0.125) + 0.125 * (0.055 / 0.19) / (0.00124975 / 0.001999) ** 0.5),
    # FTRL without a penalty is AdaGrad without its epsilon
    "ftrl": ("ftrl", {}, 2 - 0.0625 / 0.35**0.5 + 0.125 / 1.35**0.5),
    # q = sqrt(0.35) / 0.125 = 4.732864, and z = 0.5 - sqrt(0.1) / 0.125 * 2 - (4.732864 - 2.529822) * 2 = -8.965728;
    # w = (8.965728 - 1) / (4.732864 + 0.5)
    "ftrl, sparse, one step": (
        "ftrl",
        {"l1_regularization_strength": 1.0, "l2_regularization_strength": 0.25},
        7.965728 / 5.232864,
    ),
    # z = 2 - 0.125, and so are x and the weight, since 1 - 1/t is 0 at first
    "schedulefreeadamw, one step": ("schedulefreeadamw", {}, 1.875),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_one_weight_goes_where_a_hand_computation_says(case: str):
    name, arguments, expected = BY_HAND[case]
    steps = [np.full(1, g) for g in (G[:1] if "one step" in case else G)]
    found = kerass(optimizer(name, learning_rate=ETA, **arguments), np.full(1, W), steps)
    assert found[0] == pytest.approx(expected, abs=2e-5)


def test_every_optimizer_has_its_numbers_by_hand():
    assert {name for name, _, _ in BY_HAND.values()} == set(names())


def test_muon_takes_convolutions_and_all_but_matrices_by_adamw():
    rng = np.random.default_rng(2)
    w, gs = rng.normal(size=(3, 3, 2, 4)), [rng.normal(size=(3, 3, 2, 4)) for _ in range(3)]
    found = kerass(optimizer("muon", learning_rate=ETA), w, gs)
    np.testing.assert_allclose(found, equations.adamw(w, gs, ETA), rtol=1e-4, atol=1e-4)


# The page's table


def test_every_row_of_the_pages_equations_is_computed_here():
    """The first column's words are an optimizer, and what of it: there is a case of that."""
    text = PAGE.read_text(encoding="utf-8").partition("## What they compute")[2].partition("### Their defaults")[0]
    rows = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)]
    assert {row[0] for row in rows} == set(names())
    cases = {
        (name, *(key for key in given if key == "momentum" or key == "nesterov")) for name, given, *_ in CASES.values()
    }
    for row in rows:
        assert any(case[0] == row[0] and set(row[1:]) <= set(case[1:]) for case in cases), row


#: What all have, and what is not in the table, but for AdamW's and Muon's own decay.
COMMON = {
    *("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum", "ema_overwrite_frequency"),
    *("loss_scale_factor", "gradient_accumulation_steps", "name", "self", "kwargs"),
}


def defaults(name: str) -> str:
    """An optimizer's own arguments with their defaults, as the page's table shows them."""
    own = inspect.signature(names()[name].__init__).parameters.values()
    kept = [p for p in own if p.name not in COMMON or (p.name == "weight_decay" and p.default)]
    return ", ".join(f"`{p.name}={p.default}`" for p in kept)


def rows() -> dict[str, str]:
    """The rows of the page's table of defaults, by optimizer."""
    text = PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(\w+)` \| (`learning_rate.*?) \|$", text, re.MULTILINE))


def test_the_page_gives_kerass_defaults():
    assert rows() == {name: defaults(name) for name in names()}
