"""``zoo.inspect``: which loss goes with which output and targets, and what an output is taken for."""

import re

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import DataError, RecipeError
from zoo.graph import node_of
from zoo.output_form import form_of

layers = keras.layers
ops = keras.ops
LOSSES = {"b": "sparse_categorical_crossentropy", "a": "mse"}


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(96, 8)).astype("float32"), rng.integers(0, 3, 96), rng.normal(size=96).astype("float32") * 7


def two_tops(form: str = "list") -> keras.Model:
    """Two outputs whose names are not in the alphabet's order; a dictionary's keys are the other way round."""
    inputs = keras.Input((8,))
    h = layers.Dense(5, activation="tanh", name="h", kernel_initializer=keras.initializers.GlorotNormal(0))(inputs)
    b = layers.Dense(3, activation="softmax", name="b", kernel_initializer=keras.initializers.GlorotNormal(1))(h)
    a = layers.Dense(1, name="a", kernel_initializer=keras.initializers.GlorotNormal(2))(h)
    return keras.Model(
        inputs, {"list": [b, a], "keys": {"a": b, "b": a}, "nested": {"one": {"z": b}, "two": [a]}}[form]
    )


def by_kernel(model: keras.Model, loss) -> dict[str, float]:
    """The norms of the gradients by each kernel, from Keras and TensorFlow alone."""
    import tensorflow as tf

    kernels = {name: model.get_layer(name).kernel for name in ("h", "a", "b")}
    with tf.GradientTape() as tape:
        value = loss(model(data()[0], training=True))
    return {
        name: 0.0 if g is None else float(tf.norm(g))
        for name, g in zip(kernels, tape.gradient(value, [k.value for k in kernels.values()]), strict=True)
    }


def measured(model: keras.Model, y, **how) -> dict[str, float]:
    return {row.layer: row.figures.gradient for row in zoo.inspect(model, data()[0], y, **how).rows}


def crossentropy(output):
    return ops.mean(keras.losses.sparse_categorical_crossentropy(data()[1], output))


def squares(output):
    return ops.mean((output[:, 0] - data()[2]) ** 2)


def test_targets_and_losses_go_to_the_outputs_that_they_name():
    _, y, z = data()
    model = two_tops()
    expected = pytest.approx(by_kernel(model, lambda outputs: crossentropy(outputs[0]) + squares(outputs[1])), rel=1e-4)
    assert measured(model, {"a": z, "b": y}, loss=LOSSES) == expected
    assert measured(model, {"b": y, "a": z}, loss=[LOSSES["b"], LOSSES["a"]]) == expected
    assert measured(model, [y, z], loss={"a": "mse", "b": LOSSES["b"]}) == expected
    model.compile(loss={"a": "mse", "b": LOSSES["b"]})
    assert measured(model, {"a": z, "b": y}) == expected
    chosen = zoo.inspect(two_tops(), data()[0], {"a": z, "b": y})
    assert chosen.loss == "cross-entropy and squared error"
    assert chosen.rows == zoo.inspect(two_tops(), data()[0], [y, z]).rows


def test_a_networks_own_keys_come_before_the_names_of_its_layers():
    _, y, z = data()
    model = two_tops("keys")  # the key "a" is the output of the layer "b"
    both = by_kernel(model, lambda outputs: crossentropy(outputs["a"]) + squares(outputs["b"]))
    assert measured(model, {"a": y, "b": z}, loss={"a": LOSSES["b"], "b": "mse"}) == pytest.approx(both, rel=1e-4)
    nested = two_tops("nested")
    found = measured(nested, {"two": [z], "one": {"z": y}}, loss={"one": LOSSES["b"], "two": ["mse"]})
    assert found == pytest.approx(both, rel=1e-4)


def test_an_output_without_a_loss_has_none():
    _, y, z = data()
    model, x = two_tops(), data()[0]
    alone = pytest.approx(by_kernel(model, lambda outputs: crossentropy(outputs[0])), rel=1e-4)
    found = zoo.inspect(model, x, {"a": z, "b": y}, loss={"b": LOSSES["b"], "a": None})
    assert {row.layer: row.figures.gradient for row in found.rows} == alone
    assert found.loss == "the loss given of 'b' alone"
    assert measured(model, [y, z], loss=[LOSSES["b"], None]) == alone
    assert measured(model, {"b": y}, loss={"b": LOSSES["b"]}) == alone
    found = zoo.inspect(model, x, {"b": y})
    assert {row.layer: row.figures.gradient for row in found.rows} == alone
    assert found.loss == "cross-entropy of 'b' alone"
    assert zoo.inspect(model, x, [y, None]).rows == found.rows
    model.compile(loss={"b": LOSSES["b"], "a": None})
    assert measured(model, {"b": y, "a": z * np.nan}) == alone, "a target that no loss takes may be anything"


@pytest.mark.parametrize("targets", ["list", "names"])
def test_one_loss_for_all_is_that_of_the_outputs_that_have_targets(targets):
    x, _, z = data()
    model = two_tops()
    alone = pytest.approx(by_kernel(model, lambda outputs: squares(outputs[1])), rel=1e-4)
    y = [None, z] if targets == "list" else {"a": z}
    assert measured(model, y, loss="mse") == alone
    model.compile(loss="mse")
    found = zoo.inspect(model, x, y)
    assert {row.layer: row.figures.gradient for row in found.rows} == alone
    assert found.loss == "the loss that it was compiled with of 'a' alone"
    with pytest.raises(DataError, match=r"The output 'b' has a loss and no target."):
        zoo.inspect(model, x, {"a": None, "b": None})


def test_a_function_of_ones_own_gets_targets_and_outputs_of_one_rank_as_compile_gives_them():
    _, y, z = data()
    model = two_tops()
    own = lambda truth, output: ops.mean(ops.square(truth - output))  # noqa: E731
    expected = pytest.approx(by_kernel(model, lambda outputs: squares(outputs[1])), rel=1e-4)
    assert measured(model, {"a": z}, loss={"a": own}) == expected
    assert measured(model, {"a": z[:, None]}, loss={"a": own}) == expected
    model.compile(loss={"b": None, "a": own})
    assert measured(model, {"a": z, "b": y}) == expected


class _Single(keras.losses.Loss):
    """One number for a batch: Keras leaves it as it is, whatever the reduction."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred[:, 0]))


@pytest.mark.parametrize("kind", [keras.losses.MeanSquaredError, _Single])
def test_a_sum_over_the_batch_does_not_grow_with_the_batch(kind):
    model, x, z = two_tops(), data()[0], data()[2]
    alone = pytest.approx(by_kernel(model, lambda outputs: squares(outputs[1])), rel=1e-4)
    found = zoo.inspect(model, x, {"a": z}, loss={"a": kind(reduction="sum")})
    assert {row.layer: row.figures.gradient for row in found.rows} == alone
    assert found.loss == "the loss given of 'a' alone, its sum divided by the examples of a batch"


@pytest.mark.parametrize("weights", [{"a": 0.5, "b": 10.0}, [10.0, 0.5]])
def test_the_weights_of_a_compiled_loss_are_applied_and_named(weights):
    _, y, z = data()
    model = two_tops()
    model.compile(loss=LOSSES if isinstance(weights, dict) else [LOSSES["b"], "mse"], loss_weights=weights)
    found = zoo.inspect(model, data()[0], {"a": z, "b": y})
    expected = by_kernel(model, lambda outputs: 10 * crossentropy(outputs[0]) + 0.5 * squares(outputs[1]))
    assert {row.layer: row.figures.gradient for row in found.rows} == pytest.approx(expected, rel=1e-4)
    assert found.loss == "the loss that it was compiled with, with its weights"


def test_crossentropy_by_its_short_name_is_chosen_by_the_shapes_as_compile_does():
    _, y, _ = data()
    expected = measured(two_tops(), [y, None], loss=[LOSSES["b"], None])
    assert measured(two_tops(), [y, None], loss=["crossentropy", None]) == expected
    assert measured(two_tops(), [np.eye(3)[y], None], loss=["ce", None]) == pytest.approx(expected, rel=1e-5)


def test_what_does_not_go_with_the_outputs_is_explained():
    x, y, z = data()
    model = two_tops()
    with pytest.raises(
        DataError, match=r"targets name an output that the network does not have. Expected 'b' \| 'a'; rec"
    ):
        zoo.inspect(model, x, {"b": y, "c": z})
    with pytest.raises(DataError, match=r"The losses name an output .* received 'bb'. Did you mean 'b'"):
        zoo.inspect(model, x, {"b": y}, loss={"bb": "mse"})
    with pytest.raises(DataError, match=r"The output 'a' has a loss and no target. Give one, or no loss for it: loss="):
        zoo.inspect(model, x, {"b": y}, loss=LOSSES)
    with pytest.raises(
        DataError, match=r"None of the network's outputs has a loss. Expected a loss for one of 'b', 'a'"
    ):
        zoo.inspect(model, x, {"b": y}, loss={"b": None})
    inputs = keras.Input((8,))
    twice = layers.Dense(3, name="twice")
    shared = keras.Model(inputs, [twice(inputs), twice(inputs * 2)])
    with pytest.raises(DataError, match=r"which output is meant: the layer 'twice' gives several. Give a list"):
        zoo.inspect(shared, x, {"twice": y})


@pytest.mark.parametrize(
    ("received", "loss"),
    [
        ("'nope'", "nope"),
        ("'mean_square_error'. Did you mean 'mean_squared_error'", "mean_square_error"),
        ("3", 3),
    ],
)
def test_a_loss_that_there_is_not_is_refused(received, loss):
    with pytest.raises(RecipeError, match=f"Expected a Keras loss, its name, a function .*received {received}"):
        zoo.inspect(two_tops(), data()[0], {"b": data()[1]}, loss={"b": loss})


def test_a_loss_that_cannot_be_computed_says_of_what():
    x, y, _ = data()
    with pytest.raises(
        DataError, match=r"The loss of 'b' cannot be computed: .*1 positional argument.*shape \(48, 3\)"
    ):
        zoo.inspect(two_tops(), x, {"b": y}, loss={"b": lambda only: only})
    with pytest.raises(
        DataError, match=r"cannot be computed: .*Incompatible shapes.*targets of shape \(48, 7\)"
    ) as found:
        zoo.inspect(two_tops(), x, {"b": np.zeros((96, 7))}, loss={"b": "mse"})
    assert "{{" not in str(found.value)
    assert "[Op" not in str(found.value)


def test_targets_that_are_no_numbers_are_the_datas_fault():
    x, _, z = data()
    spoilt = z.copy()
    spoilt[[5, 80]] = np.nan, np.inf
    message = (
        r"The targets hold NaN or infinity.*Received NaN or infinity in 2 of 96 examples, the first in row 5, counted"
    )
    for loss in (None, {"a": "mse"}, {"a": keras.losses.Huber()}):
        with pytest.raises(DataError, match=message):
            zoo.inspect(two_tops(), x, {"a": spoilt}, loss=loss)
    with pytest.raises(DataError, match=r"targets hold NaN or infinity, and the loss of 'a' gives no number for them"):
        zoo.inspect(two_tops(), x, {"a": spoilt}, loss={"a": lambda truth, output: (output[:, 0] - truth) ** 2})
    masked = lambda t, p: ops.where(np.isfinite(t), (p[:, 0] - np.nan_to_num(t, posinf=0.0)) ** 2, 0.0)  # noqa: E731
    assert zoo.inspect(two_tops(), x, {"a": spoilt}, loss={"a": masked}).verdict == "healthy"


def test_rows_without_numbers_are_those_of_the_users_data():
    x, _, z = data()
    x, z = np.tile(x, (10, 1)), np.tile(z, 10)
    x[700:, 3] = np.inf
    with pytest.raises(
        DataError, match=r"The examples hold NaN or infinity.*in \d+ of 256 examples, the first in row 7\d\d"
    ):
        zoo.inspect(two_tops(), x, {"a": z})


SOFTMAX = {
    "itself": lambda x: x,
    "Reshape": lambda x: layers.Reshape((1, 6))(x),
    "Flatten": lambda x: layers.Flatten()(layers.Reshape((1, 6))(x)),
    "Identity": lambda x: layers.Identity()(x),
    "linear": lambda x: layers.Activation("linear")(x),
    "Dropout": lambda x: layers.Dropout(0.1)(x),
    "ops.reshape": lambda x: ops.reshape(x, (-1, 6)),
    "ops.cast": lambda x: ops.cast(x, "float32"),
    "mean over places": lambda x: layers.GlobalAveragePooling1D()(layers.RepeatVector(3)(x)),
    "mean of two": lambda x: layers.Average()([x, layers.Softmax()(x)]),
}
UNSURE = {
    "another last axis": lambda x: layers.Flatten()(layers.RepeatVector(2)(x)),
    "turned": lambda x: layers.Permute((2, 1))(layers.RepeatVector(6)(x)),
    "a sum": lambda x: layers.Add()([x, x]),
    "a quotient": lambda x: x / 2,
    "a function": lambda x: layers.Lambda(lambda v: v, output_shape=(6,))(x),
    "another axis": lambda x: layers.Softmax(axis=1)(layers.RepeatVector(6)(x)),
}


@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_stay_what_they_are_through_layers_that_keep_values(name, activation):
    x = layers.Dense(6)(keras.Input((4,)))
    for top in (layers.Dense(6, activation=activation)(x), getattr(ops, activation)(x)):
        form = form_of(SOFTMAX[name](top))
        if name == "mean of two" and activation == "sigmoid":
            assert (form.name, bool(form.unsure)) == ("linear", True)
        else:
            assert (form.name, form.unsure) == (activation, "")


@pytest.mark.parametrize("name", UNSURE)
def test_where_it_is_not_known_what_an_output_is_it_is_said(name):
    inputs = keras.Input((4,))
    output = UNSURE[name](layers.Dense(6, activation="softmax")(inputs))
    form = form_of(output)
    assert form.name == "linear"
    assert form.unsure == output._keras_history.operation.name


def test_logits_are_known_as_logits():
    inputs = keras.Input((4, 6))
    tops = [
        layers.Dense(3)(inputs),
        layers.TimeDistributed(layers.Dense(3))(inputs),
        layers.Add()([layers.Dense(3)(inputs), layers.Dense(3)(inputs)]),
        layers.GlobalAveragePooling1D()(layers.Conv1D(3, 2)(inputs)),
        layers.BatchNormalization()(layers.Dense(3)(inputs)),
        layers.LSTM(3)(inputs),
        inputs,
    ]
    assert {(form_of(top).name, form_of(top).unsure) for top in tops} == {("linear", "")}
    assert form_of(layers.TimeDistributed(layers.Dense(3, activation="softmax"))(inputs)).name == "softmax"


def test_each_tensor_is_looked_at_once_however_many_ways_lead_to_it(monkeypatch):
    x = keras.Input((6,))
    for _ in range(20):
        x = layers.Add()([x, layers.Multiply()([x, x])])
    seen = []
    monkeypatch.setattr("zoo.output_form.node_of", lambda tensor: (seen.append(id(tensor)), node_of(tensor))[1])
    assert form_of(x).name == "linear"
    assert len(seen) == len(set(seen)) == 41


def test_the_gradients_behind_a_reshaped_softmax_are_those_of_the_softmax():
    x, y, _ = data()
    inputs = keras.Input((8,))
    low = layers.Dense(3, activation="softmax", name="low", kernel_initializer=keras.initializers.GlorotNormal(0))
    plain = keras.Model(inputs, low(inputs))
    behind = keras.Model(inputs, layers.Reshape((3,))(low(inputs)))
    found, expected = zoo.inspect(behind, x, y), zoo.inspect(plain, x, y)
    assert found.loss == expected.loss == "cross-entropy"
    assert found.rows[0].figures.gradient == pytest.approx(expected.rows[0].figures.gradient, rel=1e-4)
    unknown = keras.Model(inputs, low(inputs) / 2)
    text = r"cross-entropy, the outputs taken as logits: what '.*divide.*' gives is not known"
    assert re.fullmatch(text, zoo.inspect(unknown, x, y).loss)
