"""What an activation's arguments do to its initializer, and what zoo's own networks and tops start from."""

import re

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import CardError, RecipeError
from zoo.layers import activation, for_activation
from zoo.layers.initializers import default_for
from zoo.models import dnn

Z = np.linspace(-12, 12, 200_001)
DENSITY = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


def drawn(initializer: keras.initializers.Initializer, shape: tuple[int, ...] = (400, 500)) -> np.ndarray:
    return np.asarray(initializer(shape), "float64")


SPECS = {
    "leaky_relu": ({"name": "leaky_relu", "negative_slope": 0.3}, 2 / 1.09),
    "very_leaky_relu": ({"name": "very_leaky_relu", "negative_slope": 0.5}, 2 / 1.25),
    "relu": ({"name": "relu", "negative_slope": 1.0}, 1.0),
    "relu, a ceiling": ({"name": "relu", "max_value": 6.0}, 2.0),
    "prelu": ({"name": "prelu", "initial": 0.5, "shared": "all"}, 2 / 1.25),
    "rrelu": ({"name": "rrelu", "lower": 0.1, "upper": 0.9}, 2 / (1 + 0.91 / 3)),
    "rrelu, one end": ({"name": "rrelu", "upper": 0.5}, 2 / (1 + (1 / 64 + 1 / 16 + 1 / 4) / 3)),
    "elu": ({"name": "elu", "alpha": 3.0}, 2.0),
    "no arguments": ({"name": "tanh"}, 1.0),
}


@pytest.mark.parametrize(("spec", "scale"), SPECS.values(), ids=SPECS)
def test_an_activations_own_arguments_count(spec, scale):
    assert for_activation(spec).scale == pytest.approx(scale)


@pytest.mark.parametrize("name", ["leaky_relu", "prelu", "rrelu"])
def test_an_activation_with_a_slope_gets_back_the_variance_that_it_loses(name):
    """The layer itself, in training, where RReLU draws."""
    spec = SPECS[name][0]
    layer = activation(spec, rank=2, seed=1)
    z = np.random.default_rng(2).normal(size=(1000, 500)).astype("float32")
    square = np.square(np.asarray(layer(z, training=True) if name == "rrelu" else layer(z))).mean()
    assert for_activation(spec).scale * square == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("name", ["elu", "celu"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_with_hes_scale_elu_grows_by_no_more_than_the_square_of_alpha(name, alpha):
    for root in (0.1, 1.0, 3.0, 30.0):
        f = np.asarray(getattr(keras.activations, name)(keras.ops.convert_to_tensor(root * Z), alpha=alpha))
        assert 2 * (DENSITY * f**2).sum() <= root**2 + alpha**2 + 1e-9


@pytest.mark.parametrize(
    ("spec", "received"),
    [
        ({"name": "leaky_relu", "negative_slope": "0.3"}, "negative_slope='0.3'"),
        ({"name": "prelu", "initial": np.nan}, "initial=nan"),
        ({"name": "rrelu", "lower": None}, "lower=None"),
    ],
)
def test_a_slope_that_is_no_number_is_refused(spec, received):
    wanted = f"The slope of '{spec['name']}' cannot be used. Expected a finite number; received {received}."
    with pytest.raises(RecipeError, match=re.escape(wanted)):
        for_activation(spec)
    with pytest.raises(CardError, match=re.escape(wanted)):
        dnn.build((4,), 2, activation=spec)


DEFAULTS = {
    **dict.fromkeys(("relu", "elu", "celu", "gelu", "silu", "mish", "softplus"), "he_normal"),
    "selu": "lecun_normal",
    **dict.fromkeys(("tanh", "logistic", "exponential"), "glorot_uniform"),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_by_default_kernels_start_from_kerass_own(name):
    own = keras.initializers.get({"class_name": DEFAULTS[name], "config": {"seed": 7}})
    found = default_for({"name": name}, seed=7)
    assert type(found) is type(own) and np.array_equal(drawn(found, (30, 20)), drawn(own, (30, 20)))


@pytest.mark.parametrize("spec", ["leaky_relu", "very_leaky_relu", "prelu", "rrelu", SPECS["rrelu"][0]], ids=str)
def test_by_default_slopes_count(spec):
    assert np.array_equal(drawn(default_for(spec, seed=7)), drawn(for_activation(spec, seed=7)))


@pytest.mark.parametrize(
    ("spec", "variance"),
    [(SPECS["rrelu"][0], SPECS["rrelu"][1] / 400), ("tanh", 2 / 700), ("elu", 2 / 400), ("selu", 1 / 400)],
    ids=str,
)
def test_networks_and_new_tops_start_alike(spec, variance):
    base = keras.Sequential([keras.Input((400,)), keras.layers.Identity(name="features"), keras.layers.Dense(2)])
    fresh = zoo.replace_top(base, cut="features", classes=3, hidden=[300], activation=spec).get_layer("top_dense1")
    built = dnn.build((400,), 3, widths=[300], activation=spec).get_layer("hidden1_dense")
    assert np.var(np.asarray(built.kernel)) == pytest.approx(variance, rel=0.02)
    assert np.var(np.asarray(fresh.kernel)) == pytest.approx(variance, rel=0.02)
