"""L2-SP against quadratics whose answers are known, and max-norm against norms taken by hand."""

import keras
import numpy as np
import pytest

from zoo.errors import RecipeError
from zoo.layers import L2SP, max_norm
from zoo.layers.regularizers import usable_strength

layers = keras.layers


def test_the_penalty_is_half_the_squared_distance():
    """Worked out by hand: 0.3 / 2 * (1**2 + 2**2 + 0**2 + 3**2)."""
    near = L2SP(0.3, start=[[1.0, 2.0], [3.0, 4.0]])
    w = np.array([[2.0, 4.0], [3.0, 1.0]], "float32")
    assert float(near(w)) == pytest.approx(0.3 / 2 * 14)
    assert float(near(np.array([[1.0, 2.0], [3.0, 4.0]], "float32"))) == 0


def descended(optimizer: keras.optimizers.Optimizer, penalty: L2SP, c: float, b: np.ndarray, steps: int) -> np.ndarray:
    """What minimizing ``c/2 ||w - b||**2`` beside the penalty on ``w`` ends with, by Keras's own ``fit``.

    A dense layer without input: its bias-free kernel meets a constant 1, and the loss is the quadratic itself.
    """
    dense = layers.Dense(len(b), use_bias=False, kernel_regularizer=penalty, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(optimizer, lambda truth, out: c / 2 * keras.ops.sum(keras.ops.square(out - truth), axis=-1))
    model.fit(np.ones((steps, 1)), np.tile(b, (steps, 1)), batch_size=1, verbose=0)
    return np.asarray(dense.kernel)[0]


@pytest.mark.parametrize(
    ("made", "steps"),
    [
        (lambda: keras.optimizers.SGD(0.2), 60),
        (lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.3, 10, 0.8)), 400),
    ],
    ids=["sgd", "adam"],
)
def test_the_minimum_beside_a_quadratic_is_the_weighted_mean(made, steps: int):
    """Where c (w - b) + alpha (w - w0) = 0: at w = (c b + alpha w0) / (c + alpha)."""
    c, alpha = 1.5, 0.5
    b, start = np.array([2.0, -1.0, 0.5], "float32"), np.array([0.0, 3.0, 0.5], "float32")
    found = descended(made(), L2SP(alpha, start[None]), c, b, steps)
    np.testing.assert_allclose(found, (c * b + alpha * start) / (c + alpha), atol=1e-4)


def test_a_start_of_zero_is_keras_l2_with_the_half_written_out():
    w = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    np.testing.assert_allclose(L2SP(0.2, np.zeros((4, 3)))(w), keras.regularizers.L2(0.1)(w), rtol=1e-6)


def test_small_distances_survive_sixteen_bits():
    """In bfloat16 the square of 1e-3 beside numbers near 1 would still be there, but a sum of 10,000 of them not."""
    start = np.ones((100, 100), "float32")
    moved = keras.ops.cast(start * 1.0078125, "bfloat16")  # one bit above 1
    penalty = L2SP(2.0, start)(moved)
    assert keras.backend.standardize_dtype(penalty.dtype) == "float32"
    assert float(penalty) == pytest.approx(1e4 * 0.0078125**2, rel=1e-5)


def test_a_saved_layer_keeps_its_start(tmp_path):
    start = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    dense = layers.Dense(2, kernel_regularizer=L2SP(0.3, start), name="dense")
    model = keras.Sequential([keras.Input((3,)), dense])
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    again = loaded.get_layer("dense").kernel_regularizer
    assert again.get_config() == dense.kernel_regularizer.get_config()
    np.testing.assert_array_equal(np.asarray(again.start), start)
    assert float(loaded.losses[0]) == float(model.losses[0]) > 0


def test_a_double_start_stays_double():
    start = np.array([1.0 + 1e-12])
    near = L2SP.from_config(L2SP(2.0, start, dtype="float64").get_config())
    assert float(near(np.array([1.0]))) == pytest.approx(1e-24, rel=1e-3)


def test_wrong_strengths_and_shapes_are_refused():
    with pytest.raises(RecipeError, match=r"`strength` cannot be used. Expected a number, 0 or more; received -1\."):
        L2SP(-1, [0.0])
    with pytest.raises(RecipeError, match=r"different shapes. Expected \(2,\); received \(3, 2\)\."):
        L2SP(1.0, [0.0, 0.0])(np.zeros((3, 2)))


#: Each kind with a weight of 40 everywhere, its constraint's argument, and how the norm of one unit's weights is
#: taken by hand: from the kernel as an array to one vector a unit, in rows.
KINDS = {
    "Dense": (lambda c: layers.Dense(5, kernel_constraint=c), (4,), None, lambda k: k.T),
    "Conv1D": (lambda c: layers.Conv1D(5, 3, kernel_constraint=c), (6, 4), None, lambda k: k.reshape(-1, 5).T),
    "Conv2D": (lambda c: layers.Conv2D(5, 3, kernel_constraint=c), (6, 6, 4), None, lambda k: k.reshape(-1, 5).T),
    "grouped": (
        lambda c: layers.Conv2D(6, 3, groups=2, kernel_constraint=c),
        (6, 6, 4),
        None,
        lambda k: k.reshape(-1, 6).T,
    ),
    "Conv3D": (
        lambda c: layers.Conv3D(5, 2, kernel_constraint=c),
        (4, 4, 4, 3),
        None,
        lambda k: k.reshape(-1, 5).T,
    ),
    "Conv2DTranspose": (
        lambda c: layers.Conv2DTranspose(5, 3, kernel_constraint=c),
        (6, 6, 4),
        None,
        lambda k: np.stack([k[:, :, unit, :].ravel() for unit in range(5)]),
    ),
    "DepthwiseConv2D": (
        lambda c: layers.DepthwiseConv2D(3, depth_multiplier=2, depthwise_constraint=c),
        (6, 6, 4),
        None,
        lambda k: np.stack([k[:, :, i, m].ravel() for i in range(4) for m in range(2)]),
    ),
    "SeparableConv2D": (
        lambda c: layers.SeparableConv2D(5, 3, pointwise_constraint=c),
        (6, 6, 4),
        "pointwise_constraint",
        lambda k: k.reshape(-1, 5).T,
    ),
    "Embedding": (lambda c: layers.Embedding(9, 4, embeddings_constraint=c), (6,), None, lambda k: k),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_units_incoming_weights_keep_to_the_limit(kind: str):
    make, shape, argument, rows = KINDS[kind]
    layer = make(max_norm(0.7, kind if kind != "grouped" else "Conv2D", argument))
    layer.build((2, *shape))
    weight = next(v for v in layer.trainable_variables if v.constraint is not None)
    start = np.random.default_rng(0).normal(size=weight.shape).astype("float32")
    start *= np.where(np.arange(weight.shape[-1]) % 2, 0.01, 1.0)  # some units are within it already
    kept = np.asarray(weight.constraint(start))
    before, after = (np.linalg.norm(rows(k), axis=1) for k in (start, kept))
    assert (before > 0.7).any(), "nothing to limit"
    np.testing.assert_allclose(after, np.minimum(before, 0.7), rtol=1e-5, atol=2e-7)  # Keras's epsilon


@pytest.mark.parametrize(
    ("equation", "axes"), [("abc,cd->abd", [0]), ("abc,cde->abde", [0]), ("abcd,cde->abe", [0, 1])]
)
def test_an_einsum_says_by_itself_what_it_sums_over(equation: str, axes: list[int]):
    assert max_norm(1.0, layers.EinsumDense(equation, output_shape=(None, 3))).axis == axes


def test_in_a_convolution_axis_0_lets_filters_grow_beyond_the_limit():
    """The filter's norm by hand: 3 columns times 16 channels, each at the limit by itself."""
    kernel = np.ones((3, 3, 16, 8), "float32")
    norm = lambda k: float(np.linalg.norm(np.asarray(k)[..., 0]))  # noqa: E731
    wrong, right = keras.constraints.MaxNorm(1, axis=0)(kernel), max_norm(1.0, "Conv2D")(kernel)
    assert norm(wrong) == pytest.approx(np.sqrt(3 * 16), rel=1e-5)
    assert norm(right) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, "Dense"), r"Max-norm cannot use its `limit`\. Expected a number above 0; received 0\."),
        ((1.0, "Conv2d"), r"does not know the axes of a layer 'Conv2d'\. Did you mean 'Conv2D'"),
        ((1.0, layers.LSTM(3)), r"does not know the axes of a layer 'LSTM'"),
        ((1.0, "EinsumDense"), r"does not know the axes of a layer 'EinsumDense'"),
        ((1.0, "SeparableConv2D"), r"Expected depthwise_constraint \| pointwise_constraint; received None"),
        ((1.0, "Dense", "bias_constraint"), r"Expected kernel_constraint; received 'bias_constraint'"),
    ],
)
def test_what_has_no_axes_is_refused(arguments, message: str):
    with pytest.raises(RecipeError, match=message):
        max_norm(*arguments)


def test_numbers_of_numpy_are_numbers():
    assert usable_strength("strength", np.float32(0.5)) == 0.5
    assert max_norm(np.float32(2.0), "Dense").max_value == 2.0
    for wrong in (np.float32(np.nan), np.bool_(True), -1):
        with pytest.raises(RecipeError, match="a number, 0 or more"):
            usable_strength("strength", wrong)
