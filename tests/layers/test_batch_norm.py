"""Batch normalization that nothing moves."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo
from tests.networks import values
from zoo.errors import SurgeryError
from zoo.formats.safetensors import save_weights
from zoo.layers import FrozenBatchNorm

layers = keras.layers
VECTORS = ("gamma", "beta", "moving_mean", "moving_variance")


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, shape).astype("float32")


def used(layer: keras.layers.BatchNormalization, shape: tuple[int, ...], seed: int = 0) -> layers.BatchNormalization:
    """A batch normalization with vectors that are nothing special."""
    layer.build((None, *shape))
    rng = np.random.default_rng(seed)
    for vector in VECTORS:
        if getattr(layer, vector) is not None:
            getattr(layer, vector).assign(rng.uniform(0.5, 3, getattr(layer, vector).shape))
    return layer


def test_the_formula():
    """Against the formula in float64, worked with NumPy."""
    norm, x = used(layers.BatchNormalization(epsilon=0.01), (4, 5)), data(3, 4, 5)
    gamma, beta, mean, variance = (np.asarray(getattr(norm, v), "float64") for v in VECTORS)
    expected = gamma * (x - mean) / np.sqrt(variance + 0.01) + beta
    np.testing.assert_allclose(FrozenBatchNorm.of(norm)(x, training=True), expected, rtol=1e-5, atol=1e-5)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    place=st.integers(0, 3),
    backwards=st.booleans(),
    center=st.booleans(),
    scale=st.booleans(),
    epsilon=st.sampled_from([1e-5, 1e-3, 0.1]),
    policy=st.sampled_from(["float32", "float64", "mixed_float16", "mixed_bfloat16", "float16"]),
)
def test_it_computes_what_keras_does_in_inference(shape, place, backwards, center, scale, epsilon, policy):
    axis = 1 + place % len(shape)
    axis = axis - len(shape) - 1 if backwards else axis
    norm = layers.BatchNormalization(axis=axis, epsilon=epsilon, center=center, scale=scale, dtype=policy)
    used(norm, tuple(shape))
    held = FrozenBatchNorm.of(norm)
    x = data(2, *shape).astype(norm.compute_dtype)
    found, wanted = held(x, training=True), norm(x, training=False)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    assert [v.dtype for v in held.weights] == [v.dtype for v in norm.weights]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1),
        lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1, use_ema=True),
        lambda: keras.optimizers.Lion(0.1, weight_decay=0.1, clipnorm=1.0),
    ],
    ids=["sgd", "adamw", "lion"],
)
def test_training_moves_nothing_in_it_and_all_below(policy: str, optimizer):
    inputs = keras.Input((4,))
    low = layers.Dense(5, name="low", dtype=policy)
    held = FrozenBatchNorm.of(used(layers.BatchNormalization(name="norm", dtype=policy), (5,)))
    model = keras.Model(inputs, layers.Dense(2, name="top", dtype=policy)(held(low(inputs))))
    model.trainable = False
    model.trainable = True
    held.trainable = True
    before, below = [v.numpy() for v in held.variables], low.kernel.numpy()
    model.compile(optimizer(), "mse")
    model.fit(data(32, 4), data(32, 2, seed=1), epochs=2, verbose=0)
    assert all((v.numpy() == old).all() for v, old in zip(held.variables, before, strict=True))
    assert (low.kernel.numpy() != below).any(), "the gradient goes through"
    assert held.trainable_variables == [] and len(model.trainable_variables) == 4


def test_keras_own_layer_would_move():
    """What the test above guards against: a frozen batch normalization, thawed with the network around it."""
    inputs = keras.Input((4,))
    norm = used(layers.BatchNormalization(), (4,))
    model = keras.Model(inputs, norm(inputs))
    norm.trainable = False
    model.trainable = False
    model.trainable = True
    before = norm.moving_mean.numpy()
    model.compile("sgd", "mse")
    model.fit(data(32, 4), data(32, 4, seed=1), verbose=0)
    assert (norm.moving_mean.numpy() != before).all()


@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": False}, {"center": False, "scale": False}])
def test_either_layer_takes_the_others_weights(options: dict[str, bool]):
    def network(norm):
        inputs = keras.Input((3, 4))
        return keras.Model(inputs, layers.Dense(2, name="top")(norm(inputs)))

    trained = network(used(layers.BatchNormalization(name="norm", **options), (3, 4)))
    frozen = network(FrozenBatchNorm(name="norm", **options))
    frozen.set_weights(trained.get_weights())
    np.testing.assert_array_equal(frozen(data(2, 3, 4)), trained(data(2, 3, 4)))
    other = network(layers.BatchNormalization(name="norm", **options))
    other.set_weights(frozen.get_weights())
    np.testing.assert_array_equal(other(data(2, 3, 4)), trained(data(2, 3, 4)))


@pytest.mark.parametrize("kind", ["keras", "safetensors"])
def test_a_file_of_keras_layers_restores_frozen_ones(kind: str, tmp_path):
    inputs = keras.Input((3, 4))
    trained = keras.Model(inputs, used(layers.BatchNormalization(name="norm"), (3, 4))(inputs))
    frozen = keras.Model(inputs, FrozenBatchNorm(name="norm")(inputs))
    path = tmp_path / f"trained.{kind}"
    if kind == "keras":
        trained.save(path)
    else:
        save_weights(trained, path)
    assert len(zoo.load_weights(frozen, path).restored) == 4
    np.testing.assert_array_equal(frozen(data(2, 3, 4)), trained(data(2, 3, 4)))


def test_renormalization_is_the_same_in_inference():
    norm = layers.BatchNormalization(renorm=True)
    norm(data(64, 4), training=True)
    x = data(8, 4, seed=1)
    np.testing.assert_array_equal(FrozenBatchNorm.of(norm)(x), norm(x, training=False))


def test_configuration_and_file(tmp_path):
    held = FrozenBatchNorm.of(used(layers.BatchNormalization(axis=1, epsilon=0.02, scale=False, name="n"), (3, 4)))
    twin = FrozenBatchNorm.from_config(held.get_config())
    assert (twin.axis, twin.epsilon, twin.center, twin.scale, twin.name) == (1, 0.02, True, False, "n")
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, held(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.get_layer("n"), FrozenBatchNorm)
    np.testing.assert_array_equal(loaded(data(2, 3, 4)), model(data(2, 3, 4)))


def test_a_mask_passes_through():
    inputs = keras.Input((5,), dtype="int32")
    x = FrozenBatchNorm(name="norm")(layers.Embedding(10, 4, mask_zero=True)(inputs))
    mean = keras.Model(inputs, layers.GlobalAveragePooling1D()(x))
    tokens = np.array([[3, 4, 0, 0, 0], [3, 4, 5, 6, 7]])
    short = keras.Model(inputs, x)(tokens)[0, :2].numpy().mean(axis=0)
    np.testing.assert_allclose(mean(tokens)[0], short, rtol=1e-5)


def test_the_original_is_copied_not_shared():
    norm = used(layers.BatchNormalization(), (4,))
    before = norm.moving_mean.numpy()
    held = FrozenBatchNorm.of(norm)
    norm.moving_mean.assign(before + 1)
    np.testing.assert_array_equal(held.moving_mean, before)


def test_another_layer_is_refused():
    with pytest.raises(SurgeryError) as error:
        FrozenBatchNorm.of(layers.LayerNormalization(name="other"))  # pyright: ignore[reportArgumentType]
    assert str(error.value) == (
        "'other' cannot become a FrozenBatchNorm. Expected a keras.layers.BatchNormalization; received "
        "LayerNormalization."
    )


def test_a_layer_without_statistics_is_refused():
    with pytest.raises(SurgeryError) as error:
        FrozenBatchNorm.of(layers.BatchNormalization(name="fresh"))
    assert str(error.value) == (
        "The batch normalization 'fresh' has no statistics yet: it was never called. Call it, or the network around "
        "it, once; or load its weights."
    )


def test_a_frozen_network_stays_as_it_is_under_training_mode():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, FrozenBatchNorm.of(used(layers.BatchNormalization(), (4,)))(inputs))
    before = values(model)
    model(data(16, 4), training=True)
    assert values(model) == before
