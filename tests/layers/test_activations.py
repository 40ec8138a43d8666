"""Activations by name, against formulas written out here in float64."""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import CardError
from zoo.layers import RReLU, activation
from zoo.layers.activation_facts import CHAPTER_ORDER, FACTS, initializer_text
from zoo.layers.activations import OURS, Function, activation_name, names
from zoo.layers.initializers import SCALES, for_activation

layers = keras.layers

Array = np.ndarray
ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def leaky(slope: float) -> Callable[[Array], Array]:
    return lambda z: np.where(z < 0, slope * z, z)


def elu(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z < 0, alpha * (np.exp(z) - 1), z)


def gelu(z: Array) -> Array:
    return z * np.array([(1 + math.erf(v / math.sqrt(2))) / 2 for v in z.ravel()]).reshape(z.shape)


#: Every activation's formula, as its paper has it.
FORMULAS: dict[str, Callable[[Array], Array]] = {
    "elu": elu,
    "leaky_relu": leaky(0.01),
    "very_leaky_relu": leaky(0.2),
    "rrelu": leaky((1 / 8 + 1 / 3) / 2),
    "prelu": leaky(0.25),
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "logistic": sigmoid,
    "selu": lambda z: SCALE * elu(z, ALPHA),
    "celu": elu,
    "gelu": gelu,
    "silu": lambda z: z * sigmoid(z),
    "swish": lambda z: z * sigmoid(z),
    "mish": lambda z: z * np.tanh(np.log(1 + np.exp(z))),
    "relu6": lambda z: np.clip(z, 0, 6),
    "hard_silu": lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    "hard_swish": lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "squareplus": lambda z: (z + np.sqrt(z**2 + 4)) / 2,
    "sparse_plus": lambda z: np.where(z <= -1, 0, np.where(z >= 1, z, (z + 1) ** 2 / 4)),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "sparse_sigmoid": lambda z: np.clip((z + 1) / 2, 0, 1),
    "log_sigmoid": lambda z: -np.log(1 + np.exp(-z)),
    "exponential": np.exp,
    "soft_shrink": lambda z: np.sign(z) * np.maximum(np.abs(z) - 0.5, 0),
    "hard_shrink": lambda z: np.where(np.abs(z) > 0.5, z, 0),
    "tanh_shrink": lambda z: z - np.tanh(z),
    "linear": lambda z: z,
}

#: These need more than one number, or arguments.
NOT_OF_ONE_NUMBER = {"softmax", "log_softmax", "sparsemax", "glu", "threshold"}


def values(layer: keras.layers.Layer, z: Any, **call: Any) -> Array:
    return keras.ops.convert_to_numpy(layer(np.asarray(z, "float64"), **call))


@pytest.mark.parametrize("name", FORMULAS)
def test_a_name_is_the_formula_of_its_paper(name: str):
    z = np.array([[-9.0, -3.5, -2, -1, -0.3, 0, 0.3, 1, 2, 3.5, 9]])
    np.testing.assert_allclose(values(activation(name, rank=2, dtype="float64"), z), FORMULAS[name](z), atol=2e-7)


def test_no_name_is_left_out():
    assert set(FORMULAS) | NOT_OF_ONE_NUMBER == set(names())
    assert set(OURS) <= set(names())


def test_known_points_worked_out_by_hand():
    points = {
        "leaky_relu": [(-2, -0.02), (0, 0), (3, 3)],
        "very_leaky_relu": [(-2, -0.4), (3, 3)],
        "rrelu": [(-48, -11), (3, 3)],
        "prelu": [(-8, -2), (3, 3)],
        "elu": [(-math.log(2), -0.5), (-50, -1), (3, 3)],
        "selu": [(-math.log(2), -ALPHA * SCALE / 2), (-60, -1.7580993408473766), (2, 2.1014019747109610)],
    }
    for name, known in points.items():
        z, expected = zip(*known, strict=True)
        np.testing.assert_allclose(values(activation(name, rank=2, dtype="float64"), [z]), [expected], rtol=1e-6)


def test_selu_keeps_mean_0_and_variance_1_of_normal_numbers():
    """Klambauer et al. 2017, the fixed point: what their two constants were solved for."""
    z, weight = np.polynomial.hermite_e.hermegauss(200)  # the weights of N(0, 1), times sqrt(2 pi)
    y = values(activation("selu", dtype="float64"), z)
    mean = (y * weight).sum() / math.sqrt(2 * math.pi)
    assert abs(mean) < 1e-3
    assert abs((y**2 * weight).sum() / math.sqrt(2 * math.pi) - 1) < 1e-3


def test_arguments_reach_keras_in_a_call_or_a_table():
    z = np.array([[-3.0, -1.0, 0.0, 2.0, 9.0]])
    for layer, expected in [
        (activation("elu", alpha=0.5, dtype="float64"), elu(z, 0.5)),
        (activation({"name": "elu", "alpha": 0.5}, dtype="float64"), elu(z, 0.5)),
        (activation("leaky_relu", negative_slope=0.3, dtype="float64"), leaky(0.3)(z)),
        (activation("relu", max_value=1.5, dtype="float64"), np.clip(z, 0, 1.5)),
        (activation("celu", alpha=2.0, dtype="float64"), np.where(z < 0, 2 * (np.exp(z / 2) - 1), z)),
        (activation("prelu", rank=2, initial=0.5, dtype="float64"), leaky(0.5)(z)),
        (activation("threshold", threshold=1.0, default_value=-7.0, dtype="float64"), np.where(z > 1, z, -7)),
        (
            activation("gelu", approximate=True, dtype="float64"),
            0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
        ),
    ]:
        np.testing.assert_allclose(values(layer, z), expected, atol=1e-7)


def test_the_two_forms_of_gelu_differ():
    """Else the last line above would show nothing."""
    z = np.array([-2.0])
    exact, approximate = (values(activation("gelu", dtype="float64", **a), z) for a in ({}, {"approximate": True}))
    assert 1e-5 < float(np.abs(exact - approximate)[0]) < 1e-3


def test_networks_of_plain_layers_need_nothing_of_zoo():
    inputs = keras.Input((6, 6, 2))
    plain = [name for name in FORMULAS if name != "rrelu"]
    for name in plain:
        layer = activation(name, rank=4)
        layer(inputs)
        assert type(layer).__module__.startswith("keras."), name
    assert activation_name("logistic") == activation("logistic").activation.__name__ == "sigmoid"


@pytest.mark.parametrize(
    ("rank", "shared", "shape"),
    [
        (2, "space", (5,)),
        (2, "all", (1,)),
        (2, "none", (5,)),
        (3, "space", (1, 5)),
        (4, "space", (1, 1, 5)),
        (4, "all", (1, 1, 1)),
        (4, "none", (4, 4, 5)),
    ],
)
def test_prelu_shares_its_slopes_by_rank(rank: int, shared: str, shape: tuple[int, ...]):
    layer = activation("prelu", rank=rank, shared=shared)
    layer.build((None, *(4, 4)[: rank - 2], 5))
    assert layer.alpha.shape == shape
    np.testing.assert_array_equal(layer.alpha.numpy(), 0.25)


def test_prelu_by_channel_takes_images_of_any_size():
    layer = activation("prelu", rank=4)
    for side in (4, 7):
        assert layer(np.ones((1, side, side, 3), "float32")).shape == (1, side, side, 3)


def test_prelu_learns_its_slopes():
    inputs = keras.Input((1,))
    layer = activation("prelu", rank=2)
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    z = np.linspace(-3, 3, 64, dtype="float32")[:, None]
    model.fit(z, np.where(z < 0, -0.5 * z, z), epochs=30, verbose=0)
    assert layer.alpha.numpy() == pytest.approx(-0.5, abs=1e-3)


class TestRReLU:
    @pytest.fixture
    def slopes(self) -> Array:
        z = np.full((1000, 1000), -2.0, "float32")
        return values(RReLU(seed=1), z, training=True) / -2

    def test_draws_a_slope_for_each_element_uniformly_in_its_range(self, slopes: Array):
        assert 1 / 8 <= slopes.min() < 1 / 8 + 1e-4
        assert 1 / 3 - 1e-4 < slopes.max() <= 1 / 3
        width = 1 / 3 - 1 / 8
        # A million draws: the mean's standard error is width / sqrt(12e6), 6e-5; five of them.
        assert slopes.mean() == pytest.approx(11 / 48, abs=5 * width / math.sqrt(12e6))
        assert slopes.std() == pytest.approx(width / math.sqrt(12), rel=5e-3)
        shares = np.histogram(slopes, bins=10, range=(1 / 8, 1 / 3))[0] / slopes.size
        np.testing.assert_allclose(shares, 0.1, atol=5 * math.sqrt(0.09 / 1e6))
        assert len(np.unique(slopes)) > 500_000

    def test_the_values_above_zero_pass_unchanged(self):
        z = np.array([[0.0, 0.5, 7.0]])
        np.testing.assert_array_equal(values(RReLU(), z, training=True), z)

    def test_the_gradient_is_the_slope_that_was_drawn(self):
        """The derivative by finite differences, with the same draw again: one seed, one state."""
        z = np.linspace(-4, 4, 40, dtype="float32")[None]
        inputs = keras.Input((40,))
        layer = RReLU(seed=3)
        model = keras.Model(inputs, layers.Dense(1, use_bias=False)(layer(layers.Dense(40, use_bias=False)(inputs))))
        model.layers[1].set_weights([np.eye(40, dtype="float32")])
        model.layers[3].set_weights([np.ones((40, 1), "float32")])
        drawn = values(RReLU(seed=3), z, training=True)[0]
        model.compile(keras.optimizers.SGD(1.0), lambda _, y: keras.ops.sum(y))
        model.fit(z, np.zeros((1, 1)), verbose=0)
        # d sum(y) / d W_ij = z_i * slope_j; read on the diagonal.
        gradient = np.diag(np.eye(40) - model.layers[1].get_weights()[0])
        below = z[0] < 0
        slope = np.where(below, drawn / z[0], 1)
        np.testing.assert_allclose(gradient, z[0] * slope, rtol=1e-4)
        assert slope[below].std() > 0.03

    def test_one_seed_one_sequence(self):
        z = np.full((4, 8), -1.0, "float32")
        one, same, other = RReLU(seed=5), RReLU(seed=5), RReLU(seed=6)
        first = values(one, z, training=True)
        np.testing.assert_array_equal(values(same, z, training=True), first)
        assert (values(other, z, training=True) != first).all()
        assert (values(one, z, training=True) != first).all(), "each step draws anew"

    def test_a_bare_call_is_inference(self):
        z = np.array([[-48.0, 3.0]])
        np.testing.assert_allclose(values(RReLU(), z), [[-11, 3]], rtol=1e-6)

    @pytest.mark.parametrize("end", ["0.1", None, True, float("nan")])
    def test_refuses_ends_that_are_no_numbers(self, end: Any):
        with pytest.raises(CardError, match=r"cannot be used\. Expected finite numbers, lower <= upper; received "):
            RReLU(end, 0.5)
        with pytest.raises(CardError):
            RReLU(0.1, end)

    def test_refuses_a_range_that_is_none(self):
        with pytest.raises(CardError) as caught:
            RReLU(0.5, 0.1)
        said = "RReLU's range of slopes cannot be used. Expected finite numbers, lower <= upper; received 0.5 to 0.1."
        assert str(caught.value) == said


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("name", ["leaky_relu", "rrelu", "prelu", "elu", "selu", "celu", "gelu", "mish"])
def test_keeps_to_its_precision_in_training(name: str, policy: str):
    layer = activation(name, rank=2, dtype=policy)
    z = keras.ops.cast(np.array([[-2.0, -0.5, 1.0]]), layer.compute_dtype)
    y = layer(z, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    low, high = (1 / 8, 1 / 3) if name == "rrelu" else (-math.inf, math.inf)
    slopes = keras.ops.convert_to_numpy(keras.ops.cast(y / z, "float32"))[0, :2]
    assert (low * 0.99 <= slopes).all() and (slopes <= high * 1.01).all()
    if name != "rrelu":
        expected = FORMULAS[name](np.array([[-2.0, -0.5, 1.0]]))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")), expected, atol=0.02)


SAVED: list[dict[str, Any]] = [
    {"name": "rrelu", "lower": 0.1, "upper": 0.2},
    {"name": "prelu", "shared": "all", "initial": 0.1},
    {"name": "leaky_relu"},
    {"name": "elu", "alpha": 0.3},
    {"name": "gelu", "approximate": True},
    {"name": "celu", "alpha": 2.5},
    {"name": "selu"},
]


@pytest.mark.parametrize("spec", SAVED, ids=lambda spec: spec["name"])
def test_saved_and_loaded_gives_the_same(spec: dict[str, Any], tmp_path):
    inputs = keras.Input((6,))
    x = layers.Dense(8, name="dense")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(activation(spec, rank=2, seed=4, name="bend")(x)))
    model.compile("sgd", "mse")
    rows = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    model.fit(rows, np.ones((16, 2)), verbose=0)
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again(rows), model(rows))
    assert again.get_layer("bend").get_config() == model.get_layer("bend").get_config()


def test_layers_of_ours_let_a_mask_through():
    for layer in (RReLU(), Function("gelu", {"approximate": True})):
        x = layers.Masking()(np.array([[[1.0], [0.0]]]))
        assert layer(x)._keras_mask.numpy().tolist() == [[True, False]]
    assert RReLU().compute_output_shape((None, 3)) == (None, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: activation("rrelo"), "Keras has no activation 'rrelo'. Did you mean 'rrelu' or"),
        (lambda: activation({"alpha": 1}), "Keras has no activation None. Known: celu,"),
        (lambda: activation("elu", alfa=1), "The activation 'elu' has no argument 'alfa'. Did you mean 'alpha'?"),
        (lambda: activation("tanh", alpha=1), "The activation 'tanh' has no argument 'alpha'. It takes none."),
        (lambda: activation("prelu", rank=2, slope=1), "The activation 'prelu' has no argument 'slope'. Known: "),
        (
            lambda: activation("prelu"),
            "PReLU shares its slopes over some of its input's axes, and has to know how many there are. Expected "
            "rank = 2 for vectors, 4 for images; received rank = None.",
        ),
        (
            lambda: activation("prelu", rank=4, shared="channels"),
            "PReLU's slopes cannot be shared like that. Expected space | all | none; received 'channels'.",
        ),
        (
            lambda: activation("leaky_relu", negative_slope=-1),
            "The activation 'leaky_relu' refuses its arguments: The negative_slope value of a Leaky ReLU",
        ),
        (
            lambda: activation("threshold", threshold=1),
            "The activation 'threshold' needs arguments. Expected threshold, default_value; received no default_value.",
        ),
    ],
)
def test_what_cannot_be_made_says_why(call: Callable[[], Any], message: str):
    with pytest.raises(CardError) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "spec", ["leaky_relu", "very_leaky_relu", "rrelu", "prelu", {"name": "elu", "alpha": 0.5}], ids=str
)
def test_a_new_top_takes_the_same_names_and_starts_from_he_with_the_slope(spec: Any):
    net = zoo.replace_top(zoo.load("glyphs"), classes=3, hidden=[300], activation=spec)
    bend, dense = net.get_layer("top_activation1"), net.get_layer("top_dense1")
    assert type(bend) is type(activation(spec, rank=2))
    scale = {"very_leaky_relu": 1.923, "rrelu": 1.894, "prelu": 1.882}.get(str(spec), 2)
    assert dense.kernel.numpy().std() == pytest.approx(math.sqrt(scale / dense.kernel.shape[0]), rel=0.01)


def test_a_new_top_of_selu_drops_by_alpha_dropout():
    net = zoo.replace_top(zoo.load("glyphs"), classes=3, hidden=[30, 20], activation="selu", dropout=0.1)
    drops = [layer for layer in net.layers if layer.name in ("top_dropout1", "top_dropout2")]
    assert [type(layer) for layer in drops] == [layers.AlphaDropout] * 2
    assert len({layer.seed for layer in drops}) == 2


def test_a_new_top_of_rrelu_follows_from_its_seed():
    x = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype("float32")

    def trained(seed: int) -> Array:
        net = zoo.replace_top(zoo.load("glyphs"), classes=3, hidden=[30, 30], activation="rrelu", seed=seed)
        assert len({net.get_layer(f"top_activation{i}").seed for i in (1, 2)}) == 2
        return keras.ops.convert_to_numpy(net(x, training=True))

    np.testing.assert_array_equal(trained(1), trained(1))
    assert (trained(1) != trained(2)).any()


# --- the table of facts


def slope(name: str, at: float, step: float) -> float:
    """The slope from ``at`` to ``at + step`` of the layer itself."""
    low, high = values(activation(name, rank=2, dtype="float64"), [[at, at + step]])[0]
    return float((high - low) / step)


@pytest.mark.parametrize("name", FACTS)
def test_the_slopes_in_the_table_are_the_layers_own(name: str):
    facts = FACTS[name]
    assert slope(name, 0, -1e-6) == pytest.approx(facts.at_zero[0], abs=2e-6)
    assert slope(name, 0, 1e-6) == pytest.approx(facts.at_zero[1], abs=2e-6)
    for at, limit in zip((-500.0, 500.0), facts.at_ends, strict=True):
        found = slope(name, at, math.copysign(10.0, at))
        assert found > 1e30 if limit == math.inf else found == pytest.approx(limit, abs=1e-5)


def test_the_table_has_every_activation_of_one_number():
    aliases = {"logistic", "swish", "hard_swish"}
    assert set(FACTS) == set(names()) - NOT_OF_ONE_NUMBER - aliases


def test_what_saturates():
    found = {side: {n for n, facts in FACTS.items() if facts.saturates == side} for side in ("both", "right")}
    assert found["both"] == {
        *("tanh", "sigmoid", "softsign", "hard_tanh", "hard_sigmoid", "sparse_sigmoid", "relu6"),
    }
    assert found["right"] == {"log_sigmoid"}


def test_the_chapters_order_begins_the_table():
    order = [name for name in FACTS if name in CHAPTER_ORDER]
    assert tuple(order) == CHAPTER_ORDER


@pytest.mark.parametrize("name", [name for name in FACTS if name in SCALES])
def test_the_initializer_in_the_table_is_the_one_for_the_activation(name: str):
    text = initializer_text(name)
    if text.startswith("`"):
        named = keras.initializers.get(text.strip("`"))
        found = for_activation(name)
        assert (named.scale, named.mode, named.distribution) == (found.scale, found.mode, found.distribution)
    else:
        assert float(text.removesuffix("/n")) == pytest.approx(for_activation(name).scale, rel=5e-3)


def test_the_pages_table_is_this_one(monkeypatch: pytest.MonkeyPatch):
    root = Path(__file__).parents[2]
    monkeypatch.syspath_prepend(root / "benchmarks")
    table = importlib.import_module("activation_costs").table()
    page = (root / "docs" / "activations.md").read_text(encoding="utf-8")
    assert f"<!-- table of activations -->\n\n{table}\n\n<!-- end of" in page, (
        "python benchmarks/activation_costs.py --write"
    )
