"""Stochastic depth against Keras's dropout with one draw an example, and its linear rates."""

import keras
import numpy as np
import pytest

from zoo.errors import RecipeError
from zoo.layers import StochasticDepth, linear_rates

layers = keras.layers


@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 4, 6)], ids=str)
def test_it_is_keras_dropout_with_one_draw_an_example(shape: tuple[int, ...]):
    x = np.random.default_rng(0).normal(size=(64, *shape)).astype("float32")
    theirs = layers.Dropout(0.4, noise_shape=(None, *[1] * len(shape)), seed=7)
    ours = StochasticDepth(0.4, seed=7)
    for _ in range(3):
        np.testing.assert_array_equal(ours(x, training=True), theirs(x, training=True))


def test_a_whole_branch_is_left_out_or_scaled_and_its_expectation_stays():
    y = np.asarray(StochasticDepth(0.25, seed=1)(np.ones((20_000, 3), "float32"), training=True))
    assert (np.ptp(y, axis=1) == 0).all()
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=1e-6)
    assert y.mean() == pytest.approx(1, abs=0.02)


def test_in_inference_and_at_rate_0_nothing_is_left_out():
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    np.testing.assert_array_equal(StochasticDepth(0.9)(x, training=False), x)
    np.testing.assert_array_equal(StochasticDepth(0.0)(x, training=True), x)


def test_a_residual_network_trains_and_is_saved(tmp_path):
    inputs = x = keras.Input((6,))
    for i, rate in enumerate(linear_rates(3, last=0.5)):
        branch = layers.Dense(6, activation="tanh", name=f"branch{i}")(x)
        x = layers.Add()([x, StochasticDepth(rate, seed=i, name=f"depth{i}")(branch)])
    model = keras.Model(inputs, layers.Dense(2)(x))
    model.compile("sgd", "mse")
    data = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    before = [w.numpy() for w in model.trainable_variables]
    model.fit(data, data[:, :2], verbose=0)
    assert all((w.numpy() != old).any() for w, old in zip(model.trainable_variables, before, strict=True))
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    assert [loaded.get_layer(f"depth{i}").rate for i in range(3)] == pytest.approx([1 / 6, 1 / 3, 1 / 2])
    np.testing.assert_array_equal(loaded(data), model(data))


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float64"])
def test_any_precision_keeps_its_type(policy: str):
    layer = StochasticDepth(0.5, seed=0, dtype=policy)
    assert layer(np.ones((4, 2)), training=True).dtype == layer.compute_dtype


def test_a_mask_passes_through():
    embedded = layers.Embedding(5, 3, mask_zero=True)(np.array([[1, 2, 0]]))
    assert StochasticDepth(0.5)(embedded)._keras_mask.numpy().tolist() == [[True, True, False]]


def test_rates_are_those_of_the_papers_figure():
    """54 blocks, the last survives with probability 0.5: block l with 1 - l / 54 * 0.5."""
    rates = linear_rates(54, last=0.5)
    assert len(rates) == 54
    assert rates[0] == pytest.approx(1 - (1 - 1 / 54 * 0.5))
    assert rates[26] == pytest.approx(0.25)
    assert rates[-1] == 0.5
    assert sum(1 - r for r in rates) == pytest.approx(40.25)  # the expected number of blocks, "about 40" in the paper


def test_rates_that_leave_nothing_are_refused():
    with pytest.raises(RecipeError, match=r"its `rate`\. Expected 0 to below 1; received 1\.0\."):
        StochasticDepth(1.0)
    with pytest.raises(RecipeError, match=r"its `last`\. Expected 0 to below 1; received -0\.1\."):
        linear_rates(3, last=-0.1)
    with pytest.raises(RecipeError, match=r"at least one residual block\. Expected a depth of 1 or more; received 0\."):
        linear_rates(0)


def test_a_number_of_numpy_is_a_number():
    made = StochasticDepth(np.float32(0.25))
    assert made.get_config()["rate"] == 0.25 and type(made.rate) is float
