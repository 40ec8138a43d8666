"""Keras's optimizers by name, with a rate for each variable."""

import keras
import numpy as np
import pytest

from zoo.errors import RecipeError
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
    ],
)
def test_what_keras_has_not_is_refused(name: str, arguments: dict, message: str):
    with pytest.raises(RecipeError, match=message):
        optimizer(name, **arguments)


def test_multipliers_of_one_change_nothing():
    plain = optimizer("adam")
    assert by_variable(plain, [1.0, 1.0]) is plain


@pytest.mark.parametrize("name", sorted(set(names()) - {"ftrl"}))
def test_every_optimizer_moves_by_the_multiple(name: str):
    """One step on three like variables: the second at a tenth of the rate, weight decay included; the third at none."""
    arguments = {"learning_rate": 0.01, "weight_decay": 0.1}
    start = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    gradient = keras.ops.convert_to_tensor(np.random.default_rng(1).normal(size=(4, 3)).astype("float32"))

    def stepped(made: keras.optimizers.Optimizer) -> list[np.ndarray]:
        variables = [keras.Variable(start, name=f"v{i}") for i in range(3)]
        made.build(variables)
        made.apply([gradient] * 3, variables)
        return [v.numpy() - start for v in variables]

    plain = stepped(optimizer(name, **arguments))
    scaled = stepped(by_variable(optimizer(name, **arguments), [1.0, 0.1, 0.0]))
    np.testing.assert_array_equal(scaled[0], plain[0])
    np.testing.assert_allclose(scaled[1], 0.1 * plain[1], rtol=1e-2, atol=2e-7)
    np.testing.assert_array_equal(scaled[2], 0)
    assert np.abs(plain[1]).max() > 1e-5


def test_ftrl_has_one_rate_for_all():
    with pytest.raises(RecipeError, match=r"The optimizer 'ftrl' cannot learn at rates by block"):
        by_variable(optimizer("ftrl"), [1.0, 0.5])


def test_a_copy_keeps_the_schedule():
    spec = {"name": "ExponentialDecay", "initial_learning_rate": 0.1, "decay_steps": 1, "decay_rate": 0.5}
    made = by_variable(optimizer("sgd", learning_rate=spec), [0.5])
    variable = keras.Variable([1.0])
    made.build([variable])
    for _ in range(2):
        made.apply([keras.ops.ones((1,))], [variable])
    assert float(variable.numpy()[0]) == pytest.approx(1 - 0.5 * (0.1 + 0.05))
