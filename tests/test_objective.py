"""What is trained for, by what is to be predicted."""

import keras
import numpy as np
import pytest

from zoo.data import Target
from zoo.errors import DataError, RecipeError
from zoo.objective import answering_in_units, example_weights, objective
from zoo.recipe import TopPart

CLASSES = Target("classes", ("a", "b", "c"), np.array([0, 1, 2, 0, 0, 1]))
LABELS = Target("labels", ("a", "b"), np.array([[1, 0], [1, 1], [0, 0]], "float32"))
NUMBERS = Target("numbers", ("y",), np.array([[100.0], [300.0], [1000.0]], "float32"))


def test_classes():
    goal = objective(CLASSES, TopPart(), np.arange(6))
    assert goal.output == "softmax"
    np.testing.assert_array_equal(goal.targets, np.eye(3)[[0, 1, 2, 0, 0, 1]])
    assert isinstance(goal.loss, keras.losses.CategoricalCrossentropy)
    assert [metric.name for metric in goal.metrics()] == ["accuracy"]


def test_label_smoothing_takes_its_share():
    truth = np.eye(3, dtype="float32")[:1]
    outputs = np.array([[0.8, 0.1, 0.1]], "float32")
    loss = objective(CLASSES, TopPart(label_smoothing=0.3), np.arange(6)).loss
    assert float(loss(truth, outputs)) == pytest.approx(-(0.8 * np.log(0.8) + 0.2 * np.log(0.1)), rel=1e-5)


def test_labels():
    goal = objective(LABELS, TopPart(), np.arange(3))
    assert goal.output == "sigmoid"
    assert float(goal.loss(LABELS.values[:1], np.array([[0.9, 0.2]]))) == pytest.approx(
        -(np.log(0.9) + np.log(0.8)) / 2, rel=1e-5
    )


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            keras.losses.SparseCategoricalCrossentropy(),
            "takes class numbers, and zoo gives it one column for each class",
        ),
        (keras.losses.CategoricalCrossentropy(from_logits=True), "expects logits, and the network gives probabilities"),
        (keras.losses.CategoricalFocalCrossentropy(from_logits=True), "expects logits"),
    ],
)
def test_a_loss_that_would_be_given_something_else_is_refused(loss, message: str):
    with pytest.raises(RecipeError, match=message):
        objective(CLASSES, TopPart(), np.arange(6), loss)
    own = keras.losses.CategoricalFocalCrossentropy()
    assert objective(CLASSES, TopPart(), np.arange(6), own).loss is own


def test_numbers_are_learned_in_units_of_the_training_side():
    goal = objective(NUMBERS, TopPart(), np.array([0, 1]))
    assert goal.units is not None
    mean, spread = goal.units
    assert (float(mean[0]), float(spread[0])) == (200, 100)
    np.testing.assert_array_equal(goal.targets, NUMBERS.values)
    values = keras.ops.convert_to_tensor(goal.loss(np.array([[300.0]]), np.array([[100.0]])))
    assert float(keras.ops.mean(values)) == pytest.approx(4.0)


def test_a_constant_number_has_spread_one():
    constant = Target("numbers", ("y",), np.full((3, 1), 5.0, "float32"))
    goal = objective(constant, TopPart(), np.arange(3))
    assert goal.units is not None
    assert float(goal.units[1][0]) == 1


@pytest.mark.parametrize("width", [1, 3])
def test_a_network_answers_in_the_datas_own_units(width: int):
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.Dense(width)(inputs))
    mean, spread = np.arange(1.0, width + 1), np.arange(2.0, width + 2)
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    scaled = answering_in_units(network, (mean, spread))
    np.testing.assert_allclose(scaled(x), np.asarray(network(x)) * spread + mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "top", "error", "message"),
    [
        (
            Target("none", (), np.zeros(0)),
            TopPart(),
            DataError,
            "The data has no targets to learn. Expected class folders",
        ),
        (
            CLASSES,
            TopPart(loss="huber"),
            RecipeError,
            "The loss 'huber' does not fit classes. Expected categorical_cross",
        ),
        (
            NUMBERS,
            TopPart(loss="binary_crossentropy"),
            RecipeError,
            "does not fit numbers. Expected mean_squared_error",
        ),
        (NUMBERS, TopPart(label_smoothing=0.1), RecipeError, "Label smoothing needs classes or labels"),
    ],
)
def test_what_does_not_fit_is_refused(target: Target, top: TopPart, error: type, message: str):
    with pytest.raises(error, match=message):
        objective(target, top, np.arange(len(target.values)))


def test_label_smoothing_beside_a_loss_of_ones_own_is_refused():
    with pytest.raises(RecipeError, match="zoo's own loss"):
        objective(CLASSES, TopPart(label_smoothing=0.1), np.arange(6), loss=keras.losses.CategoricalHinge())


def test_balanced_weights_give_every_class_the_same_share():
    weights = example_weights(CLASSES, np.arange(6), "balanced")
    assert weights is not None
    for label in range(3):
        assert weights[CLASSES.values == label].sum() == pytest.approx(2)


def test_weights_from_a_table():
    weights = example_weights(CLASSES, np.array([0, 1, 2]), {"b": 3.0})
    np.testing.assert_array_equal(weights, [1, 3, 1])
    assert example_weights(CLASSES, np.arange(6), "none") is None


def test_weights_that_cannot_be_are_refused():
    with pytest.raises(RecipeError, match="There is no class 'd' to weigh"):
        example_weights(CLASSES, np.arange(6), {"d": 2.0})
    with pytest.raises(RecipeError, match=r"Class weights need classes. Received targets that are numbers"):
        example_weights(NUMBERS, np.arange(3), "balanced")
