"""The guidelines: for each rule a network that breaks it, and one beside it that does not."""

import json
import re
from pathlib import Path

import keras
import pytest

import zoo
from tests.networks import nested, values
from zoo.card import BlockPattern
from zoo.departure import Departure, Departures
from zoo.errors import PlanError, RecipeError
from zoo.guideline import DEFAULTS, EXCEPTIONS, RULES
from zoo.layers import activation, for_activation
from zoo.models import convnet, dnn

layers = keras.layers
ROOT = Path(__file__).parents[1]


def stack(*inside, inputs=(8,)) -> keras.Model:
    return keras.Sequential([keras.Input(inputs), *inside], name="net")


def dense(name, units=20, activation=None, **arguments):
    arguments.setdefault("kernel_initializer", for_activation(activation or "linear", seed=1))
    return layers.Dense(units, activation=activation, name=name, **arguments)


def top(units=3, activation="softmax", **arguments):
    return dense("top", units, activation, **arguments)


def found(model, **how) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.rule, one.layers) for one in zoo.guidelines(model, **how)]


def only(model, **how) -> Departure:
    (one,) = zoo.guidelines(model, **how)
    return one


# Sound networks


@pytest.mark.parametrize(
    "build",
    [
        lambda: dnn.build((8, 8, 1), 10),
        lambda: dnn.build((8, 8, 1), 10, depth=20, batch_norm=True),
        lambda: dnn.build((8,), 3, activation="relu", dropout=0.3, max_norm=2.0),
        lambda: dnn.build((8,), 3, depth=20, batch_norm=True, dropout=0.2),  # the chapter's defaults
        lambda: dnn.build((8,), 3, activation="selu", initializer="lecun_normal", dropout=0.1),
        lambda: dnn.build((8,), 3, activation="tanh", initializer="glorot_uniform", depth=3),
        lambda: dnn.build((8,), 3, activation="leaky_relu"),
        lambda: dnn.build((8,), 3, activation="rrelu"),
        lambda: dnn.build((8,), None, activation="gelu"),
        lambda: convnet.build((8, 8, 1), 10),
        lambda: convnet.build((8, 8, 1), 10, batch_norm=False, activation="prelu"),
        lambda: zoo.load("glyphs"),
        lambda: zoo.replace_top(zoo.load("glyphs"), cut="features", classes=10, hidden=[64], dropout=0.3),
    ],
)
def test_the_networks_that_zoo_builds_keep_to_them(build):
    assert found(build()) == []


def test_nothing_is_changed_and_models_inside_are_read():
    model = nested()
    before = values(model)
    assert found(model) == [("initializer", ("inner2_conv",)), ("bias", ("inner1_conv",))]
    assert values(model) == before


# Initializers


@pytest.mark.parametrize(
    ("initializer", "name", "times"),
    [
        ("glorot_uniform", "relu", "0.5 times"),
        ("lecun_normal", "elu", "0.5 times"),
        (keras.initializers.RandomNormal(stddev=1.0), "tanh", "50 times"),
        (keras.initializers.RandomNormal(stddev=1.0), "relu", "25 times"),
        (keras.initializers.RandomUniform(-0.05, 0.05), "relu", "0.021 times"),
        (keras.initializers.TruncatedNormal(stddev=0.02), "gelu", "0.0077 times"),
        (keras.initializers.Orthogonal(), "relu", "0.5 times"),
        (keras.initializers.VarianceScaling(16), "tanh", "16 times"),
        (keras.initializers.VarianceScaling(160), "sigmoid", "10 times"),
    ],
)
def test_an_initializer_that_does_not_fit_is_named_with_its_size(initializer, name, times):
    hidden = [dense(f"hidden{i}", 50, name, kernel_initializer=initializer) for i in range(3)]
    one = only(stack(*hidden, top(), inputs=(50,)))
    assert (one.rule, one.layers, one.from_scratch) == ("initializer", ("hidden0", "hidden1", "hidden2"), True)
    assert one.why.startswith(f"The weights have {times} the variance that '{name}' asks for; over 3 such layers")
    assert one.fix == f'kernel_initializer=zoo.layers.for_activation("{name}")'


@pytest.mark.parametrize(
    ("initializer", "name"),
    [
        ("he_normal", "relu"),
        ("he_uniform", "gelu"),
        (keras.initializers.HeNormal(), "leaky_relu"),
        (keras.initializers.VarianceScaling(2, "fan_out"), "relu"),
        ("glorot_uniform", "tanh"),
        ("lecun_normal", "tanh"),
        (keras.initializers.VarianceScaling(25 / 9), "tanh"),
        ("glorot_uniform", "sigmoid"),
        (keras.initializers.VarianceScaling(16), "sigmoid"),
        (keras.initializers.Orthogonal(2**0.5), "relu"),
        ("lecun_normal", "selu"),
        (lambda shape, dtype=None: keras.ops.zeros(shape, dtype), "relu"),
    ],
)
def test_an_initializer_that_fits_is_let_pass(initializer, name):
    applied = activation(name)
    hidden = [layers.Dense(50, kernel_initializer=initializer), applied]
    assert found(stack(*hidden, top(), inputs=(50,))) == []


def test_an_activation_in_a_layer_of_its_own_counts_and_its_slope():
    glorot = layers.Conv2D(8, 3, name="conv")
    model = stack(glorot, layers.MaxPooling2D(), layers.LeakyReLU(0.5), layers.Flatten(), top(), inputs=(8, 8, 8))
    assert found(model) == [("initializer", ("conv",))] and 'leaky_relu", slope=0.5)' in only(model).fix
    assert found(stack(layers.Conv2D(8, 3), layers.LeakyReLU(0.9), layers.Flatten(), top(), inputs=(8, 8, 8))) == []


def test_the_scale_does_not_matter_before_normalization_nor_in_frozen_layers_nor_at_the_output():
    glorot = dense("low", activation=None, kernel_initializer="glorot_uniform", use_bias=False)
    wide = keras.initializers.RandomNormal(stddev=5.0)
    assert found(stack(glorot, layers.BatchNormalization(), layers.ReLU(), top(kernel_initializer=wide))) == []
    frozen = dense("low", activation="relu", kernel_initializer=wide)
    assert found(stack(frozen, top())) == [("initializer", ("low",))]
    frozen.trainable = False
    assert found(stack(frozen, top())) == []


def test_a_layer_below_a_recurrent_one_is_no_output():
    low = dense("low", activation="relu", kernel_initializer=keras.initializers.RandomNormal(stddev=5.0))
    assert found(stack(low, layers.LSTM(3), inputs=(5, 8))) == [("initializer", ("low",))]


def test_branches_that_something_goes_around_may_start_small():
    inputs = keras.Input((20,))
    x = dense("low", activation="relu")(inputs)
    y = layers.Dense(20, activation="relu", name="inside")(x)
    x = layers.Add()([x, layers.Dense(20, kernel_initializer="zeros", name="last")(y)])
    gate = layers.Dense(20, activation="sigmoid")(layers.Dense(20, activation="relu", name="squeeze")(x))
    x = layers.Multiply()([x, gate])
    assert found(keras.Model(inputs, top()(x))) == []


def test_towers_that_are_added_are_no_branches():
    one, other = keras.Input((20,)), keras.Input((20,))
    sides = [layers.Dense(20, activation="relu", name="beside")(one), dense("fits", activation="relu")(other)]
    model = keras.Model([one, other], top()(layers.Add()(sides)))
    assert found(model) == [("initializer", ("beside",))]


def test_a_depthwise_kernel_is_counted_as_it_is_and_not_as_keras_counts():
    he = layers.DepthwiseConv2D(3, depthwise_initializer="he_normal", activation="relu", name="depthwise")
    one = only(stack(he, layers.Flatten(), top(), inputs=(8, 8, 32)))
    assert one.layers == ("depthwise",) and "0.031 times" in one.why and "input_axes" in one.fix
    right = keras.initializers.VarianceScaling(2.0, input_axes=[0, 1], output_axes=[0, 1, 3])
    he = layers.DepthwiseConv2D(3, depthwise_initializer=right, activation="relu")
    assert found(stack(he, layers.Flatten(), top(), inputs=(8, 8, 32))) == []


def test_hidden_kernels_that_start_equal():
    one = only(stack(dense("low", activation="relu", kernel_initializer="ones"), top(kernel_initializer="zeros")))
    assert (one.layers, one.what) == (("low",), "all weights of the kernel start equal")
    assert found(stack(dense("low", activation="elu"), top(kernel_initializer="zeros"))) == []
    assert found(stack(dense("low", activation="elu", kernel_initializer="zeros"), top())) == [
        ("initializer", ("low",))
    ]


# SELU


def selu(name, **arguments):
    return dense(name, activation="selu", **{"kernel_initializer": "lecun_normal", **arguments})


def test_selu_without_lecun_is_told():
    one = only(stack(selu("low", kernel_initializer="he_normal"), selu("high"), top()))
    assert (one.rule, one.layers, one.from_scratch) == ("selu", ("low",), True)


def test_selu_with_plain_dropout_or_normalization_is_told():
    drop, alpha = layers.Dropout(0.1, name="drop"), layers.AlphaDropout(0.1, name="alpha")
    assert found(stack(selu("low"), drop, selu("high"), alpha, top())) == [("selu", ("drop",))]
    inside = [dense("low", activation=None, kernel_initializer="lecun_normal"), layers.LayerNormalization()]
    assert found(stack(*inside, layers.Activation("selu"), top())) == [("selu", ("low",))]
    one = only(stack(selu("low"), layers.BatchNormalization(name="bn"), selu("high"), top()))
    assert one.layers == ("bn",) and one.what == "normalization beside SELU"


def test_selu_inside_a_skip_connection_is_told():
    inputs = keras.Input((20,))
    x = selu("low")(inputs)
    x = layers.Add()([x, selu("inside")(x)])
    assert found(keras.Model(inputs, top()(x))) == [("selu", ("inside",))]


def test_alpha_dropout_without_selu_is_told():
    alpha = layers.AlphaDropout(0.1, name="alpha")
    assert found(stack(dense("low", activation="elu"), alpha, top())) == [("alpha dropout", ("alpha",))]


# Activations


@pytest.mark.parametrize(("name", "deep"), [("sigmoid", 4), ("tanh", 5), ("softsign", 5), ("hard_sigmoid", 4)])
def test_a_deep_stack_of_bounded_activations_says_how_deep(name, deep):
    def of(depth):
        return stack(*(dense(f"hidden{i}", activation=name) for i in range(depth)), top())

    assert found(of(deep - 1)) == []
    one = only(of(deep))
    assert one.rule == "saturating activation" and one.layers == tuple(f"hidden{i}" for i in range(deep))
    assert one.what == f"{deep} layers of {name} one above another, without normalization"


@pytest.mark.parametrize("first", [True, False])
def test_normalized_bounded_activations_are_let_pass(first):
    def block(i):
        inside = [dense(f"d{i}", use_bias=False), layers.BatchNormalization(name=f"b{i}"), layers.Activation("tanh")]
        return inside if first else [inside[0], inside[2], inside[1]]

    assert found(stack(*(layer for i in range(8) for layer in block(i)), top())) == []


def test_skip_connections_and_gates_are_no_stack():
    inputs = keras.Input((20,))
    x = dense("low")(inputs)
    for i in range(6):
        x = layers.Add()([x, dense(f"branch{i}", activation="tanh")(x)])
    assert found(keras.Model(inputs, top()(x))) == []
    inputs = x = keras.Input((20,))
    for i in range(6):
        x = layers.Multiply()([x, dense(f"gate{i}", activation="sigmoid")(x)])
    assert found(keras.Model(inputs, top()(x))) == []


def test_kerass_leaky_relu_is_told_and_ours_is_not():
    one = only(stack(dense("low", activation="leaky_relu"), top()))
    assert (one.rule, one.layers) == ("leaky ReLU", ("low",))
    assert found(stack(dense("low"), activation("leaky_relu"), top())) == []
    assert found(stack(dense("low"), layers.Activation("leaky_relu", name="act"), top()))[-1] == (
        "leaky ReLU",
        ("act",),
    )


def test_dense_layers_with_nothing_between():
    model = stack(dense("low"), layers.Dropout(0.2), dense("high", activation="elu"), top())
    assert found(model) == [("linear", ("low",))]
    assert found(stack(dense("low", 4), dense("high", activation="elu"), top(9))) == []  # a factored matrix
    own = keras.saving.register_keras_serializable("tests")(lambda x: x * x)
    assert found(stack(dense("low", kernel_initializer="he_normal"), layers.Lambda(own), top())) == []


def test_softmax_in_a_hidden_layer():
    drop = layers.Dropout(0.2)
    assert found(stack(dense("low", activation="softmax"), drop, top())) == [("softmax", ("low",))]
    inputs = keras.Input((20,))
    weights = dense("scores", activation="softmax")(inputs)  # attention: it weighs, and is no feature
    assert found(keras.Model(inputs, top()(layers.Multiply()([inputs, weights])))) == []


def test_softmax_twice_and_of_one():
    twice = stack(dense("low", activation="elu"), top(), layers.Softmax(name="again"))
    assert found(twice) == [("softmax", ("again",))]
    one = only(stack(dense("low", activation="elu"), top(1)))
    assert (one.layers, one.what) == (("top",), "softmax over one unit")
    assert found(stack(dense("low", activation="elu"), top(1, "sigmoid"))) == []


# Batch normalization and dropout


def test_a_bias_before_batch_normalization():
    model = stack(
        layers.Conv2D(5, 3, name="low"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(5, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(5, 3, activation="relu", kernel_initializer="he_normal"),
        layers.BatchNormalization(),
        layers.Flatten(),
        top(),
        inputs=(9, 9, 2),
    )
    one = only(model)
    assert (one.rule, one.layers) == ("bias", ("low",)) and one.fix == "use_bias=False, and 5 parameters fewer"


def test_a_bias_counts_where_statistics_are_fixed_or_of_another_axis():
    def model(norm):
        return stack(dense("low"), norm, layers.ReLU(), top())

    assert found(model(layers.BatchNormalization())) == [("bias", ("low",))]
    assert found(model(layers.BatchNormalization(trainable=False))) == []
    assert found(model(layers.LayerNormalization())) == []
    rows = stack(dense("low"), layers.BatchNormalization(axis=1), layers.ReLU(), layers.Flatten(), top(), inputs=(5, 8))
    assert found(rows) == []


def dropped_below() -> keras.Model:
    """Dropout after each hidden layer, with batch normalization in the next."""

    def block(i):
        parts = [dense(f"low{i}", use_bias=False), layers.BatchNormalization(name=f"bn{i}"), layers.ReLU()]
        return [*parts, layers.Dropout(0.2)]

    return stack(*(layer for i in (1, 2, 3) for layer in block(i)), top())


def test_batch_normalization_after_dropout():
    one = only(dropped_below())
    assert (one.rule, one.layers) == ("batch norm after dropout", ("bn2", "bn3"))
    below = [dense("low", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    assert found(stack(*below, layers.Dropout(0.5), top())) == []
    idle = [layers.Dropout(0.0), dense("high", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    assert found(stack(*below, *idle, top())) == []


def test_a_layer_normalization_between_and_dropped_branches_do_not_shift():
    hidden = [dense("low", use_bias=False), layers.LayerNormalization(), layers.BatchNormalization(), layers.ReLU()]
    assert found(stack(layers.Dropout(0.5), *hidden, top())) == []
    whole = layers.Dropout(0.2, noise_shape=(None, 1))  # stochastic depth as EfficientNet spells it
    assert found(stack(whole, dense("low", use_bias=False), layers.BatchNormalization(), layers.ReLU(), top())) == []


def test_dropout_that_leaves_next_to_nothing():
    model = stack(dense("low", activation="elu"), layers.Dropout(0.8, name="drop"), top())
    assert found(model) == [("dropout", ("drop",))] and "a dropout rate of 0.8" in str(only(model))
    assert found(stack(dense("low", activation="elu"), layers.Dropout(0.79), top())) == []


# Training


def test_a_norm_over_the_wrong_axes():
    def model(axis):
        limit = keras.constraints.MaxNorm(2.0, axis=axis)
        conv = layers.Conv2D(4, 3, activation="relu", kernel_initializer="he_normal", kernel_constraint=limit, name="c")
        return stack(conv, layers.Flatten(), top(kernel_constraint=keras.constraints.UnitNorm()), inputs=(8, 8, 3))

    assert found(model(0)) == [("max-norm", ("c",))]
    assert "zoo.layers.max_norm(LIMIT, 'Conv2D')" in only(model(0)).fix
    assert found(model([0, 1, 2])) == found(model([-4, -3, -2])) == []


@pytest.mark.parametrize("penalty", ["l1", "l2", keras.regularizers.L1L2(1e-4, 1e-4)])
def test_a_penalty_before_batch_normalization(penalty):
    def model(*between):
        return stack(dense("low", use_bias=False, kernel_regularizer=penalty), *between, layers.ReLU(), top())

    assert found(model(layers.BatchNormalization())) == [("penalty", ("low",))]
    assert found(stack(dense("low", activation="relu", kernel_regularizer=penalty), top())) == []
    bent = dense("low", activation="elu", kernel_regularizer=penalty)  # its size tells how far it bends
    assert found(stack(bent, layers.BatchNormalization(), top())) == []


def test_l2_under_adam_and_not_under_adamw():
    model = stack(dense("low", activation="elu", kernel_regularizer="l2"), top())
    one = only(model, optimizer="adam")
    assert (one.rule, one.layers, one.what) == ("penalty", ("low",), "l2 in the loss with Adam")
    assert found(model, optimizer=keras.optimizers.AdamW()) == found(model) == []
    model.compile("rmsprop", "sparse_categorical_crossentropy")
    assert only(model).what == "l2 in the loss with RMSprop"


def test_adagrad_on_a_deep_network_and_no_momentum():
    deep, shallow = dnn.build((8,), 3, depth=5), dnn.build((8,), 3, depth=2)
    assert only(deep, optimizer="adagrad").what == "AdaGrad on 6 layers"
    assert found(shallow, optimizer="adagrad") == found(deep, optimizer="adam") == []
    assert only(shallow, optimizer="sgd").what == "gradient descent without momentum"
    assert found(shallow, optimizer=keras.optimizers.SGD(0.1, momentum=0.9)) == []
    with pytest.raises(RecipeError, match="Keras has no optimizer 'adagrda'"):
        zoo.guidelines(deep, optimizer="adagrda")


def test_live_batch_normalization_above_frozen_weights():
    model = zoo.load("glyphs")
    for layer in model.layers:
        layer.trainable = not layer.name.startswith("block") or "bn" in layer.name
    one = only(model)
    assert one.rule == "live batch norm" and one.layers == tuple(f"block{b}_bn{i}" for b in (1, 2, 3) for i in (1, 2))
    for layer in model.layers:
        layer.trainable = not layer.name.startswith("block")
    assert found(model) == []


@pytest.mark.parametrize("merge", [layers.Add, layers.Concatenate])
def test_live_batch_normalization_above_a_merge_counts_where_all_below_it_is_frozen(merge):
    """As in ResNet V2 and DenseNet, which normalize first."""
    inputs = keras.Input((8,))
    sides = [dense("low", use_bias=False)(inputs), dense("beside", use_bias=False)(inputs)]
    x = layers.Activation("relu")(layers.BatchNormalization(name="bn")(layers.Dropout(0.1)(merge()(sides))))
    model = keras.Model(inputs, top()(x))

    def frozen(*names):
        for layer in model.layers:
            layer.trainable = layer.name not in names
        return [departure.layers for departure in zoo.guidelines(model) if departure.rule == "live batch norm"]

    assert frozen("low", "beside") == [("bn",)]
    assert frozen("low", "beside", "bn") == frozen("low") == frozen() == []


def test_live_batch_normalization_inside_another_layer_counts():
    inputs = keras.Input((5, 8))
    x = layers.LSTM(6, return_sequences=True, name="low")(inputs)
    x = layers.TimeDistributed(layers.BatchNormalization(name="norm"), name="steps")(x)
    model = keras.Model(inputs, top()(layers.GlobalAveragePooling1D()(x)))
    assert found(model) == []
    model.get_layer("low").trainable = False
    assert found(model) == [("live batch norm", ("steps/norm",))]
    model.get_layer("steps").trainable = False
    assert found(model) == []
    blocks = [BlockPattern("low", "low"), BlockPattern("steps", "steps"), BlockPattern("top", "(?!low|steps).*")]
    plan = zoo.freeze(model, upto="low", batch_norm="train", blocks_of=blocks)
    assert found(model, plan=plan) == [("live batch norm", ("steps/norm",))]


@pytest.mark.parametrize(("name", "norms"), [("ResNet50V2", 49), ("DenseNet121", 121)])
def test_every_batch_normalization_of_a_network_that_normalizes_first_is_seen(name, norms):
    model = getattr(keras.applications, name)(weights=None, classes=10, input_shape=(32, 32, 3))
    for layer in model.layers[:-1]:
        layer.trainable = isinstance(layer, layers.BatchNormalization)
    assert [(rule, len(names)) for rule, names in found(model)] == [("live batch norm", norms)]


def test_a_plan_with_a_rate_says_which_and_where():
    model = zoo.replace_top(zoo.load("glyphs"), cut="features", classes=10)
    live = zoo.freeze(model, upto="block1", batch_norm="train")
    one = only(model, plan=live, learning_rate=0.01)
    assert one.what == "live batch normalization in a network that is partly frozen, at a learning rate of 0.01"
    assert one.layers == ("block2_bn1", "block2_bn2", "block3_bn1", "block3_bn2")
    for plan in (zoo.freeze(model, upto="block1"), zoo.freeze(model, batch_norm="train")):
        assert found(model, plan=plan, learning_rate=0.01) == []


def test_a_plan_needs_its_own_network():
    model = zoo.load("glyphs")
    with pytest.raises(PlanError, match="says nothing about the guidelines without its network"):
        zoo.guidelines(plan=zoo.freeze(model))
    with pytest.raises(PlanError, match="for another network"):
        zoo.guidelines(dnn.build((8,), 3), plan=zoo.freeze(model))


@pytest.mark.parametrize(
    ("output", "loss", "what"),
    [
        ("linear", "categorical_crossentropy", "linear outputs with a loss that expects probabilities"),
        ("linear", keras.losses.SparseCategoricalCrossentropy(), "linear outputs with a loss that expects"),
        (
            "softmax",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "from_logits=True on outputs of soft",
        ),
        ("sigmoid", keras.losses.BinaryCrossentropy(from_logits=True), "from_logits=True on outputs of sigmoid"),
        ("relu", "bce", "relu as the output of a classifier"),
        ("relu", "mse", "relu as the output"),
    ],
)
def test_a_loss_that_does_not_fit_the_output(output, loss, what):
    model = stack(dense("low", activation="elu"), top(activation=output))
    model.compile("adam", loss)
    assert only(model).what.startswith(what) and only(model).layers == ("top",)


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("linear", keras.losses.CategoricalCrossentropy(from_logits=True)),
        ("softmax", "sparse_categorical_crossentropy"),
        ("sigmoid", keras.losses.binary_crossentropy),
        ("linear", "mse"),
        ("relu", None),
    ],
)
def test_a_loss_that_fits_is_let_pass(output, loss):
    model = stack(dense("low", activation="elu"), top(activation=output))
    if loss is not None:
        model.compile("adam", loss)
    assert found(model) == []


# What is printed


def test_many_layers_with_one_fault_are_one_entry():
    text = str(zoo.guidelines(stack(*(dense(f"hidden{i}", activation="tanh") for i in range(20)), top())))
    assert text.splitlines()[:3] == [
        "'net' departs from the guidelines in 1 point",
        "saturating activation: 20 layers of tanh one above another, without normalization",
        "    in hidden0, hidden1, hidden2, hidden3 and 16 more",
    ]
    assert text.splitlines()[-1].startswith("    Fix: ")
    assert max(map(len, text.splitlines())) <= 108


def test_a_network_that_keeps_to_them_says_so():
    done = zoo.guidelines(dnn.build((8,), 3))
    assert isinstance(done, Departures) and str(done) == f"'dnn' keeps to the guidelines ({len(RULES)} rules)"


class Branching(keras.Model):
    """Its ``call`` depends on the mode by itself, and so cannot be traced."""

    def __init__(self):
        super().__init__(name="own")
        self.low = layers.Dense(8, activation="relu", name="low")

    def call(self, inputs, training=False):
        return self.low(inputs) if training else self.low(inputs) * 2


@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer")
def test_what_cannot_be_read_is_named():
    inputs = keras.Input((8,))
    said = zoo.guidelines(keras.Model(inputs, top()(Branching()(inputs)), name="net"))
    assert said.unread == ("own",) and len(said) == 0
    assert str(said).splitlines()[1] == "not read: 'own' is opaque: the layers inside it cannot be told apart"


def test_departures_are_json():
    done = zoo.guidelines(dropped_below())
    read = json.loads(json.dumps(done.as_dict()))
    assert read["network"] == "net" and read["checked"] == list(RULES)
    (one,) = read["departures"]
    assert set(one) == {"rule", "layers", "what", "why", "fix", "from_scratch"} and one["layers"][0] == "bn2"
    assert json.loads(json.dumps(zoo.guidelines().as_dict()))["defaults"][0]["default"] == "He"


def test_without_a_network_the_defaults_and_the_exceptions_are_printed():
    lines = str(zoo.guidelines()).splitlines()
    assert len(lines) == len(DEFAULTS) + len(EXCEPTIONS) + 3
    assert any(line.startswith("activation") and "ELU" in line for line in lines)
    options = [line for line in lines if "--activation" in line]
    assert len(options) == 3 and all("--hidden" in line for line in options), "without hidden layers it does nothing"
    assert max(map(len, lines)) <= 110


def test_every_call_and_option_that_is_named_exists():
    sources = [*ROOT.glob("zoo/*_rules.py"), ROOT / "zoo" / "guideline.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    calls = set(re.findall(r"\b(?:zoo|keras)(?:\.\w+)+", text)) - {"zoo.guidelines"}
    for call in calls:
        thing = {"zoo": zoo, "keras": keras}[call.split(".")[0]]
        for part in call.split(".")[1:]:
            thing = getattr(thing, part)
    options = set(re.findall(r"--[a-z-]+", text))
    command = (ROOT / "zoo" / "commands" / "finetune.py").read_text(encoding="utf-8")
    assert len(calls) > 10 and {o for o in options if f'"{o}"' not in command} == set()


#: What keras.applications departs in, and in how many layers; nothing for those that keep to the guidelines.
APPLICATIONS = {
    "VGG16": {"initializer": 14},
    "ResNet50": {"bias": 53},
    "ResNet50V2": {},
    "MobileNet": {},
    "MobileNetV2": {},
    "MobileNetV3Small": {"initializer": 1},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
    "DenseNet121": {},
    "ConvNeXtTiny": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_applications_depart_where_they_do(name):
    model = getattr(keras.applications, name)(weights=None, classes=10, input_shape=(64, 64, 3))
    assert {rule: len(names) for rule, names in found(model)} == APPLICATIONS[name]
