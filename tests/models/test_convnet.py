import keras
import numpy as np
import pytest

from zoo.errors import CardError
from zoo.layers import check_selu
from zoo.models import convnet


def test_names_and_shapes_bottom_to_top():
    net = convnet.build((8, 8, 1), 62, filters=[4, 6, 8], convolutions=1, enlarge=2)
    names = [layer.name for layer in net.layers]
    assert names == [
        *("image", "block1_rescale", "block1_resize", "block1_conv1", "block1_bn1", "block1_activation1"),
        *("block2_pool", "block2_conv1", "block2_bn1", "block2_activation1"),
        *("block3_pool", "block3_conv1", "block3_bn1", "block3_activation1", "block3_average"),
        *("features", "top_output"),
    ]
    assert net.get_layer("block1_resize").output.shape == (None, 16, 16, 1)
    assert net.get_layer("features").output.shape == (None, 4 * 8)
    assert net.output_shape == (None, 62)
    # kernels, four numbers of batch normalization for each map, the top
    assert net.count_params() == 9 * (4 + 4 * 6 + 6 * 8) + 4 * (4 + 6 + 8) + (32 + 1) * 62


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (9, 13, 1)])
@pytest.mark.parametrize("grid", [1, 2])
def test_takes_raw_pixels_of_any_shape(shape, grid):
    net = convnet.build(shape, 5, filters=[4, 5, 6], convolutions=1, grid=grid)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    rows = keras.ops.convert_to_numpy(net(pixels, training=False))
    assert rows.shape == (3, 5)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    assert net.get_layer("features").output.shape == (None, grid**2 * 6)


def test_headless_ends_in_its_features():
    net = convnet.build((8, 8, 1), None, filters=[4, 5, 6])
    assert net.layers[-1].name == "features"
    assert net.output_shape == (None, 24)


def test_same_seed_same_weights():
    one, same, other = (convnet.build((8, 8, 1), 3, filters=[4, 4, 4], dropout=0.5, seed=s) for s in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), same.get_weights(), strict=True))
    kernels = [w for w in one.trainable_variables if w.path.endswith("kernel")]
    others = [w for w in other.trainable_variables if w.path.endswith("kernel")]
    assert len(kernels) == 7
    assert all(not np.array_equal(a.numpy(), b.numpy()) for a, b in zip(kernels, others, strict=True))
    second, third = (one.get_layer(f"block{b}_conv1").kernel.numpy() for b in (2, 3))
    assert not np.array_equal(second, third)


def test_initial_weights_have_the_spread_of_he():
    net = convnet.build((16, 16, 1), 3, filters=[32, 32, 32], grid=1)
    for name in ("block2_conv1", "block3_conv2"):
        spread = net.get_layer(name).kernel.numpy().std()
        assert spread == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.03)


def test_prelu_has_a_slope_for_each_map_and_rrelu_a_seed_for_each_layer():
    net = convnet.build((8, 8, 1), 3, filters=[4, 4, 4], activation="prelu")
    assert net.get_layer("block2_activation1").alpha.shape == (1, 1, 4)
    net = convnet.build((8, 8, 1), 3, filters=[4, 4, 4], activation="rrelu")
    assert len({net.get_layer(f"block{b}_activation{c}").seed for b in (1, 2, 3) for c in (1, 2)}) == 6


def test_selu_without_batch_norm_has_all_that_it_asks_for():
    net = convnet.build((8, 8, 1), 3, filters=[4, 4, 4], activation="selu", batch_norm=False, dropout=0.1)
    assert check_selu(net) == []
    assert isinstance(net.get_layer("top_dropout"), keras.layers.AlphaDropout)


def test_auto_initialization_follows_the_activation():
    net = convnet.build((16, 16, 1), 3, filters=[32, 32], activation="tanh", initializer="auto")
    spread = net.get_layer("block2_conv1").kernel.numpy().std()
    assert spread == pytest.approx((1 / (9 * 32)) ** 0.5, rel=0.03)


def test_without_batch_norm_convolutions_have_a_bias():
    net = convnet.build((8, 8, 1), 3, filters=[4, 4, 4], batch_norm=False)
    assert net.get_layer("block1_conv1").use_bias
    assert not [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert not convnet.build((8, 8, 1), 3, filters=[4, 4, 4]).get_layer("block1_conv1").use_bias


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 with NumPy 2
def test_saved_network_loads_in_plain_keras(tmp_path):
    net = convnet.build((8, 8, 1), 3, filters=[4, 4, 4], enlarge=2, dropout=0.5)
    net.save(tmp_path / "net.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    again = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again(pixels, training=False), net(pixels, training=False))


def test_output_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        net = convnet.build((8, 8, 1), 3, filters=[4, 4, 4])
    finally:
        keras.config.set_dtype_policy("float32")
    assert net.get_layer("features").compute_dtype == "bfloat16"
    assert net(np.zeros((1, 8, 8, 1))).dtype == "float32"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"input_shape": (8,)},
            "A convolutional network cannot be built for this input. Expected three numbers: height, width, channels; "
            "received (8,). Use `dnn` for vectors.",
        ),
        (
            {"input_shape": (4, 8, 1)},
            "The image is too small for 3 blocks and a grid of 2. Expected a shorter side of at least 8 pixels; "
            "received 4 (after enlarging). Raise `enlarge`, or use fewer blocks.",
        ),
        (
            {"filters": []},
            "A convolutional network needs at least one block. Expected filters such as [32, 64, 96]; received [].",
        ),
        (
            {"filters": [32, 0, 1]},
            "The network's `filters` cannot be used. Expected whole numbers, 1 or more; received 0.",
        ),
        (
            {"activation": "elou"},
            "Keras has no activation 'elou'. Did you mean 'elu' or",
        ),
        (
            {"initializer": "he_norml"},
            "The network's initializer is not known to Keras. Expected a name such as 'he_normal'; received "
            "'he_norml'. Did you mean 'he_normal' or",
        ),
        (
            {"dropout": 1.0},
            "The network's `dropout` cannot be used. Expected a rate from 0 to below 1; received 1.0.",
        ),
        (
            {"output": "sofmax"},
            "The network's output is not known. Expected softmax or sigmoid or linear; received 'sofmax'. "
            "Did you mean 'softmax'?",
        ),
        ({"classes": 1}, "A softmax over one class is always 1. Received classes = 1. Use output = 'sigmoid', or 2"),
        ({"seed": -1}, "The network's seed cannot be used. Expected a whole number, 0 or more; received -1. Set"),
    ],
)
def test_what_cannot_be_built_says_why(args, message):
    with pytest.raises(CardError) as caught:
        convnet.build(**{"input_shape": (8, 8, 1), "classes": 3, **args})
    assert str(caught.value).startswith(message)


def test_a_bare_call_is_inference():
    """A layer whose `training` defaults to True would pass it on to batch normalization."""
    net = convnet.build((8, 8, 1), 3, filters=[4, 4, 4], enlarge=2)
    before = [w.copy() for w in net.get_weights()]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_array_equal(net(pixels), net(pixels, training=False))
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))
