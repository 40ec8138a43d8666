"""What ``zoo.inspect`` measures, on which networks, and that it changes nothing."""

import json

import keras
import numpy as np
import pytest

import zoo
from benchmarks.verdicts import CASES, inspected
from tests.networks import NETWORKS, images, live, nested
from zoo.errors import DataError, RecipeError, SurgeryError
from zoo.inspection_charts import activation_chart, gradient_chart

layers = keras.layers
ops = keras.ops


def values_of(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable).copy() for variable in model.variables]


def row_of(found: zoo.Inspection, name: str):
    return next(row for row in found.rows if row.layer == name)


def dense_stack(units: int, depth: int, activation: str, seed: int = 0, scale: float = 1.0) -> keras.Model:
    inner = [
        layers.Dense(
            units,
            activation=activation,
            kernel_initializer=keras.initializers.VarianceScaling(2 * scale**2, seed=seed + i),
            name=f"low{i + 1}",
        )
        for i in range(depth)
    ]
    top = layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.GlorotUniform(99), name="top")
    return keras.Sequential([keras.Input((8,)), *inner, top])


def vectors(count: int = 96, size: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, size)).astype("float32"), rng.integers(0, 3, count)


def backpropagated(model: keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, dict[str, float]]:
    """The figures of a stack of tanh layers under softmax, by the chain rule in NumPy."""
    weights = [[np.asarray(w, "float64") for w in layer.get_weights()] for layer in model.layers]
    h = [x.astype("float64")]
    for kernel, bias in weights[:-1]:
        h.append(np.tanh(h[-1] @ kernel + bias))
    logits = h[-1] @ weights[-1][0] + weights[-1][1]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    delta = p - np.eye(p.shape[1])[y]
    found: dict[str, dict[str, float]] = {}
    signals = {}
    for i in range(len(weights) - 1, -1, -1):
        kernel = weights[i][0]
        gradient = float(np.linalg.norm(h[i].T @ delta / len(x)))
        found[model.layers[i].name] = {"gradient": gradient, "step": 0.1 * gradient / float(np.linalg.norm(kernel))}
        if i:
            signal = delta @ kernel.T
            signals[model.layers[i - 1].name] = float(np.sqrt((signal**2).sum(axis=1).mean()))
            delta = signal * (1 - h[i] ** 2)
    highest = signals[model.layers[-2].name]
    for i, layer in enumerate(model.layers[:-1]):
        out = h[i + 1]
        between = float(np.sqrt(out.var(axis=0).mean()))
        found[layer.name] |= {
            "mean": float(out.mean()),
            "std": float(out.std()),
            "spread": between,
            "forward": between / float(np.sqrt(x.astype("float64").var(axis=0).mean())),
            "backward": signals[layer.name] / highest,
            "saturated": float(np.mean(1 - out**2 < 0.1)),
        }
    return found


def test_every_figure_is_the_chain_rules():
    model, (x, y) = dense_stack(20, 4, "tanh", scale=1.5), vectors(150)
    found = zoo.inspect(model, x, y, learning_rate=0.1)
    expected = backpropagated(model, x, y)
    assert [row.layer for row in found.rows] == ["low1", "low2", "low3", "low4", "top"]
    for row in found.rows:
        for name, value in expected[row.layer].items():
            assert getattr(row.figures, name) == pytest.approx(value, rel=2e-4, abs=1e-6), (row.layer, name)
    assert row_of(found, "low4").figures.backward == 1.0
    assert row_of(found, "top").figures.backward is None
    assert expected["low2"]["saturated"] > 0.05, "or the share was not put to the test"


def test_the_gradients_of_kernels_alone_would_call_a_vanishing_network_sound():
    model, (x, y) = dense_stack(100, 10, "relu", scale=0.1), vectors()
    found = zoo.inspect(model, x, y)
    hidden = [row.figures for row in found.rows[:-1]]
    norms = [figures.gradient for figures in hidden]
    assert max(norms) / min(norms) < 10, "though the signals fall by eight powers of ten"
    assert hidden[0].backward < 1e-8
    assert hidden[-1].forward < 1e-8
    assert {row.verdict for row in found.rows[:-1]} == {"vanishing"}


def test_a_unit_is_dead_if_it_is_off_everywhere():
    x, y = vectors()
    model = dense_stack(10, 2, "relu")
    kernel, bias = model.get_layer("low1").get_weights()
    bias[:3] = -100
    model.get_layer("low1").set_weights([kernel, bias])
    share = float(np.mean((x @ kernel + bias <= 0).all(axis=0)))
    assert share >= 0.3
    assert row_of(zoo.inspect(model, x, y), "low1").figures.dead == pytest.approx(share)
    inputs = keras.Input((6, 6, 1))
    conv = layers.Conv2D(4, 3, activation="relu", name="conv")
    net = keras.Model(inputs, layers.Dense(3, name="top")(layers.Flatten()(conv(inputs))))
    pictures = np.zeros((70, 6, 6, 1), "float32")
    pictures[69, 2, 3, 0] = 1.0  # one place of one example
    kernel = np.zeros((3, 3, 1, 4), "float32")
    kernel[1, 1, 0] = [1, -1, 1, 0]
    conv.set_weights([kernel, np.array([0, 0, -0.5, 0.0], "float32")])
    assert row_of(zoo.inspect(net, pictures, sample=70), "conv").figures.dead == 0.5


@pytest.mark.parametrize(
    ("activation", "saturated", "dead"),
    [
        ("tanh", lambda z: 1 - np.tanh(z) ** 2 < 0.1, None),
        ("sigmoid", lambda z: (lambda s: s * (1 - s) < 0.025)(1 / (1 + np.exp(-z))), None),
        ("softsign", lambda z: 1 / (1 + np.abs(z)) ** 2 < 0.1, None),
        ("hard_tanh", lambda z: np.abs(z) >= 1, None),
        ("hard_sigmoid", lambda z: np.abs(z) >= 3, None),
        ("relu6", lambda z: z >= 6, lambda z: (z <= 0).all(axis=0)),
        ("relu", None, lambda z: (z <= 0).all(axis=0)),
        ("elu", None, lambda z: np.zeros(z.shape[1])),
        ("leaky_relu", None, lambda z: np.zeros(z.shape[1])),
        ("gelu", None, lambda z: np.zeros(z.shape[1])),
    ],
)
@pytest.mark.parametrize("form", ["fused", "layer", "operation"])
def test_saturated_and_dead_shares_are_those_of_the_formula(activation, saturated, dead, form):
    rng = np.random.default_rng(3)
    x = rng.uniform(-4, 4, (80, 5)).astype("float32")
    kernel, bias = np.tile(np.eye(5, dtype="float32"), 2) * 2, np.linspace(-9, 1, 10).astype("float32")
    inputs = keras.Input((5,))
    dense = layers.Dense(10, activation=activation if form == "fused" else None, name="dense")
    h = dense(inputs)
    h = layers.Activation(activation)(h) if form == "layer" else h
    h = getattr(ops, activation)(h) if form == "operation" else h
    dense.set_weights([kernel, bias])
    model = keras.Model(inputs, layers.Dense(2, name="top")(h))
    row = row_of(zoo.inspect(model, x, np.zeros((80, 2))), "dense")
    z = x.astype("float64") @ kernel + bias
    assert row.activation == activation
    for share, rule in ((row.figures.saturated, saturated), (row.figures.dead, dead)):
        assert (share is None) == (rule is None)
        if rule is not None:
            assert share == pytest.approx(float(np.mean(rule(z))), abs=1e-6)


def test_relu6_pinned_above_is_saturated_and_not_dead():
    inputs = keras.Input((5,))
    h = layers.ReLU(max_value=2.0)(
        layers.Dense(4, bias_initializer=keras.initializers.Constant(50.0), name="low")(inputs)
    )
    model = keras.Model(inputs, layers.Dense(2, name="top")(h))
    figures = row_of(zoo.inspect(model, vectors(size=5)[0]), "low").figures
    assert (figures.saturated, figures.dead) == (1.0, 0.0)


def test_an_activation_is_seen_behind_a_normalization_and_through_layers_of_any_kind():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, use_bias=False, name="one")(inputs)
    x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, name="two")(x)
    x = layers.ELU()(layers.LayerNormalization()(x))
    low = x = layers.SeparableConv2D(4, 3, padding="same", activation="tanh", name="three")(x)
    x = ops.relu(layers.Add()([layers.Conv2D(4, 1, name="four")(x), low]))
    x = layers.Conv2DTranspose(3, 2, activation="exponential", name="five")(x)
    model = keras.Model(inputs, layers.Dense(2, name="top")(layers.Flatten()(x)))
    found = zoo.inspect(model, images(16))
    seen = {row.layer: row.activation for row in found.rows}
    alone = next(name for name in seen if name.startswith("relu"))
    expected = {"one": "prelu", "two": "elu", "three": "tanh", "four": "", alone: "relu", "five": "", "top": ""}
    assert seen == expected
    assert list(seen) == list(expected), "bottom to top"
    assert row_of(found, "one").figures.mean == pytest.approx(0.4, abs=0.1), "behind batch norm and PReLU, not before"
    figures = row_of(found, alone).figures
    assert (figures.gradient, figures.step) == (None, None)
    assert figures.dead is not None


def test_an_activation_that_is_one_of_several_users_or_at_an_end_is_not_the_layers():
    inputs = keras.Input((8,))
    x = layers.Dense(6, name="forked")(layers.ReLU(name="below_all")(inputs))
    x = layers.Concatenate()([x, layers.Activation("tanh", name="on_one_side")(x)])
    x = layers.Add()([layers.Dense(2, name="a")(x), layers.Dense(2, name="b")(x)])
    model = keras.Model(inputs, layers.Activation("sigmoid", name="above_all")(x))
    found = zoo.inspect(model, vectors()[0])
    seen = {row.layer: row.activation for row in found.rows}
    assert seen == {"forked": "", "on_one_side": "tanh", "a": "", "b": ""}
    assert row_of(found, "forked").figures.std > row_of(found, "on_one_side").figures.std


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_of_a_network_changes(name):
    make, data = NETWORKS[name]
    model, x = make(), data()
    before, switches = values_of(model), [layer.trainable for layer in model._flatten_layers()]
    outputs = model.predict(x, verbose=0)
    found = zoo.inspect(model, x)
    for one, other in zip(before, values_of(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [layer.trainable for layer in model._flatten_layers()] == switches
    np.testing.assert_array_equal(model.predict(x, verbose=0), outputs)
    assert all(row.fresh is not None for row in found.rows)
    assert all(row.figures.finite for row in found.rows)


def test_the_same_seed_gives_the_same_figures_and_another_seed_others():
    inputs = keras.Input((8,))
    x = layers.Dropout(0.5)(layers.Dense(20, activation="relu", name="low")(inputs))  # no seed of its own
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="top")(x))
    x, y = vectors(300)
    first, again = zoo.inspect(model, x, y, sample=100), zoo.inspect(model, x, y, sample=100)
    assert first == again
    twin = keras.models.clone_model(model)  # another seed of its dropout
    twin.set_weights(model.get_weights())
    assert zoo.inspect(twin, x, y, sample=100).rows == first.rows
    other = zoo.inspect(model, x, y, sample=100, seed=1)
    assert other.rows[0].fresh.weights != first.rows[0].fresh.weights
    assert other.rows[0].figures.mean != first.rows[0].figures.mean
    assert other.rows[0].figures.weights == first.rows[0].figures.weights


def test_the_fresh_network_is_drawn_by_the_initializers_with_its_preprocessing_kept():
    x, y = vectors()
    normalization = layers.Normalization(name="normal")
    normalization.adapt(x * 50 + 7)
    dense = layers.Dense(200, kernel_initializer=keras.initializers.RandomNormal(0, 0.3), name="low")
    model = keras.Sequential([keras.Input((8,)), normalization, dense, layers.Dense(3, name="top")])
    dense.set_weights([w * 0 + 5 for w in dense.get_weights()])
    row = zoo.inspect(model, x * 50 + 7, y).rows[0]
    assert row.figures.weights == pytest.approx(5 * np.sqrt(1600))
    assert row.fresh.weights == pytest.approx(0.3 * np.sqrt(1600), rel=0.05)
    assert row.fresh.spread == pytest.approx(0.3 * np.sqrt(8), rel=0.15), "of input of variance 1"


def test_batch_norm_is_measured_in_training_mode_unless_it_is_frozen():
    inputs = keras.Input((8,))
    norm = layers.BatchNormalization(name="norm")
    x = norm(layers.Dense(50, use_bias=False, name="low")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="top")(x))
    x, y = vectors()
    assert zoo.inspect(model, x * 100, y).rows[0].figures.std == pytest.approx(1, abs=0.01)
    norm.trainable = False
    assert zoo.inspect(model, x * 100, y).rows[0].figures.std > 20


def test_frozen_layers_are_measured_like_others():
    model, (x, y) = dense_stack(20, 3, "tanh"), vectors()
    live_ones = zoo.inspect(model, x, y)
    model.get_layer("low2").trainable = False
    assert zoo.inspect(model, x, y).rows == live_ones.rows


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_sixteen_bits_are_measured_in_thirty_two(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = dense_stack(20, 10, "relu", scale=0.1)
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = vectors()
    found = zoo.inspect(model, x, y)
    plain = dense_stack(20, 10, "relu", scale=0.1)
    plain.set_weights(model.get_weights())
    assert found.rows[0].figures == zoo.inspect(plain, x, y).rows[0].figures
    assert 0 < found.rows[0].figures.backward < 1e-6, "in 16 bits it would be 0"
    assert model.get_layer("low1").dtype_policy.name == policy


def test_a_shared_layer_has_a_row_for_each_call_and_one_gradient():
    make, data = NETWORKS["shared"]
    found = zoo.inspect(make(), data())
    assert [row.layer for row in found.rows] == ["twice", "between", "twice:2", "above", "top"]
    first, second = row_of(found, "twice").figures, row_of(found, "twice:2").figures
    assert first.gradient == second.gradient
    assert first.backward != second.backward


def test_models_inside_subclassed_and_several_inputs_are_looked_into():
    names = [row.layer for row in zoo.inspect(nested(), images(16)).rows]
    assert names == ["stem", "inner1_conv", "inner2_conv", "top"]

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.low, self.top = layers.Dense(5, activation="tanh", name="low"), layers.Dense(2, name="top")

        def call(self, inputs):
            return self.top(self.low(inputs))

    net, (x, _) = Net(), vectors()
    net(x)
    assert [row.layer for row in zoo.inspect(net, x).rows] == ["low", "top"]
    inputs = {"left": keras.Input((8,), name="left"), "right": keras.Input((3,), name="right")}
    both = layers.Concatenate()([layers.Dense(4, name="a")(inputs["left"]), layers.Dense(4, name="b")(inputs["right"])])
    two = keras.Model(inputs, {"p": layers.Dense(2, name="p")(both), "q": layers.Dense(1, name="q")(both)})
    given = {"left": x, "right": x[:, :3] * 2}
    found = zoo.inspect(two, given, {"p": np.zeros(len(x), int), "q": x[:, 0]})
    assert {row.layer for row in found.rows} == {"a", "b", "p", "q"}
    assert found.loss == "cross-entropy and squared error"
    assert found.spread == pytest.approx(
        np.sqrt((x.var(axis=0).mean() + given["right"].var(axis=0).mean()) / 2), rel=1e-5
    )


def test_texts_recurrent_and_attention_layers_have_outputs_and_gradients():
    lookup = layers.TextVectorization(output_sequence_length=4, vocabulary=["a", "b", "c"])
    inputs = keras.Input((), dtype="string")
    x = layers.Embedding(8, 6, mask_zero=True, name="embed")(lookup(inputs))
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="gru")(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="top")(layers.GlobalAveragePooling1D()(x)))
    texts = np.array(["a b", "b c a", "c", "a a a b"] * 5, dtype=object)
    found = zoo.inspect(model, texts, np.arange(20) % 2)
    assert [row.layer for row in found.rows] == ["embed", "gru", "attention", "top"]
    for row in found.rows[:-1]:
        assert row.figures.gradient > 0
        assert row.figures.backward > 0
        assert (row.figures.saturated, row.figures.dead) == (None, None)


def test_a_layer_that_no_gradient_reaches_is_told_from_one_whose_gradient_fades():
    inputs = keras.Input((8,))
    low = ops.stop_gradient(layers.Dense(6, activation="tanh", name="low")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="top")(layers.Dense(6, activation="tanh", name="high")(low)))
    found = zoo.inspect(model, *vectors())
    assert [row.verdict for row in found.rows] == ["vanishing", "healthy", "healthy"]
    assert row_of(found, "low").figures.backward == row_of(found, "low").figures.gradient == 0
    assert "'low': no gradient reaches it. A fresh network has it too. Look above it" in found.summary
    deep = dense_stack(20, 45, "sigmoid", scale=0.1)
    found = zoo.inspect(deep, *vectors())
    assert found.rows[0].judged.why == "no gradient reaches it", "below the smallest number of 32 bits"
    assert "Use 'elu'" in found.summary


def gradients(found: zoo.Inspection) -> list[float]:
    return [row.figures.gradient for row in found.rows]


def test_a_loss_is_chosen_by_outputs_and_targets():
    (x, y), model = vectors(), dense_stack(6, 1, "tanh")
    found = zoo.inspect(model, x, y)
    assert found.loss == "cross-entropy"
    for same in (np.eye(3)[y], y.astype("float32"), y[:, None]):
        assert gradients(zoo.inspect(model, x, same)) == pytest.approx(gradients(found), rel=1e-5)
    top = model.get_layer("top")
    top.activation = keras.activations.linear
    for same in (y, np.eye(3)[y]):
        assert gradients(zoo.inspect(model, x, same)) == pytest.approx(gradients(found), rel=1e-5), "from logits"
    numbers = np.random.default_rng(1).normal(size=(96, 3)) * 40
    assert zoo.inspect(model, x, numbers).loss == "squared error"
    top.activation = keras.activations.sigmoid
    found = zoo.inspect(model, x, (numbers > 0).astype(int))
    assert found.loss == "binary cross-entropy"


def test_what_does_not_fit_gets_a_stand_in_that_says_why():
    (x, y), model = vectors(), dense_stack(6, 1, "tanh")
    head = "cross-entropy against random targets, a stand-in: "
    assert zoo.inspect(model, x).loss == f"{head}there are no targets"
    assert zoo.inspect(model, x, y * 2).loss == f"{head}there are classes from 0 to 4, and 3 outputs"
    wide = np.zeros((96, 7))
    assert zoo.inspect(model, x, wide).loss == f"{head}targets of shape (7,) do not fit outputs of shape (3,)"
    assert zoo.inspect(model, x, y.astype(str)).loss == f"{head}the targets are not numbers"
    assert zoo.inspect(model, x, [y, y]).loss == f"{head}there are 2 targets for 1 outputs"
    model.get_layer("top").activation = keras.activations.sigmoid
    found = zoo.inspect(model, x, np.full((96, 3), 7.0))
    assert found.loss == (
        "binary cross-entropy against random targets, a stand-in: targets from 7 to 7 do not fit outputs from 0 to 1"
    )
    assert all(gradients(found))


def test_a_loss_of_ones_own_wins_over_the_compiled_one():
    (x, y), model = vectors(), dense_stack(6, 1, "tanh")
    model.compile(loss="sparse_categorical_crossentropy")
    found = zoo.inspect(model, x, y)
    assert found.loss == "the loss that it was compiled with"
    double = zoo.inspect(model, x, y, loss=lambda t, p: 2 * keras.losses.sparse_categorical_crossentropy(t, p))
    assert double.loss == "the loss given"
    assert gradients(double) == pytest.approx([2 * value for value in gradients(found)], rel=1e-5)
    assert zoo.inspect(model, x).loss.startswith("cross-entropy against random targets")


def test_what_cannot_be_inspected_is_explained():
    (x, y), model = vectors(), dense_stack(6, 1, "tanh")
    with pytest.raises(DataError, match="The sample is too small: signals are measured between examples"):
        zoo.inspect(model, x, y, sample=1)
    with pytest.raises(DataError, match=r"between examples. Expected two examples or more; received 1"):
        zoo.inspect(model, x[:1], y[:1])
    with pytest.raises(RecipeError, match=r"The learning rate of the step cannot be used.*received 0"):
        zoo.inspect(model, x, y, learning_rate=0)
    with pytest.raises(DataError, match=r"different numbers of examples. Received 50, 96"):
        zoo.inspect(model, x, y[:50])
    received = "Received NaN or infinity in 13 of 96 examples, the first in row 9"
    with pytest.raises(DataError, match=rf"so every layer would. {received}.*Mend"):
        zoo.inspect(model, np.where(x > 2, np.nan, x), y)
    with pytest.raises(DataError, match=r"all the same: there is nothing to tell apart. Received 96 copies"):
        zoo.inspect(model, np.ones_like(x), y)
    with pytest.raises(DataError, match=r"A loss was given without targets. Give y too, or leave the loss out"):
        zoo.inspect(model, x, loss="mse")
    with pytest.raises(DataError, match=r"needs a target and a loss. Expected 1 of each; received 2 targets, 1 losses"):
        zoo.inspect(model, x, [y, y], loss="mse")
    with pytest.raises(DataError, match="Targets and loss were given beside data that is named"):
        zoo.inspect(model, "digits", y)
    pool = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten()])
    with pytest.raises(SurgeryError, match=r"has no layer with weights to inspect. Expected a dense, convolutional"):
        zoo.inspect(pool, images(4))
    with pytest.raises(SurgeryError, match="not built"):
        zoo.inspect(keras.Sequential([layers.Dense(3)]), x, y)


def test_data_by_name_has_its_classes_numbered_as_the_networks_labels():
    found = zoo.inspect("glyphs", "digits")
    assert (found.network, found.loss, found.notes) == ("glyphs.v1", "cross-entropy", ())
    from zoo import registry
    from zoo.input_form import InputForm

    data, labels = zoo.open_data("digits"), registry.find("glyphs").labels
    x = data.batch(np.arange(len(data)), InputForm("image", (8, 8, 1)))
    y = np.array([labels.index(name) for name in data.target.names])[data.target.values]
    assert zoo.inspect(zoo.load("glyphs"), x, y).rows == found.rows
    letters = zoo.open_data((x[:80].astype("uint8"), ["T", "b"] * 40))
    y = np.array([labels.index(name) for name in ("T", "b")] * 40)
    assert gradients(zoo.inspect("glyphs", letters)) == gradients(zoo.inspect(zoo.load("glyphs"), x[:80], y))
    other = zoo.inspect("glyphs", zoo.open_data((x[:80].astype("uint8"), ["cat", "dog"] * 40)))
    assert other.loss.endswith("a stand-in: the network does not know the data's classes cat, dog")
    model = live(keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4), layers.Dense(3)]))
    assert zoo.inspect(model, "digits").loss.endswith("a stand-in: the data has 10 classes, the network 3 outputs")


def test_a_run_folder_is_measured_on_its_training_side(tiny_run):
    found = zoo.inspect(tiny_run.folder, "digits")
    count = list(tiny_run.sides.values()).count("train")
    assert 0 < count < 100
    assert found.notes == (f"of the training side, {count} of 1797 examples",)
    assert found.examples == count
    assert found.loss == "cross-entropy"


def test_networks_and_data_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(SurgeryError, match="'dnn' is an architecture without weights: there is nothing to inspect"):
        zoo.inspect("dnn", "digits")
    with pytest.raises(DataError, match=r"do not fit together. Expected vector of shape .8,.; received image of shape"):
        zoo.inspect(dense_stack(4, 1, "tanh"), "digits")
    inputs = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    two = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(layers.Add()(inputs))))
    with pytest.raises(SurgeryError, match=r"takes 2 inputs, and data by name has one. Give the arrays"):
        zoo.inspect(two, "digits")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=f"{case.network}: {case.fault}",
            marks=pytest.mark.slow if "MobileNet" in case.network or "trained" in case.fault else (),
        )
        for case in CASES
    ],
)
def test_planted_faults_are_found_and_sound_networks_called_healthy(case):
    found = inspected(case)
    assert found.verdict == case.expected
    assert (found.summary.startswith(f"{case.expected}: ")) and (found.verdict == "healthy") == (not found.worst.advice)


def built(activation: str, initializer: object, *, normalized: bool = False) -> keras.Model:
    """Twelve hidden layers on flat digits."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((64,))
    for _ in range(12):
        config = keras.initializers.serialize(initializer)
        x = layers.Dense(100, kernel_initializer=keras.initializers.deserialize(config))(x)
        x = layers.BatchNormalization()(x) if normalized else x
        x = layers.Activation(activation)(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


@pytest.mark.parametrize(
    ("activation", "factor", "expected"),
    [("sigmoid", 1, "vanishing"), ("tanh", 4, "saturated"), ("relu", 10, "exploding")],
)
def test_the_advice_mends_what_it_is_given_for(activation, factor, expected):
    from zoo.data.builtin import digits

    x, y, _ = digits.load()
    x, y = (x.reshape(len(x), -1)[:512] / 255).astype("float32"), y[:512]
    wrong = keras.initializers.VarianceScaling(factor**2, "fan_avg")
    sick = built(activation, wrong)
    found = zoo.inspect(sick, x, y)
    assert found.verdict == expected
    mends = {
        "BatchNormalization() before each activation": lambda: built(activation, wrong, normalized=True),
        "for_activation('elu')": lambda: built("elu", zoo.layers.for_activation("elu")),
        f"for_activation('{activation}')": lambda: built(activation, zoo.layers.for_activation(activation)),
        "zoo.lsuv(model, x)": lambda: zoo.lsuv(sick, x) and sick,
    }
    said = [make for words, make in mends.items() if words in found.worst.advice]
    assert len(said) >= 2
    for make in said:
        assert zoo.inspect(make(), x, y).verdict == "healthy"


@pytest.mark.parametrize("fault", ["all weights x 0.1", "weights of the fifth layer x 0.0001"])
def test_shrunken_weights_are_brought_back_as_advised(fault):
    model, x, y = next(case for case in CASES if case.fault == fault).make()
    assert "zoo.lsuv(model, x)" in zoo.inspect(model, x, y).worst.advice
    zoo.lsuv(model, x[:256])
    assert zoo.inspect(model, x, y).verdict == "healthy"


def test_the_layer_at_fault_is_named():
    by_fault = {case.fault: case for case in CASES}
    assert inspected(by_fault["one weight is NaN"]).worst.layer == "block2_conv1"
    assert inspected(by_fault["offsets of the second block at -10"]).worst.layer == "block2_conv1"
    summary = inspected(by_fault["weights of the fifth layer x 0.0001"]).summary
    assert summary.endswith("The weights of 'hidden5_dense' are 1e-4 times as large as fresh ones.")


def test_json_holds_every_figure_and_no_nan():
    found = inspected(next(case for case in CASES if case.fault == "one weight is NaN"))
    table = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert table["verdict"] == "exploding"
    assert table["layers"][3]["mean"] is None
    assert table["layers"][3]["fresh"]["mean"] is not None
    assert {"layer", "why", "advice", "forward", "backward", "saturated", "dead", "step"} <= table["layers"][0].keys()


def test_the_table_is_narrow_and_ends_with_the_summary():
    keras.utils.set_random_seed(0)  # a column is as wide as its widest number
    inputs = keras.Input((8,))
    x = layers.Dense(6, activation="relu6", name="a_layer_whose_name_is_far_too_long_for_a_table")(inputs)
    x = layers.LeakyReLU(name="bend")(layers.Dense(6, name="low2")(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="top")(x))
    x, y = vectors()
    lines = str(zoo.inspect(model, x, y)).splitlines()
    assert max(map(len, lines[2:-1])) <= 110
    assert lines[2].split() == [
        *("layer", "activation", "mean", "std", "forward", "backward", "sat.", "dead", "gradient", "fresh", "step"),
        "verdict",
    ]
    assert lines[3].startswith("a_layer…_for_a_table  relu6")
    assert lines[0].startswith("functional") and "96 examples, input spread" in lines[0]
    assert lines[-1] == "healthy: 3 layers"
    plain = str(zoo.inspect(dense_stack(6, 2, "tanh"), x, y)).splitlines()
    assert "dead" not in plain[2].split(), "no unit can be"


def test_charts_are_the_same_for_the_same_figures_and_show_what_is_zero():
    model, (x, y) = dense_stack(6, 27, "relu"), vectors()
    found = zoo.inspect(model, x, y)
    for chart in (activation_chart, gradient_chart):
        assert chart(found) == chart(found)
        assert chart(found).count("<svg") == 1
        assert "layer, counted from the bottom" in chart(found)
        assert "freshly initialized" in chart(found)
        assert "now: 0" not in chart(found)
    model = dense_stack(6, 3, "relu")
    model.get_layer("low2").set_weights([w * 0 - 1 for w in model.get_layer("low2").get_weights()])
    found = zoo.inspect(model, x, y)
    for chart in (activation_chart, gradient_chart):
        assert "low1" in chart(found)
        assert "now: 0" in chart(found)
