"""Max-norm on whole networks: in training, in the saved file, and off again."""

import keras
import numpy as np
import pytest

from zoo import limit_norms
from zoo.errors import SurgeryError

from .networks import NETWORKS, clusters, dense_net, images, small_convnet

layers = keras.layers


def norms(layer: keras.layers.Layer) -> np.ndarray:
    kernel = np.asarray(layer.kernel)
    return np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)


def test_norms_are_limited_in_training_where_they_learn_and_only_there():
    net = small_convnet()
    net.get_layer("block1_conv1").trainable = False
    before = norms(net.get_layer("block1_conv1"))
    names = limit_norms(net, 0.05)
    assert {"block1_conv1", "block2_conv1", "top_output"} <= set(names)
    net.compile("sgd", "sparse_categorical_crossentropy")
    net.fit(images(8), np.arange(8), verbose=0)
    for name in names:
        if name != "block1_conv1":
            assert norms(net.get_layer(name)).max() <= 0.05 * (1 + 1e-5), name
    np.testing.assert_array_equal(norms(net.get_layer("block1_conv1")), before)
    assert before.max() > 0.1


def test_limits_are_saved_as_keras_own_and_train_on_after_loading(tmp_path):
    net = NETWORKS["nested"][0]()
    assert limit_norms(net, 0.05) == ("stem", "inner1_conv", "inner2_conv", "top")
    net.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    inner = loaded.get_layer("backbone").get_layer("inner1_conv")
    assert type(inner.kernel_constraint) is keras.constraints.MaxNorm
    loaded.compile("sgd", "mse")
    loaded.fit(images(8), np.zeros((8, 3)), verbose=0)
    assert norms(inner).max() <= 0.05 * (1 + 1e-5)


def test_limits_come_off_again_under_a_compiled_network():
    net = dense_net()
    net.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    x, labels = clusters(8)
    before = norms(net.get_layer("low1"))
    limit_norms(net, 0.01)
    limit_norms(net, None)
    net.fit(x, labels, verbose=0)
    np.testing.assert_array_equal(norms(net.get_layer("low1")), before)
    limit_norms(net, 0.01, layers="low1")
    net.fit(x, labels, verbose=0)
    assert norms(net.get_layer("low1")).max() <= 0.01 * (1 + 1e-5) < norms(net.get_layer("low2")).max()


def test_what_was_limited_prints_in_lines():
    net = small_convnet()
    names = limit_norms(net, 2.5)
    lines = str(names).splitlines()
    assert lines[0].startswith("max-norm 2.5 on 7 layers: block1_conv1, block1_conv2, ")
    assert lines[1].startswith("    ") and max(map(len, lines)) <= 100
    assert ", ".join(names) == " ".join(line.strip() for line in lines).partition(": ")[2]
    assert str(limit_norms(net, None, layers="top_output")) == "no max-norm on 1 layer: top_output"


def test_models_inside_with_equal_names_get_their_limits_where_they_are_saved():
    """The flat network knows such layers under other names; their configurations are in the models inside."""
    parts = []
    for name in ("left", "right"):
        inputs = keras.Input((4,))
        parts.append(keras.Model(inputs, layers.Dense(3, name="dense")(inputs), name=name))
    inputs = keras.Input((4,))
    net = keras.Model(inputs, layers.Add(name="both")([part(inputs) for part in parts]))
    assert limit_norms(net, 2.0) == ("left_dense", "right_dense")
    assert all(part.get_layer("dense").get_config()["kernel_constraint"] is not None for part in parts)


def test_networks_without_such_layers_are_refused():
    inputs = keras.Input((5, 4))
    net = keras.Model(inputs, layers.LSTM(3, name="lstm")(inputs), name="recurrent")
    with pytest.raises(SurgeryError, match=r"None of the layers of 'recurrent'.*dense layers.*received lstm"):
        limit_norms(net, 1.0)
