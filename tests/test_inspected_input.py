"""``zoo.inspect``: examples in any structure, networks of any class, and what is said where they do not fit."""

import json
import re
from decimal import Decimal
from fractions import Fraction

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import DataError, RecipeError, SurgeryError
from zoo.given_arrays import as_arrays

layers = keras.layers
ops = keras.ops


def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(96, 8)).astype("float32"), rng.integers(0, 3, 96)


def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    low, top = layers.Dense(6, activation="tanh", name="low"), layers.Dense(3, activation="softmax", name="top")
    return keras.Sequential([keras.Input((8,)), low, top])


def two_inputs(form: str) -> keras.Model:
    """Names against the alphabet's order, and two inputs of one shape, which only names tell apart."""
    keras.utils.set_random_seed(3)
    late, early = keras.Input((8,), name="late"), keras.Input((8,), name="early")
    both = layers.Concatenate()([layers.Dense(4, name="low_late")(late), layers.Dense(4, name="low_early")(early)])
    inputs = {"list": [late, early], "keys": {"late": late, "early": early}}[form]
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="top")(both))


def test_several_inputs_go_by_name_or_in_their_order():
    x, y = vectors()
    other = x * 40
    expected = zoo.inspect(two_inputs("list"), [x, other], y)
    spreads = {row.layer: row.figures.spread for row in expected.rows}
    assert spreads["low_early"] > 10 * spreads["low_late"]
    for form, given in [
        ("list", (x, other)),
        ("list", {"late": x, "early": other}),
        ("list", {"early": other, "late": x, "unused": y}),
        ("keys", {"late": x, "early": other}),
    ]:
        found = {row.layer: row.figures for row in zoo.inspect(two_inputs(form), given, y).rows}
        assert found == {row.layer: row.figures for row in expected.rows}


def test_lists_of_numbers_and_tensors_are_arrays():
    x, y = vectors()
    expected = zoo.inspect(small(), x, y)
    assert zoo.inspect(small(), x.tolist(), y.tolist()).rows == expected.rows
    assert zoo.inspect(small(), ops.convert_to_tensor(x), ops.convert_to_tensor(y)).rows == expected.rows
    assert zoo.inspect(small(), [x], [y]).rows == expected.rows
    numpys = {"learning_rate": np.float32(0.01), "sample": np.int64(256), "seed": np.int32(0)}
    found = zoo.inspect(small(), x, y, **numpys)
    assert [row.figures.mean for row in found.rows] == [row.figures.mean for row in expected.rows]
    assert json.loads(json.dumps(found.as_dict()))["learning_rate"] == pytest.approx(0.01)


def test_arrays_of_objects_that_are_numbers_are_arrays_of_numbers():
    """What a table with whole numbers and others gives."""
    x, y = vectors()
    mixed = np.where(np.arange(8) < 4, np.round(x).astype("int64").astype(object), x.astype("float64").astype(object))
    assert {type(value) for value in mixed.flat} == {int, float}
    expected = zoo.inspect(small(), mixed.astype("float64"), y)
    found = zoo.inspect(small(), mixed, y.astype(object))
    assert (found.rows, found.loss) == (expected.rows, expected.loss)
    assert as_arrays(y.astype(object), "targets").dtype == y.dtype
    assert as_arrays(np.array([[Decimal("0.5")], [Fraction(1, 4)], [2**70]], object), "examples").tolist() == [
        [0.5],
        [0.25],
        [2.0**70],
    ]


REFUSED = {
    "another shape": (
        lambda x: x[:, :5],
        r"shape that the network takes. Expected \(examples, 8\); received \(96, 5\)",
    ),
    "another rank": (lambda x: x[:, None], r"Expected \(examples, 8\); received \(96, 1, 8\)"),
    "nothing": (lambda x: None, "The examples are no arrays. Expected arrays with an example a row; received NoneType"),
    "a number": (lambda x: 3.0, r"The examples are no arrays. .*received 3\.0"),
    "an object": (lambda x: object(), "The examples are no arrays. .*received object"),
    "lists of unequal length": (lambda x: [[1, 2], [3]], "received list whose parts differ in length"),
    "a gap in an array": (
        lambda x: np.where(x > 2, None, x),
        "cannot be taken as numbers, nor as texts. Expected arrays of .* an array of objects, such as NoneType",
    ),
    "numbers and texts": (lambda x: np.where(x > 2, "3", x.astype(object)), "array of objects, such as str"),
    "too large a number": (lambda x: np.where(x > 2, 10**400, x.astype(object)), "numbers that float64 does not hold"),
    "nothing in a list": (lambda x: [], "Received 0, 96"),
    "an array too many": (lambda x: [x, x], "takes 1 array of examples. Expected one array; received 2"),
    "an array for each example": (lambda x: list(x), "different numbers of examples. Received 8, 96"),
    "a name that there is not": (lambda x: {"foo": x}, r"have none for the input 'input_layer.*received 'foo'"),
    "texts": (lambda x: np.array([f"t{i}" for i in range(96)]), "takes. Expected numbers; received texts"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_examples_that_the_network_cannot_take_are_refused(name):
    make, message = REFUSED[name]
    x, y = vectors()
    with pytest.raises(DataError, match=message):
        zoo.inspect(small(), make(x), y)


def test_several_inputs_that_do_not_fit_say_which():
    x, y = vectors()
    with pytest.raises(
        DataError, match=r"takes 2 arrays of examples. Expected one for each of its inputs 'late', 'early'"
    ):
        zoo.inspect(two_inputs("list"), x, y)
    with pytest.raises(
        DataError, match=r"none for the input 'early'. Expected 'late', 'early'; received 'late', 'earl'.*Did"
    ):
        zoo.inspect(two_inputs("list"), {"late": x, "earl": x}, y)
    with pytest.raises(
        DataError, match=r"shape that the input 'early' takes. Expected \(examples, 8\); received \(96, 3\)"
    ):
        zoo.inspect(two_inputs("list"), [x, x[:, :3]], y)
    with pytest.raises(
        DataError, match=r"takes its inputs by name.*Expected a dictionary with 'early', 'late'; received list"
    ):
        zoo.inspect(two_inputs("keys"), [x, x], y)


def test_tokens_outside_of_a_table_are_refused_in_one_line():
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32"), layers.Embedding(5, 3), layers.Flatten(), layers.Dense(3)]
    )
    x = np.random.default_rng(0).integers(3, 9, (60, 4))
    with pytest.raises(
        DataError, match=r"cannot be run on the examples: indices.* is not in \[0, 5\)\. Give them"
    ) as found:
        zoo.inspect(model, x, np.arange(60) % 3)
    assert "\x1b" not in str(found.value)


@pytest.mark.parametrize("model", [None, 3.0, layers.Dense(3)])
def test_what_is_no_network_is_refused(model):
    message = f"This is not a network. Expected a keras.Model, or the name or path of one; rec.* {type(model).__name__}"
    with pytest.raises(SurgeryError, match=message):
        zoo.inspect(model, *vectors())


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        *[("learning_rate", value, RecipeError) for value in (True, "0.1", None, np.nan, -1.0)],
        *[("sample", value, DataError) for value in (True, 2.0, "9", None)],
        *[("seed", value, RecipeError) for value in (True, 0.5, "a", None)],
    ],
)
def test_options_of_the_wrong_kind_are_refused(option, value, error):
    with pytest.raises(error, match=f"Expected a .*; received {re.escape(repr(value))}"):
        zoo.inspect(small(), *vectors(), **{option: value})


@pytest.mark.parametrize("y", [3.0, object(), [[1], [2, 3]]])
def test_targets_that_are_no_arrays_are_refused(y):
    with pytest.raises(DataError, match=r"The targets are no arrays. Expected arrays with an example a row"):
        zoo.inspect(small(), vectors()[0], y)


class Plain(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.top = layers.Dense(10, name="top")

    def call(self, x):
        return self.top(ops.reshape(x, (-1, 64)))


class Two(Plain):
    def call(self, one, other):
        return self.top(one) + self.top(other)


class Numpy(Plain):
    def call(self, x):
        return self.top(x) * float(np.sum(np.asarray(x)))


class Branch(keras.Model):
    def __init__(self):  # so that Keras cannot make a configuration by itself
        super().__init__(name="branch")
        self.top = layers.Dense(10, name="top")

    def call(self, x, training=None):
        return self.top(x) * (2 if training else 1)


class Configured(Branch):
    def get_config(self):
        return {}


def test_subclassed_models_are_traced_on_the_examples():
    x, y = vectors()
    assert [row.layer for row in zoo.inspect(Plain(), np.tile(x, 8), y).rows] == ["top"]
    called = Plain()
    called(np.zeros((2, 8, 8, 1)))
    found = zoo.inspect(called, "digits")
    assert ([row.layer for row in found.rows], found.loss) == (["top"], "cross-entropy")
    two = Two()
    two(x, x)
    assert [row.layer for row in zoo.inspect(two, [x, x * 2], y).rows] == ["top", "top:2"]


def test_a_subclassed_model_that_cannot_be_traced_has_one_row_or_says_what_can_be_done():
    x, y = vectors()
    found = zoo.inspect(called_once(Configured()), x, y)
    assert [row.layer for row in found.rows] == ["branch"]
    assert found.loss == "cross-entropy, the outputs taken as logits: what 'branch' gives is not known"
    with pytest.raises(SurgeryError) as branch:
        zoo.inspect(called_once(Branch()), x, y)
    assert str(branch.value) == (
        "The layers of 'branch' cannot be told apart: its call depends on training by itself, not only through its "
        "layers. Build it as a functional model: keras.Model(inputs, outputs). Or give it a get_config(): it is then "
        "measured as one layer."
    )
    with pytest.raises(
        SurgeryError, match=r"does more than Keras operations.*Build it as a functional model"
    ) as not_keras:
        zoo.inspect(called_once(Numpy()), x, y)
    for error in (branch, not_keras):
        assert "zoo.trace" not in str(error.value), "which says the same"


def called_once(model: keras.Model) -> keras.Model:
    model(vectors()[0])
    return model
