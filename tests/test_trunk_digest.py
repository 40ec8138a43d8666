"""The digest of a trunk: the same for what computes the same, another for what does not, and what it cannot know."""

import functools
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from zoo import known_code
from zoo import trunk_digest as module
from zoo.copying import clone
from zoo.errors import SurgeryError
from zoo.flattening import flat
from zoo.graph import is_seed_state
from zoo.layers import FrozenBatchNorm, Inference, RReLU
from zoo.trunk_digest import trunk_digest, unknown_code

from .networks import NETWORKS, nested, small_convnet
from .random_networks import networks

layers = keras.layers
ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.filterwarnings("ignore:Layer '.*' .* was passed an input with a mask attached")


def filled(model: keras.Model, seed: int = 0) -> keras.Model:
    """The same numbers in every network of the same shapes."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if not is_seed_state(variable):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def network(*stack: Any, shape: tuple[int, ...] = (6, 6, 2), **how: Any) -> keras.Model:
    """Some layers or functions on top of one another."""
    inputs = x = keras.Input(shape, **how)
    for layer in stack:
        x = layer(x)
    return filled(keras.Model(inputs, x))


def digests(*models: keras.Model) -> set[str]:
    return {trunk_digest(model) for model in models}


def flip_bit(variable: keras.Variable, at: int) -> None:
    """Changes one bit of one number."""
    value = variable.numpy().copy()
    value.reshape(-1).view("uint8")[at % value.nbytes] ^= 1
    variable.assign(value)


# What counts for nothing


def test_it_is_a_sha256_that_does_not_change():
    model = small_convnet()
    before = trunk_digest(model)
    assert before == trunk_digest(model)
    assert len(before) == 64 and int(before, 16)


def two_branches(prefix: str, right_first: bool) -> keras.Model:
    """The same network, whose branches are made in one order or the other."""
    inputs = keras.Input((4,), name=f"{prefix}in")
    kinds: dict[str, Callable[[], Any]] = {
        "left": lambda: layers.Dense(3, activation="relu", name=f"{prefix}left")(inputs),
        "right": lambda: layers.Dense(3, activation="tanh", name=f"{prefix}right")(inputs * 2.0),
    }
    made = {name: kinds[name]() for name in (sorted(kinds, reverse=right_first))}
    joined = layers.Subtract(name=f"{prefix}minus")([made["left"], made["right"]])
    model = keras.Model(inputs, [joined, made["right"]], name=f"{prefix}net")
    for layer, start in ((model.get_layer(f"{prefix}left"), 1.0), (model.get_layer(f"{prefix}right"), 2.0)):
        layer.set_weights([np.full(v.shape, start + i) for i, v in enumerate(layer.variables)])
    return model


def test_names_and_the_order_of_construction_count_for_nothing():
    assert len(digests(two_branches("a_", False), two_branches("z_", False), two_branches("m_", True))) == 1


def test_what_only_training_uses_counts_for_nothing():
    plain = network(layers.Dense(3), layers.Dropout(0.5, seed=1), shape=(4,))
    how: dict[str, Any] = {
        "kernel_initializer": "zeros",
        "bias_regularizer": keras.regularizers.L2(0.1),
        "kernel_constraint": "non_neg",
        "activity_regularizer": "l1",
    }
    other = network(layers.Dense(3, **how), layers.Dropout(0.5, seed=2), shape=(4,))
    other.trainable = False
    other.compile("sgd", "mse")
    other.layers[-1].seed_generator.state.assign([7, 7])
    assert len(digests(plain, other)) == 1


def test_the_batch_size_of_an_input_counts_for_nothing():
    assert len(digests(network(layers.ReLU()), network(layers.ReLU(), batch_size=3))) == 1


def test_a_network_of_models_inside_has_the_digest_of_the_flat_one():
    for build, _ in NETWORKS.values():
        model = build()
        assert len(digests(model, flat(model), clone(model))) == 1
    inner = nested()
    assert len(digests(inner, keras.Sequential([keras.Input((8, 8, 1)), inner]))) == 1


def test_a_network_from_a_file_has_the_digest_of_the_one_that_was_saved(tmp_path):
    for name, (build, _) in NETWORKS.items():
        model = build()
        model.save(tmp_path / f"{name}.keras")
        assert len(digests(model, keras.models.load_model(tmp_path / f"{name}.keras"))) == 1, name


def test_a_call_is_the_same_whether_training_was_said_to_be_off():
    calls_of: set[str] = set()
    model = network(layers.Dropout(0.5), shape=(4,))
    outer = [keras.Input((4,)) for _ in range(2)]
    said = keras.Model(outer[0], model(outer[0], training=False))
    assert len(digests(model, said, keras.Model(outer[1], model(outer[1])))) == 1
    layer = layers.MultiHeadAttention(1, 2)
    for how in ({}, {"training": False}, {"training": None}):
        calls_of.add(trunk_digest(network(lambda x, how=how: layer(x, x, **how), shape=(3, 4))))
    assert len(calls_of) == 1


def vocabulary(words: Any, **how: Any) -> keras.Model:
    text = keras.Input((1,), dtype="string")
    return keras.Model(text, layers.TextVectorization(output_mode="int", vocabulary=words, **how)(text))


def test_a_vocabulary_is_what_it_holds_not_where_it_came_from(tmp_path):
    (tmp_path / "words.txt").write_text("b\na\n")
    learned = layers.TextVectorization(output_mode="int")
    learned.adapt(["b b a"])
    text = keras.Input((1,), dtype="string")
    given_ = vocabulary(["b", "a"])
    assert len(digests(given_, keras.Model(text, learned(text)), vocabulary(str(tmp_path / "words.txt")))) == 1


PROCESS = """
import sys; sys.path.insert(0, sys.argv[1])
from tests.test_trunk_digest import all_kinds, trunk_digest
print(trunk_digest(all_kinds()))
"""


def all_kinds() -> keras.Model:
    """A network of many kinds of layers, operations and constants, the same in every process."""
    image, words = keras.Input((6, 6, 2), name="image"), keras.Input((1,), dtype="string", name="words")
    low = layers.BatchNormalization()(layers.Conv2D(4, 3, activation=keras.activations.relu)(image))
    low = RReLU()(low) * np.float32([1, 2, 3, 4])
    low = layers.Reshape((16, 4))(low)[:, ::2]
    low = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(low)
    low = layers.MultiHeadAttention(2, 3)(low, low)
    text = layers.Embedding(9, 3, mask_zero=True)(layers.TextVectorization(vocabulary=["a", "b"])(words))
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation="gelu")])
    text = layers.TimeDistributed(inner)(text)
    outputs = {"low": low, "text": keras.ops.sum(text, axis=1)}
    return filled(keras.Model({"image": image, "words": words}, outputs))


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_every_process_finds_the_same(hash_seed):
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", PROCESS, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env, cwd=ROOT)
    assert done.stdout.split()[-1] == trunk_digest(all_kinds())


# What changes it


def norm(**how: Any) -> keras.Model:
    return network(layers.BatchNormalization(**how))


def conv(**how: Any) -> keras.Model:
    return network(layers.Conv2D(**{"filters": 2, "kernel_size": 3, "padding": "same", **how}))


def joined(kind: Any, swapped: bool) -> keras.Model:
    inputs = keras.Input((4,))
    one, other = layers.Dense(4)(inputs), layers.Dense(4, activation="tanh")(inputs)
    pair = [other, one] if swapped else [one, other]
    model = keras.Model(inputs, [kind()(pair), one, other])
    return filled(model)


def wired(skip: bool) -> keras.Model:
    """The same three layers, the last on top of the second or of the first."""
    inputs = keras.Input((4,))
    one = layers.Dense(4)(inputs)
    other = layers.Dense(4)(one)
    top = layers.Dense(4)(one if skip else other)
    return filled(keras.Model(inputs, [other, top]))


def outputs(*order: int) -> keras.Model:
    inputs = keras.Input((4,))
    made = [layers.Dense(2)(inputs), layers.Dense(2, activation="relu")(inputs)]
    return filled(keras.Model(inputs, [made[i] for i in order]))


def twice(shared: bool) -> keras.Model:
    """A layer called twice, or two layers of other weights."""
    one = layers.Dense(4)
    return network(one, one if shared else layers.Dense(4), shape=(4,))


def calling(**how: Any) -> keras.Model:
    inputs = keras.Input((3, 4))
    return filled(keras.Model(inputs, layers.MultiHeadAttention(1, 2)(inputs, inputs, **how)))


def around(inner: keras.layers.Layer) -> keras.Model:
    return network(layers.TimeDistributed(inner), shape=(3, 4))


def inside(skip: bool) -> keras.Model:
    """A model in a wrapper, where its graph is in no configuration that is read by names."""
    return around(keras.Model((part := wired(skip)).inputs, layers.Add()(part.outputs)))


def inputs_of_kind(*names: str) -> keras.Model:
    made = {name: keras.Input((2,), name=name) for name in names}
    return keras.Model(made, layers.Subtract()(list(made.values())))


def normalization(mean: float) -> keras.Model:
    return network(layers.Normalization(mean=mean, variance=1.0), shape=(4,))


def stale() -> keras.Model:
    """A normalization that computes with other statistics than its configuration has."""
    model = normalization(1.0)
    model.layers[-1].mean = keras.ops.full((1, 1), 3.0)
    return model


def in_training(trainable: bool) -> keras.Model:
    inputs, layer = keras.Input((4,)), layers.BatchNormalization(trainable=trainable)
    return filled(keras.Model(inputs, layer(inputs, training=True)))


def no_autocast() -> keras.Model:
    layer = layers.Rescaling(2.0)
    layer.autocast = False
    return network(layer)


def idf(weight: float) -> keras.Model:
    how: dict[str, Any] = {"output_mode": "tf_idf", "vocabulary": ["a", "b"], "idf_weights": [weight, 1.0]}
    text = keras.Input((1,), dtype="string")
    return keras.Model(text, layers.TextVectorization(**how)(text))


CHANGES: dict[str, tuple[Callable[[], keras.Model], Callable[[], keras.Model]]] = {
    "epsilon": (norm, lambda: norm(epsilon=1e-5)),
    "center": (norm, lambda: norm(center=False)),
    "class": (norm, lambda: network(FrozenBatchNorm())),
    "activation": (conv, lambda: conv(activation="relu")),
    "activation as a layer": (
        lambda: conv(activation=layers.ReLU()),
        lambda: conv(activation=layers.ReLU(negative_slope=0.1)),
    ),
    "stride": (conv, lambda: conv(strides=2)),
    "padding": (conv, lambda: conv(padding="valid")),
    "dilation": (conv, lambda: conv(dilation_rate=2)),
    "data format": (conv, lambda: conv(data_format="channels_first", filters=6)),
    "dtype policy": (conv, lambda: conv(dtype="mixed_bfloat16")),
    "autocast": (lambda: network(layers.Rescaling(2.0)), no_autocast),
    "type of the input": (lambda: network(layers.ReLU()), lambda: network(layers.ReLU(), dtype="float16")),
    "shape of the input": (lambda: network(layers.ReLU()), lambda: network(layers.ReLU(), shape=(6, 7, 2))),
    "edge": (lambda: wired(False), lambda: wired(True)),
    "minus": (lambda: joined(layers.Subtract, False), lambda: joined(layers.Subtract, True)),
    "join": (lambda: joined(layers.Concatenate, False), lambda: joined(layers.Concatenate, True)),
    "constant": (lambda: network(lambda x: x * 2.0), lambda: network(lambda x: x * 2.5)),
    "sign of zero": (lambda: network(lambda x: x + 0.0), lambda: network(lambda x: x + -0.0)),
    "type of a constant": (lambda: network(lambda x: x * np.float32(2)), lambda: network(lambda x: x * np.float64(2))),
    "array": (
        lambda: network(lambda x: x * np.float32([1, 2])),
        lambda: network(lambda x: x * np.float32([1, 3])),
    ),
    "type of an array": (
        lambda: network(lambda x: keras.ops.cast(x, "int32") + np.zeros(2, "int32")),
        lambda: network(lambda x: keras.ops.cast(x, "int32") + np.zeros(2, "float32")),
    ),
    "array of texts": (
        lambda: network(lambda x: keras.ops.equal(x, keras.ops.convert_to_tensor(["a", "b"])), dtype="string"),
        lambda: network(lambda x: keras.ops.equal(x, keras.ops.convert_to_tensor(["a", "c"])), dtype="string"),
    ),
    "shape of an array": (
        lambda: network(lambda x: x + np.ones((1, 2), "float32")),
        lambda: network(lambda x: x + np.ones((2,), "float32")),
    ),
    "slice": (lambda: network(lambda x: x[:, 1:]), lambda: network(lambda x: x[:, :-1])),
    "axis of an operation": (
        lambda: network(lambda x: keras.ops.sum(x, axis=1)),
        lambda: network(lambda x: keras.ops.sum(x, axis=2)),
    ),
    "operation": (lambda: network(keras.ops.exp), lambda: network(keras.ops.log)),
    "output of a call": (
        lambda: network(lambda x: keras.ops.split(x, 2, axis=1)[0]),
        lambda: network(lambda x: keras.ops.split(x, 2, axis=1)[1]),
    ),
    "argument of a call": (calling, lambda: calling(use_causal_mask=True)),
    "training": (lambda: in_training(True), lambda: in_training(False)),
    "order of outputs": (lambda: outputs(0, 1), lambda: outputs(1, 0)),
    "one output twice": (lambda: outputs(0, 1), lambda: outputs(0, 1, 0)),
    "shared": (lambda: twice(True), lambda: twice(False)),
    "keys of inputs": (lambda: inputs_of_kind("a", "b"), lambda: inputs_of_kind("a", "c")),
    "inside a wrapper": (
        lambda: around(layers.Dense(4, activation="tanh")),
        lambda: around(layers.Dense(4, activation="gelu")),
    ),
    "edge of a model in a wrapper": (lambda: inside(False), lambda: inside(True)),
    "merge": (
        lambda: network(layers.Bidirectional(layers.GRU(2), merge_mode="sum"), shape=(3, 4)),
        lambda: network(layers.Bidirectional(layers.GRU(2), merge_mode="mul"), shape=(3, 4)),
    ),
    "held": (
        lambda: network(Inference(layers.BatchNormalization())),
        lambda: network(Inference(layers.BatchNormalization(epsilon=0.1))),
    ),
    "vocabulary": (lambda: vocabulary(["a", "b"]), lambda: vocabulary(["b", "a"])),
    "ngrams": (lambda: vocabulary(["a", "b"]), lambda: vocabulary(["a", "b"], ngrams=2)),
    "idf": (lambda: idf(1.0), lambda: idf(2.0)),
    "mean": (lambda: normalization(1.0), lambda: normalization(2.0)),
    "mean that was set": (lambda: normalization(1.0), stale),
    "random layer": (lambda: network(layers.Dropout(0.1)), lambda: network(layers.SpatialDropout2D(0.1))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_network_has_another_digest(change):
    one, other = CHANGES[change]
    first = trunk_digest(one())
    assert trunk_digest(one()) == first, "the two differ in nothing else"
    assert trunk_digest(other()) != first


def test_the_smallest_number_and_the_precision_of_keras_count():
    model = network(layers.ReLU())
    before, epsilon = trunk_digest(model), keras.config.epsilon()
    try:
        keras.config.set_epsilon(1e-5)
        assert trunk_digest(model) != before
    finally:
        keras.config.set_epsilon(epsilon)
    assert trunk_digest(model) == before


@pytest.mark.parametrize("where", ["kernel", "moving_variance", "recurrent_kernel", "vocabulary"])
def test_one_bit_of_the_state_changes_it(where):
    model = filled(all_kinds())
    before = trunk_digest(model)
    if where == "vocabulary":
        next(la for la in model.layers if isinstance(la, layers.TextVectorization)).set_vocabulary(["a", "c"])
    else:
        flip_bit(next(v for v in model.variables if v.name == where), 5)
    assert trunk_digest(model) != before


def test_arrays_of_any_type_are_read():
    for dtype in ("bfloat16", "float16", "int8", "bool", "uint32"):
        constant = keras.ops.cast(keras.ops.convert_to_tensor([0, 1]), dtype)
        made = network(lambda x, constant=constant: keras.ops.where(constant, x, 0), shape=(2,))
        assert trunk_digest(made) == trunk_digest(made), dtype
    texts = [network(lambda x, w=w: keras.ops.equal(x, w), shape=(2,), dtype="string") for w in ("a", "b")]
    assert len(digests(*texts)) == 2


@settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data(), networks())
def test_a_copy_shares_it_until_one_bit_differs(data, drawn):
    copy = clone(drawn.model)
    before = trunk_digest(drawn.model)
    assert trunk_digest(copy) == before == trunk_digest(flat(drawn.model))
    assert unknown_code(drawn.model) == ()
    needed = [v for v in copy.variables if not is_seed_state(v)]
    variable = data.draw(st.sampled_from(range(len(needed))))
    flip_bit(needed[variable], data.draw(st.integers(0, 2**16)))
    assert trunk_digest(copy) != before


# What it cannot know


class Times(layers.Layer):
    """A layer of a user's own, which has no configuration."""

    def __init__(self, factor: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor


class Pair(layers.Layer):
    """A layer of a user's own whose configuration does not say what is inside."""

    def __init__(self, activation: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.low = layers.Dense(4, activation=activation)

    def build(self, shape: Any) -> None:
        self.low.build(shape)

    def call(self, x: Any) -> Any:
        return self.low(x)

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class Own(layers.Dense):
    """A user's own kind of one of Keras's layers."""


class Opaque(keras.Model):
    """A model whose call nobody can trace."""

    def __init__(self, units: int = 4):
        super().__init__()
        self.low = layers.Dense(units, activation="relu")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.low(x) + 1.0 if training else self.low(x)


class Counting(layers.Layer):
    """A layer that saves something beside variables, and a file."""

    def __init__(self, table: Any, text: str, **kwargs: Any):
        super().__init__(**kwargs)
        self._table = Hidden((table, text))

    def call(self, x: Any) -> Any:
        return x

    def get_config(self) -> dict[str, Any]:
        return super().get_config()

    def save_own_variables(self, store: Any) -> None:
        store["table"] = np.asarray(self._table.held()[0])

    def save_assets(self, folder: str) -> None:
        (Path(folder) / "text.txt").write_text(self._table.held()[1])

    def load_assets(self, folder: str) -> None: ...


class Hidden:
    """Something whose attributes say nothing."""

    __slots__ = ("held",)

    def __init__(self, held: Any):
        self.held = lambda: held


@keras.saving.register_keras_serializable(package="tests")
def relu(x: Any) -> Any:
    """Not Keras's."""
    return x * 3.0


class Squash:
    """An activation that is an object."""

    def __call__(self, x: Any) -> Any:
        return x / 2.0

    def get_config(self) -> dict[str, Any]:
        return {}


UNKNOWN: dict[str, Callable[[], Any]] = {
    "layer": lambda: Times(2.0, name="it"),
    "subclass": lambda: Own(4, name="it"),
    "lambda": lambda: layers.Lambda(lambda x: x, name="it"),
    "lambda of a function that is known": lambda: layers.Lambda(keras.ops.relu, name="it"),
    "function": lambda: layers.Dense(4, activation=relu, name="it"),
    "nameless function": lambda: layers.Dense(4, activation=lambda x: x, name="it"),
    "part of a function": lambda: layers.Activation(functools.partial(relu), name="it"),
    "object": lambda: layers.Dense(4, activation=Squash(), name="it"),
    "wrapped layer": lambda: Inference(Times(2.0), name="it"),
    "wrapped function": lambda: Inference(layers.Dense(4, activation=relu), name="it"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_code_of_the_users_own_is_named(kind):
    model = network(layers.Dense(4, name="low"), UNKNOWN[kind](), layers.Dense(4, name="top"), shape=(4,))
    assert unknown_code(model) == ("it",)


def test_code_that_was_put_into_one_of_keras_s_layers_is_named():
    layer = layers.Dense(4, name="low")
    layer.call = lambda x: x
    assert unknown_code(network(layer, layers.Dense(4), shape=(4,))) == ("low",)


def test_a_function_in_an_operation_s_argument_is_named():
    found = unknown_code(network(lambda x: keras.ops.map(lambda row: row * 2.0, x), shape=(4,)))
    assert len(found) == 1 and found[0].startswith("map")


def test_keras_s_and_zoo_s_own_code_is_known():
    assert unknown_code(all_kinds()) == ()
    assert unknown_code(small_convnet(activation="rrelu")) == ()
    made = layers.Dense(4, activation=keras.activations.relu, kernel_initializer=lambda shape, dtype: np.ones(shape))
    assert unknown_code(network(made, Inference(layers.Dropout(0.5)), FrozenBatchNorm(), shape=(4,))) == ()


def test_a_function_of_the_name_of_one_of_keras_s_is_another():
    one, other = (network(layers.Dense(4, activation=made), shape=(4,)) for made in ("relu", relu))
    assert one.layers[1].get_config()["activation"] == "relu"
    assert len(digests(one, other)) == 2


def test_what_is_seen_of_unknown_code_counts():
    def scaled(factor: float) -> Any:
        return lambda x: x * factor

    pairs: list[tuple[Any, Any]] = [
        (Times(2.0), Times(3.0)),
        (Times(np.ones(4, "float32")), Times(np.zeros(4, "float32"))),
        (Pair("relu"), Pair("tanh")),
        (layers.Lambda(lambda x: x * 2.0), layers.Lambda(lambda x: x * 3.0)),
        (layers.Lambda(scaled(2.0)), layers.Lambda(scaled(3.0))),
        (layers.Dense(4, activation=scaled(2.0)), layers.Dense(4, activation=scaled(3.0))),
    ]
    for one, other in pairs:
        model = network(one, shape=(4,))
        assert trunk_digest(model) == trunk_digest(model)
        assert trunk_digest(model) != trunk_digest(network(other, shape=(4,)))


def test_classes_of_one_name_are_told_apart_by_their_code():
    def made(factor: float) -> Any:
        if factor == 2.0:

            class Scale(layers.Layer):
                def call(self, x: Any) -> Any:
                    return x * 2.0
        else:

            class Scale(layers.Layer):
                def call(self, x: Any) -> Any:
                    return x * 3.0

        return Scale()

    assert len(digests(network(made(2.0)), network(made(3.0)))) == 2


def test_an_opaque_model_is_read_through_its_layers():
    def outer(seed: int) -> keras.Model:
        inner = Opaque()
        inner(np.ones((1, 4), "float32"))
        return filled(network(inner, shape=(4,)), seed)

    model = outer(0)
    assert len(unknown_code(model)) == 1
    assert len(digests(model, outer(0))) == 1
    before = trunk_digest(model)
    flip_bit(next(v for v in model.variables if v.name == "kernel"), 3)
    assert trunk_digest(model) != before


def test_what_a_layer_saves_beside_variables_counts(monkeypatch):
    monkeypatch.setattr(module.uuid, "uuid4", lambda: module.uuid.UUID(int=0))  # what cannot be read never recurs
    first = trunk_digest(network(Counting([1, 2], "a")))
    assert trunk_digest(network(Counting([1, 2], "a"))) == first
    assert trunk_digest(network(Counting([1, 3], "a"))) != first
    assert trunk_digest(network(Counting([1, 2], "b"))) != first


def test_what_cannot_be_read_never_has_the_same_digest_twice():
    model = network(Times(2.0))
    model.layers[-1].held = Hidden(1)
    assert trunk_digest(model) != trunk_digest(model)


def test_an_edit_of_zoo_s_own_layer_or_of_what_it_imports_changes_it(tmp_path, monkeypatch):
    def made(factor: str, rest: str) -> keras.Model:
        known_code.source_of.cache_clear()
        (tmp_path / "low.py").write_text(f"FACTOR = {factor}\n")
        (tmp_path / "gate.py").write_text(
            "import keras\nfrom .low import FACTOR\n"
            "class Gate(keras.layers.Layer):\n    def call(self, x):\n        return x * FACTOR\n" + rest
        )
        for name in ("zoo.made_up.low", "zoo.made_up.gate"):
            spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name.split('.')[-1]}.py")
            monkeypatch.setitem(sys.modules, name, importlib.util.module_from_spec(spec))
            spec.loader.exec_module(sys.modules[name])
        return network(sys.modules["zoo.made_up.gate"].Gate())

    first = trunk_digest(made("2.0", ""))
    assert unknown_code(made("2.0", "")) == ()
    assert trunk_digest(made("2.0", "")) == first
    assert len({first, trunk_digest(made("22.0", "")), trunk_digest(made("2.0", "REST = 1\n"))}) == 3
    known_code.source_of.cache_clear()


def test_what_is_no_built_network_is_refused():
    for function in (trunk_digest, unknown_code):
        with pytest.raises(SurgeryError, match=r"it is a Sequential model that is not built"):
            function(keras.Sequential([layers.Dense(2)], name="raw"))
