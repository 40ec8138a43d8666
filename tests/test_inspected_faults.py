"""Networks that ``zoo.inspect`` once read wrongly, each with what it has to say of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.networks import images
from zoo.copying import clone
from zoo.inspection_result import Inspection
from zoo.probing import opened, places, references
from zoo.remedy import Setting, remedy
from zoo.verdict import Figures, judge

layers = keras.layers
ops = keras.ops
NAN, FINE = Figures(finite=False), Figures()


def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(96, 8)).astype("float32"), rng.integers(0, 3, 96)


def tokens() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).integers(1, 50, (96, 12))
    return x, x[:, 0] % 2


def stack(activation: str, initializer: Any, *, spoil: Callable[[Any], Any] | None = None) -> keras.Model:
    """Three hidden layers, of which ``spoil`` changes the second's kernel."""
    keras.utils.set_random_seed(0)
    inner = [layers.Dense(8, activation=activation, kernel_initializer=initializer, name=f"low{i}") for i in (1, 2, 3)]
    model = keras.Sequential([keras.Input((8,)), *inner, layers.Dense(3, activation="softmax", name="top")])
    if spoil is not None:
        kernel = model.get_layer("low2").kernel
        kernel.assign(spoil(np.array(kernel)))
    return model


def one_nan(kernel: np.ndarray) -> np.ndarray:
    kernel[0, 0] = np.nan
    return kernel


def between(operation: Callable[[Any], Any]) -> keras.Model:
    """An operation between two dense layers."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8,))
    return keras.Model(inputs, layers.Dense(3, name="top")(operation(layers.Dense(6, name="low")(inputs))))


def embedded(dtype: str | None, below: Callable[[Any], Any] = lambda x: x) -> keras.Model:
    """Tokens behind an input of some type, through something that leaves them what they are."""
    inputs = keras.Input((12,), dtype=dtype)
    table = layers.Embedding(50, 6, embeddings_initializer=keras.initializers.RandomNormal(seed=1), name="table")
    x = layers.GlobalAveragePooling1D()(table(below(inputs)))
    top = layers.Dense(2, activation="softmax", kernel_initializer=keras.initializers.GlorotNormal(2), name="top")
    return keras.Model(inputs, top(x))


@dataclass(frozen=True)
class Case:
    """A network, what ails it, and what is to be said: the verdict, the layer at fault, and words of the advice."""

    fault: str
    model: Callable[[], keras.Model]
    verdict: str
    layer: str
    said: tuple[str, ...]
    unsaid: tuple[str, ...] = ()


AT_RANDOM = "Draw its weights at random, kernel_initializer=zoo.layers.for_activation('{}'): all of them are equal"
TOO = "A fresh network has it too. "
NOT_TOO = "A fresh network does not have it. "

CASES = (
    Case(
        "ReLU, all weights start at 0",
        lambda: stack("relu", "zeros"),
        "dead",
        "low1",
        (TOO + AT_RANDOM.format("relu"),),
        ("'elu'", "lsuv", "biases"),
    ),
    Case(
        "tanh, all weights start at 0",
        lambda: stack("tanh", "zeros"),
        "vanishing",
        "low1",
        (TOO + AT_RANDOM.format("tanh"),),
        ("lsuv", "BatchNormalization"),
    ),
    Case(
        "tanh, all weights start at 5",
        lambda: stack("tanh", keras.initializers.Constant(5.0)),
        "saturated",
        "low1",
        (TOO + AT_RANDOM.format("tanh"),),
        ("lsuv",),
    ),
    Case(
        "ReLU, one layer's weights have become 0",
        lambda: stack("relu", "he_normal", spoil=np.zeros_like),
        "dead",
        "low2",
        (NOT_TOO + "All of its weights are equal: load the right file, or train fresh ones: --from-scratch",),
        ("'elu'", "--learning-rate"),
    ),
    Case(
        "one weight is NaN",
        lambda: stack("relu", "he_normal", spoil=one_nan),
        "exploding",
        "low2",
        (NOT_TOO + "Start again from weights that are numbers",),
    ),
    Case(
        "weights so large that values outgrow 32 bits",
        lambda: stack("relu", "he_normal", spoil=lambda kernel: kernel * 1e38 * 1e2),
        "exploding",
        "low2",
        (NOT_TOO,),
    ),
    Case(
        "the logarithm of numbers below 0",
        lambda: between(ops.log),
        "exploding",
        "top",
        (TOO + "It is not the weights. Look at it and below it for an operation that gives no number",),
        ("--learning-rate", "weights that are numbers"),
    ),
    Case(
        "a root where numbers are 0",
        lambda: between(lambda x: ops.sqrt(ops.relu(x))),
        "exploding",
        "low",
        (
            TOO + "It is not the weights. Look above it for an operation that has no finite slope",
            "loss and its targets",
        ),
        ("--learning-rate", "weights that are numbers"),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
def test_the_cause_is_named_with_what_mends_it(case):
    with np.errstate(over="ignore"):
        found = zoo.inspect(case.model(), *vectors())
    assert (found.verdict, found.worst.layer) == (case.verdict, case.layer)
    for words in case.said:
        assert words in found.summary
    for words in case.unsaid:
        assert words not in found.worst.advice


def test_weights_drawn_at_random_as_advised_mend_it():
    for activation in ("relu", "tanh"):
        assert "for_activation" in zoo.inspect(stack(activation, "zeros"), *vectors()).worst.advice
        mended = stack(activation, zoo.layers.for_activation(activation))
        assert zoo.inspect(mended, *vectors()).verdict == "healthy"


def test_a_fresh_network_has_the_same_only_if_it_has_the_same():
    """NaN in the weights and a step that is too long are both called exploding."""
    nan, step, large = judge(NAN), judge(Figures(step=2.0)), judge(Figures(spread=1e9))
    assert remedy(nan, Setting(fresh=step)).startswith(NOT_TOO + "Look for a layer whose weights are NaN")
    assert remedy(judge(Figures(weights_finite=False)), Setting(fresh=large)).startswith(NOT_TOO + "Start again")
    assert not remedy(large, Setting(fresh=step)).startswith("A fresh network")
    assert remedy(large, Setting(fresh=judge(Figures(backward=1e9)))).startswith(TOO)
    assert remedy(nan, Setting(fresh=nan)).startswith(TOO + "It is not the weights")
    assert remedy(nan, Setting()).startswith(
        "Look for a layer whose weights are NaN; where there is none, values outgrow"
    )


def test_shares_of_what_is_no_number_are_not_known_and_printed_so():
    for activation, column in (("relu", "dead"), ("tanh", "sat.")):
        found = zoo.inspect(stack(activation, "he_normal", spoil=one_nan), *vectors())
        low, sick = found.rows[:2]
        name = {"dead": "dead", "sat.": "saturated"}[column]
        assert np.isfinite(getattr(low.figures, name))
        assert np.isnan(getattr(sick.figures, name))
        assert found.as_dict()["layers"][1][name] is None
        lines = str(found).splitlines()
        header = next(line for line in lines if line.startswith("layer"))
        end = header.index(column) + len(column)
        printed = {line.split()[0]: line[:end].split()[-1] for line in lines if line.startswith("low")}
        assert printed["low2"] == printed["low3"] == "nan"
        assert printed["low1"].endswith("%")


THROUGH = {
    "at once": lambda x: x,
    "a Reshape": layers.Reshape((12,)),
    "a cast": lambda x: ops.cast(x, "int32"),
    "an Identity": layers.Identity(),
    "a Rescaling by 1": layers.Rescaling(1.0),
    "Masking": lambda x: ops.squeeze(layers.Masking(-1.0)(ops.expand_dims(x, -1)), -1),
}


@pytest.mark.parametrize("way", THROUGH)
@pytest.mark.parametrize("dtype", ["int32", None, "uint8"])
def test_tokens_are_no_numbers_whatever_the_inputs_type(way, dtype):
    x, y = tokens()
    expected = zoo.inspect(embedded("int32"), x, y)
    assert expected.spread == pytest.approx(0.05, rel=0.1), "the table's own"
    assert expected.rows[0].figures.forward == 1.0
    found = zoo.inspect(embedded(dtype, THROUGH[way]), x, y)
    assert found.rows == expected.rows
    assert found.spread == expected.spread
    assert zoo.inspect(embedded(dtype, THROUGH[way]), x.astype("float32"), y).rows == expected.rows


class Positions(keras.layers.Layer):
    """Tables inside a layer: of tokens and positions, or of positions alone, added to vectors."""

    def __init__(self, tokens: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.tokens = tokens
        self.table = layers.Embedding(50, 6) if tokens else None
        self.place = layers.Embedding(12, 6)

    def call(self, x: Any) -> Any:
        given = x if self.table is None else self.table(x)
        return given * 5 + self.place(ops.arange(12))

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape, 6) if self.tokens else shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "tokens": self.tokens}


def test_a_layer_with_tables_inside_takes_tokens_unless_it_takes_vectors():
    inputs = keras.Input((12,))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(Positions(True, name="both")(inputs))))
    found = zoo.inspect(model, *tokens())
    assert found.rows[0].figures.forward == 1.0
    assert found.spread < 1
    inputs = keras.Input((12, 6))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(Positions(False, name="places")(inputs))))
    x = np.random.default_rng(0).normal(0, 3, (96, 12, 6)).astype("float32")
    assert zoo.inspect(model, x).spread == pytest.approx(x.std(axis=0).mean(), rel=0.02)


def test_numbers_behind_a_whole_number_input_are_numbers():
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    x = layers.Conv2D(3, 3, name="conv")(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype("uint8")
    assert zoo.inspect(model, x).spread == pytest.approx((x / 255).std(axis=0).mean(), rel=0.02)


def test_token_numbers_are_never_called_a_raw_input():
    inputs = keras.Input((12,))
    x = layers.Dense(6, activation="tanh", name="low")(layers.Flatten()(layers.Embedding(50, 6, "normal")(inputs)))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model.get_layer("low").kernel.assign(model.get_layer("low").kernel * 1000)
    found = zoo.inspect(model, *tokens())
    assert found.verdict == "saturated"
    assert "cale the input" not in found.summary


def normalized() -> keras.Model:
    """Batch normalization between each layer and its activation."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((8, 8, 1))
    for i in (1, 2):
        x = layers.Conv2D(4, 3, use_bias=False, name=f"conv{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(layers.BatchNormalization(name=f"norm{i}")(x))
    return keras.Model(inputs, layers.Dense(3, name="top")(layers.Flatten()(x)))


def test_places_and_figures_are_the_same_before_and_after_freezing_batch_norms():
    model, x = normalized(), images(40)
    live = opened(clone(model))
    held = zoo.freeze_batch_norm(model)
    assert type(held.get_layer("norm1")).__name__ == "FrozenBatchNorm"
    seen = lambda graph: [(p.name, p.curve, len(p.normalizations), p.output) for p in places(opened(clone(graph)))]  # noqa: E731
    assert seen(held) == seen(model)
    assert [p.name for p in places(live)] == ["conv1", "conv2", "top"]
    assert len(references(live)) == 1
    for name in ("norm1", "norm2"):
        model.get_layer(name).trainable = False
    before, after = zoo.inspect(model, x), zoo.inspect(held, x)
    assert [(row.layer, row.activation) for row in after.rows] == [("conv1", "relu"), ("conv2", "relu"), ("top", "")]
    same_figures(before, after)


def same_figures(before: Inspection, after: Inspection) -> None:
    for row, other in zip(before.rows, after.rows, strict=True):
        for name in ("mean", "std", "forward", "backward", "dead", "gradient", "step"):
            value, expected = getattr(other.figures, name), getattr(row.figures, name)
            assert value == (expected if expected is None else pytest.approx(expected, rel=1e-4)), (row.layer, name)


def test_statistics_that_are_no_numbers_are_found_though_training_does_not_use_them():
    model, x = normalized(), images(40)
    model.get_layer("norm2").moving_mean.assign(np.full(4, np.nan))
    found = zoo.inspect(model, x)
    assert (found.verdict, found.worst.layer, found.worst.judged.why) == (
        "exploding",
        "conv2",
        "its weights hold NaN or infinity",
    )
    assert found.notes == ("NaN or infinity in what 'norm2' holds: no prediction is a number",)
    inputs = keras.Input((8,))
    below = layers.BatchNormalization(name="below")
    alone = keras.Model(inputs, layers.Dense(3)(layers.Dense(4)(below(inputs))))
    assert zoo.inspect(alone, vectors()[0]).notes == ()
    below.moving_variance.assign(np.full(8, np.inf))
    found = zoo.inspect(alone, vectors()[0])
    assert found.notes == ("NaN or infinity in what 'below' holds: no prediction is a number",)
