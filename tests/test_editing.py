"""Replacing and inserting layers: what changes, what stays, what is refused."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.copying import clone
from zoo.errors import SurgeryError

from .networks import (
    dense_net,
    forking,
    gap,
    images,
    live,
    masked,
    nested,
    sequential,
    shared,
    siamese,
    skipping,
    small_convnet,
    values,
)

layers = keras.layers


def vectors(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 6)).astype("float32")


def names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if not isinstance(layer, layers.InputLayer)]


def dense(model: keras.Model, name: str, x: Any, activation: str = "tanh") -> np.ndarray:
    """What a dense layer of a network gives, computed by hand."""
    layer = model.get_layer(name)
    return np.asarray(keras.activations.get(activation)(x @ layer.kernel + layer.bias))


# Replacing


def test_another_layer_stands_where_the_old_one_stood():
    model, x = dense_net(), vectors()
    before = values(model)
    net = zoo.replace_layer(model, "low2", layers.Dense(8, activation="elu", name="wide"))
    assert names(net) == ["low1", "wide", "top"]
    expected = dense(net, "top", dense(net, "wide", dense(model, "low1", x), "elu"), "softmax")
    assert gap(expected, net(x)) <= 1e-5
    np.testing.assert_array_equal(net.get_layer("top").kernel, model.get_layer("top").kernel)
    assert values(model) == before


def test_weights_are_kept_where_asked():
    model, x = dense_net(), vectors()
    made = layers.Dense(8, activation="elu", name="low2")
    net = zoo.replace_layer(model, "low2", made, keep_weights=True)
    expected = dense(model, "top", dense(model, "low2", dense(model, "low1", x), "elu"), "softmax")
    assert gap(expected, net(x)) <= 1e-5
    assert net.get_layer("low2") is made


def test_a_stride_is_changed_and_the_filters_stay():
    model = small_convnet()
    old = model.get_layer("block3_conv1" if "block3_conv1" in names(model) else "block3_conv")
    config = {**old.get_config(), "dilation_rate": 2}
    net = zoo.replace_layer(model, old.name, layers.Conv2D.from_config(config), keep_weights=True)
    np.testing.assert_array_equal(net.get_layer(old.name).kernel, old.kernel)
    assert np.abs(np.asarray(net(images(4))) - np.asarray(model(images(4)))).max() > 1e-4


def test_a_function_replaces_each_of_several_layers():
    model, x = dense_net(), vectors()
    seen = []

    def softer(old: keras.layers.Layer) -> keras.layers.Layer:
        seen.append(old)
        return layers.Dense(old.units, activation="elu")

    net = zoo.replace_layer(model, "low.*", softer, keep_weights=True)
    assert [layer.name for layer in seen] == ["low1", "low2"]
    assert seen[0] is model.get_layer("low1")
    expected = dense(model, "top", dense(model, "low2", dense(model, "low1", x, "elu"), "elu"), "softmax")
    assert gap(expected, net(x)) <= 1e-5


def test_a_function_may_answer_differently_for_each():
    def made(old: keras.layers.Layer) -> Any:
        return None if old.name == "low2" else [layers.Dense(8, name="first"), layers.ReLU(name="second")]

    assert names(zoo.replace_layer(dense_net(), "low[12]", made)) == ["first", "second", "top"]


def test_none_takes_a_layer_out():
    model, x = dense_net(), vectors()
    net = zoo.replace_layer(model, "low2", None)
    assert names(net) == ["low1", "top"]
    assert gap(dense(model, "top", dense(model, "low1", x), "softmax"), net(x)) <= 1e-5


def test_none_takes_several_layers_out():
    assert names(zoo.replace_layer(dense_net(widths=(8, 8, 8)), "low[23]", None)) == ["low1", "top"]


def test_a_list_stands_there_from_bottom_to_top():
    model, x = dense_net(), vectors()
    chain = [layers.Dense(5, name="narrow"), layers.Activation("elu", name="bend"), layers.Dense(8, name="wide")]
    net = zoo.replace_layer(model, "low2", chain)
    assert names(net) == ["low1", "narrow", "bend", "wide", "top"]
    inside = dense(net, "wide", dense(net, "narrow", dense(model, "low1", x), "elu"), "linear")
    assert gap(dense(model, "top", inside, "softmax"), net(x)) <= 1e-5


def test_a_model_stands_there_with_its_own_weights():
    model, x = dense_net(), vectors()
    block = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="low1"), layers.Dense(8)], name="block")
    held = [v.numpy() for v in block.variables]
    net = zoo.replace_layer(model, "low2", block)
    assert net.get_layer("block") is block
    for variable, value in zip(block.variables, held, strict=True):
        np.testing.assert_array_equal(variable, value)
    expected = dense(model, "top", np.asarray(block(dense(model, "low1", x))), "softmax")
    assert gap(expected, net(x)) <= 1e-5


def test_a_shared_layer_is_replaced_at_every_call():
    model, x = shared(), vectors()
    net = zoo.replace_layer(model, "twice", layers.Dense(6, activation="elu", name="other"))
    assert names(net).count("other") == 1
    once = dense(net, "between", dense(net, "other", x, "elu"))
    expected = dense(net, "top", dense(net, "above", dense(net, "other", once, "elu")), "linear")
    assert gap(expected, net(x)) <= 1e-5


def test_a_layer_of_a_model_inside_is_replaced_at_every_call_of_that_model():
    model, x = siamese(), vectors()
    before = values(model)
    net = zoo.replace_layer(model, "inner_dense", layers.Dense(4, activation="elu", name="inner_elu"))
    joined = np.concatenate([dense(net, "inner_elu", x, "elu"), dense(net, "inner_elu", x * -1.5, "elu")], axis=1)
    assert gap(dense(model, "top", joined, "linear"), net(x)) <= 1e-5
    assert values(model) == before


def test_a_layer_of_a_backbone_is_replaced():
    net = zoo.replace_layer(nested(), "inner2_conv", lambda old: layers.Conv2D(5, 3, activation="elu", name="elu"))
    assert names(net) == ["stem", "inner1_conv", "inner1_bn", "elu", "pool", "top"]


def test_a_sequential_network_is_edited():
    model, x = sequential(), images(8)
    name = next(layer.name for layer in model.layers if isinstance(layer, layers.ReLU))
    net = zoo.replace_layer(model, name, layers.Activation("relu", name="same"))
    assert gap(model(x), net(x)) <= 1e-6


class Own(keras.Model):
    """A subclassed network whose call is made of Keras operations."""

    def __init__(self):
        super().__init__(name="own")
        self.low = layers.Dense(6, activation="tanh", name="low")
        self.top = layers.Dense(3, name="top")

    def call(self, inputs):
        return self.top(self.low(inputs))


def test_a_subclassed_network_is_edited():
    model, x = Own(), vectors()
    model(x)
    before = values(model)
    net = zoo.replace_layer(model, "low", layers.Dense(6, activation="elu", name="low"), keep_weights=True)
    assert gap(dense(model, "top", dense(model, "low", x, "elu"), "linear"), net(x)) <= 1e-5
    assert zoo.insert_layer(model, layers.Identity(name="same"), above="low").count_params() == model.count_params()
    assert values(model) == before


def test_the_structure_of_inputs_and_outputs_stays():
    a, b = keras.Input((6,), name="b"), keras.Input((6,), name="a")
    low = layers.Dense(4, activation="tanh", name="low")
    outputs = {"sum": layers.Dense(2, name="top")(low(a) + low(b)), "parts": [low(a), low(b)]}
    model = keras.Model({"b": a, "a": b}, outputs)
    x = {"b": vectors(), "a": vectors()[::-1]}
    for net in (
        zoo.replace_layer(model, "top", layers.Dense(2, name="new"), keep_weights=True),
        zoo.insert_layer(model, layers.Identity(name="new"), below="top"),
    ):
        keras.tree.assert_same_structure(net(x), model(x))
        for one, other in zip(keras.tree.flatten(model(x)), keras.tree.flatten(net(x)), strict=True):
            assert gap(one, other) <= 1e-6


def test_a_switch_that_its_user_has_set_goes_with_the_copy():
    model = dense_net()
    model.get_layer("low1").trainable = False
    net = zoo.replace_layer(model, "low2", layers.Dense(8, name="new"))
    assert [layer.trainable for layer in net.layers[1:]] == [False, True, True]


def words() -> np.ndarray:
    """Texts of different lengths, padded with 0."""
    return np.array([[3, 4, 0, 0, 0], [1, 2, 3, 4, 5], [6, 0, 0, 0, 0], [9, 8, 7, 0, 0]], "int32")


def reading() -> keras.Model:
    """A network that masks padding, with embeddings that are far apart."""
    model = masked()
    model.get_layer("embed").embeddings.assign(np.random.default_rng(0).normal(0, 2, (10, 4)))
    return model


def test_frozen_parts_of_a_layer_stay_frozen_in_the_copy():
    """Neither attention nor a recurrent layer says in its configuration that what it is made of is frozen."""
    inputs = keras.Input((4, 3))
    x = layers.MultiHeadAttention(1, 2, name="attend")(inputs, inputs)
    x = layers.GRU(3, name="recur")(x)
    model = keras.Model(inputs, layers.Dense(2, name="top")(x))
    model.get_layer("attend").trainable = False
    model.get_layer("recur").cell.trainable = False
    copies = (clone(model), zoo.insert_layer(model, layers.Identity(name="same"), below="top"))
    for net in copies:
        assert [v.path for v in net.trainable_variables] == ["top/kernel", "top/bias"]


def test_a_mask_goes_with_the_layer_that_makes_it():
    """As in a network that was built with the new layer."""
    model, x = reading(), words()
    open_ = zoo.replace_layer(model, "embed", layers.Embedding(10, 4, name="open"), keep_weights=True)
    hidden = open_.get_layer("open")(x)
    for name in ("low_lstm", "high_lstm"):
        hidden = model.get_layer(name)(hidden)
    assert gap(model.get_layer("top")(hidden), open_(x)) <= 1e-6
    again = zoo.replace_layer(open_, "open", layers.Embedding(10, 4, mask_zero=True, name="embed"), keep_weights=True)
    assert gap(model(x), again(x)) <= 1e-6
    assert gap(model(x), open_(x)) > 1e-2, "padding counts in this network: the comparison can fail"


# Names


def test_a_taken_name_is_numbered_and_the_given_layer_stays_as_it_is():
    model = dense_net()
    given = layers.Dense(8, name="low1")
    given.build((None, 8))
    held = given.kernel.numpy()
    net = zoo.replace_layer(model, "low2", given)
    assert names(net) == ["low1", "low1_2", "top"]
    assert given.name == "low1"
    assert net.get_layer("low1_2") is not given
    np.testing.assert_array_equal(net.get_layer("low1_2").kernel, held)
    net.get_layer("low1_2").kernel.assign(held * 0)
    np.testing.assert_array_equal(given.kernel, held)


def test_a_free_name_keeps_the_given_layer():
    given = layers.Dense(8, name="low2")
    net = zoo.replace_layer(dense_net(), "low2", given)
    assert net.get_layer("low2") is given, "the name of what is replaced is free"


def test_a_layer_that_is_given_with_weights_keeps_them():
    given = layers.Dense(8, name="mine")
    given.build((None, 8))
    held = given.kernel.numpy()
    net = zoo.replace_layer(dense_net(), "low2", given)
    assert net.get_layer("mine") is given
    np.testing.assert_array_equal(given.kernel, held)


def test_a_layer_of_the_network_itself_is_copied():
    """The original must not learn what the copy learns."""
    model = dense_net(widths=(6, 6))
    net = zoo.replace_layer(model, "low2", model.get_layer("low1"))
    assert names(net) == ["low1", "low1_2", "top"]
    np.testing.assert_array_equal(net.get_layer("low1_2").kernel, model.get_layer("low1").kernel)
    same = zoo.replace_layer(model, "low2", model.get_layer("low2"))
    np.testing.assert_array_equal(same.get_layer("low2").kernel, model.get_layer("low2").kernel)
    for copy in (net, same):
        assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}


def test_a_name_given_twice_is_numbered():
    chain = [layers.Dense(8, name="new"), layers.Dense(8, name="new")]
    assert names(zoo.replace_layer(dense_net(), "low2", chain)) == ["low1", "new", "new_2", "top"]


def test_the_name_of_an_input_is_taken_too():
    model = dense_net()
    name = model.inputs[0]._keras_history.operation.name
    net = zoo.replace_layer(model, "low2", layers.Dense(8, name=name))
    assert names(net) == ["low1", f"{name}_2", "top"]


# Inserting


def test_above_changes_all_that_took_the_output():
    model, x = skipping(), images(16)
    net = zoo.insert_layer(model, layers.Rescaling(2.0, name="twice"), above="block1_bn")
    takers = [node.operation.name for node in net.get_layer("twice")._outbound_nodes]
    assert sorted(takers) == ["block2_add", "block2_conv", "block3_join"]
    assert gap(model(x, training=False), net(x, training=False)) > 0.01


def test_between_two_changes_that_connection_alone():
    model = skipping()
    net = zoo.insert_layer(model, layers.Rescaling(2.0, name="twice"), above="block1_bn", below="block2_add")
    assert [node.operation.name for node in net.get_layer("twice")._outbound_nodes] == ["block2_add"]
    made = {name: net.get_layer(name).output for name in ("block1_bn", "block2_conv", "block2_add")}
    made = keras.Model(net.inputs[0], made)(images(4), training=False)
    expected = 2 * np.asarray(made["block1_bn"]) + np.asarray(made["block2_conv"])
    np.testing.assert_allclose(made["block2_add"], expected, rtol=1e-5, atol=1e-5)


def test_below_a_layer_is_above_what_it_takes():
    model, x = dense_net(), vectors()
    net = zoo.insert_layer(model, layers.Rescaling(2.0, name="twice"), below="low2")
    hidden = 2 * dense(model, "low1", x)
    assert gap(dense(model, "top", dense(model, "low2", hidden), "softmax"), net(x)) <= 1e-5


def test_a_layer_goes_above_the_input():
    model, x = dense_net(), vectors()
    name = model.inputs[0]._keras_history.operation.name
    net = zoo.insert_layer(model, layers.Rescaling(2.0, name="twice"), above=name)
    assert gap(model(2 * x), net(x)) <= 1e-6


def test_a_layer_goes_above_an_input_that_is_an_output_too():
    inputs = keras.Input((6,), name="x")
    model, x = keras.Model({"x": inputs}, [layers.Dense(2, name="top")(inputs), inputs]), {"x": vectors()}
    net = zoo.insert_layer(model, layers.Rescaling(2.0, name="twice"), above="x")
    np.testing.assert_allclose(net(x)[1], 2 * x["x"])
    assert gap(model({"x": 2 * x["x"]})[0], net(x)[0]) <= 1e-6


def test_a_layer_goes_above_the_last_one():
    model, x = dense_net(), vectors()
    net = zoo.insert_layer(model, layers.Rescaling(2.0, name="twice"), above="top")
    np.testing.assert_allclose(net(x), 2 * np.asarray(model(x)), rtol=1e-6)
    assert names(net)[-1] == "twice"


def test_a_list_is_inserted_from_bottom_to_top():
    chain = [layers.BatchNormalization(name="norm"), layers.Dropout(0.2, name="drop")]
    assert names(zoo.insert_layer(dense_net(), chain, above="low1")) == ["low1", "norm", "drop", "low2", "top"]


def test_a_layer_is_inserted_at_every_call_of_a_shared_one():
    model, x = siamese(), vectors()
    net = zoo.insert_layer(model, layers.Rescaling(2.0, name="twice"), above="join")
    joined = np.concatenate([dense(model.get_layer("backbone"), "inner_dense", x * s) for s in (1, -1.5)], axis=1)
    assert gap(dense(model, "top", 2 * joined, "linear"), net(x)) <= 1e-5


@pytest.mark.filterwarnings("ignore:Layer 'same' .* was passed an input with a mask attached")
def test_a_mask_passes_a_layer_that_supports_it():
    model, x = reading(), words()
    net = zoo.insert_layer(model, layers.Identity(name="same"), above="low_lstm")
    assert gap(model(x), net(x)) <= 1e-6
    lost = zoo.insert_layer(model, layers.Reshape((5, 4), name="same"), above="low_lstm")
    assert gap(model(x), lost(x)) > 1e-2


def test_the_original_learns_nothing_of_what_an_edited_copy_learns():
    model, x = live(skipping()), images(16)
    before, gives = values(model), np.asarray(model(x, training=False))
    net = zoo.insert_layer(model, layers.Dense(4, name="new"), above="block2_add")
    net.compile("sgd", "mse")
    net.fit(x, np.ones((16, 3)), verbose=0)
    assert np.abs(net.get_layer("top").kernel - model.get_layer("top").kernel).max() > 0
    assert values(model) == before
    np.testing.assert_array_equal(model(x, training=False), gives)


def test_an_edited_network_loads_in_plain_keras(tmp_path: Path):
    """In a process of its own, which never imports zoo."""
    given = {"nested": (nested(), "inner1_bn", images(4)), "shared": (shared(), "between", vectors(4))}
    given["skipping"] = (skipping(), "block2_add", images(4))
    for name, (model, above, x) in given.items():
        net = zoo.insert_layer(model, layers.Activation("elu", name="new"), above=above)
        net.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", x=x, y=net(x, training=False))
    code = f"""
import pathlib, sys, keras, numpy as np
for file in pathlib.Path({str(tmp_path)!r}).glob("*.keras"):
    held = np.load(file.with_suffix(".npz"))
    y = keras.saving.load_model(file)(held["x"], training=False)
    print(file.stem, float(np.abs(y - held["y"]).max() / held["y"].std(axis=0).max()), "zoo" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    lines = [line.split() for line in out.strip().splitlines()]
    assert sorted(line[0] for line in lines) == sorted(given)
    assert all(float(line[1]) <= 1e-6 and line[2] == "False" for line in lines), out


# What is refused

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an unknown layer": (
        lambda: zoo.replace_layer(dense_net(), "low3", None),
        r"The network 'dense_net' has no layer 'low3'\. Did you mean 'low2' or 'low1'\?",
    ),
    "a pattern that is none": (
        lambda: zoo.replace_layer(dense_net(), "low(", None),
        r"'low\(' is not a regular expression: missing \), unterminated subpattern at position 3\.",
    ),
    "one layer for several": (
        lambda: zoo.replace_layer(dense_net(), "low.*", layers.ReLU()),
        r"'low\.\*' matches 2 layers, and one layer cannot stand for all: low1, low2\. "
        r"Give a function that makes each: lambda old: keras\.layers\.ReLU\(\)\.",
    ),
    "one layer for more than five": (
        lambda: zoo.replace_layer(dense_net(widths=(2,) * 6), "low.*", layers.ReLU()),
        r"'low\.\*' matches 6 layers, .*: low1, low2, low3, low4, low5, \.\.\.\. Give",
    ),
    "what is no layer": (
        lambda: zoo.replace_layer(dense_net(), "low2", "relu"),  # type: ignore[arg-type]
        r"This cannot stand in a network\. Expected a Keras layer, or a list of them; received str\.",
    ),
    "a function that gives no layer": (
        lambda: zoo.replace_layer(dense_net(), "low2", lambda old: 3),  # type: ignore[arg-type]
        r"This cannot stand in a network\. Expected a Keras layer, or a list of them; received int\.",
    ),
    "weights of other shapes": (
        lambda: zoo.replace_layer(dense_net(), "top", layers.Dense(4), keep_weights=True),
        r"The weights of 'top' do not fit what replaces it\. Expected \[\(8, 3\), \(3,\)\]; "
        r"received \[\(8, 4\), \(4,\)\]\. Leave keep_weights out\.",
    ),
    "weights for a layer without any": (
        lambda: zoo.replace_layer(dense_net(), "top", layers.ReLU(), keep_weights=True),
        r"The weights of 'top' do not fit what replaces it\. Expected \[\(8, 3\), \(3,\)\]; received \[\]\.",
    ),
    "weights for one of two layers": (
        lambda: zoo.replace_layer(dense_net(), "top", [layers.Dense(3), layers.Dense(3)], keep_weights=True),
        r"The weights of 'top' do not fit what replaces it\.",
    ),
    "another width below a layer with weights": (
        lambda: zoo.replace_layer(dense_net(), "low2", layers.Dense(5, name="narrow")),
        r"The weights of 'top' would not fit any more: the shape of what it takes changes\. "
        r"Expected \(8, 3\); received \(5, 3\)\. "
        r"Replace 'top' too, or let the new layer give what stood there\.",
    ),
    "a layer out that others need": (
        lambda: zoo.replace_layer(dense_net(widths=(5, 8)), "low2", None),
        r"The weights of 'top' would not fit any more: .*Expected \(8, 3\); received \(5, 3\)\.",
    ),
    "a layer that refuses what it is called with": (
        lambda: zoo.replace_layer(dense_net(), "low2", layers.Conv2D(2, 3, name="conv")),
        r"The network 'dense_net' cannot be changed so: at 'low2', .*conv.*expected min_ndim=4.*"
        r"The new layers must take and give the shapes that stand there\.",
    ),
    "a shape that another layer refuses": (
        lambda: zoo.replace_layer(skipping(), "block2_conv", layers.Conv2D(4, 3, strides=2, name="strided")),
        r"The network 'skipping' cannot be changed so: at 'block2_add', .* "
        r"The new layers must take and give the shapes that stand there\.",
    ),
    "another number of tensors": (
        lambda: zoo.replace_layer(forking(), "low_lstm", layers.LSTM(3, return_sequences=True, name="one")),
        r"The network 'forking' cannot be changed so: 'low_lstm' gives other tensors\. "
        r"Expected 3 of them; received 1\.",
    ),
    "taking out what joins": (
        lambda: zoo.replace_layer(skipping(), "block2_add", None),
        r"The network 'skipping' cannot be changed so: 'block2_add' gives other tensors\. "
        r"Expected 1 of them; received 2\.",
    ),
    "a tensor that the new layer does not take": (
        lambda: zoo.replace_layer(stateful(), "high_lstm", layers.Dense(3, name="dense")),
        r"The network 'stateful' cannot be changed so: 'high_lstm' also takes 'initial_state'\. "
        r"'dense' must take it too\.",
    ),
    "no place": (
        lambda: zoo.insert_layer(dense_net(), layers.ReLU()),
        r"Where the layer is to be inserted is not said\. Expected above=LAYER, below=LAYER, or both\.",
    ),
    "an unknown place": (
        lambda: zoo.insert_layer(dense_net(), layers.ReLU(), above="low3"),
        r"The network 'dense_net' has no layer 'low3'\. Did you mean",
    ),
    "no connection": (
        lambda: zoo.insert_layer(dense_net(), layers.ReLU(), above="low1", below="top"),
        r"'top' takes nothing from 'low1'\. Say only above='low1', for all that take its output\.",
    ),
    "below a layer that takes several": (
        lambda: zoo.insert_layer(skipping(), layers.ReLU(), below="block2_add"),
        r"'block2_add' takes 2 tensors\. Say between which layers: above='block1_bn', below='block2_add'\.",
    ),
    "below an input": (
        lambda: zoo.insert_layer(dense_net(), layers.ReLU(), below=dense_net().inputs[0].name),
        r"The network 'dense_net' has no layer 'keras_tensor.*'",
    ),
    "above a layer that gives several": (
        lambda: zoo.insert_layer(forking(), layers.ReLU(), above="low_lstm"),
        r"'low_lstm' gives several tensors, or is called several times\. Insert above or below another layer\.",
    ),
    "above a layer that is called twice": (
        lambda: zoo.insert_layer(shared(), layers.ReLU(), above="twice"),
        r"'twice' gives several tensors, or is called several times\. Insert above or below another layer\.",
    ),
    "a layer that does not fit": (
        lambda: zoo.insert_layer(dense_net(), layers.Conv2D(2, 3, name="conv"), above="low1"),
        r"The network 'dense_net' cannot be changed so: at 'low1', .*conv.*expected min_ndim=4",
    ),
    "a layer that changes the width": (
        lambda: zoo.insert_layer(dense_net(), layers.Dense(5), above="low1"),
        r"The weights of 'low2' would not fit any more: .* Expected \(8, 8\); received \(5, 8\)\.",
    ),
    "what is no network": (
        lambda: zoo.insert_layer("glyphs", layers.ReLU(), above="low1"),  # type: ignore[arg-type]
        r"This is not a network\. Expected a keras\.Model; received str\.",
    ),
}


def stateful() -> keras.Model:
    """An LSTM that begins with the state that another one ends with."""
    inputs = keras.Input((4, 3))
    x, *state = layers.LSTM(3, return_sequences=True, return_state=True, name="low_lstm")(inputs)
    return keras.Model(inputs, layers.LSTM(3, name="high_lstm")(x, initial_state=state), name="stateful")


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_edited_is_refused(case: str):
    edit, message = REFUSED[case]
    with pytest.raises(SurgeryError, match=message):
        edit()


def test_a_refused_edit_leaves_the_network_as_it_was():
    model = dense_net()
    before = values(model)
    with pytest.raises(SurgeryError):
        zoo.replace_layer(model, "low2", layers.Dense(5))
    assert values(model) == before


def test_a_function_that_takes_tensors_is_told_that_it_is_given_the_layer():
    with pytest.raises(
        SurgeryError, match=r"The function that makes what replaces 'low1' failed.*It is given the old layer"
    ):
        zoo.replace_layer(dense_net(), "low1", keras.activations.gelu)
