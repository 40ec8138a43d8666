"""What a model's variables are called: by where they stand, whatever their paths say."""

import keras
import numpy as np
import pytest

from tests.networks import NETWORKS
from zoo.formats.tensor import Tensor
from zoo.variable_names import Names, places

layers = keras.layers


def names(model: keras.Model) -> list[str]:
    return [place.name for place in places(model)]


def meant(model: keras.Model, name: str, count: int | None = None, renamed: str | None = None) -> list[str]:
    tensor = Tensor(name, (), "float32", lambda: np.ones(()), count=count)
    return [place.name for place in Names(places(model), model.name).meant(tensor, renamed)]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_variable_has_one_name_that_saving_and_loading_keeps(name, tmp_path):
    model = NETWORKS[name][0]()
    found = places(model)
    assert [id(place.variable) for place in found] == [id(v) for v in model.weights]
    assert len({place.name for place in found}) == len(found)
    model.save(tmp_path / "w.keras")
    assert names(keras.saving.load_model(tmp_path / "w.keras")) == names(model)


def test_paths_would_not_do(tmp_path):
    """The trap: the paths of two backbones repeat, and saving and loading changes them."""

    def base(name: str) -> keras.Model:
        inputs = keras.Input((3,))
        return keras.Model(inputs, layers.Dense(2, name="low")(inputs), name=name)

    inputs = keras.Input((3,))
    tail = keras.Sequential([layers.Dense(2, name="last")], name="tail")
    joined = layers.Concatenate(name="join")([base("left")(inputs), base("right")(inputs)])
    model = keras.Model(inputs, tail(joined))
    model.save(tmp_path / "w.keras")
    again = keras.saving.load_model(tmp_path / "w.keras")
    paths = [v.path for v in model.weights]
    assert len(set(paths)) < len(paths) and paths != [v.path for v in again.weights]
    assert names(model) == [
        f"{layer}/{leaf}" for layer in ("left/low", "right/low", "tail/last") for leaf in ("kernel", "bias")
    ]
    assert names(again) == names(model)


def test_a_layer_in_an_attribute_is_called_by_its_name_or_else_by_the_attribute():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.a = layers.Dense(2)
            self._b = layers.Dense(2, name="given")
            self.c, self.d = layers.Dense(2, name="same"), layers.Dense(2, name="same")
            self.e = [layers.Dense(2), [layers.Dense(2, name="inside")], {"key": layers.Dense(2)}]
            self.again = self.a

        def call(self, x):
            for layer in (self.a, self._b, self.c, self.d, self.e[0], self.e[1][0], self.e[2]["key"]):
                x = layer(x)
            return x

    model = Own()
    model(np.ones((1, 2)))
    assert {name.removesuffix("/bias") for name in names(model) if name.endswith("bias")} == {
        "a",
        "given",
        "c",
        "d",
        "e/0",
        "inside",
        "e/2/key",
    }


def test_variables_without_names_are_called_by_their_attributes_and_repeated_ones_are_numbered():
    class Layer(layers.Layer):
        def build(self, _):
            self.scale = self.add_weight(shape=())
            self.pair = [self.add_weight(shape=(), name="pair") for _ in range(2)]

        def call(self, x):
            return x * self.scale

    assert names(keras.Sequential([keras.Input((2,)), Layer(name="own")])) == ["own/scale", "own/pair_1", "own/pair_2"]


def test_states_of_generators_have_no_place():
    class Layer(layers.Layer):
        def build(self, _):
            self.generator = keras.random.SeedGenerator(1)
            self.state = self.add_weight(shape=(), name="seed_generator_state")
            self.scale = self.add_weight(shape=(), name="scale")

        def call(self, x):
            return x * self.scale

    assert names(keras.Sequential([keras.Input((2,)), Layer(name="own"), layers.Dropout(0.5)])) == ["own/scale"]


def test_a_name_means_the_variable_of_that_name_or_the_only_one_that_ends_so():
    model = NETWORKS["nested"][0]()
    assert meant(model, "top/kernel") == ["top/kernel"]
    assert meant(model, "backbone/inner1_conv/kernel") == ["backbone/inner1_conv/kernel"]
    assert meant(model, "inner1_conv/kernel") == ["backbone/inner1_conv/kernel"]
    assert meant(model, "inner1_conv.kernel") == ["backbone/inner1_conv/kernel"]
    assert meant(model, "nested/top/kernel") == ["top/kernel"]
    for name in ("kernel", "conv/kernel", "x/top/kernel", "top", "top/kernel/0", ""):
        assert meant(model, name) == []


def test_a_whole_name_goes_before_one_that_ends_so():
    inner = keras.Input((3,))
    base = keras.Model(inner, layers.Dense(3, name="low")(inner), name="base")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, base(layers.Dense(3, name="low")(inputs)))
    assert meant(model, "low/kernel") == ["low/kernel"]
    assert meant(model, "base/low/kernel") == ["base/low/kernel"]


def test_numbers_are_those_of_the_layer_s_variables():
    model = NETWORKS["nested"][0]()
    assert meant(model, "inner1_bn/2", 4) == ["backbone/inner1_bn/moving_mean"]
    assert meant(model, "inner1_bn/4", 4) == []
    assert meant(model, "inner1_bn/2") == [], "a name that happens to be a number"
    assert meant(model, "x/2", 4, "inner1_bn/2") == ["backbone/inner1_bn/moving_mean"]
    assert meant(model, "x/2", 4, "inner1_bn/beta") == ["backbone/inner1_bn/beta"]


def test_a_cell_is_found_by_what_keras_calls_it_and_by_its_attribute():
    model = NETWORKS["masked"][0]()
    model(NETWORKS["masked"][1]())
    assert names(model)[1] == "low_lstm/cell/kernel"
    for name in ("low_lstm/lstm_cell/kernel", "low_lstm/cell/kernel"):
        assert meant(model, name) == ["low_lstm/cell/kernel"]


def test_the_halves_of_a_bidirectional_layer_are_called_by_their_attributes_since_keras_numbers_them():
    def build() -> keras.Model:
        inputs = keras.Input((5, 4))
        return keras.Model(inputs, layers.Bidirectional(layers.LSTM(3), name="both")(inputs))

    one, other = build(), build()
    assert one.weights[0].path != other.weights[0].path
    assert names(one) == names(other)
    assert names(one)[0] == "both/forward_layer/cell/kernel"
    for name in (one.weights[0].path, "both/forward_layer/lstm_cell/kernel"):
        assert meant(one, name) == ["both/forward_layer/cell/kernel"]


def test_a_network_of_applications_inside_another_is_named_and_found():
    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=3)
    inputs = keras.Input((32, 32, 3))
    outer = keras.Model(inputs, layers.Dense(2, name="top")(model(inputs)))
    assert len(names(outer)) == len(outer.weights)
    assert meant(outer, "Conv1/kernel") == [f"{model.name}/Conv1/kernel"]
