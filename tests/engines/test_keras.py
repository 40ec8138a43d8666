"""Keras's engine: bfloat16 under its policy, and the quiet it keeps."""

from typing import Any

import keras
import numpy as np
import pytest
from tensorflow.python.eager.polymorphic_function import polymorphic_function

from zoo import engine
from zoo.engines.interface import Setup
from zoo.engines.keras import KerasEngine
from zoo.errors import DeviceError
from zoo.precision import computing_in

from ..networks import Uncopied, gap, images, small_convnet
from .saying import said_by_tensorflow

layers = keras.layers
NARROW = Setup("bfloat16", 16, 2)


@pytest.fixture(autouse=True)
def processor_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.engines.bfloat16.processor_features", lambda: ["avx512_bf16"])


def test_bfloat16_computes_the_topmost_layer_so_too():
    inputs = keras.Input((6,))
    trunk = keras.Model(inputs, layers.Dense(8, activation="relu")(inputs))
    x = images(16, (6,)) / 255
    ready = engine.build(trunk, "keras", NARROW)
    ours = ready.run(x)[0]
    assert ours.dtype == np.float32
    assert 1e-4 < gap(np.asarray(trunk(x)), ours) < 0.1
    assert computing_in(ready._network) == ("mixed_bfloat16",)


def nothing() -> keras.Model:
    inputs = keras.Input((4, 2))
    return keras.Model(inputs, layers.Flatten()(inputs), name="odd")


def careful() -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3, dtype="float64")(inputs), name="odd")


@pytest.mark.parametrize("trunk", [nothing, careful])
def test_what_has_nothing_to_compute_in_bfloat16_is_refused(trunk: Any):
    reason = "The engine 'keras' cannot run the network 'odd': nothing in it can be computed in bfloat16"
    with pytest.raises(DeviceError, match=reason) as error:
        engine.build(trunk(), "keras", NARROW)
    assert str(error.value).endswith("Use float32.")


def test_what_cannot_be_copied_has_no_bfloat16():
    inputs = keras.Input((4,))
    trunk = keras.Model(inputs, Uncopied(2.0)(layers.Dense(3)(inputs)), name="odd")
    with pytest.raises(DeviceError, match=r"The engine 'keras' cannot run the network 'odd': .*cannot be copied"):
        engine.build(trunk, "keras", NARROW)


def forget_traces() -> None:
    """TensorFlow gives its advice twice in a program, and other tests may have had it."""
    manager = polymorphic_function._FrequentTracingDetectorManager()
    polymorphic_function._frequent_tracing_detector_manager = manager


def test_several_networks_are_traced_without_advice():
    """TensorFlow counts every network's first call as one more trace of the same function."""
    forget_traces()
    with said_by_tensorflow() as lines:
        for _ in range(7):
            KerasEngine(small_convnet(), Setup(batch=16)).run(images(16))
            engine.outputs(small_convnet(), engine.rows_of([images(3)]), 3)
    assert lines == []
    forget_traces()
    with said_by_tensorflow() as lines:
        for _ in range(7):
            small_convnet().predict_on_batch(images(16))
    assert any("triggered tf.function retracing" in line for line in lines), "the user's own calls are still told of"
