"""LSUV: variances that are worked out here from the kernels, not by the code that scaled them."""

import keras
import numpy as np
import pytest

import zoo
from tests.networks import forking, images, masked, nested, shared, siamese, values
from zoo.errors import DataError, RecipeError, SurgeryError
from zoo.moments import Moments
from zoo.orthonormal import orthonormal

layers = keras.layers
ops = keras.ops


def vectors(count: int = 256, features: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, features)).astype("float32")


def pictures(count: int = 64) -> np.ndarray:
    return images(count, (8, 8, 2)) / 128 - 1


def by_hand(layer: keras.layers.Layer, h: np.ndarray) -> np.ndarray:
    """What a layer computes before its activation, from its kernel."""
    h = ops.convert_to_tensor(h, "float32")
    how = {"strides": getattr(layer, "strides", 1), "padding": getattr(layer, "padding", "valid")}
    if isinstance(layer, layers.DepthwiseConv2D):
        z = ops.depthwise_conv(h, layer.kernel, **how)
    elif isinstance(layer, layers.SeparableConv2D):
        z = ops.separable_conv(h, layer.depthwise_kernel, layer.pointwise_kernel, **how)
    elif isinstance(layer, layers.Conv2DTranspose):
        z = ops.conv_transpose(h, layer.kernel, **how)
    elif isinstance(layer, layers.Conv2D):
        z = ops.conv(h, layer.kernel, **how)
    else:
        z = ops.matmul(h, layer.kernel)
    return np.asarray(z if layer.bias is None else z + layer.bias, "float64")


def variance_of(model: keras.Model, name: str, x) -> float:
    """The variance before the activation of a layer that is called once, in a network without models inside."""
    layer = model.get_layer(name)
    return float(by_hand(layer, keras.Model(model.inputs, layer.input)(x, training=False)).var())


def branching() -> keras.Model:
    """Two inputs, two branches of different kinds with fused activations, a skip, and fresh batch normalization."""
    left, right = keras.Input((8, 8, 2), name="left"), keras.Input((6,), name="right")
    low = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(left)
    x = layers.DepthwiseConv2D(3, activation="relu", depth_multiplier=2, padding="same", name="depthwise")(low)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.SeparableConv2D(6, 3, activation="elu", padding="same", name="separable")(x)
    x = layers.Add(name="add")([x, low])
    x = layers.Conv2DTranspose(5, 3, strides=2, activation="tanh", name="transposed")(x)
    x = layers.Conv2D(10, 3, groups=5, use_bias=False, name="grouped")(x)
    x = layers.Dropout(0.9, name="drop")(layers.Flatten(name="flatten")(x))
    y = layers.Dense(20, activation="sigmoid", name="dense")(right * 3.0)
    x = layers.Dense(9, activation="relu", name="joined")(layers.Concatenate(name="join")([x, y]))
    return keras.Model([left, right], layers.Dense(3, activation="softmax", name="top")(x), name="branching")


WEIGHTED = ("conv", "depthwise", "separable", "transposed", "grouped", "dense", "joined", "top")


@pytest.mark.parametrize("orthonormal", [True, False])
def test_every_kind_of_layer_gets_variance_1_in_a_branching_network(orthonormal):
    model, x = branching(), [pictures(), vectors(64)]
    for name in WEIGHTED:
        layer = model.get_layer(name)
        layer.set_weights([4 * w for w in layer.get_weights()])
    assert not any(abs(variance_of(model, name, x) - 1) < 0.05 for name in WEIGHTED)
    done = zoo.lsuv(model, x, orthonormal=orthonormal)
    assert sorted(row.layer for row in done.scaled) == sorted(WEIGHTED)
    for row in done.scaled:
        assert variance_of(model, row.layer, x) == pytest.approx(1, abs=0.011)
        assert row.after == pytest.approx(variance_of(model, row.layer, x), rel=1e-3)
    assert done.left == ()


def test_it_touches_kernels_and_nothing_else():
    model, x = branching(), [pictures(), vectors(64)]
    model.get_layer("dense").bias.assign(np.linspace(-0.5, 0.5, 20))
    before = values(model)
    zoo.lsuv(model, x)
    moved = {name for name, held in values(model).items() if held != before[name]}
    kernels = {f"{i} {v.path}" for i, v in enumerate(model.variables) if "kernel" in v.name}
    assert moved == kernels and len(kernels) == len(WEIGHTED) + 1


def test_activations_inside_a_layer_are_left_off():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(400, activation="relu", name="fused")])
    x = vectors()
    zoo.lsuv(model, x)
    z = x @ np.asarray(model.layers[0].kernel)
    assert z.var() == pytest.approx(1, abs=0.011)
    assert np.asarray(model(x)).var() == pytest.approx(0.5 - 0.5 / np.pi, rel=0.2)  # what ReLU leaves of a unit normal


def test_a_layer_called_twice_is_measured_over_all_its_calls():
    model, x = siamese(), vectors()
    zoo.lsuv(model, x)
    layer = model.get_layer("backbone").get_layer("inner_dense")
    both = np.stack([by_hand(layer, x), by_hand(layer, -1.5 * x)])
    assert both.var() == pytest.approx(1, abs=0.011)


def test_a_layer_called_on_what_it_gave_below_settles_too():
    model, x = shared(), vectors()
    zoo.lsuv(model, x)
    twice, between = model.get_layer("twice"), model.get_layer("between")
    first = by_hand(twice, x)
    middle = by_hand(between, np.tanh(first))
    second = by_hand(twice, np.tanh(middle))
    assert middle.var() == pytest.approx(1, abs=0.011)
    assert np.stack([first, second]).var() == pytest.approx(1, abs=0.011)


def test_models_inside_are_gone_into():
    model, x = nested(), images(64)
    for name in ("moving_mean", "moving_variance"):
        getattr(model.get_layer("backbone").get_layer("inner1_bn"), name).assign([name == "moving_variance"] * 4)
    done = zoo.lsuv(model, x)
    assert [row.layer for row in done.scaled] == ["stem", "inner1_conv", "inner2_conv", "top"]
    inner = model.get_layer("backbone").get_layer("inner1_conv")
    assert by_hand(inner, by_hand(model.get_layer("stem"), x)).var() == pytest.approx(1, abs=0.011)


def test_biases_count_and_stay():
    model, x = keras.Sequential([keras.Input((6,)), layers.Dense(50, name="dense")]), vectors()
    bias = np.random.default_rng(1).normal(0, 0.8, 50).astype("float32")
    model.layers[0].bias.assign(bias)
    zoo.lsuv(model, x)
    assert by_hand(model.layers[0], x).var() == pytest.approx(1, abs=0.011)
    assert np.array_equal(model.layers[0].bias, bias)


def test_orthonormal_columns_for_each_group_and_each_channel():
    model = branching()
    zoo.lsuv(model, [pictures(), vectors(64)], seed=3)

    def spread(matrix: np.ndarray) -> float:
        """How far the rows or columns are from orthonormal, up to one scale."""
        gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
        return float(np.abs(gram / np.trace(gram) * len(gram) - np.eye(len(gram))).max())

    conv, depthwise, grouped, transposed, joined = (
        np.asarray(model.get_layer(name).kernel, "float64")
        for name in ("conv", "depthwise", "grouped", "transposed", "joined")
    )
    assert spread(conv.reshape(-1, 6)) < 1e-5
    assert max(spread(depthwise[:, :, c].reshape(9, 2)) for c in range(6)) < 1e-5
    assert max(spread(grouped[..., 2 * g : 2 * g + 2].reshape(-1, 2)) for g in range(5)) < 1e-5
    assert spread(transposed.transpose(0, 1, 3, 2).reshape(-1, 5)) < 1e-5
    assert spread(joined) < 1e-5


@pytest.mark.parametrize(("rows", "columns"), [(700, 300), (300, 700), (400, 400), (30, 7), (7, 30)])
def test_large_matrices_are_those_of_the_textbook(rows, columns):
    """Gram and Schmidt's, one column after the other, on the same draw."""
    found = orthonormal(2, rows, columns, np.random.default_rng(5))
    drawn = np.random.default_rng(5).normal(size=(2, max(rows, columns), min(rows, columns)))
    for matrix, a in zip(found, drawn, strict=True):
        q = np.zeros_like(a)
        for i in range(a.shape[1]):
            left = a[:, i] - q[:, :i] @ (q[:, :i].T @ a[:, i])
            left -= q[:, :i] @ (q[:, :i].T @ left)
            q[:, i] = left / np.linalg.norm(left)
        assert matrix == pytest.approx(q if rows >= columns else q.T, abs=1e-9)


def test_a_matrix_that_cholesky_cannot_take_is_orthonormal_too(monkeypatch):
    def refuse(matrix):
        raise np.linalg.LinAlgError

    wanted = orthonormal(1, 300, 300, np.random.default_rng(5))
    monkeypatch.setattr(np.linalg, "cholesky", refuse)
    assert orthonormal(1, 300, 300, np.random.default_rng(5)) == pytest.approx(wanted, abs=1e-9)


def test_the_same_seed_gives_the_same_kernels():
    held = []
    for seed in (1, 1, 2):
        model = branching()
        zoo.lsuv(model, [pictures(), vectors(64)], seed=seed)
        held.append(np.asarray(model.get_layer("joined").kernel))
    assert np.array_equal(held[0], held[1]) and not np.allclose(held[0], held[2])


def test_frozen_layers_and_those_not_named_stay():
    model, x = branching(), [pictures(), vectors(64)]
    model.get_layer("conv").trainable = False
    before = {name: model.get_layer(name).get_weights()[0] for name in WEIGHTED}
    done = zoo.lsuv(model, x, layers="conv|joined|top")
    moved = {name for name in WEIGHTED if not np.array_equal(before[name], model.get_layer(name).get_weights()[0])}
    assert moved == {"joined", "top"}
    assert done.left == (("conv", "frozen"),)
    assert str(done).splitlines()[-1] == "left as they are (frozen): conv"


def test_recurrent_layers_are_left_and_named():
    done = zoo.lsuv(masked(), np.random.default_rng(0).integers(0, 10, (64, 5)))
    assert done.left == tuple((n, "not dense or convolutional") for n in ("embed", "low_lstm", "high_lstm"))
    assert [row.layer for row in zoo.lsuv(forking(), vectors(64, 20).reshape(64, 5, 4)).scaled] == ["middle", "top"]


def test_a_network_in_half_precision_gets_there_too():
    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    dense = [layers.Dense(64, activation="relu", dtype=policy, name=f"dense{i}") for i in range(5)]
    model, x = keras.Sequential([keras.Input((6,)), *dense]), vectors()
    zoo.lsuv(model, x)
    h = x
    for layer in dense:
        h = by_hand(layer, h)
        assert h.var() == pytest.approx(1, abs=0.02)
        h = np.maximum(h, 0).astype("float32")


def test_a_deep_network_that_was_dead_speaks_again():
    kernel = keras.initializers.RandomNormal(stddev=0.01, seed=5)
    stack = [layers.Dense(50, activation="relu", kernel_initializer=kernel, name=f"dense{i}") for i in range(20)]
    model, x = keras.Sequential([keras.Input((6,)), *stack]), vectors()
    assert np.asarray(model(x)).std() < 1e-15
    done = zoo.lsuv(model, x)
    assert np.asarray(model(x)).std() > 0.3
    assert done.scaled[0].between > 0.9  # inputs of mean 0: every unit tells examples apart
    h = np.asarray(keras.Model(model.inputs[0], stack[-1].input)(x))
    z = by_hand(stack[-1], h)
    assert done.scaled[-1].between == pytest.approx(z.var(axis=0).mean() / z.var(), rel=1e-3)


def test_a_dead_layer_is_named_and_the_network_is_as_it_was():
    model, x = branching(), [pictures(), vectors(64)]
    model.get_layer("conv").bias.assign([-1e4] * 6)
    before = values(model)
    with pytest.raises(SurgeryError, match="The outputs of 'depthwise' do not vary over the batch"):
        zoo.lsuv(model, x)
    assert values(model) == before


def test_kernels_of_zeros_are_told():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, kernel_initializer="zeros", name="dense")])
    with pytest.raises(SurgeryError, match=r"'dense' do not vary over the batch: no scale .* Look below"):
        zoo.lsuv(model, vectors(), orthonormal=False)


@pytest.mark.parametrize(
    "alike",
    [np.zeros((8, 8, 8, 2)), np.repeat(pictures(1), 8, axis=0), np.full((8, 8, 8, 2), 3), 1e6 + pictures(8) / 1e4],
    ids=["zeros", "one image", "whole numbers", "rounding"],
)
def test_examples_that_are_all_alike_are_told(alike):
    """A convolution's outputs would vary over places, which has nothing to do with the data."""
    model = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(4, 3, name="conv")])
    before = values(model)
    with pytest.raises(DataError, match=r"all alike\. Expected examples that differ; received 8 times the same\. Give"):
        zoo.lsuv(model, alike)
    assert values(model) == before


def test_one_input_that_is_the_same_for_all_examples_is_passed():
    done = zoo.lsuv(branching(), [np.repeat(pictures(1), 64, axis=0), vectors(64)])
    conv = next(row for row in done.scaled if row.layer == "conv")
    assert conv.after == pytest.approx(1, abs=0.011) and conv.between == pytest.approx(0, abs=1e-12)
    told = "examples are hardly told apart (less than 1% of the variance): conv, depthwise, separable, transposed"
    assert str(done).splitlines()[-1].startswith(told)


def test_a_single_example_is_told():
    with pytest.raises(DataError, match="has a single example, which says nothing of how examples vary"):
        zoo.lsuv(branching(), [pictures(1), vectors(1)])
    assert len(zoo.lsuv(branching(), [pictures(2), vectors(2)]).scaled) == len(WEIGHTED)


def test_inputs_of_different_lengths_are_told():
    with pytest.raises(DataError, match=r"not of the same examples\. Expected as many rows .* 63 and 64"):
        zoo.lsuv(branching(), [pictures(64), vectors(63)])


@pytest.mark.parametrize("tolerance", [np.float32(0.03), np.float64(0.03)])
def test_a_tolerance_of_numpy_is_one(tolerance):
    model = branching()
    assert all(
        abs(row.after - 1) < 0.03 for row in zoo.lsuv(model, [pictures(), vectors(64)], tolerance=tolerance).scaled
    )


@pytest.mark.parametrize("tolerance", [0, -0.1, 1, 2.0, np.nan, np.inf, True, "0.1", None])
def test_a_tolerance_out_of_range_is_told(tolerance):
    model = branching()
    before = values(model)
    with pytest.raises(RecipeError, match=r"`tolerance`\. Expected a number above 0 and below 1; received .*0\.01 is"):
        zoo.lsuv(model, [pictures(), vectors(64)], tolerance=tolerance)
    assert values(model) == before


def test_a_tolerance_finer_than_numbers_are_is_told():
    with pytest.raises(SurgeryError, match=r"variance 1\. Received tolerance=1e-14\. Allow more: numbers are"):
        zoo.lsuv(branching(), [pictures(), vectors(64)], tolerance=1e-14)


def test_a_layer_of_ones_own_that_goes_on_after_its_activation_is_called_whole():
    class Doubled(layers.Dense):
        def call(self, inputs, training=None):
            return 2 * super().call(inputs)

    model = keras.Sequential([keras.Input((6,)), Doubled(50, name="low"), layers.Dense(40, name="high")])
    x = vectors()
    zoo.lsuv(model, x)
    assert by_hand(model.layers[1], np.asarray(model.layers[0](x))).var() == pytest.approx(1, abs=0.011)


def test_a_mask_goes_on_to_the_layers_above():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 6, mask_zero=True)(inputs)
    x = layers.Dense(7, activation="tanh", name="low")(x)
    model = keras.Model(inputs, layers.Dense(8, name="top")(layers.LSTM(4, name="lstm")(x)))
    x = np.random.default_rng(0).integers(1, 10, (64, 5)) * (np.arange(5) < 1 + np.arange(64)[:, None] % 5)
    zoo.lsuv(model, x)
    top = model.get_layer("top")
    assert by_hand(top, keras.Model(inputs, top.input)(x)).var() == pytest.approx(1, abs=0.011)


def test_each_layer_is_run_once_before_it_is_scaled_and_once_after(monkeypatch):
    run = []
    call = layers.Conv2D.call

    def counted(self, inputs):
        run.append(self.name)
        return call(self, inputs)

    convs = [layers.Conv2D(6, 3, padding="same", activation="relu", name=name) for name in ("low", "high")]
    model = keras.Sequential([keras.Input((8, 8, 2)), *convs])
    monkeypatch.setattr(layers.Conv2D, "call", counted)
    zoo.lsuv(model, pictures())
    assert run == ["low", "low", "high", "high"]


def test_biases_that_are_too_large_are_told():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(40, name="dense")])
    model.layers[0].bias.assign(np.linspace(-3, 3, 40))
    with pytest.raises(SurgeryError, match=r"'dense' cannot be brought to variance 1\. Set its biases to 0 first"):
        zoo.lsuv(model, vectors())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_told(bad):
    model, x = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="dense")]), vectors()
    x[3, 2] = bad
    with pytest.raises(DataError, match="The batch for LSUV holds numbers that are not finite"):
        zoo.lsuv(model, x)
    model.layers[0].kernel.assign(np.full((6, 4), bad))
    with pytest.raises(SurgeryError, match="The outputs of 'dense' are not finite"):
        zoo.lsuv(model, vectors(), orthonormal=False)


def by_name() -> keras.Model:
    """Two inputs of one shape whose keys, and the layers' names, are in opposite orders."""
    zeta, alpha = keras.Input((6,), name="zeta"), keras.Input((6,), name="alpha")
    low = [layers.Dense(9, name="low_u")(zeta), layers.Dense(9, name="low_w")(alpha)]
    return keras.Model({"u": zeta, "w": alpha}, layers.Dense(3, name="top")(layers.Concatenate()(low)))


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_several_inputs_go_by_their_keys_or_by_the_layers_names():
    small, large = vectors(seed=1), 100 * vectors(seed=2)
    by_layer = {"alpha": large, "zeta": small}
    for given in ({"u": small, "w": large}, by_layer, {**by_layer, "unused": large}):
        model = by_name()
        kernels = {name: model.get_layer(name).get_weights()[0] for name in ("low_u", "low_w")}
        rows = {row.layer: row for row in zoo.lsuv(model, given, orthonormal=False).scaled}
        for name, x in (("low_u", small), ("low_w", large)):
            assert rows[name].before == pytest.approx((x @ kernels[name]).var(), rel=1e-3)
            assert by_hand(model.get_layer(name), x).var() == pytest.approx(1, abs=0.011)
    with pytest.raises(DataError, match=r"none for the input 'w'\. Expected 'u', 'w'; received 'u', 'v'"):
        zoo.lsuv(by_name(), {"u": small, "v": large})


def test_a_list_of_numbers_is_a_batch():
    found = [
        zoo.lsuv(keras.Sequential([keras.Input((6,)), layers.Dense(4)]), x) for x in (vectors(), vectors().tolist())
    ]
    assert [row.after for row in found[0].scaled] == [row.after for row in found[1].scaled]


def test_a_batch_that_does_not_fit_is_told():
    model = branching()
    expected = r"shape that the input 'right' takes\. Expected \(examples, 6\); received \(64, 7\)"
    with pytest.raises(DataError, match=expected):
        zoo.lsuv(model, [pictures(), vectors(64, 7)])
    with pytest.raises(DataError, match="The batch for LSUV is empty"):
        zoo.lsuv(model, [pictures(0), vectors(0)])


def test_statistics_of_other_kernels_are_refused():
    with pytest.raises(SurgeryError, match="of 'inner1_bn' belong to the kernels that LSUV would change"):
        zoo.lsuv(nested(), images(32))
    assert [row.layer for row in zoo.lsuv(nested(), images(32), layers="top").scaled] == ["top"]


def test_a_network_without_such_layers_is_told():
    model = keras.Sequential([keras.Input((5, 3)), layers.LSTM(4, name="lstm")])
    with pytest.raises(SurgeryError, match=r"has no such layer that LSUV could scale.*received lstm: not dense"):
        zoo.lsuv(model, vectors(8, 15).reshape(8, 5, 3))


def test_the_table_prints():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(40, name="low"), layers.Dense(3, name="top")])
    lines = str(zoo.lsuv(model, vectors())).splitlines()
    assert lines[0].split() == ["layer", "kind", "variance", "before", "after", "between", "examples"]
    assert lines[1].split()[:2] == ["low", "Dense"] and lines[1].split()[3] == "1.000"


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_moments_are_those_of_numpy(kind):
    outputs = (5 + np.random.default_rng(3).normal(0, 0.1, (50, 4, 7))).astype(kind)
    wide = outputs.astype("float64")
    found = Moments.of(outputs)
    assert (found.count, found.mean) == (1400, pytest.approx(wide.mean(), rel=1e-12))
    assert found.variance == pytest.approx(wide.var(), rel=1e-9)
    assert found.between == pytest.approx(wide.var(axis=0).mean(), rel=1e-9)
    both = found.joined(Moments.of(-outputs[:20]))
    assert both.variance == pytest.approx(np.concatenate([wide, -wide[:20]]).var(), rel=1e-9)
    assert Moments.of(np.full((9, 3), 0.1, kind)).variance == pytest.approx(0, abs=1e-15)
