"""The one batch of a network: fixed by its shapes alone."""

import keras

from zoo import batch_shape
from zoo.batch_shape import batch_of, bytes_at_once

from .networks import nested, small_convnet

layers = keras.layers


def test_small_networks_run_on_64_examples():
    assert batch_of(small_convnet()) == 64


def test_values_count_while_something_needs_them():
    inputs = keras.Input((10,))
    a = layers.Dense(20)(inputs)
    b = layers.Dense(30)(a)
    c = layers.Dense(40)(b)
    assert bytes_at_once(keras.Model(inputs, c)) == 4 * (30 + 40)
    assert bytes_at_once(keras.Model(inputs, layers.Concatenate()([c, a]))) == 4 * (20 + 40 + 60)
    assert bytes_at_once(keras.Model(inputs, [a, b, c])) == 4 * (20 + 30 + 40)
    tokens = keras.Input((10,), dtype="int8")
    assert bytes_at_once(keras.Model(tokens, layers.Embedding(5, 3)(tokens))) == 10 + 4 * 30
    small = keras.Input((10,), dtype="float8_e4m3fn")
    assert bytes_at_once(keras.Model(small, keras.ops.cast(small, "float32"))) == 10 + 4 * 10


def test_models_inside_are_looked_into():
    model = nested()
    assert bytes_at_once(model) >= 4 * (8 * 8 * 2 + 6 * 6 * 4)


def test_large_images_run_on_fewer_and_always_on_a_power_of_two():
    """An example of 1024x1024 takes 108 MiB here: 16 of them are within 2 GiB, and one within the 256 MiB."""
    for size, near, expected in ((64, 64, 64), (128, 64, 64), (256, 32, 64), (1024, 4, 16), (2048, 4, 4), (4096, 1, 1)):
        inputs = keras.Input((size, size, 3))
        trunk = keras.Model(inputs, layers.Conv2D(24, 3, padding="same")(inputs))
        assert (batch_of(trunk), batch_of(trunk, on_gpu=True)) == (near, expected)
        assert expected == 1 or expected * bytes_at_once(trunk) <= batch_shape.BUDGET
        assert near <= batch_shape.FEWEST or near * bytes_at_once(trunk) <= batch_shape.NEAR


def test_sizes_that_are_not_fixed_count_as_one():
    inputs = keras.Input((None, 3))
    assert batch_of(keras.Model(inputs, layers.Dense(2)(inputs))) == 64


def test_the_batch_is_the_same_whatever_the_network_was_used_for():
    trunk = small_convnet()
    before = batch_of(trunk)
    trunk.predict_on_batch(keras.ops.zeros((4, 8, 8, 1)))
    assert batch_of(trunk) == before
