"""Which layers are reused and which are new, through surgery, copies, files and training."""

import keras
import numpy as np
import pytest

import zoo
from zoo.copying import clone
from zoo.origins import origins
from zoo.starting_point import start_of

from .networks import NETWORKS, clusters, dense_net

layers = keras.layers


def trained(model: keras.Model) -> keras.Model:
    """Every weight a little off what was drawn."""
    for variable in model.trainable_variables:
        variable.assign(variable + 0.01)
    return model


def test_the_top_that_surgery_made_is_new_until_it_is_trained():
    net = zoo.replace_top(trained(dense_net()), classes=3, hidden=[5])
    assert origins(net) == (("low1", "low2"), ("top_dense1", "top_output"))
    net.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    net.fit(*clusters(12), verbose=0)
    assert origins(net).new == ()


def test_what_is_new_stays_so_through_copies_and_files(tmp_path):
    net = zoo.replace_top(trained(dense_net()), classes=3)
    net.save(tmp_path / "net.keras")
    deeper = zoo.insert_layer(net, layers.Dropout(0.1, name="drop"), above="low1")
    for copy in (clone(net), zoo.load(tmp_path / "net.keras"), deeper):
        assert origins(copy) == (("low1", "low2"), ("top_output",))


def test_a_layer_without_a_seed_is_new_in_the_network_that_it_was_made_for():
    inputs = keras.Input((4,))
    net = keras.Model(inputs, layers.Dense(2, name="own")(layers.Dense(3, name="other")(inputs)))
    net.get_layer("other").kernel.assign(np.ones((4, 3)))
    assert origins(net) == (("other",), ("own",))


@pytest.mark.parametrize("name", NETWORKS)
def test_in_every_network_trained_layers_are_reused(name: str):
    net = trained(NETWORKS[name][0]())
    found = origins(net)
    assert found.new == ()
    assert {key.rpartition("/")[0] for key in start_of(net)} == set(found.reused)


def test_an_initializer_that_tells_nothing_makes_no_layer_new():
    """One with a state would move on if it were asked; one of the user's own may do anything."""

    class Own(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.ops.ones(shape, dtype)

        def get_config(self):
            return {}

    seeds = keras.random.SeedGenerator(3)
    inputs = keras.Input((4,))
    x = layers.Dense(3, kernel_initializer=Own(), name="own")(inputs)
    x = layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=seeds), name="stateful")(x)
    before = np.asarray(seeds.state)
    assert origins(keras.Model(inputs, x)) == (("own", "stateful"), ())
    np.testing.assert_array_equal(seeds.state, before)


def test_the_kernels_of_one_layer_are_judged_together():
    inputs = keras.Input((5, 4))
    net = keras.Model(inputs, layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs))
    assert origins(net).new == ("attention",)
    net.get_layer("attention").query_dense.kernel.assign_add(np.ones((4, 2, 3)))
    assert origins(net) == (("attention",), ())


def test_new_layers_have_no_start():
    assert sorted(start_of(dense_net(), new=["top"])) == ["low1/kernel", "low2/kernel"]
