"""TensorFlow's engine: constants, one trace, what it cannot run, and what it leaves behind."""

import gc
import warnings
import weakref
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import engine
from zoo.engines.constants import folded, with_constants
from zoo.engines.interface import Setup
from zoo.errors import DeviceError

from ..networks import Uncopied, gap, images, live, small_convnet
from ..processors import needs_bfloat16
from .saying import said_by_tensorflow

layers = keras.layers
SETUP = Setup(batch=16, threads=2)


class AlwaysRandom(layers.Layer):
    """Noise in inference too."""

    def __init__(self) -> None:
        super().__init__()
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed)


def of(layer: Any, shape: tuple[int, ...] = (4,), dtype: str = "float32") -> keras.Model:
    """A network of one layer, with a dense one above."""
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, layer(inputs), name="odd")


def test_weights_are_constants_and_batch_norms_are_folded():
    ready = folded(small_convnet())
    assert ready.count == 6
    function = with_constants(ready.network, 16)
    kinds = {op.type for op in function.graph.get_operations()}
    assert not {kind for kind in kinds if "Variable" in kind or "FusedBatchNorm" in kind}
    assert not function.captured_inputs


def test_a_network_that_cannot_be_copied_runs_unfolded_and_says_so():
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    trunk = live(keras.Model(inputs, Uncopied(2.0)(x), name="own"))
    ready = engine.build(trunk, "tensorflow", SETUP)
    assert "cannot be copied" in ready.note
    assert ready.settings["folded"] == 0
    np.testing.assert_allclose(ready.run(images(16))[0], np.asarray(trunk(images(16))), rtol=1e-5, atol=1e-5)


def test_tensors_that_a_layer_holds_beside_its_variables_are_constants():
    """As ``Normalization`` its mean and variance, with which every EfficientNet begins."""
    x = images(16, (400,)) / 255
    normalization = layers.Normalization()
    normalization.adapt(np.sqrt(x))
    trunk = of(normalization, (400,))
    function = with_constants(folded(trunk).network, 16)
    assert not function.captured_inputs
    assert [tuple(tensor.shape) for tensor in function.inputs] == [(16, 400)]
    expected = (x - np.sqrt(x).mean(axis=0)) / np.sqrt(x).std(axis=0)
    np.testing.assert_allclose(engine.build(trunk, "tensorflow", SETUP).run(x)[0], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("trunk", "reason"),
    [
        (lambda: of(layers.TextVectorization(vocabulary=["a"]), (), "string"), "its input '.*' is text"),
        (lambda: of(layers.IntegerLookup(vocabulary=[3, 5]), (4,), "int64"), "it holds a lookup table"),
        (lambda: of(AlwaysRandom()), "it changes its own variable '.*seed"),
        (lambda: of(layers.Lambda(lambda x: x + tf.random.uniform((16, 4)))), "it computes with RandomUniform"),
        (lambda: of(layers.Lambda(np_function, output_shape=(4,))), "it computes with (EagerPyFunc|PyFunc)"),
    ],
    ids=["text", "lookup", "draws", "random", "python"],
)
def test_what_is_no_constant_graph_is_refused_with_the_reason(trunk: Any, reason: str):
    with pytest.raises(DeviceError, match=f"The engine 'tensorflow' cannot run the network 'odd': {reason}") as error:
        engine.build(trunk(), "tensorflow", SETUP)
    assert str(error.value).endswith("Use the engine auto, or keras, which runs every network.")


def np_function(x: Any) -> Any:
    """A step that leaves TensorFlow."""
    return tf.ensure_shape(tf.py_function(lambda y: y * 2, [x], tf.float32), x.shape)


def test_a_network_whose_weights_do_not_fit_a_graph_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zoo.engines.constants.MOST_BYTES", 1000)
    with pytest.raises(DeviceError, match=r"its weights take 0.0 GiB, and a graph of constants holds less than 2"):
        engine.build(small_convnet(), "tensorflow", SETUP)


@needs_bfloat16
def test_loops_run_in_float32_alone():
    trunk = of(layers.LSTM(3), (5, 4))
    engine.build(trunk, "tensorflow", SETUP)
    with pytest.raises(DeviceError, match="it has a loop, as of a recurrent layer, which TensorFlow does not rewrite"):
        engine.build(trunk, "tensorflow", Setup("bfloat16", 16, 2))


@needs_bfloat16
def test_what_has_nothing_to_multiply_has_no_bfloat16():
    with pytest.raises(DeviceError, match="nothing in it can be computed in bfloat16"):
        engine.build(of(layers.Flatten(), (4, 2)), "tensorflow", Setup("bfloat16", 16, 2))


def test_sizes_that_are_not_fixed_may_change_from_batch_to_batch():
    trunk = of(layers.GlobalAveragePooling1D(), (None, 3))
    ready = engine.build(trunk, "tensorflow", SETUP)
    for length in (4, 7):
        x = images(16, (length, 3))
        np.testing.assert_allclose(ready.run(x)[0], x.mean(axis=1), rtol=1e-5)


@needs_bfloat16
def test_bfloat16_leaves_no_switch_behind():
    before = tf.config.optimizer.get_experimental_options()
    engine.build(small_convnet(), "tensorflow", Setup("bfloat16", 16, 2)).run(images(16))
    assert tf.config.optimizer.get_experimental_options() == before
    x = tf.constant(images(256, (256,)))
    exact = x.numpy().astype("float64") @ x.numpy().astype("float64")
    there = tf.function(lambda a: a @ a)(x).numpy()
    np.testing.assert_allclose(there, exact, rtol=1e-5)


def test_making_constants_warns_of_nothing():
    trunk = small_convnet()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_constants(trunk, 16)


@needs_bfloat16
def test_bfloat16_says_nothing_of_the_tables_of_other_networks():
    """TensorFlow keeps a list of all tables of a program; exporting a graph told of each that it could not."""
    of(layers.TextVectorization(vocabulary=["a"]), (), "string")(tf.constant(["a"]))
    tf.compat.v1.get_default_graph().add_to_collection("table_initializer", None)
    try:
        with said_by_tensorflow() as lines:
            engine.build(small_convnet(), "tensorflow", Setup("bfloat16", 16, 2))
    finally:
        tf.compat.v1.get_default_graph().clear_collection("table_initializer")
    assert lines == []


def test_closing_gives_the_memory_back():
    ready = engine.build(small_convnet(), "tensorflow", SETUP)
    ready.run(images(16))
    graph = weakref.ref(ready._function.graph)
    ready.close()
    gc.collect()
    assert graph() is None


def test_closing_keras_engine_leaves_the_network_as_it_was():
    trunk = small_convnet()
    ready = engine.build(trunk, "keras", SETUP)
    ready.run(images(16))
    assert trunk.predict_function is not None
    ready.close()
    assert trunk.predict_function is None
    trunk.predict_on_batch(images(4))
    compiled = trunk.predict_function
    engine.build(trunk, "keras", SETUP).close()
    assert trunk.predict_function is compiled, "the user's own stays"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_it_is_compiled_by_xla(precision: str, monkeypatch: pytest.MonkeyPatch):
    """A stand-in: the processor, under the GPU's name."""
    monkeypatch.setattr(keras, "device", lambda name: nullcontext())
    monkeypatch.setattr("zoo.engines.bfloat16.capability", lambda device: (9, 0))
    keras.utils.set_random_seed(0)
    trunk = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(5)])
    ready = engine.build(trunk, "tensorflow", Setup(precision, 16, 2, "gpu:0"))
    assert ready.settings["xla"]
    assert ready._function.function_def.attr["_XlaMustCompile"].b
    x = images(16, (6,)) / 255
    found = gap(np.asarray(trunk(x)), ready.run(x)[0])
    assert found < 1e-5 if precision == "float32" else 1e-4 < found < 0.1
    if precision == "bfloat16":  # the topmost layer too: its results have 8 bits
        np.testing.assert_array_equal(ready.run(x)[0], ready.run(x)[0].astype("bfloat16").astype("float32"))


def test_on_a_gpu_what_has_no_weights_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keras, "device", lambda name: nullcontext())
    monkeypatch.setattr("zoo.engines.bfloat16.capability", lambda device: (9, 0))
    with pytest.raises(DeviceError, match="nothing in it can be computed in bfloat16"):
        engine.build(of(layers.Flatten(), (4, 2)), "tensorflow", Setup("bfloat16", 16, 2, "gpu:0"))


def test_what_xla_cannot_compile_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keras, "device", lambda name: nullcontext())
    with pytest.raises(DeviceError, match=r"The engine 'tensorflow' cannot run the network 'odd': .*"):
        engine.build(of(layers.Lambda(np_function, output_shape=(4,))), "tensorflow", Setup("float32", 16, 2, "gpu:0"))
