"""Whether an engine's results are Keras's: rounding is told from faults."""

import keras
import numpy as np
import pytest

from zoo import engine
from zoo.engine_difference import TOLERANCE, Difference, as_near, difference, in_float64, in_inference, judge
from zoo.engines.interface import Setup

from .networks import images, live, small_convnet

layers = keras.layers


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 2, shape).astype("float32")


def test_differences_are_relative_to_the_spread_between_inputs():
    theirs = rows(1000, 8)
    ours = theirs.copy()
    ours[3, 2] += 0.02
    found = difference([ours], [theirs])
    assert found.largest == pytest.approx(0.01, rel=0.1)
    assert found.typical == pytest.approx(0.01 / 8000**0.5, rel=0.1)
    assert str(found).endswith("of the spread between inputs")


def test_the_farthest_tensor_counts():
    theirs = [rows(10, 3), rows(10, 3) * 1000]
    assert difference([theirs[0] + 1, theirs[1]], theirs) == difference([theirs[0] + 1], theirs[:1])


def test_of_one_example_the_size_of_the_values_counts():
    theirs = np.full((1, 4), 2.0, "float32")
    assert difference([theirs + 0.02], [theirs]).largest == pytest.approx(0.01, rel=1e-3)
    constant = np.full((5, 4), 2.0, "float32")
    assert difference([constant + 0.02], [constant]).largest == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 3], False),
        ([True, False], [True, True], False),
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, 2.0], [1.0, np.nan], False),
        ([1.0, np.nan], [1.0, 2.0], False),
        ([1.0, np.inf], [1.0, -np.inf], False),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([0.0, 1.0], [0.0, 0.0], False),
        ([], [], True),
    ],
)
def test_what_is_no_rounding_is_infinitely_far(ours: list[float], theirs: list[float], same: bool):
    assert difference([np.array(ours)], [np.array(theirs)]).largest == (0.0 if same else np.inf)


def test_other_shapes_are_infinitely_far():
    assert difference([rows(3, 2)], [rows(3, 1)]).largest == np.inf


@pytest.fixture(scope="module")
def deep() -> keras.Model:
    """Thirty random layers, which magnify what float32 rounds: more than 1e-5 between any two orders of additions."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    x = inputs
    for _ in range(30):
        x = layers.Dense(64, activation="tanh", kernel_initializer=keras.initializers.RandomNormal(0, 0.2))(x)
    return keras.Model(inputs, x)


def test_rounding_of_a_deep_network_is_told_by_float64(deep: keras.Model):
    x = images(16, (64,)) / 255
    assert judge(deep, x, [np.asarray(deep(x))], 16).why == f"within {TOLERANCE:.0e} of Keras"
    ours = engine.build(deep, "openvino", Setup(batch=16, threads=2)).run(x)
    verdict = judge(deep, x, ours, 16)
    assert verdict.difference.largest > TOLERANCE, "the network must round more than that"
    assert verdict.within
    assert "from Keras: rounding, since from float64 it is" in verdict.why
    assert not judge(deep, x, ours, 16, exact=False).within


def test_a_fault_is_not_taken_for_rounding(deep: keras.Model):
    """A weight that is off by a thousandth, in a network that rounds, and in one that does not."""
    for trunk, x in ((deep, images(16, (64,)) / 255), (small_convnet(output="linear"), images(16))):
        held = trunk.layers[-1].kernel if trunk is deep else trunk.get_layer("top_output").kernel
        before = held.numpy()
        held.assign(before * 1.001)
        wrong = np.asarray(trunk(x))
        held.assign(before)
        verdict = judge(trunk, x, [wrong], 16)
        assert not verdict.within
        assert "from Keras; from float64 it is" in verdict.why


def test_a_network_without_float64_is_held_to_the_tolerance():
    inputs = keras.Input((4,))
    wide = layers.Lambda(lambda x: keras.ops.cast(x, "float32") * 2.0, output_shape=(4,))(inputs)
    trunk = keras.Model(inputs, layers.Dense(3)(wide))
    x = images(16, (4,)) / 255
    verdict = judge(trunk, x, [np.asarray(trunk(x)) + 0.01], 16)
    assert not verdict.within
    assert "cannot be computed in float64" in verdict.why


@pytest.mark.parametrize(
    ("ours", "theirs", "near"),
    [
        (Difference(9e-6, 9e-6), Difference(0.0, 0.0), True),
        (Difference(1.2e-5, 3e-6), Difference(5.2e-6, 2e-6), True),
        (Difference(2.2e-5, 3e-6), Difference(5.2e-6, 2e-6), False),
        (Difference(1.2e-5, 5e-6), Difference(5.2e-6, 2e-6), False),
        (Difference(np.inf, np.inf), Difference(5.2e-6, 2e-6), False),
    ],
)
def test_rounding_is_as_near_typically_and_where_it_is_farthest(ours: Difference, theirs: Difference, near: bool):
    """A few examples say less of the largest difference than of the typical one."""
    assert as_near(ours, theirs) == near


def test_a_copy_that_computes_something_else_is_no_judge(deep: keras.Model):
    """What neither configuration nor variables hold is lost in the copy, and in an engine that was made of a copy."""

    class Scale(layers.Layer):
        def __init__(self, factor: float = 1.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs):
            return inputs * self.factor

    inputs = keras.Input((64,))
    trunk = keras.Model(inputs, layers.Dense(64)(Scale(name="scale")(inputs)))
    x = images(16, (64,)) / 255
    as_configured = np.asarray(trunk(x))
    trunk.get_layer("scale").factor = 1.5
    verdict = judge(trunk, x, [as_configured], 16)
    assert not verdict.within
    assert "its copy in float64 is another network" in verdict.why


def test_the_copy_in_float64_takes_its_weights_and_not_new_ones():
    """Weights are not drawn for it first, whatever initializers draw them."""
    kinds = {"kernel_initializer": "orthogonal", "bias_initializer": keras.initializers.RandomNormal(0.0, 1.0)}
    trunk = live(keras.Sequential([keras.Input((8,)), layers.Dense(8, **kinds), layers.BatchNormalization()]))
    x = images(4, (8,)) / 255
    (found,) = in_float64(trunk, x) or [np.empty(0)]
    np.testing.assert_allclose(found, np.asarray(trunk(x)), rtol=1e-5, atol=1e-5)
    assert found.dtype == np.float64


def test_only_the_examples_that_differ_are_compared():
    """A batch that was filled up with copies has no spread beyond its examples."""
    trunk = live(small_convnet(output="linear"))
    x = images(16)[np.minimum(np.arange(16), 2)]
    ours = [np.array(trunk(x))]
    ours[0][3:] = 99.0
    assert judge(trunk, x, ours, 3).within


def test_a_trunk_that_gives_bfloat16_is_compared_by_value():
    """NumPy knows no such kind of number: compared as bytes, nothing would be near."""
    inputs = keras.Input((6,))
    trunk = keras.Model(inputs, keras.layers.Dense(3, dtype="mixed_bfloat16")(inputs))
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    assert judge(trunk, x, in_inference(trunk, x), 8).difference == Difference(0.0, 0.0)
