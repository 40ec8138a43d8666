"""Initializers against their formulas, worked out here, and against Keras's own."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.errors import RecipeError
from zoo.layers import chapter_table, for_activation
from zoo.layers.initializers import SCALES

from .contract import INITIALIZERS

#: A million draws, with fan-in and fan-out far apart, so that one cannot be taken for the other.
N, M = 400, 2500
#: Where Keras cuts its normal, in standard deviations of what is left.
CUT = 2.2736944


def drawn(initializer: keras.initializers.Initializer, shape: tuple[int, ...] = (N, M)) -> np.ndarray:
    return np.asarray(initializer(shape), "float64")


FACTORS = {"logistic": 1, "sigmoid": 1, "tanh": 4} | dict.fromkeys(
    ("relu", "leaky_relu", "very_leaky_relu", "rrelu", "prelu", "elu"), 2**0.5
)


@pytest.mark.parametrize("activation", FACTORS)
def test_the_chapters_normal_has_its_sigma(activation):
    full = drawn(chapter_table(activation, seed=1))
    short = drawn(chapter_table(activation, mode="fan_in", seed=2))
    assert full.std() == pytest.approx(FACTORS[activation] * (2 / (N + M)) ** 0.5, rel=0.005)
    assert short.std() == pytest.approx(FACTORS[activation] / N**0.5, rel=0.005)
    assert abs(full.mean()) < 0.005 * full.std()


@pytest.mark.parametrize("activation", FACTORS)
def test_the_chapters_uniform_has_its_bounds(activation):
    for mode, r in (("fan_avg", (6 / (N + M)) ** 0.5), ("fan_in", (3 / N) ** 0.5)):
        found = drawn(chapter_table(activation, distribution="uniform", mode=mode, seed=3))
        bound = FACTORS[activation] * r
        assert bound * (1 - 1e-4) < found.max() <= bound * (1 + 1e-6)
        assert -bound * (1 + 1e-6) <= found.min() < -bound * (1 - 1e-4)
        assert found.std() == pytest.approx(bound / 3**0.5, rel=0.005)


def test_the_chapter_has_its_rows_only():
    with pytest.raises(RecipeError, match=r"has no row for 'selu'\. .*Use for_activation\('selu'\)\."):
        chapter_table("selu")
    with pytest.raises(RecipeError, match="Did you mean 'tanh'"):
        chapter_table("tan")


#: What a weight's variance is, times its fan; worked out from the sources that the docstring names.
THEORY = {
    "logistic": 16,
    "tanh": 1,
    "hard_sigmoid": 36,
    "relu": 2,
    "leaky_relu": 1.99980002,
    "very_leaky_relu": 1.92307692,
    "prelu": 1.88235294,
    "rrelu": 1.89369863,
    "elu": 2,
    "gelu": 2,
    "softplus": 2,
    "selu": 1,
    "linear": 1,
    "softmax": 1,
}


@pytest.mark.parametrize("activation", THEORY)
@pytest.mark.parametrize(("mode", "fan"), [("fan_in", N), ("fan_avg", (N + M) / 2), ("fan_out", M)])
def test_theorys_spread_is_that_of_its_formula(activation, mode, fan):
    normal = drawn(for_activation(activation, mode=mode, seed=4))
    uniform = drawn(for_activation(activation, distribution="uniform", mode=mode, seed=5))
    sigma = (THEORY[activation] / fan) ** 0.5
    assert normal.std() == pytest.approx(sigma, rel=0.005)
    assert uniform.std() == pytest.approx(sigma, rel=0.005)
    assert 0.9999 < uniform.max() / (3**0.5 * sigma) <= 1.000001


def test_a_normal_draw_is_cut_and_keeps_its_sigma():
    found = drawn(for_activation("relu", seed=6))
    sigma = (2 / N) ** 0.5
    assert 2.25 < np.abs(found).max() / sigma <= CUT
    bare = drawn(keras.initializers.TruncatedNormal(stddev=sigma, seed=6))
    assert bare.std() == pytest.approx(0.8796 * sigma, rel=0.005)
    uncut = drawn(keras.initializers.VarianceScaling(2, distribution="untruncated_normal", seed=6))
    assert np.mean(np.abs(uncut) > CUT * sigma) == pytest.approx(1 / 43.5, rel=0.05)


@pytest.mark.parametrize(
    ("ours", "keras_name"),
    [
        (for_activation("relu", seed=7), "he_normal"),
        (for_activation("elu", distribution="uniform", seed=7), "he_uniform"),
        (for_activation("selu", seed=7), "lecun_normal"),
        (for_activation("tanh", mode="fan_avg", seed=7), "glorot_normal"),
        (chapter_table("logistic", distribution="uniform", seed=7), "glorot_uniform"),
    ],
)
def test_kerass_own_draw_the_same_weights(ours, keras_name):
    own = keras.initializers.get({"class_name": keras_name, "config": {"seed": 7}})
    assert np.array_equal(drawn(ours, (3, 3, 8, 16)), drawn(own, (3, 3, 8, 16)))


def test_convolutions_count_their_window():
    found = drawn(for_activation("relu", seed=8), (3, 3, 50, 2000))
    assert found.std() == pytest.approx((2 / (9 * 50)) ** 0.5, rel=0.005)


layers = keras.layers

#: Layers with an initializer, what they take, and the fan-in that Keras counts: window times inputs, by hand.
KERNELS = {
    "Dense": (lambda k: layers.Dense(300, kernel_initializer=k), (400,), 400),
    "Conv1D": (lambda k: layers.Conv1D(200, 5, kernel_initializer=k), (9, 60), 5 * 60),
    "Conv2D": (lambda k: layers.Conv2D(300, 3, kernel_initializer=k), (9, 9, 40), 9 * 40),
    "Conv2D, groups": (lambda k: layers.Conv2D(400, 3, groups=4, kernel_initializer=k), (9, 9, 40), 9 * 10),
    "EinsumDense": (lambda k: layers.EinsumDense("ab,bc->ac", 300, kernel_initializer=k), (400,), 400),
    # The channels are counted too, though each unit sees its own alone.
    "DepthwiseConv2D": (
        lambda k: layers.DepthwiseConv2D(5, depth_multiplier=4, depthwise_initializer=k),
        (9, 9, 300),
        25 * 300,
    ),
    # The outputs are taken for the inputs.
    "Conv2DTranspose": (lambda k: layers.Conv2DTranspose(30, 3, kernel_initializer=k), (9, 9, 200), 9 * 30),
}


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("name", INITIALIZERS)
def test_each_kind_of_kernel_has_the_spread_and_the_bounds_of_its_fan_in(name, kind):
    (make, deviation, largest), (layer, shape, fan) = INITIALIZERS[name], KERNELS[kind]
    made = layer(make(seed=3))
    made.build((None, *shape))
    kernel = np.asarray(keras.ops.convert_to_numpy(made.kernel), "float64") * fan**0.5
    assert kernel.size >= 30_000
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert abs(kernel.mean()) < 5 * deviation / kernel.size**0.5
    assert 0.99 * largest < np.abs(kernel).max() <= largest * (1 + 1e-4)


def test_the_axes_that_the_page_gives_mend_what_keras_miscounts():
    scaling = keras.initializers.VarianceScaling
    each = scaling(2.0, input_axes=[0, 1], output_axes=[0, 1, 3], seed=1)
    back = scaling(2.0, input_axes=[0, 1, 3], output_axes=[0, 1, 2], seed=1)
    for name, initializer, fan in (("DepthwiseConv2D", each, 25), ("Conv2DTranspose", back, 9 * 200)):
        layer, shape, _ = KERNELS[name]
        made = layer(initializer)
        made.build((None, *shape))
        kernel = np.asarray(keras.ops.convert_to_numpy(made.kernel), "float64")
        assert kernel.std() == pytest.approx((2 / fan) ** 0.5, rel=0.02)


Z = np.linspace(-12, 12, 200_001)
DENSITY = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


def of(name: str, z: np.ndarray) -> np.ndarray:
    return np.asarray(getattr(keras.activations, name)(keras.ops.convert_to_tensor(z)), "float64")


@pytest.mark.parametrize(
    "name", ["linear", "tanh", "hard_tanh", "softsign", "sigmoid", "hard_sigmoid", "sparse_sigmoid"]
)
def test_a_unit_near_zero_passes_its_input_on(name):
    above, below = of(name, np.array([1e-3, -1e-3]))
    slope = (above - below) / 2e-3
    assert SCALES[name] == pytest.approx(1 / slope**2, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "slope"), [("relu", 0.0), ("leaky_relu", 0.01), ("very_leaky_relu", 0.2), ("prelu", 0.25)]
)
def test_a_rectifier_gets_back_the_variance_that_it_loses(name, slope):
    square = (DENSITY * np.where(Z < 0, slope * Z, Z) ** 2).sum()
    assert SCALES[name] == pytest.approx(1 / square, rel=1e-6)


def test_rrelu_counts_the_mean_square_of_its_slopes():
    slopes = np.linspace(1 / 8, 1 / 3, 100_001)
    assert SCALES["rrelu"] == pytest.approx(2 / (1 + np.mean(slopes**2)), rel=1e-5)


def mean_square(name: str, variance: float) -> float:
    """What an activation makes of weighted sums of this variance."""
    return float((DENSITY * of(name, variance**0.5 * Z) ** 2).sum())


@pytest.mark.parametrize(("name", "biases"), [("gelu", 0.17), ("silu", 0.56), ("mish", 0.09), ("hard_silu", 0.51)])
def test_smooth_rectifiers_are_near_a_scale_that_holds_signals_with_random_biases_alone(name, biases):
    """Roberts et al., 2022: at one variance both signals and small differences neither grow nor shrink."""

    def scale_at(variance: float) -> tuple[float, float]:
        root = variance**0.5
        f, slope = of(name, root * Z), np.gradient(of(name, root * Z), root * Z)
        scale = 1 / (DENSITY * slope**2).sum()
        growth = scale / (2 * variance**2) * (DENSITY * (variance * Z**2 - variance) * f**2).sum()
        return scale, growth - 1

    low, high = 0.3, 20.0
    signs = [np.sign(scale_at(v)[1]) for v in (low, high)]
    assert signs[0] != signs[1]
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.sign(scale_at(middle)[1]) == signs[0] else (low, middle)
    scale = scale_at(low)[0]
    assert SCALES[name] == pytest.approx(scale, rel=0.02)
    assert low - scale * mean_square(name, low) == pytest.approx(biases, abs=0.006)  # what biases have to add


def by_depth(name: str, depth: int) -> list[float]:
    """The mean square of the weighted sums in each layer, in the limit of wide ones, with biases of 0."""
    found = [1.0]
    while len(found) < depth:
        found.append(SCALES[name] * mean_square(name, found[-1]))
    return found


def test_the_page_says_what_depth_does_to_the_signal():
    page = (Path(__file__).parents[2] / "docs" / "initializers.md").read_text(encoding="utf-8")
    table = page.split("<!-- table of depth -->")[1].split("<!-- end of table of depth -->")[0]
    depths = [int(depth) for depth in re.findall(r"\b\d+\b", table.strip().splitlines()[0])]
    said = {}
    for row in table.strip().splitlines()[2:]:
        names, _, *values = row.strip("|").split("|")
        said |= {name: [float(value) for value in values] for name in re.findall(r"`(\w+)`", names)}
    assert depths == [5, 10, 20, 50] and {"relu", "elu", "gelu", "silu", "mish", "hard_silu", "tanh"} <= set(said)
    for name, values in said.items():
        found = by_depth(name, depths[-1])
        assert [float(f"{found[depth - 1]:.2g}") for depth in depths] == values


def test_a_network_fades_as_the_page_says():
    """The integral against matrices: where fluctuations are small, one wide network is enough."""
    y = np.random.default_rng(0).normal(0, 0.5**0.5, (300, 600)).astype("float32")
    for layer, wanted in enumerate(by_depth("silu", 8)):
        z = y @ np.asarray(for_activation("silu", seed=layer)((600, 600)))
        assert np.square(z).mean() == pytest.approx(wanted, rel=0.35)
        y = of("silu", z).astype("float32")
    assert np.square(z).mean() < 0.05


def test_selu_keeps_mean_0_and_variance_1():
    values = of("selu", Z)
    assert (DENSITY * values).sum() == pytest.approx(0, abs=1e-4)
    assert SCALES["selu"] * (DENSITY * values**2).sum() == pytest.approx(1, rel=1e-4)


def test_another_slope_can_be_given():
    assert for_activation("leaky_relu", slope=0.5).scale == pytest.approx(1.6)
    assert for_activation("prelu", slope=0).scale == 2
    with pytest.raises(RecipeError, match=r"The slope of 'elu' cannot be chosen\. Received slope=0\.1\. Use"):
        for_activation("elu", slope=0.1)


def test_what_theory_does_not_know_is_refused():
    with pytest.raises(RecipeError, match="No initializer is known to suit the activation 'exponential'"):
        for_activation("exponential")
    with pytest.raises(RecipeError, match=r"no mode 'fan'\. Expected fan_in \| fan_avg \| fan_out\."):
        for_activation("relu", mode="fan")
    with pytest.raises(RecipeError, match=r"no distribution 'gauss'\. Expected normal \| uniform\."):
        chapter_table("relu", distribution="gauss")


def test_seeds_tell_kernels_apart_and_repeat_them():
    one, same, other = (drawn(for_activation("relu", seed=s), (20, 30)) for s in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_a_saved_network_needs_nothing_of_ours(tmp_path):
    kernel = for_activation("relu", seed=3)
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=kernel)])
    net.save(tmp_path / "net.keras")
    assert "zoo" not in (config := str(net.get_config())) and "VarianceScaling" in config
    again = keras.saving.load_model(tmp_path / "net.keras").layers[0].kernel_initializer
    assert type(again) is keras.initializers.VarianceScaling and again.get_config() == kernel.get_config()


def test_the_page_has_every_scale():
    page = (Path(__file__).parents[2] / "docs" / "initializers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \| ([\d.]+) \|", page, re.MULTILINE)
    said = {name: float(scale) for names, scale in rows for name in re.findall(r"`(\w+)`", names)}
    assert said == {name: pytest.approx(scale, rel=5e-4) for name, scale in SCALES.items()}


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int64])
def test_slopes_of_numpy_are_numbers(kind):
    half_up = kind(1)
    assert for_activation("leaky_relu", slope=half_up).scale == 1.0
    assert for_activation({"name": "rrelu", "lower": half_up, "upper": half_up}).scale == 1.0
    with pytest.raises(RecipeError, match="Expected a finite number"):
        for_activation("leaky_relu", slope=kind(1) == 1)
