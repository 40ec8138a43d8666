"""Networks as flat graphs: models inside, subclassed models, equal names."""

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import SurgeryError
from zoo.flattening import flat, is_opaque
from zoo.graph import calls, operations

from .networks import NETWORKS, gap, images, live, nested, sequential, values

layers = keras.layers


@pytest.mark.parametrize("name", NETWORKS)
def test_flat_computes_the_same_with_the_same_layers(name: str):
    build, inputs = NETWORKS[name]
    model, x = build(), inputs()
    before = values(model)
    graph = flat(model)
    assert gap(model(x, training=False), graph(x, training=False)) == 0
    assert {id(v) for v in graph.weights} == {id(v) for v in model.weights}
    assert not any(isinstance(op, keras.Model) for op in operations(graph))
    assert values(model) == before


def test_models_inside_are_inlined_at_any_depth():
    model = nested()
    outer = keras.Sequential([keras.Input((8, 8, 1)), model, layers.Softmax(name="softmax")])
    names = [op.name for op in operations(flat(outer))]
    assert names == ["stem", "inner1_conv", "inner1_bn", "inner2_conv", "pool", "top", "softmax"]


def test_inputs_and_outputs_keep_their_structure():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="inner")])
    model = keras.Model({"a": a, "b": b}, {"sum": inner(a) + inner(b), "a": inner(a)})
    x = {"a": np.ones((2, 3), "float32"), "b": np.zeros((2, 3), "float32")}
    graph = flat(model)
    assert set(graph(x, training=False)) == {"sum", "a"}
    np.testing.assert_array_equal(graph(x, training=False)["sum"], model(x, training=False)["sum"])


def test_what_is_no_network_is_refused():
    with pytest.raises(SurgeryError, match=r"This is not a network. Expected a keras.Model; received str."):
        flat("glyphs")  # type: ignore[arg-type]


def test_sequential_counts_as_a_graph():
    assert len(calls(flat(sequential()))) == 7


# Subclassed models


class Own(keras.Model):
    """A subclassed model whose ``call`` is made of Keras operations."""

    def __init__(self, name="own"):
        super().__init__(name=name)
        self.low = layers.Dense(6, activation="tanh", name="low")
        self.norm = layers.BatchNormalization(name="norm")
        self.drop = layers.Dropout(0.5, name="drop")
        self.top = layers.Dense(3, name="top")

    def call(self, inputs, training=None):
        return self.top(self.drop(self.norm(self.low(inputs), training=training)))


class Branching(Own):
    def call(self, inputs, training=None):
        x = self.norm(self.low(inputs))
        return self.top(self.drop(x) if training else x)


class Scaling(Own):
    def call(self, inputs, training=None):
        return super().call(inputs) * (2.0 if training else 1.0)


class Foreign(Own):
    def call(self, inputs):
        import tensorflow as tf

        return self.top(tf.nn.tanh(self.low(inputs)))


class Tying(Own):
    """Uses a weight by itself: a copy would still use the original's."""

    def call(self, inputs):
        return keras.ops.matmul(self.low(inputs), keras.ops.transpose(self.low.kernel))


class Scaled(Own):
    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")
        super().build(shape)

    def call(self, inputs):
        return self.top(self.low(inputs)) * self.scale


class Drawing(Own):
    """Random whatever the mode."""

    def call(self, inputs):
        return self.top(self.drop(self.low(inputs), training=True))


def called(build) -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(0)
    model, x = build(), images(16, (5,)) / 255
    model(x)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(x, training=True)
    return model, x


def test_a_subclassed_model_is_traced():
    model, x = called(Own)
    before = values(model)
    graph = flat(model)
    assert [op.name for op in operations(graph)] == ["low", "norm", "drop", "top"]
    assert {id(v) for v in graph.variables} == {id(v) for v in model.variables}
    assert gap(model(x, training=False), graph(x, training=False)) == 0
    trunk, head = zoo.split(model, zoo.freeze(model, upto="low"))
    assert gap(model(x, training=False), head(trunk(x, training=False), training=False)) <= 1e-6
    assert values(model) == before


def test_a_traced_model_trains_as_the_subclassed_one_does():
    """The mode goes through the trace: batch normalization moves, dropout drops."""
    model, x = called(Own)
    graph = flat(model)
    statistics = model.norm.moving_mean.numpy()
    model.norm.momentum = 0.9
    one, other = graph(x + 1, training=True), graph(x + 1, training=True)
    assert np.abs(np.asarray(one) - np.asarray(other)).max() > 0
    assert np.abs(model.norm.moving_mean.numpy() - statistics).max() > 0


@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer")
@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Branching, "its call depends on training by itself"),
        (Scaling, "its call depends on training by itself"),
        (Foreign, "its call does more than Keras operations"),
        (Tying, "its call computes with a tensor that is none of its layers' outputs"),
        (Scaled, "it holds weights of its own, outside its layers"),
        (Drawing, "it computes something else when its call is traced"),
    ],
)
def test_what_cannot_be_traced_stays_one_opaque_layer(build, reason: str):
    model, x = called(build)
    with pytest.raises(SurgeryError, match=f"The layers of 'own' cannot be told apart: {reason}.*functional model"):
        zoo.trace(model)
    inputs = keras.Input((5,))
    outer = keras.Model(inputs, layers.Dense(2, name="classifier")(model(inputs)), name="outer")
    graph = flat(outer)
    assert [op.name for op in operations(graph)] == ["own", "classifier"]
    assert is_opaque(operations(graph)[0])
    with pytest.raises(
        SurgeryError, match=r"has no layer 'low'.*inside 'own' cannot be told apart; zoo.trace says why"
    ):
        zoo.drop_above(outer, "low")
    plan = zoo.freeze(outer, upto="own")
    assert "'own' is opaque" in str(plan)
    trunk, head = zoo.split(outer, plan)
    if build is not Drawing:
        assert gap(outer(x, training=False), head(trunk(x, training=False), training=False)) <= 1e-6


def test_tracing_says_which_inputs_are_meant():
    class Pair(keras.Model):
        def __init__(self):
            super().__init__(name="pair")
            self.embed = layers.Embedding(9, 4, name="embed")

        def call(self, words, mask_of=None, *, scale):
            return self.embed(words["of"]) * scale

    class Two(keras.Model):
        def __init__(self):
            super().__init__(name="two")
            self.embed, self.low = layers.Embedding(9, 4, name="embed"), layers.Dense(4, name="low")

        def call(self, words, numbers):
            return self.embed(words["of"])[:, 0] + self.low(numbers)

    graph = zoo.trace(Two(), {"of": np.zeros((1, 3), "int32")}, np.zeros((1, 2)))
    assert [str(t.dtype) for t in graph.inputs] == ["int32", "float32"]
    assert graph.output_shape == (None, 4)
    with pytest.raises(SurgeryError, match=r"its call takes other arguments \(missing .* 'scale'\)"):
        zoo.trace(Pair(), {"of": np.zeros((1, 3), "int32")})


def test_texts_are_traced_by_what_they_are():
    class Reading(keras.Model):
        def __init__(self):
            super().__init__(name="reading")
            self.words = layers.TextVectorization(vocabulary=["good", "bad"], output_sequence_length=3, name="words")
            self.embed = layers.Embedding(5, 2, name="embed")

        def call(self, text):
            return self.embed(self.words(text))

    model = Reading()
    texts = keras.ops.convert_to_tensor(["good", "bad bad"], dtype="string")
    model(texts)
    graph = zoo.trace(model, np.array(["a"]))
    np.testing.assert_array_equal(graph(texts), model(texts))
    with pytest.raises(SurgeryError, match=r"'reading' cannot be told apart.*zoo\.trace\(model, INPUTS\)"):
        zoo.trace(model)


def test_a_functional_model_with_a_call_of_its_own_is_traced_by_it():
    class Doubling(keras.Model):
        def call(self, inputs, training=None):
            return super().call(inputs, training=training) * 2.0

    inputs = keras.Input((4,))
    model = Doubling(inputs, layers.Dense(3, name="low")(inputs))
    x = images(8, (4,)) / 255
    assert "low" in [op.name for op in operations(flat(model))]
    assert gap(model(x), flat(model)(x)) == 0


def test_a_model_inside_that_heeds_a_mask_stays_whole():
    """What it does with a mask cannot be seen on tensors without one."""

    class Mean(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.supports_masking = True

        def compute_mask(self, x, mask=None):
            return None

        def call(self, x, mask=None):
            if mask is None:
                return keras.ops.mean(x, axis=1)
            weight = keras.ops.cast(mask, "float32")[..., None]
            return keras.ops.sum(x * weight, axis=1) / (keras.ops.sum(weight, axis=1) + 1e-6)

    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True, name="embed")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="top")(Mean(name="mean")(x)))
    tokens = np.random.default_rng(0).integers(0, 9, (12, 5)).astype("int32")
    graph = flat(model)
    assert gap(model(tokens), graph(tokens)) == 0
    trunk, head = zoo.split(model, zoo.freeze(model, upto="embed"))
    assert gap(model(tokens), head(trunk(tokens))) <= 1e-6


def test_a_subclassed_model_that_takes_a_dictionary_is_traced():
    class Both(keras.Model):
        def __init__(self):
            super().__init__(name="both")
            self.a, self.b = layers.Dense(3, name="a"), layers.Dense(3, name="b")

        def call(self, inputs):
            return {"sum": self.a(inputs["left"]) + self.b(inputs["right"])}

    model = Both()
    x = {"left": images(6, (4,)) / 255, "right": images(6, (2,)) / 255}
    model(x)
    for graph in (flat(model), zoo.trace(model, x)):
        np.testing.assert_array_equal(graph(x)["sum"], model(x)["sum"])
        assert [t.name for t in graph.inputs] == ["left", "right"]


def test_a_functional_model_needs_no_tracing():
    model = nested()
    assert zoo.trace(model) is model


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Own, r"The layers of 'own' cannot be told apart: it was never called\. Call it once on data"),
        (
            lambda: keras.Sequential([layers.Dense(2)], name="own"),
            "it is a Sequential model that is not built. Give it an Input first",
        ),
    ],
)
def test_a_network_that_was_never_called_is_refused(made, message: str):
    with pytest.raises(SurgeryError, match=message):
        flat(made())


# Models inside


def backbone(name: str, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x) * 0.5
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x), name=name)


def twins() -> keras.Model:
    """Two backbones whose layers have the same names."""
    inputs = keras.Input((8, 8, 1))
    joined = layers.Concatenate(name="join")([backbone("left", 1)(inputs), backbone("right", 2)(inputs)])
    return live(keras.Model(inputs, layers.Dense(3, name="top")(joined), name="twins"))


def test_equal_names_in_several_models_are_told_apart():
    model, x = twins(), images(16)
    before = values(model)
    graph = flat(model)
    names = [op.name for op in operations(graph)]
    assert {"left_conv", "right_conv", "left_bn", "right_bn", "join", "top"} <= set(names)
    assert len(set(names)) == len(names)
    assert gap(model(x, training=False), graph(x, training=False)) == 0
    assert {id(v) for v in graph.variables} == {id(v) for v in model.variables}
    assert values(model) == before, "the layers themselves keep their names"


def test_a_network_with_equal_names_can_be_planned_split_and_trained():
    model, x = twins(), images(16)
    plan = zoo.freeze(model, train=["top"])
    trunk, head = zoo.split(model, plan)
    assert gap(model(x, training=False), head(trunk(x, training=False), training=False)) <= 1e-6
    net = zoo.replace_top(model, classes=4)
    conv = net.get_layer("right_conv").kernel.numpy()
    np.testing.assert_array_equal(conv, model.get_layer("right").get_layer("conv").kernel)
    other = zoo.drop_above(model, "left_bn")
    np.testing.assert_array_equal(other(x, training=False), _left_bn(model)(x, training=False))


def _left_bn(model: keras.Model) -> keras.Model:
    left = model.get_layer("left")
    return keras.Model(left.inputs[0], left.get_layer("bn").output)


def test_what_a_model_inside_does_to_its_input_is_kept():
    """Keras casts what a model takes to the type of its input, and adds a missing last axis."""
    inner_in = keras.Input((3, 1), dtype="int32")
    x = keras.ops.cast(inner_in, "float32") * 1.0
    inner = keras.Model(inner_in, layers.Flatten(name="flat")(x), name="inner")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="top")(inner(inputs)))
    x = np.array([[0.9, 1.9, 2.9], [1.2, -1.9, 0.0]], "float32")
    np.testing.assert_array_equal(flat(model)(x), model(x))


def test_the_mode_that_a_model_inside_is_called_with_goes_with_it():
    base = backbone("base", 1)
    inputs = keras.Input((8, 8, 1))
    always = keras.Model(inputs, layers.Dense(2, name="top")(base(inputs, training=True)))
    x = images(8)
    np.testing.assert_allclose(flat(always)(x), always(x), rtol=1e-6)


def test_a_layer_inside_may_bear_the_name_of_an_input():
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, layers.Dense(4, name="image")(inner_in), name="inner")
    inputs = keras.Input((4,), name="image")
    model = keras.Model(inputs, layers.Dense(2, name="top")(inner(inputs)))
    assert [op.name for op in operations(flat(model))] == ["inner_image", "top"]


def test_a_weight_used_outside_its_layer_is_refused():
    low = layers.Dense(4, name="low")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.ops.matmul(low(inputs), low.kernel), name="tied")
    with pytest.raises(SurgeryError, match="'tied' uses the weight 'low/kernel' outside its layer"):
        flat(model)
