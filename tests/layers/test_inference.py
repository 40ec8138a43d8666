"""A layer held in inference."""

import keras
import numpy as np
import pytest

from zoo.layers import Inference

layers = keras.layers


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, (16, 4)).astype("float32")


def test_statistics_stay_while_scale_and_offset_learn(x: np.ndarray):
    inputs = keras.Input((4,))
    norm = layers.BatchNormalization(name="norm")
    model = keras.Model(inputs, Inference(norm)(inputs))
    model.compile("sgd", "mse")
    before = [v.numpy() for v in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)]
    model.fit(x, np.ones_like(x), verbose=0)
    moved = [bool((v.numpy() != old).any()) for v, old in zip(norm.weights, before, strict=True)]
    assert moved == [True, True, False, False]


def test_the_documented_trick_moves_statistics(x: np.ndarray):
    """Why the wrapper is there; when this fails, Keras has mended it."""
    inner_in = keras.Input((4,))
    norm = layers.BatchNormalization()
    base = keras.Model(inner_in, norm(inner_in))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, base(inputs, training=False))
    model.compile("sgd", "mse")
    model.fit(x, np.ones_like(x), verbose=0)
    assert bool((norm.moving_mean.numpy() != 0).any())


def test_dropout_drops_nothing_in_training(x: np.ndarray):
    np.testing.assert_array_equal(Inference(layers.Dropout(0.5))(x, training=True), x)
    assert (layers.Dropout(0.5)(x, training=True) == 0).numpy().any()


def test_the_layer_is_shared_not_copied():
    norm = layers.BatchNormalization(name="norm")
    norm.build((None, 4))
    held = Inference(norm)
    assert held.name == "norm_held"
    assert [id(v) for v in held.weights] == [id(v) for v in norm.weights]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LSTM(3, dropout=0.5, return_sequences=True),
        lambda: layers.Bidirectional(layers.LSTM(3, dropout=0.5)),
        lambda: layers.TimeDistributed(layers.BatchNormalization()),
    ],
)
def test_sequences_and_masks_pass_through(layer):
    inner = layer()
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    mask = np.array([[True] * 5, [True, True, False, False, False]])
    expected = inner(x, mask=mask, training=False)
    np.testing.assert_array_equal(Inference(inner)(x, mask=mask, training=True), expected)


def test_several_inputs_in_a_functional_model():
    attention = layers.MultiHeadAttention(2, 3, dropout=0.5)
    a, b = keras.Input((5, 4)), keras.Input((6, 4))
    plain = keras.Model([a, b], attention(a, b))
    held = keras.Model([a, b], Inference(attention)(a, b))
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(2, n, 4)).astype("float32") for n in (5, 6)]
    np.testing.assert_array_equal(held(x, training=True), plain(x, training=False))


def test_configuration_round_trip(x: np.ndarray, tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Inference(layers.Dense(3), name="held")(inputs))
    model.save(tmp_path / "held.keras")
    loaded = keras.models.load_model(tmp_path / "held.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert isinstance(loaded.get_layer("held"), Inference)
