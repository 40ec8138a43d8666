import keras
import numpy as np
import pytest

from zoo.errors import CardError
from zoo.layers import check_selu
from zoo.models import dnn
from zoo.surgery import default_cut


def test_names_and_shapes_bottom_to_top():
    net = dnn.build((4, 4, 1), 3, widths=[7, 5], batch_norm=True, dropout=0.2)
    assert [layer.name for layer in net.layers] == [
        *("image", "hidden1_rescale", "hidden1_flatten"),
        *("hidden1_dense", "hidden1_bn", "hidden1_activation"),
        *("hidden2_dense", "hidden2_bn", "hidden2_activation", "features", "top_dropout", "top_output"),
    ]
    assert net.count_params() == 16 * 7 + 4 * 7 + 7 * 5 + 4 * 5 + (5 + 1) * 3


def test_depth_and_width():
    net = dnn.build((6,), 2, depth=3, width=8)
    dense = [layer for layer in net.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [8, 8, 8, 2]
    assert net.get_layer("hidden1_dense").use_bias


def test_image_is_rescaled_to_one():
    net = dnn.build((2, 2, 1), None, widths=[4], activation="linear", initializer="identity")
    pixels = np.array([[[[0.0], [51.0]], [[102.0], [255.0]]]])
    np.testing.assert_allclose(net(pixels), [[0, 0.2, 0.4, 1]], atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 with NumPy 2
def test_vector_is_normalized(tmp_path):
    net = dnn.build((2,), None, widths=[2], activation="linear", initializer="identity", mean=[1, 2], variance=[4, 9])
    np.testing.assert_allclose(net(np.array([[3.0, 8.0]])), [[1, 2]], atol=1e-6)
    net.save(tmp_path / "net.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "net.keras")(np.array([[3.0, 8.0]])), [[1, 2]])


def test_dropout_comes_after_each_hidden_layer_and_with_batch_normalization_after_the_last_alone():
    """Below batch normalization it changes the variance that is counted in training only (Li et al., 2018)."""
    plain, normalized = (dnn.build((6,), 2, depth=3, dropout=0.2, batch_norm=norm) for norm in (False, True))
    drops = [[layer.name for layer in net.layers if "dropout" in layer.name] for net in (plain, normalized)]
    assert drops == [["hidden1_dropout", "hidden2_dropout", "top_dropout"], ["top_dropout"]]


def test_same_seed_same_weights_and_dropout():
    one, same, other = (dnn.build((6,), 2, depth=2, width=32, dropout=0.5, seed=s) for s in (1, 1, 2))
    rows = np.ones((4, 6), dtype=np.float32)
    first = np.asarray(one(rows, training=True))
    assert np.array_equal(first, same(rows, training=True))
    assert not np.array_equal(first, other(rows, training=True))


def test_initial_weights_have_the_spread_of_he():
    net = dnn.build((400,), 2, depth=1, width=300)
    assert net.get_layer("hidden1_dense").kernel.numpy().std() == pytest.approx((2 / 400) ** 0.5, rel=0.02)


def test_selu_gets_what_it_asks_for_by_itself():
    net = dnn.build((400,), 2, depth=3, width=300, activation="selu", dropout=0.1)
    assert check_selu(net) == []
    assert net.get_layer("hidden2_dense").kernel.numpy().std() == pytest.approx((1 / 300) ** 0.5, rel=0.02)
    kinds = {type(net.get_layer(name)) for name in ("hidden1_dropout", "hidden2_dropout", "top_dropout")}
    assert kinds == {keras.layers.AlphaDropout}
    assert default_cut(net) == "features"


def test_selu_keeps_mean_and_variance_through_twenty_layers():
    net = dnn.build((400,), None, depth=20, width=400, activation="selu")
    features = np.asarray(net(np.random.default_rng(0).normal(size=(1000, 400))))
    assert abs(features.mean()) < 0.1
    assert features.var() == pytest.approx(1, abs=0.15)


def test_another_initializer_is_kept_if_asked_for():
    net = dnn.build((400,), 2, depth=1, width=300, activation="selu", initializer="he_normal")
    assert net.get_layer("hidden1_dense").kernel.numpy().std() == pytest.approx((2 / 400) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        ("elu", 2 / 400),
        ("tanh", 1 / 400),
        ("logistic", 16 / 400),
        ("selu", 1 / 400),
        ("very_leaky_relu", 2 / 1.04 / 400),
        ({"name": "leaky_relu", "negative_slope": 1.0}, 1 / 400),
        ({"name": "relu", "negative_slope": 1.0}, 1 / 400),
        ({"name": "prelu", "initial": 1.0}, 1 / 400),
    ],
    ids=str,
)
def test_auto_initialization_follows_the_activation(activation, variance):
    net = dnn.build((400,), 2, depth=1, width=300, activation=activation, initializer="auto")
    kernel = net.get_layer("hidden1_dense").kernel.numpy()
    assert kernel.std() == pytest.approx(variance**0.5, rel=0.02)
    assert np.abs(kernel).max() < 2.3 * variance**0.5, "truncated"


def test_the_names_of_the_chapters_activations():
    assert dnn.build((6,), 2, depth=1, activation="leaky_relu").get_layer("hidden1_activation").negative_slope == 0.01
    rows = np.ones((4, 6), dtype=np.float32)
    one, same, other = (dnn.build((6,), 2, depth=2, width=32, activation="rrelu", seed=s) for s in (1, 1, 2))
    first = np.asarray(one(rows, training=True))
    assert np.array_equal(first, same(rows, training=True))
    assert not np.array_equal(first, other(rows, training=True))
    slopes = {one.get_layer(f"hidden{h}_activation").seed for h in (1, 2)}
    assert len(slopes) == 2
    assert dnn.build((6,), 2, depth=1, width=8, activation="prelu").get_layer("hidden1_activation").alpha.shape == (8,)


def test_max_norm_bounds_the_weights_into_each_unit():
    net = dnn.build((50,), 2, depth=1, width=20, max_norm=0.5)
    kernel = net.get_layer("hidden1_dense").kernel
    assert kernel.constraint is not None
    norms = np.linalg.norm(kernel.constraint(kernel.value), axis=0)
    np.testing.assert_allclose(norms, 0.5, rtol=1e-4)


@pytest.mark.parametrize(("output", "total"), [("softmax", 1), ("sigmoid", None), ("linear", None)])
def test_outputs(output, total):
    net = dnn.build((3,), 2, depth=1, output=output)
    assert net.get_layer("top_output").activation is keras.activations.get(output)
    if total:
        np.testing.assert_allclose(np.asarray(net(np.ones((1, 3)))).sum(), total, atol=1e-6)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"input_shape": (4, 4)},
            "A fully connected network cannot be built for this input. Expected one number (a vector's length), or "
            "three: height, width, channels; received (4, 4).",
        ),
        ({"depth": 0}, "The network's `depth` cannot be used. Expected whole numbers, 1 or more; received 0."),
        (
            {"activation": "glu", "initializer": "auto"},
            "No initializer is known to suit the activation 'glu'.",
        ),
        ({"widths": []}, "A fully connected network needs at least one hidden layer. Expected widths such as"),
        (
            {"max_norm": 0.0},
            "The network's `max_norm` cannot be used. Expected a number above 0; received 0.0. Leave it out for no",
        ),
        (
            {"mean": [1.0]},
            "`mean` and `variance` do not fit the vector. Expected 6 numbers each; received 1 and none. Give both,",
        ),
        (
            {"input_shape": (4, 4, 1), "mean": [1.0]},
            "`mean` and `variance` normalize vectors; an image is rescaled from 0 to 255. Received an image of shape "
            "(4, 4, 1). Leave them out.",
        ),
    ],
)
def test_what_cannot_be_built_says_why(args, message):
    with pytest.raises(CardError) as caught:
        dnn.build(**{"input_shape": (6,), "classes": 3, **args})
    assert str(caught.value).startswith(message)
