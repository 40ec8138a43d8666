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


# The page's table

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
