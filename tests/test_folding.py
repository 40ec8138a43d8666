"""Batch normalization folded into what stands beside it: the same outputs, fewer layers."""

import gc
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from benchmarks import folding as measured
from zoo.layers import FrozenBatchNorm
from zoo.precision import in_precision

from .networks import NETWORKS, gap, images, small_convnet, values
from .processors import takes_channels_first

layers = keras.layers
Make = Callable[..., Any]

#: Every kind of layer that takes a batch normalization in, with an input shape; all of them pad nothing.
KINDS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "Dense": (lambda **k: layers.Dense(4, **k), (6,)),
    "Dense on steps": (lambda **k: layers.Dense(4, **k), (5, 6)),
    "Conv1D": (lambda **k: layers.Conv1D(4, 3, strides=2, **k), (9, 6)),
    "Conv2D": (lambda **k: layers.Conv2D(4, (3, 2), dilation_rate=2, **k), (9, 8, 6)),
    "Conv2D in groups": (lambda **k: layers.Conv2D(4, 3, groups=2, **k), (6, 7, 6)),
    "Conv2D, channels first": (lambda **k: layers.Conv2D(4, 3, data_format="channels_first", **k), (6, 5, 7)),
    "Conv2D, one pixel": (lambda **k: layers.Conv2D(4, 1, strides=2, padding="same", **k), (5, 5, 6)),
    "Conv3D": (lambda **k: layers.Conv3D(4, 2, **k), (4, 3, 4, 6)),
    "DepthwiseConv1D": (lambda **k: layers.DepthwiseConv1D(3, depth_multiplier=2, **k), (7, 6)),
    "DepthwiseConv2D": (lambda **k: layers.DepthwiseConv2D(3, depth_multiplier=3, **k), (6, 7, 6)),
    "SeparableConv1D": (lambda **k: layers.SeparableConv1D(4, 3, depth_multiplier=2, **k), (7, 6)),
    "SeparableConv2D": (lambda **k: layers.SeparableConv2D(4, 3, **k), (6, 7, 6)),
}

#: These give a batch normalization's channels too, but pad, or sum over something else.
BELOW_ONLY: dict[str, tuple[Make, tuple[int, ...]]] = {
    "Conv1D, causal": (lambda **k: layers.Conv1D(4, 3, padding="causal", **k), (9, 6)),
    "Conv2D, padded": (lambda **k: layers.Conv2D(4, 3, padding="same", **k), (6, 7, 6)),
    "Conv1DTranspose": (lambda **k: layers.Conv1DTranspose(4, 3, **k), (5, 6)),
    "Conv2DTranspose": (lambda **k: layers.Conv2DTranspose(4, 3, strides=2, **k), (3, 4, 6)),
    "Conv3DTranspose": (lambda **k: layers.Conv3DTranspose(4, 2, **k), (3, 2, 3, 6)),
    "EinsumDense": (lambda use_bias, **k: _einsum("abc,cd->abd", (None, 4), use_bias, **k), (5, 6)),
    "EinsumDense, short": (lambda use_bias, **k: _einsum("...x,yx->...y", 4, use_bias, **k), (5, 6)),
}


def _einsum(equation: str, shape: Any, use_bias: bool, **options: Any) -> keras.layers.Layer:
    return layers.EinsumDense(equation, shape, bias_axes=equation[-1] if use_bias else None, **options)


def randomly(layer: Any, seed: int = 0) -> Any:
    """Gives every variable values that are nothing special; kernels keep the size of what they take."""
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        size = np.sqrt(np.prod(variable.shape[:-1]))
        variable.assign(rng.uniform(0.3, 2, variable.shape) * rng.choice([-1, 1], variable.shape) / size)
    for norm in layer._flatten_layers():
        if hasattr(norm, "moving_variance"):
            norm.moving_variance.assign(np.abs(norm.moving_variance))
    return layer


def chain(shape: tuple[int, ...], *parts: Any, name: str = "chain") -> keras.Model:
    inputs = keras.Input(shape, name="given")
    x = inputs
    for part in parts:
        x = part(x)
    return randomly(keras.Model(inputs, x, name=name))


def numbers(model: keras.Model, count: int = 16) -> np.ndarray:
    return np.random.default_rng(1).normal(0.5, 2, (count, *model.input_shape[1:])).astype("float32")


def check(model: keras.Model, folded: set[str] | None = None, tolerance: float = 1e-5) -> keras.Model:
    """Folds a network, and checks what must hold for each."""
    before, x = values(model), numbers(model)
    result = zoo.fold_batch_norm(model)
    pairs = [keras.tree.flatten(network(x, training=False)) for network in (model, result)]
    assert all(gap(one, other) < tolerance for one, other in zip(*pairs, strict=True))
    assert values(model) == before, "the original is as it was"
    assert [t.name for t in result.inputs] == [t.name for t in model.inputs]
    assert result.output_names == model.output_names
    decision = zoo.foldable(model)
    assert folded is None or set(decision.folded) == folded
    left = {layer.name for layer in result.layers if isinstance(layer, (layers.BatchNormalization, FrozenBatchNorm))}
    assert left == {row.norm for row in decision.rows if not row.into}
    again = keras.tree.flatten(saved_and_loaded(result)(x, training=False))
    assert all(np.array_equal(one, other) for one, other in zip(pairs[1], again, strict=True))
    return result


def saved_and_loaded(model: keras.Model) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "folded.keras")
        return keras.models.load_model(Path(folder) / "folded.keras")


def axis_of(layer: Any) -> int:
    return 1 if getattr(layer, "data_format", "") == "channels_first" else -1


def skip_where_it_cannot_run(kind: str) -> None:
    if "channels first" in kind and not takes_channels_first():
        pytest.skip("TensorFlow does not convolve with the channels first on this processor")


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", KINDS | BELOW_ONLY)
def test_into_the_layer_below(kind: str, use_bias: bool):
    make, shape = (KINDS | BELOW_ONLY)[kind]
    skip_where_it_cannot_run(kind)
    low = make(use_bias=use_bias, name="low")
    model = chain(shape, low, layers.BatchNormalization(axis_of(low), name="norm"), layers.ReLU(name="top"))
    result = check(model, {"norm"})
    assert [layer.name for layer in result.layers] == ["given", "low", "top"]
    assert str(zoo.foldable(model).rows[0]) == "Fold(norm='norm', into='low', below=True, reason='')"


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_into_the_layer_above(kind: str, use_bias: bool):
    make, shape = KINDS[kind]
    skip_where_it_cannot_run(kind)
    high = make(use_bias=use_bias, activation="tanh", name="high")
    model = chain(shape, layers.BatchNormalization(axis_of(high), name="norm"), high)
    result = check(model, {"norm"})
    assert [layer.name for layer in result.layers] == ["given", "high"]
    assert not zoo.foldable(model).rows[0].below


@settings(max_examples=25)
@given(
    plan=st.lists(st.sampled_from(["dense", "norm", "frozen", "relu"]), min_size=1, max_size=7),
    center=st.booleans(),
    scale=st.booleans(),
    epsilon=st.sampled_from([1e-5, 1e-3, 0.1]),
    seed=st.integers(0, 99),
)
def test_any_chain_of_layers(plan: list[str], center: bool, scale: bool, epsilon: float, seed: int):
    options = {"center": center, "scale": scale, "epsilon": epsilon}
    make: dict[str, Callable[[], Any]] = {
        "dense": lambda: layers.Dense(4),
        "norm": lambda: layers.BatchNormalization(**options),
        "frozen": lambda: FrozenBatchNorm(**options),
        "relu": lambda: layers.ReLU(negative_slope=0.5),
    }
    model = chain((4,), *(make[part]() for part in plan))
    randomly(model, seed)
    result = check(model)
    expected = 0  # by hand: what touches a dense layer with only batch norms between folds; the others stay
    for i, part in enumerate(plan):
        near = [next((p for p in side if p not in ("norm", "frozen")), "") for side in (plan[:i][::-1], plan[i + 1 :])]
        expected += part in ("norm", "frozen") and "dense" not in near
    assert sum(isinstance(layer, (layers.BatchNormalization, FrozenBatchNorm)) for layer in result.layers) == expected


@pytest.mark.parametrize("name", ["convnet", "skipping", "nested", "sequential"])
def test_live_networks_compute_the_same(name: str):
    build, inputs = NETWORKS[name]
    model, x = build(), inputs()
    result = zoo.fold_batch_norm(model)
    assert gap(model(x, training=False), result(x, training=False)) < 1e-5
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in result._flatten_layers())


def test_the_shipped_network_on_real_digits():
    model, digits = zoo.load("glyphs"), zoo.open_data("digits")
    x = digits.batch(np.arange(100), zoo.data.InputForm("image", model.input_shape[1:]))
    result = zoo.fold_batch_norm(model)
    assert gap(model.predict(x, verbose=0), result.predict(x, verbose=0)) < 1e-5
    assert len(zoo.foldable(model).folded) == 6


def test_a_wrong_fold_would_be_seen(monkeypatch: pytest.MonkeyPatch):
    """The comparison above sees one channel's offset that is off by a thousandth."""
    right = zoo.folding._scale_and_shift

    def off(norm: Any) -> Any:
        scale, shift = right(norm)
        return scale, shift + 1e-3 * np.eye(len(shift))[0]

    monkeypatch.setattr(zoo.folding, "_scale_and_shift", off)
    model, x = small_convnet(output="linear"), images(16)
    assert gap(model(x, training=False), zoo.fold_batch_norm(model)(x, training=False)) > 1e-4


def test_worked_by_hand():
    """y = 3 (2x + 1 - 5) / sqrt(3 + 1) + 7 = 3x + 1."""
    low, norm = layers.Dense(1, name="low"), layers.BatchNormalization(epsilon=1.0, name="norm")
    model = chain((1,), low, norm)
    for variable, value in zip((*low.weights, *norm.weights), (2, 1, 3, 7, 5, 3), strict=True):
        variable.assign(np.full(variable.shape, value))
    folded = zoo.fold_batch_norm(model).get_layer("low")
    assert [float(np.squeeze(v)) for v in folded.get_weights()] == [3.0, 1.0]


@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_float16", 0.02), ("mixed_bfloat16", 0.15)])
def test_mixed_precision_differs_by_its_own_rounding(policy: str, tolerance: float):
    """Half the tolerance, 8 (float16) or 2 (bfloat16) units in the last place, is what the network itself is off by."""
    wide = small_convnet(output="linear")
    model, x = in_precision(wide, policy), images(16)
    result = zoo.fold_batch_norm(model)
    assert {layer.compute_dtype for layer in result.layers if "conv" in layer.name} == {policy.removeprefix("mixed_")}
    assert gap(wide(x, training=False), model(x, training=False)) < tolerance
    assert gap(wide(x, training=False), result(x, training=False)) < tolerance


def test_a_network_of_float64_is_exact():
    model = chain((6,), layers.Dense(4, dtype="float64"), layers.BatchNormalization(dtype="float64"))
    check(model, tolerance=1e-12)


def test_an_output_keeps_its_name():
    inputs = keras.Input((4,), name="given")
    x = layers.BatchNormalization(name="embedding")(layers.Dense(3, name="low")(inputs))
    result = check(randomly(keras.Model(inputs, {"a": x, "b": layers.ReLU(name="high")(x)})), {"embedding"})
    assert isinstance(result.get_layer("embedding"), layers.Identity)
    assert set(result(np.ones((1, 4)))) == {"a", "b"}


def test_a_network_of_plain_keras_comes_back(tmp_path):
    model = zoo.freeze_batch_norm(small_convnet())
    zoo.fold_batch_norm(model).save(tmp_path / "folded.keras")
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    assert all(type(layer).__module__.startswith("keras.") for layer in loaded.layers)
    assert gap(model(images(8)), loaded(images(8))) < 1e-5


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16"])
def test_an_output_that_was_folded_comes_back_without_zoo(policy: str, tmp_path: Path):
    """In a process that has Keras alone."""
    parts = [layers.Dense(3, name="low"), layers.BatchNormalization(name="norm")]
    for part in parts:
        part.dtype_policy = policy
    result = zoo.fold_batch_norm(chain((4,), *parts))
    result.save(tmp_path / "folded.keras")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    code = """
import sys, keras, numpy as np
y = keras.models.load_model("folded.keras")(np.load("x.npy"))
np.save("y.npy", keras.ops.convert_to_numpy(keras.ops.cast(y, "float64")))
assert not any(name.split(".")[0] == "zoo" for name in sys.modules)
print(keras.backend.standardize_dtype(y.dtype))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == [policy.removeprefix("mixed_")], done.stderr
    expected = keras.ops.convert_to_numpy(keras.ops.cast(result(x), "float64"))
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)


def test_penalties_and_constraints_on_the_old_values_go():
    penalty: Any = {"kernel_regularizer": "l2", "kernel_constraint": "max_norm", "activity_regularizer": "l1"}
    model = chain((4,), layers.Dense(3, name="low", **penalty), layers.BatchNormalization(), layers.Dense(2, **penalty))
    result = zoo.fold_batch_norm(model)
    low, top = result.layers[1:]
    assert (low.kernel_regularizer, low.kernel_constraint, low.activity_regularizer) == (None, None, None)
    assert top.kernel_regularizer is not None, "nothing was folded into it"


def test_switches_stay():
    model = chain((4,), layers.Dense(3, name="low"), layers.BatchNormalization(), layers.Dense(2, name="top"))
    model.get_layer("low").trainable = False
    result = zoo.fold_batch_norm(model)
    assert [result.get_layer(n).trainable for n in ("low", "top")] == [False, True]


def test_a_network_without_batch_norm_is_copied():
    model = chain((4,), layers.Dense(3))
    result = check(model, set())
    assert result.layers[1].kernel is not model.layers[1].kernel
    assert str(zoo.foldable(model)).splitlines()[-1] == "0 of 0 can be folded"


def used_twice() -> keras.Model:
    inputs = keras.Input((4,), name="given")
    low = layers.Dense(4, name="low")(inputs)
    return randomly(keras.Model(inputs, layers.BatchNormalization(name="norm")(low) + low))


def shared_layer() -> keras.Model:
    inputs = keras.Input((4,), name="given")
    low = layers.Dense(4, name="low")
    return randomly(keras.Model(inputs, layers.BatchNormalization(name="norm")(low(low(inputs)))))


def shared_norm() -> keras.Model:
    inputs = keras.Input((4,), name="given")
    norm = layers.BatchNormalization(name="norm")
    return randomly(keras.Model(inputs, norm(layers.Dense(4, name="high")(norm(layers.Dense(4, name="low")(inputs))))))


def shared_above() -> keras.Model:
    inputs = keras.Input((4,), name="given")
    high = layers.Dense(4, name="high")
    return randomly(keras.Model(inputs, high(layers.BatchNormalization(name="norm")(inputs)) + high(inputs * 2.0)))


def in_training_mode() -> keras.Model:
    inputs = keras.Input((4,), name="given")
    x = layers.BatchNormalization(name="norm")(layers.Dense(4, name="low")(inputs), training=True)
    return randomly(keras.Model(inputs, x))


def used_twice_above() -> keras.Model:
    inputs = keras.Input((4,), name="given")
    norm = layers.BatchNormalization(name="norm")(inputs)
    return randomly(keras.Model(inputs, layers.Dense(4, name="high")(norm) + norm))


class Own(layers.BatchNormalization):
    """A batch normalization of the user's own."""


def adapted() -> keras.Model:
    low = layers.Dense(4, name="low")
    model = chain((4,), low, layers.BatchNormalization(name="norm"))
    low.enable_lora(2)
    return model


def two_policies() -> keras.Model:
    return chain((4,), layers.Dense(4, name="low", dtype="mixed_bfloat16"), layers.BatchNormalization(name="norm"))


def norm_then(*parts: Any, shape: tuple[int, ...] = (4,)) -> Callable[[], keras.Model]:
    return lambda: chain(shape, layers.BatchNormalization(name="norm"), *(part() for part in parts))


def then_norm(*parts: Any, shape: tuple[int, ...] = (4,), **options: Any) -> Callable[[], keras.Model]:
    return lambda: chain(shape, *(part() for part in parts), layers.BatchNormalization(name="norm", **options))


STAYING: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "an activation between": (
        then_norm(lambda: layers.Dense(4), lambda: layers.ReLU(name="act")),
        "'act' (ReLU) is no dense or convolutional layer",
    ),
    "an activation fused": (
        then_norm(lambda: layers.Dense(4, activation="tanh", name="low")),
        "'low' has an activation, tanh",
    ),
    "used elsewhere": (used_twice, "what 'low' gives is used elsewhere too"),
    "a shared layer": (shared_layer, "'low' is called 2 times"),
    "a shared norm": (shared_norm, "it is called 2 times"),
    "a shared layer above": (shared_above, "it takes the network's input; 'high' above is called 2 times"),
    "used twice above": (used_twice_above, "it takes the network's input"),
    "training mode": (in_training_mode, "it is called with training=True"),
    "another axis": (
        then_norm(lambda: layers.Conv1D(4, 2, name="low"), shape=(5, 3), axis=1),
        "it normalizes axis 1, not the channels of 'low'",
    ),
    "its own kind": (lambda: chain((4,), layers.Dense(4), Own(name="norm")), "it is of a kind of its own (Own)"),
    "an adapter": (adapted, "'low' has an adapter (LoRA)"),
    "two policies": (two_policies, "'low' computes in bfloat16, not in float32"),
    "padding above": (
        norm_then(lambda: layers.Conv2D(2, 3, padding="same", name="high"), shape=(5, 5, 3)),
        "it takes the network's input; 'high' above takes less at the borders",
    ),
    "transposed above": (
        norm_then(lambda: layers.Conv2DTranspose(2, 3, name="high"), shape=(5, 5, 3)),
        "it takes the network's input; 'high' above takes less at the borders",
    ),
    "flattened above": (
        norm_then(lambda: layers.Flatten(name="flat"), lambda: layers.Dense(2), shape=(5, 5, 3)),
        "it takes the network's input",
    ),
    "a bias along two axes": (
        then_norm(lambda: layers.EinsumDense("ab,bcd->acd", (2, 3), bias_axes="cd", name="low")),
        "'low' has no kernel or bias along its last axis alone (ab,bcd->acd)",
    ),
}


@pytest.mark.parametrize("case", STAYING)
def test_what_cannot_be_folded_stays_and_says_why(case: str):
    build, reason = STAYING[case]
    model = build()
    assert [(row.norm, row.into, row.reason) for row in zoo.foldable(model).rows] == [("norm", None, reason)]
    result = zoo.fold_batch_norm(model)
    x = numbers(model)
    tolerance = 1e-6 if case != "two policies" else 0.02
    assert gap(model(x, training=False), result(x, training=False)) < tolerance
    assert any(layer.name == "norm" for layer in result.layers)


def test_one_inside_another_layer_is_listed():
    model = chain((5, 4), layers.TimeDistributed(layers.BatchNormalization(name="norm"), name="steps"))
    assert str(zoo.foldable(model)) == (
        "batch norm  folded into  why not\n"
        "steps/norm  -            it is inside 'steps' (TimeDistributed)\n"
        "0 of 1 can be folded"
    )


def test_a_subclassed_network_that_is_made_of_keras_calls():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.low, self.norm = layers.Dense(3, name="low"), layers.BatchNormalization(name="norm")

        def call(self, inputs):
            return keras.ops.relu(self.norm(self.low(inputs)))

    model = Net()
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    model(x)
    randomly(model)
    assert zoo.foldable(model).folded == ("norm",)
    assert gap(model(x), zoo.fold_batch_norm(model)(x)) < 1e-5


@pytest.fixture
def _forget_networks() -> Iterator[None]:
    yield
    keras.backend.clear_session()
    gc.collect()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("_forget_networks")
@pytest.mark.parametrize("name", measured.NETWORKS)
def test_networks_of_keras_applications(name: str):
    """In float64 the fold is exact; in float32 it is as near to that as the network itself is."""
    row = measured.measure(name, size=0, rounds=0)
    assert row.exact < 1e-9
    assert row.folded < 2 * row.plain
    assert row.layers_after < row.layers_before
    assert row.norms - row.left == {"DenseNet121": 59}.get(name, row.norms)
