"""The conditions of SELU, read from layers."""

import keras
import pytest

from zoo.layers import FrozenBatchNorm, check_selu
from zoo.layers.selu import SELU_CONDITIONS, dropout_after, suits_selu

layers = keras.layers


def dense(**arguments) -> layers.Dense:
    return layers.Dense(4, **{"name": "low", "kernel_initializer": "lecun_normal", **arguments})


def selu() -> layers.Activation:
    return layers.Activation("selu", name="bend")


@pytest.mark.parametrize(
    "stack",
    [
        [dense(), selu()],
        [dense(activation="selu")],
        [dense(kernel_initializer="lecun_uniform"), selu(), layers.AlphaDropout(0.1), dense(name="high"), selu()],
        [dense(kernel_initializer="orthogonal"), selu()],
        [dense(), selu(), layers.Dense(3, name="top")],
        [dense(), selu(), layers.Dropout(0.0), layers.Dense(3)],
        [layers.Conv2D(4, 3, kernel_initializer="lecun_normal"), selu(), layers.MaxPooling2D()],
        [layers.Dense(4, activation="relu"), layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(3)],
        [layers.Dropout(0.2), dense(), selu()],
        [layers.BatchNormalization(), dense(), selu()],
        [dense(), selu(), layers.Dense(4, activation="relu"), layers.Dropout(0.5), layers.Dense(3)],
        [dense(activation="selu"), layers.Dense(4), layers.ReLU(), layers.Dropout(0.5), layers.Dense(3)],
        [dense(), selu(), layers.Dense(4), layers.Activation("relu"), layers.Flatten(), layers.Dropout(0.5)],
    ],
    ids=str,
)
def test_a_stack_that_keeps_the_conditions_is_passed(stack):
    assert check_selu(stack) == []


@pytest.mark.parametrize(
    ("stack", "departure"),
    [
        (
            [dense(kernel_initializer="he_normal"), selu()],
            "low: its kernel starts from HeNormal; SELU needs variance 1 / fan-in: lecun_normal.",
        ),
        (
            [dense(kernel_initializer="glorot_uniform", activation="selu")],
            "low: its kernel starts from GlorotUniform; SELU needs variance 1 / fan-in: lecun_normal.",
        ),
        (
            [layers.DepthwiseConv2D(3, name="low"), selu()],
            "low: its kernel starts from GlorotUniform; SELU needs variance 1 / fan-in: lecun_normal.",
        ),
        ([dense(bias_initializer="ones"), selu()], "low: its bias starts from Ones; SELU needs zeros."),
        (
            [dense(), layers.BatchNormalization(name="norm"), selu()],
            "norm: BatchNormalization sets the mean and variance that SELU keeps by itself.",
        ),
        (
            [dense(), FrozenBatchNorm(name="norm"), selu()],
            "norm: FrozenBatchNorm sets the mean and variance that SELU keeps by itself.",
        ),
        (
            [dense(), layers.UnitNormalization(name="norm"), selu()],
            "norm: UnitNormalization sets the mean and variance that SELU keeps by itself.",
        ),
        (
            [dense(), selu(), layers.Dropout(0.2, name="drop"), layers.Dense(3)],
            "drop: Dropout shifts mean and variance above SELU; use keras.layers.AlphaDropout.",
        ),
        (
            [dense(activation="selu"), layers.SpatialDropout2D(0.2, name="drop")],
            "drop: SpatialDropout2D shifts mean and variance above SELU; use keras.layers.AlphaDropout.",
        ),
        (
            [
                dense(),
                selu(),
                layers.MaxPooling1D(),
                layers.Flatten(),
                layers.Dropout(0.2, name="drop"),
                layers.Dense(3),
            ],
            "drop: Dropout shifts mean and variance above SELU; use keras.layers.AlphaDropout.",
        ),
        (
            [dense(), selu(), dense(name="high"), layers.Dropout(0.2, name="drop"), selu()],
            "drop: Dropout shifts mean and variance above SELU; use keras.layers.AlphaDropout.",
        ),
    ],
)
def test_each_departure_is_named(stack, departure):
    assert check_selu(stack) == [departure]


def test_a_model_is_read_from_the_bottom_up():
    inputs = keras.Input((4,))
    x = layers.Dropout(0.1, name="drop")(dense()(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="top")(layers.Activation("selu")(x)))
    assert check_selu(model) == [], "the dropout lies below the SELU"


def test_what_suits_does_not_hang_on_the_distribution():
    scaling = keras.initializers.VarianceScaling
    assert suits_selu(scaling(1.0, "fan_in", "untruncated_normal"))
    assert not suits_selu(scaling(1.0, "fan_avg", "untruncated_normal"))
    assert not suits_selu(keras.initializers.RandomNormal())


def test_dropout_after_an_activation():
    assert isinstance(dropout_after({"name": "elu", "alpha": 1.0}, 0.1, seed=3, name="drop"), layers.Dropout)
    drop = dropout_after("selu", 0.1, seed=3, name="drop")
    assert (type(drop), drop.rate, drop.seed, drop.name) == (layers.AlphaDropout, 0.1, 3, "drop")


def test_the_conditions_name_the_input_which_no_layer_shows():
    assert len(SELU_CONDITIONS) == 4
    assert SELU_CONDITIONS[0].startswith("the input is standardized")
