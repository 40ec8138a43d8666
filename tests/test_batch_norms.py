"""Batch normalizations of a reused network: held as they are, or fitted to new data."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.copying import clone
from zoo.errors import DataError, PlanError, SurgeryError
from zoo.layers import FrozenBatchNorm
from zoo.precision import in_precision

from .networks import NETWORKS, gap, images, live, small_convnet, values
from .test_adaptation import CASES, at_once, norms, statistics, vectors

layers = keras.layers


def renormalized() -> keras.Model:
    inputs = keras.Input((6,))
    x = layers.BatchNormalization(renorm=True, name="norm")(layers.Dense(4, name="low")(inputs))
    return keras.Model(inputs, layers.Dense(2, name="top")(x))


@pytest.mark.parametrize("case", CASES)
def test_a_users_arrays_give_the_statistics_of_the_whole_set_at_once(case: str):
    build, inputs = CASES[case]
    model, x = build(), inputs()
    expected = at_once(model, x)
    moved = zoo.adapt_batch_norm(model, x)
    for found, wanted in zip(statistics(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5 * (1 + np.abs(wanted).max()))
    assert len(moved.layers) == len(norms(model))


@settings(max_examples=20)
@given(batch_size=st.integers(1, 70), seed=st.integers(0, 2**32 - 1), count=st.integers(2, 60))
def test_neither_batch_size_nor_order_matters(batch_size: int, seed: int, count: int):
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.uniform(-100, 100), 3, (count, 6)).astype("float32")
    model = vectors()
    expected = at_once(model, x)
    zoo.adapt_batch_norm(model, rng.permutation(x), batch_size=batch_size)
    for found, wanted in zip(statistics(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_pools_in_float32(policy: str):
    model, x = in_precision(small_convnet(), policy), images(150, seed=3)
    expected = at_once(model, x)
    zoo.adapt_batch_norm(model, x, batch_size=32)
    for found, wanted in zip(statistics(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max())


def test_a_data_set_does_as_its_array_does():
    by_data, by_array = zoo.load("glyphs"), zoo.load("glyphs")
    digits = zoo.open_data("digits")
    form = zoo.data.InputForm("image", by_data.input_shape[1:])
    zoo.adapt_batch_norm(by_data, digits)
    zoo.adapt_batch_norm(by_array, digits.batch(np.arange(len(digits)), form))
    for one, other in zip(statistics(by_data), statistics(by_array), strict=True):
        np.testing.assert_array_equal(one, other)


def test_dictionaries_and_lists_of_arrays():
    def network(inputs):
        x = layers.Concatenate(name="join")(list(inputs.values()))
        return layers.BatchNormalization(name="bn")(x)

    named = {"a": keras.Input((4,), name="a"), "b": keras.Input((3,), name="b")}
    x = {"a": images(80, (4,), seed=1), "b": images(80, (3,), seed=2)}
    for model, given_x in (
        (keras.Model(named, network(named)), x),
        (keras.Model(list(named.values()), network(named)), list(x.values())),
    ):
        zoo.adapt_batch_norm(model, given_x)
        joined = np.concatenate(list(x.values()), axis=1)
        np.testing.assert_allclose(model.get_layer("bn").moving_mean, joined.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(model.get_layer("bn").moving_variance, joined.var(axis=0), rtol=1e-5)


def test_only_those_that_are_named_adapt_and_nothing_else_changes():
    model = small_convnet()
    before = values(model)
    moved = zoo.adapt_batch_norm(model, images(40, seed=3), layers="block2_bn.*")
    changed = {path for path, value in values(model).items() if value != before[path]}
    assert [m.layer for m in moved.layers] == ["block2_bn1", "block2_bn2"]
    assert len(changed) == 4 and all("block2_bn" in path and "moving_" in path for path in changed)


def test_it_says_how_far_they_moved():
    """Worked by hand: means 0 and variances 1 before; 3 and 4, and 0 and 0.25, in the data."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.BatchNormalization(epsilon=0.0, name="norm")(inputs))
    moved = zoo.adapt_batch_norm(model, np.array([[1.0, -0.5], [5.0, 0.5]], "float32"))
    assert moved == zoo.batch_norms.Adapted((zoo.batch_norms.Moved("norm", 2, 3.0, (0.25, 4.0)),))
    assert str(moved) == (
        "layer  channels  mean moved by, std  variance times, least  most\n"
        "norm          2                   3                   0.25     4"
    )


def test_renormalization_trains_on_from_the_new_statistics():
    model, x = renormalized(), images(60, (6,), seed=1)
    norm = model.get_layer("norm")
    zoo.adapt_batch_norm(model, x)
    variance = norm.moving_variance.numpy()
    norm.momentum = norm.renorm_momentum = 1.0
    model(x, training=True)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)
    np.testing.assert_allclose(norm.renorm_mean, norm.moving_mean)


def test_networks_inside_and_sequential_ones_adapt_in_place():
    for name in ("nested", "sequential"):
        model, x = NETWORKS[name][0](), images(60, seed=4)
        expected = at_once(model, x)
        zoo.adapt_batch_norm(model, x)
        for found, wanted in zip(statistics(model), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-3)


def frozen_everywhere() -> keras.Model:
    return zoo.freeze_batch_norm(small_convnet())


def twice() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    norm = layers.BatchNormalization(name="norm")
    return keras.Model(inputs, norm(layers.ReLU(name="between")(norm(inputs))))


def joined() -> keras.Model:
    inputs = {"b": keras.Input((3,), name="b"), "a": keras.Input((4,), name="a")}
    x = layers.Concatenate(name="join")(list(inputs.values()))
    return keras.Model(inputs, layers.BatchNormalization(name="bn")(x))


def wrapped() -> keras.Model:
    """A batch normalization of its own, and one at every step."""
    inputs = keras.Input((5, 4))
    x = layers.TimeDistributed(layers.BatchNormalization(name="norm"), name="steps")(inputs)
    return keras.Model(inputs, layers.BatchNormalization(name="bn")(x))


@keras.saving.register_keras_serializable("tests")
class NormalizedCell(layers.SimpleRNNCell):
    """A cell with a batch normalization in it."""

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(units, **kwargs)
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.norm.build(input_shape)

    def call(self, sequence: Any, states: Any, training: bool = False) -> Any:
        return super().call(self.norm(sequence, training=training), states, training=training)


def in_a_cell() -> keras.Model:
    inputs = keras.Input((5, 4))
    return keras.Model(inputs, layers.Bidirectional(layers.RNN(NormalizedCell(3)), name="both")(inputs))


class Branching(keras.Model):
    """Its ``call`` depends on the mode by itself, and so cannot be traced."""

    def __init__(self):
        super().__init__(name="own")
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, input_shape: Any) -> None:
        self.norm.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.norm(inputs, training=True) if training else self.norm(inputs) * 2


def opaque() -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2)(Branching()(inputs)))


NO_EXPRESSION = "3 is not a regular expression: first argument must be string or compiled pattern."

REFUSED: dict[str, tuple[Callable[[], keras.Model], object, dict[str, object], type[zoo.ZooError], str]] = {
    "no such layer": (
        small_convnet,
        images(4),
        {"layers": "block9.*"},
        SurgeryError,
        "No batch normalization of the network 'convnet' is called 'block9.*'. Known: block1_bn1, block1_bn2, "
        "block2_bn1, block2_bn2, block3_bn1, block3_bn2.",
    ),
    "nothing to adapt": (
        frozen_everywhere,
        images(4),
        {},
        SurgeryError,
        "The network 'convnet' has no batch normalization whose statistics could move.",
    ),
    "a broken expression": (
        small_convnet,
        images(4),
        {"layers": "("},
        SurgeryError,
        "'(' is not a regular expression: missing ), unterminated subpattern at position 0.",
    ),
    "called at two depths": (
        twice,
        images(4),
        {},
        PlanError,
        "The statistics of 'norm' cannot be re-estimated: it is called several times, one above another. Leave it out; "
        'in a plan, choose "frozen", "fixed_statistics" or "train" for its block.',
    ),
    "a name": (
        small_convnet,
        "digits",
        {},
        DataError,
        "These are not examples that the network 'convnet' takes. Expected arrays with an example a row, or a zoo data "
        "set; received 'digits'. zoo.open_data reads names, files and folders.",
    ),
    "examples with labels": (
        small_convnet,
        (images(4), np.zeros(4)),
        {},
        DataError,
        "The network takes 1 array of examples. Expected one array; received 2.",
    ),
    "no examples": (
        small_convnet,
        images(0),
        {},
        DataError,
        "The examples are empty. Expected arrays with an example a row, or a zoo data set; received 0.",
    ),
    "not finite": (
        small_convnet,
        np.full((4, 8, 8, 1), np.nan, "float32"),
        {},
        DataError,
        "The statistics of 'block1_bn1' would not be finite numbers. Look for NaN and infinity in the examples, and "
        "for 16-bit layers below that overflow. The network is as it was.",
    ),
    "no batch": (
        small_convnet,
        images(4),
        {"batch_size": 0},
        DataError,
        "A batch needs at least one example. Expected batch_size: a whole number, 1 or more; received 0.",
    ),
    "half an example": (
        small_convnet,
        images(4),
        {"batch_size": 2.5},
        DataError,
        "A batch needs at least one example. Expected batch_size: a whole number, 1 or more; received 2.5.",
    ),
    "another shape": (
        small_convnet,
        images(4)[:, :4],
        {},
        DataError,
        "The examples do not have the shape that the network takes. Expected (examples, 8, 8, 1); received "
        "(4, 4, 8, 1).",
    ),
    "other channels": (
        small_convnet,
        np.repeat(images(4), 3, axis=-1),
        {},
        DataError,
        "The examples do not have the shape that the network takes. Expected (examples, 8, 8, 1); received "
        "(4, 8, 8, 3).",
    ),
    "another name": (
        joined,
        {"a": images(4, (4,)), "c": images(4, (3,))},
        {},
        DataError,
        "The examples by name have none for the input 'b'. Expected 'a', 'b'; received 'a', 'c'. Known: a, c.",
    ),
    "no name": (
        joined,
        [images(4, (4,)), images(4, (3,))],
        {},
        DataError,
        "The network takes its inputs by name, and the examples have none. Expected a dictionary with 'a', 'b'; "
        "received list.",
    ),
    "other lengths": (
        joined,
        {"a": images(4, (4,)), "b": images(3, (3,))},
        {},
        DataError,
        "The arrays hold different numbers of examples. Expected arrays with an example a row, or a zoo data set; "
        "received 3 and 4.",
    ),
    "no expression": (small_convnet, images(4), {"layers": 3}, SurgeryError, NO_EXPRESSION),
    "one in a wrapper": (
        wrapped,
        images(4, (5, 4)),
        {},
        SurgeryError,
        "The batch normalization 'steps/norm' cannot be reached: it is a part of 'steps' (TimeDistributed). Replace "
        "'steps' by a layer that has what you want inside: zoo.replace_layer; or leave it out: layers='bn'.",
    ),
    "one in a recurrent cell": (
        in_a_cell,
        images(4, (5, 4)),
        {},
        SurgeryError,
        "The batch normalization 'both/norm' cannot be reached: it is a part of 'both' (Bidirectional). Replace 'both' "
        "by a layer that has what you want inside: zoo.replace_layer.",
    ),
    "one in an opaque network": (
        opaque,
        images(4, (4,)),
        {},
        SurgeryError,
        "The batch normalization 'own/norm' cannot be reached: it is a part of 'own' (Branching). The layers inside "
        "'own' cannot be told apart; zoo.trace says why.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(case: str):
    build, x, options, kind, text = REFUSED[case]
    model = build()
    before = values(model)
    with pytest.raises(kind) as error:
        zoo.adapt_batch_norm(model, x, **options)  # pyright: ignore[reportArgumentType]
    assert str(error.value) == text
    assert values(model) == before


@pytest.mark.parametrize("name", ["convnet", "skipping", "nested", "sequential"])
def test_a_network_whose_batch_norms_are_held_computes_the_same(name: str):
    build, inputs = NETWORKS[name]
    model, x = build(), inputs()
    held = zoo.freeze_batch_norm(model)
    assert gap(model(x, training=False), held(x, training=True)) < 1e-6
    assert norms(held) == [] and len(norms(model)) > 0
    frozen = {layer.name for layer in held._flatten_layers() if isinstance(layer, FrozenBatchNorm)}
    assert frozen == {norm.name for norm in norms(model)}


def test_some_batch_norms_are_held():
    held = zoo.freeze_batch_norm(small_convnet(), layers="block[12]_.*")
    assert [norm.name for norm in norms(held)] == ["block3_bn1", "block3_bn2"]
    with pytest.raises(SurgeryError, match=r"No batch normalization .* is called 'bn'"):
        zoo.freeze_batch_norm(small_convnet(), layers="bn")


def test_one_inside_another_layer_is_refused_and_the_others_can_be_named():
    """It would stay live, and nobody would know."""
    model = wrapped()
    with pytest.raises(SurgeryError, match=r"'steps/norm' cannot be reached.*leave it out: layers='bn'"):
        zoo.freeze_batch_norm(model)
    assert isinstance(zoo.freeze_batch_norm(model, layers="bn").get_layer("bn"), FrozenBatchNorm)
    assert [m.layer for m in zoo.adapt_batch_norm(model, images(8, (5, 4)), layers="bn").layers] == ["bn"]
    with pytest.raises(SurgeryError, match=r"is called 'nb'\. Known: bn, steps/norm\."):
        zoo.freeze_batch_norm(model, layers="nb")


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_several_inputs_go_by_their_keys_or_by_the_layers_names():
    """The two are in opposite orders here."""
    small, large = images(16, (4,)) / 255, images(16, (4,), seed=1) + 1000.0
    by_layer = {"alpha": large, "zeta": small}
    for arrays in ({"u": small, "w": large}, by_layer, {**by_layer, "unused": large}):
        zeta, alpha = keras.Input((4,), name="zeta"), keras.Input((4,), name="alpha")
        both = [layers.BatchNormalization(name="bn_u")(zeta), layers.BatchNormalization(name="bn_w")(alpha)]
        model = keras.Model({"u": zeta, "w": alpha}, layers.Concatenate()(both))
        zoo.adapt_batch_norm(model, arrays)
        for name, x in (("bn_u", small), ("bn_w", large)):
            np.testing.assert_allclose(model.get_layer(name).moving_mean.numpy(), x.mean(axis=0), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_inputs_in_lists_inside_of_a_dictionary_keep_their_places():
    one, two, three = (keras.Input((3,), name=name) for name in ("one", "two", "three"))
    norms = [layers.BatchNormalization(name=f"bn_{t.name}")(t) for t in (one, two, three)]
    model = keras.Model({"pair": [two, one], "single": three}, layers.Concatenate()(norms))
    x = {name: images(8, (3,), seed=i) + 1000.0 * i for i, name in enumerate(("one", "two", "three"))}
    zoo.adapt_batch_norm(model, {"single": x["three"], "pair": [x["two"], x["one"]]})
    for name, array in x.items():
        np.testing.assert_allclose(model.get_layer(f"bn_{name}").moving_mean.numpy(), array.mean(axis=0), rtol=1e-5)


def test_a_data_set_that_does_not_fit_is_refused():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.BatchNormalization()(inputs))
    with pytest.raises(DataError, match=r"network wants: vector \(3,\)\. Received image \(8, 8, 1\)"):
        zoo.adapt_batch_norm(model, zoo.open_data("digits"))


def test_a_held_network_keeps_its_statistics_through_a_plan_and_training():
    model = zoo.freeze_batch_norm(clone(live(small_convnet())))
    before = {layer.name: layer.get_weights() for layer in model.layers if isinstance(layer, FrozenBatchNorm)}
    model.trainable = True
    model.compile("adamw", "sparse_categorical_crossentropy")
    model.fit(images(32), np.arange(32) % 10, verbose=0)
    for name, weights in before.items():
        for old, new in zip(weights, model.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
