"""Tiny weights set to zero, and FTRL, which makes zeros itself."""

import keras
import numpy as np
import pytest

import zoo
from zoo.layers import optimizer
from zoo.sparse import Zeros

from .networks import clusters, dense_net, gap, small_convnet
from .test_train import one_hot

layers = keras.layers


def test_what_is_tiny_is_zero_and_what_is_not_is_as_it_was():
    net = small_convnet()
    before = [v.numpy() for v in net.weights]
    found = zoo.zero_tiny_weights(net, below=0.05)
    for variable, old in zip(net.weights, before, strict=True):
        new = variable.numpy()
        if old.ndim < 2:
            np.testing.assert_array_equal(new, old, err_msg=variable.path)
            assert variable.path not in found
            continue
        tiny = np.abs(old) < 0.05
        assert tiny.any() and not tiny.all()
        np.testing.assert_array_equal(new, np.where(tiny, 0, old))
        assert found[variable.path] == Zeros(tiny.sum(), tiny.sum(), old.size)
        assert found[variable.path].share == tiny.mean()


def adapted() -> keras.layers.Layer:
    norm = layers.Normalization(axis=(-2, -1))
    norm.adapt(np.random.default_rng(0).uniform(0, 0.1, (9, 6, 5)))
    return norm


@keras.saving.register_keras_serializable("tests")
class Own(layers.Layer):
    """A layer of the user's own, with a kernel and a table of scales."""

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], input_shape[-1]))
        self.scales = self.add_weight(name="scales", shape=input_shape[1:], initializer="ones")

    def call(self, inputs):
        return keras.ops.matmul(inputs * self.scales, self.kernel)


#: Each kind of layer on tables of 6 x 5, and the weights that are set.
ROLES = {
    "Normalization over two axes": (adapted, set()),
    "LayerNormalization over two axes": (lambda: layers.LayerNormalization(axis=(1, 2)), set()),
    "BatchNormalization": (layers.BatchNormalization, set()),
    "PReLU": (layers.PReLU, set()),
    "Dense": (lambda: layers.Dense(4), {"kernel"}),
    "Dense inside": (lambda: layers.TimeDistributed(layers.Dense(4)), {"kernel"}),
    "Dense, normalized": (lambda: layers.SpectralNormalization(layers.Dense(4)), {"kernel"}),
    "Conv1D": (lambda: layers.Conv1D(4, 2), {"kernel"}),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(4, 2), {"depthwise_kernel", "pointwise_kernel"}),
    "EinsumDense, a bias of two axes": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"),
        {"kernel"},
    ),
    "GRU, a bias of two axes": (lambda: layers.GRU(4), {"kernel", "recurrent_kernel"}),
    "LSTM both ways": (lambda: layers.Bidirectional(layers.LSTM(4)), {"kernel", "recurrent_kernel"}),
    "its own": (Own, {"kernel"}),
}


@pytest.mark.parametrize("kind", ROLES)
def test_what_multiplies_is_set_and_scales_slopes_and_statistics_stay(kind: str):
    make, names = ROLES[kind]
    net = keras.Sequential([keras.Input((6, 5)), make()])
    before = [v.numpy() for v in net.weights]
    assert any(value.ndim > 1 for value in before) or kind == "BatchNormalization"
    found = zoo.zero_tiny_weights(net, below=1e9)
    assert {path.rsplit("/", 1)[-1] for path in found} == names
    for variable, old in zip(net.weights, before, strict=True):
        expected = 0 * old if variable.path in found else old
        np.testing.assert_array_equal(variable.numpy(), expected, err_msg=variable.path)


def test_embeddings_and_attention_are_set_and_adapters_stay():
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, name="table")(tokens)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    low = layers.Dense(4, name="low")
    net = keras.Model(tokens, low(x))
    low.enable_lora(2)
    found = zoo.zero_tiny_weights(net, below=1e9)
    sides = [f"attention/{part}/kernel" for part in ("query", "key", "value", "attention_output")]
    assert set(found) == {"table/embeddings", *sides, "low/kernel"}


def test_a_second_time_nothing_is_set():
    net = dense_net()
    first = zoo.zero_tiny_weights(net, below=0.1)
    again = zoo.zero_tiny_weights(net, below=0.1)
    assert sum(counts.set for counts in first.values()) > 0
    assert {path: counts.now for path, counts in again.items()} == {path: counts.set for path, counts in first.items()}
    assert all(counts.set == 0 for counts in again.values())


def test_what_is_frozen_and_what_lies_in_a_model_inside_is_set_too():
    inner = dense_net()
    inner.trainable = False
    net = keras.Sequential([keras.Input((6,)), inner])
    found = zoo.zero_tiny_weights(net, below=0.1)
    assert len(found) == 3 and all(counts.set for counts in found.values())


def test_a_small_threshold_changes_little():
    net, x = dense_net(), clusters(64)[0]
    before = net.predict(x, verbose=0)
    zoo.zero_tiny_weights(net, below=0.01)
    assert 0 < gap(before, net.predict(x, verbose=0)) < 0.05


@pytest.mark.parametrize("below", [0, -1.0, float("nan"), float("inf"), True, "0.1"])
def test_a_threshold_that_is_none_is_refused(below: float):
    with pytest.raises(zoo.SurgeryError, match=r"cannot be set to zero\. Expected a number above 0; received "):
        zoo.zero_tiny_weights(dense_net(), below)


def test_a_network_without_weights_is_refused():
    net = keras.Sequential([keras.layers.Dense(3)], name="net")
    with pytest.raises(zoo.SurgeryError, match=r"'net' has no weights yet\. Build it: call it on data once\."):
        zoo.zero_tiny_weights(net, 0.1)


def sparse_regression(**arguments: float) -> np.ndarray:
    """The weights that 300 steps find where 2 of 20 inputs count, 3 and -2."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 20)).astype("float32")
    y = 3 * x[:, :1] - 2 * x[:, 1:2] + rng.normal(0, 0.1, (256, 1)).astype("float32")
    net = keras.Sequential([keras.Input((20,)), keras.layers.Dense(1)])
    net.compile(optimizer("ftrl", learning_rate=0.5, **arguments), "mse")
    for _ in range(300):
        net.train_on_batch(x, y)
    return net.get_weights()[0][:, 0]


def test_ftrl_with_l1_makes_exact_zeros_of_what_does_not_count():
    plain, sparse = sparse_regression(), sparse_regression(l1_regularization_strength=60.0)
    assert (plain == 0).sum() == 0
    np.testing.assert_array_equal(sparse[2:], 0.0)
    np.testing.assert_allclose(sparse[:2], [3.0, -2.0], atol=0.1)


def test_ftrl_trains_a_classifier_to_zeros():
    x, labels = clusters(64)
    net = dense_net()
    net.compile(optimizer("ftrl", learning_rate=0.1, l1_regularization_strength=0.5), "categorical_crossentropy")
    for _ in range(60):
        net.train_on_batch(x, one_hot(labels, 3))
    found = zoo.zero_tiny_weights(net, below=1e-12)
    assert sum(counts.set for counts in found.values()) == 0, "they are exact"
    assert sum(counts.now for counts in found.values()) > 20
    assert (net.predict(x, verbose=0).argmax(1) == labels).mean() > 0.9


def test_a_threshold_of_numpy_is_a_number():
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="top")])
    net.layers[0].set_weights([np.array([[0.5], [0.001]]), np.zeros(1)])
    assert [counts.set for counts in zoo.zero_tiny_weights(net, below=np.float32(0.01)).values()] == [1]
