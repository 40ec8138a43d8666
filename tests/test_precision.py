"""Mixed precision computes in 16 bits where that is safe, and keeps variables in 32."""

import keras
import numpy as np
import pytest

from zoo.copying import copy_state
from zoo.flattening import flat
from zoo.objective import answering_in_units
from zoo.precision import computing_in, in_precision

from .networks import NETWORKS, gap, images, small_convnet, values

layers = keras.layers
POLICIES = ["mixed_bfloat16", "mixed_float16"]


def policies(model: keras.Model) -> dict[str, str]:
    return {layer.name: layer.dtype_policy.name for layer in model.layers}


def test_float32_is_the_network_itself():
    model = small_convnet()
    assert in_precision(model, "float32") is model


@pytest.mark.parametrize("policy", POLICIES)
def test_inputs_and_outputs_keep_their_32_bits(policy: str):
    model = small_convnet()
    found = policies(in_precision(model, policy))
    assert found["block1_rescale"] == found["top_output"] == "float32"
    assert {found[f"block{b}_conv{c}"] for b in (1, 2, 3) for c in (1, 2)} == {policy}


@pytest.mark.parametrize("policy", POLICIES)
def test_numbers_are_given_in_32_bits(policy: str):
    """A price of 1,234,567 in bfloat16 is 1,236,992."""
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="low")(layers.Normalization(mean=2000.0, variance=100.0, name="units")(inputs))
    model = keras.Model(inputs, layers.Dense(1, dtype="float32", name="top_output")(x))
    model = answering_in_units(model, (np.array([1e6]), np.array([1e5])))
    found = policies(in_precision(model, policy))
    assert {name for name, value in found.items() if value == policy} == {"low"}
    assert in_precision(model, policy)(np.ones((1, 3))).dtype == "float32"


@pytest.mark.parametrize("name", ["skipping", "nested", "sequential", "siamese"])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_copy_computes_nearly_the_same_and_brings_back_what_it_learned(name: str, policy: str):
    build, inputs = NETWORKS[name]
    model, x = build(), inputs()
    before = values(model)
    copy = in_precision(model, policy)
    close = gap(model(x, training=False), np.asarray(copy(x, training=False)))
    assert 0 < close < 0.1
    assert {v.dtype for v in copy.weights} == {"float32"}
    for variable in copy.weights:
        variable.assign(variable + 1)
    assert values(model) == before
    copy_state(copy, flat(model))
    for one, other in zip(copy.weights, flat(model).weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_layer_with_a_policy_of_its_own_keeps_it():
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="low")(inputs)
    x = layers.Dense(4, dtype="float64", name="careful")(x)
    model = keras.Model(inputs, layers.Dense(2, name="top")(x))
    assert policies(in_precision(model, "mixed_bfloat16"))["careful"] == "float64"


def test_images_stay_images():
    model = small_convnet()
    x = images(4)
    np.testing.assert_allclose(in_precision(model, "mixed_bfloat16")(x), model(x), atol=0.1)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_inner_network_computes_its_topmost_weights_so_too(policy: str):
    """A trunk ends inside a network: only what lies above its weights has none to lose."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="low")(layers.Rescaling(2.0, name="units")(inputs))
    x = layers.BatchNormalization(name="high")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="relu")(x)))
    found = policies(in_precision(model, policy, inner=True))
    assert {name for name, value in found.items() if value == policy} == {"low", "high"}
    assert in_precision(model, policy, inner=True)(images(2, (8, 8, 3))).dtype == "float32"
    bare = keras.Model(inputs, x)
    assert policies(in_precision(bare, policy, inner=True))["high"] == policy
    assert policies(in_precision(bare, policy))["high"] == "float32"


def test_a_layer_that_holds_the_users_own_function_stays_as_it_is():
    inputs = keras.Input((3,))
    x = layers.Lambda(lambda x: x * 2, name="own")(layers.Dense(4, name="low")(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="top")(x))
    found = policies(in_precision(model, "mixed_bfloat16"))
    assert (found["low"], found["own"]) == ("mixed_bfloat16", "float32")


def test_what_a_network_computes_in_is_said_of_what_has_variables():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(layers.Rescaling(2.0)(inputs))
    x = layers.BatchNormalization(trainable=False)(x)
    model = keras.Model(inputs, layers.Dense(2, dtype="float64")(layers.GlobalAveragePooling2D()(x)))
    assert computing_in(model) == ("float32", "float64")
    assert computing_in(in_precision(model, "mixed_bfloat16")) == ("float64", "mixed_bfloat16")
    assert computing_in(keras.Model(inputs, layers.ReLU(dtype="mixed_bfloat16")(inputs))) == ()
