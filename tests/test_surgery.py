"""Taking networks apart: what is kept computes the same, and the original does not move."""

import gc
import weakref

import keras
import numpy as np
import pytest

import zoo
from zoo.block import top_block
from zoo.checkpoint import weights_digest
from zoo.copying import clone
from zoo.errors import PlanError, SurgeryError
from zoo.flattening import flat
from zoo.graph import calls
from zoo.surgery import default_cut, retopped

from .networks import (
    NETWORKS,
    SKIPPING_BLOCKS,
    dense_net,
    gap,
    images,
    live,
    masked,
    nested,
    sequential,
    skipping,
    small_convnet,
    values,
)

layers = keras.layers


def cuts(model: keras.Model) -> list[zoo.Plan]:
    """The plans that freeze a network up to each of its blocks."""
    patterns = SKIPPING_BLOCKS if model.name == "skipping" else ()
    names = zoo.blocks(model, patterns).names
    return [zoo.freeze(model, upto=name, blocks_of=patterns) for name in names[:-1]]


@pytest.mark.parametrize("name", NETWORKS)
def test_head_of_trunk_is_the_network_at_every_cut(name: str):
    build, inputs = NETWORKS[name]
    model, x = build(), inputs()
    before = values(model)
    whole = model(x, training=False)
    plans = cuts(model)
    assert plans
    for plan in plans:
        trunk, head = zoo.split(model, plan)
        assert gap(whole, head(trunk(x, training=False), training=False)) <= 1e-6, str(plan)
        assert not {id(v) for v in trunk.weights} - {id(v) for v in model.weights}
    assert values(model) == before


def test_a_planted_fault_shows():
    """The comparison above can fail: a hundredth of one weight is seen."""
    model, x = skipping(), images(16)
    whole = model(x, training=False)
    trunk, head = zoo.split(model, zoo.freeze(model, upto="block1", blocks_of=SKIPPING_BLOCKS))
    kernel = head.get_layer("block3_conv").kernel
    kernel.assign(kernel * np.where(np.arange(kernel.shape[-1]) == 0, 1.01, 1.0))
    assert gap(whole, head(trunk(x, training=False), training=False)) > 1e-4


def test_several_tensors_cross_where_skip_connections_do():
    model = skipping()
    plan = zoo.freeze(model, upto="block1", blocks_of=SKIPPING_BLOCKS)
    assert plan.crossings[0].layer == "block1_bn"
    trunk, head = zoo.split(model, plan)
    assert len(trunk.outputs) == len(head.inputs) == 2


@pytest.mark.parametrize("application", ["MobileNetV2", "ResNet50"])
def test_applications_split_at_every_block(application: str):
    build = getattr(keras.applications, application)
    extra = {"alpha": 0.35} if application == "MobileNetV2" else {}
    model = build(weights=None, input_shape=(32, 32, 3), classes=5, classifier_activation=None, **extra)
    live(model, images(8, (32, 32, 3)) / 127 - 1)
    x = images(4, (32, 32, 3), seed=1) / 127 - 1
    whole = model(x, training=False)
    plans = cuts(model)
    for plan in (plans[0], plans[len(plans) // 2], plans[-1]):
        trunk, head = zoo.split(model, plan)
        assert gap(whole, head(trunk(x, training=False), training=False)) <= 1e-6, str(plan)


def test_training_the_head_trains_the_network():
    model = small_convnet(output="linear")
    _, head = zoo.split(model, zoo.freeze(model, upto="block2"))
    head.get_layer("top_output").bias.assign(np.arange(10.0))
    np.testing.assert_array_equal(model.get_layer("top_output").bias, np.arange(10.0))


def test_a_network_without_trunk_or_head_is_not_split():
    model = dense_net()
    with pytest.raises(SurgeryError, match=r"The network has no trunk: .* Freeze from the bottom"):
        zoo.split(model, zoo.freeze(model, train=["low1", "top"]))
    frozen = zoo.Plan(tuple(replace_rate(row) for row in zoo.freeze(model).rows), ())
    with pytest.raises(SurgeryError, match="The network has no head: everything in it is frozen"):
        zoo.split(model, frozen)


def replace_rate(row):
    from dataclasses import replace

    return replace(row, rate=0.0)


def graph_output(graph: keras.Model, layer: str):
    return next(node for node in calls(graph) if node.operation.name == layer).outputs[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_drop_above_keeps_what_is_below_and_leaves_the_original(name: str):
    build, inputs = NETWORKS[name]
    model, x = build(), inputs()
    before = values(model)
    graph = flat(model)
    for layer in [op.name for op in graph.layers[1:] if op.name not in ("twice", "low_lstm", "inner_dense")][:4]:
        kept = zoo.drop_above(model, layer)
        expected = keras.Model(graph.inputs[0], graph_output(graph, layer))(x, training=False)
        np.testing.assert_array_equal(kept(x, training=False), expected)
        for variable in kept.weights:
            variable.assign(variable + 1)
    assert values(model) == before


def test_drop_above_an_unknown_layer_names_close_ones():
    with pytest.raises(SurgeryError, match=r"has no layer 'block2_pol'\..*block2_pool"):
        zoo.drop_above(small_convnet(), "block2_pol")


def test_drop_above_a_model_inside_says_to_name_a_layer():
    with pytest.raises(SurgeryError, match="'backbone' is a model inside 'nested', and models inside are taken apart"):
        zoo.drop_above(nested(), "backbone")


def test_drop_above_a_layer_called_twice_is_refused():
    with pytest.raises(SurgeryError, match="'inner_dense' cannot be the last layer"):
        zoo.drop_above(NETWORKS["siamese"][0](), "inner_dense")


def test_replace_top_keeps_the_features_and_names_its_layers():
    model = small_convnet()
    before = values(model)
    net = zoo.replace_top(model, classes=3, hidden=[7, 5], dropout=0.2)
    names = [layer.name for layer in net.layers]
    first = names.index("features") + 1
    assert names[first:] == [
        "top_dense1",
        "top_activation1",
        "top_dropout1",
        "top_dense2",
        "top_activation2",
        "top_dropout2",
        "top_output",
    ]
    assert net.output_shape == (None, 3)
    assert zoo.blocks(net).names == ("block1", "block2", "block3", "top")
    for variable in net.get_layer("block1_conv1").weights:
        np.testing.assert_array_equal(variable, model.get_layer("block1_conv1").weights[0])
    assert values(model) == before


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_nobody_else_holds_gets_the_same_top_without_a_copy(name):
    make, inputs = NETWORKS[name]
    model = live(make(), inputs())
    model.layers[-1].trainable = False
    copied = zoo.replace_top(model, classes=3, hidden=[5], seed=4)
    flat_already = flat(model) is model
    kept = {id(v) for v in model.weights}
    net = retopped(model, classes=3, hidden=[5], seed=4)
    assert weights_digest(net) == weights_digest(copied)
    assert list(values(net).values()) == list(values(copied).values())
    np.testing.assert_array_equal(net(inputs(), training=False), copied(inputs(), training=False))
    assert any(id(v) in kept for v in net.weights) == flat_already
    assert net.to_json() == copied.to_json()


def test_what_is_cut_off_is_not_held_in_memory():
    model = small_convnet()
    gone, kept = weakref.ref(model.layers[-1]), weakref.ref(model.get_layer("features"))
    net = retopped(model, classes=3)
    del model
    gc.collect()
    assert gone() is None
    assert kept() is net.get_layer("features")


def test_replace_top_is_a_function_of_its_seed():
    def top(seed: int) -> np.ndarray:
        return zoo.replace_top(dense_net(), classes=4, hidden=[6], seed=seed).get_layer("top_dense1").kernel.numpy()

    np.testing.assert_array_equal(top(3), top(3))
    assert np.abs(top(3) - top(4)).max() > 0.1


@pytest.mark.parametrize(("activation", "variance"), [("elu", 2 / 200), ("selu", 1 / 200), ("tanh", 2 / (200 + 300))])
def test_a_hidden_layers_initializer_follows_its_activation(activation: str, variance: float):
    model = dense_net(widths=(200,))
    net = zoo.replace_top(model, classes=2, hidden=[300], activation=activation)
    assert float(np.var(net.get_layer("top_dense1").kernel)) == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("shape", [(5, 3), (6, 6, 3), (4, 4, 4, 2)])
def test_feature_maps_are_averaged(shape: tuple[int, ...]):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.Dense(4, name="map")(inputs), name="maps")
    net = zoo.replace_top(model, cut="map", classes=2)
    x = images(3, shape)
    pooled = keras.Model(net.inputs[0], net.get_layer("top_pool").output)(x, training=False)
    axes = tuple(range(1, len(shape)))
    np.testing.assert_allclose(pooled, np.asarray(model(x)).mean(axis=axes), rtol=1e-5, atol=1e-5)


def test_a_fresh_top_is_a_block_of_its_own_where_the_name_is_taken():
    once = zoo.replace_top(dense_net(), cut="low2", classes=3, hidden=[4])
    twice = zoo.replace_top(once, cut="top_activation1", classes=2, hidden=[5])
    assert [layer.name for layer in twice.layers][-3:] == ["top2_dense1", "top2_activation1", "top2_output"]
    found = zoo.blocks(twice)
    assert found.names == ("low1", "low2", "top", "top2")
    assert top_block(found) == "top2"
    thrice = zoo.replace_top(twice, cut="top2_activation1", classes=2)
    assert zoo.blocks(thrice).names[-1] == "top3"


def test_freezing_below_the_top_freezes_what_efficientnet_calls_its_top():
    """Its last convolution is called ``top_conv``; a fresh ``top_output`` beside it would have it learn."""
    model = keras.applications.EfficientNetB0(weights=None, input_shape=(32, 32, 3), classes=4)
    net = zoo.replace_top(model, classes=3)
    found = zoo.blocks(net)
    assert found.names[-2:] == ("top", "top2")
    plan = zoo.freeze(net, train=[top_block(found)])
    assert plan.trained == 1280 * 3 + 3
    assert "top_conv" in plan.frozen_layers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "A top needs at least one output, .* Received classes=0"),
        ({"classes": 2, "hidden": [0]}, r"at least one unit in each hidden layer. Received classes=2, hidden=\[0\]"),
        ({"classes": 2, "dropout": 1.0}, r"Expected 0 <= dropout < 1; received 1.0"),
        ({"classes": 2, "activation": "eluu"}, r"Keras has no activation 'eluu'\..*elu"),
        ({"classes": 2, "cut": "featurs"}, r"has no layer 'featurs'\..*features"),
    ],
)
def test_an_impossible_top_is_refused(arguments: dict, message: str):
    with pytest.raises(SurgeryError, match=message):
        zoo.replace_top(small_convnet(), **arguments)


def test_the_default_cut_is_below_the_classifier_and_its_dropout():
    assert default_cut(small_convnet(dropout=0.3)) == "features"
    assert default_cut(dense_net()) == "low2"
    assert default_cut(nested()) == "pool"
    without = small_convnet(classes=None)
    assert default_cut(without) == "features"


@pytest.mark.parametrize("application", ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "VGG16"])
def test_a_classifier_is_found_also_where_it_is_a_convolution(application: str):
    """MobileNet and MobileNetV3 end in a 1x1 convolution, a reshape and a softmax."""
    model = getattr(keras.applications, application)(weights=None, input_shape=(32, 32, 3), classes=23)
    net = zoo.replace_top(model, classes=3)
    gone = {op.name for op in flat(model).layers} - {op.name for op in net.layers}
    assert gone & {"predictions", "logits"}
    assert not any(t.shape[-1] == 23 for node in calls(flat(net)) for t in node.outputs)


def test_a_plan_for_another_network_is_refused():
    net = small_convnet()
    plan = zoo.freeze(net, upto="block2")
    changed = zoo.insert_layer(net, layers.Dropout(0.1, name="drop"), above="block1_activation1")
    with pytest.raises(PlanError, match="The plan does not cover the layer 'drop': it was made for another network"):
        zoo.split(changed, plan)
    with pytest.raises(SurgeryError, match=r"A network is split by its plan\. Expected zoo\.freeze"):
        zoo.split(net, "block2")  # type: ignore[arg-type]


def test_a_single_layer_has_nothing_below_its_top():
    with pytest.raises(SurgeryError, match="is a single layer: nothing is left below its top"):
        default_cut(dense_net(widths=()))


def test_a_clone_shares_nothing():
    for name, (build, inputs) in NETWORKS.items():
        model, x = build(), inputs()
        copy = clone(model)
        np.testing.assert_array_equal(copy(x, training=False), flat(model)(x, training=False), err_msg=name)
        assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}


def test_a_clone_keeps_vocabularies_and_adapted_statistics():
    """What Keras saves beside variables is not in a layer's configuration."""
    words = layers.TextVectorization(output_sequence_length=4, name="words")
    words.adapt(["good film", "bad film", "a film"])
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, layers.Embedding(8, 2, name="embed")(words(inputs)))
    text = keras.ops.convert_to_tensor(["a good film", "bad"], dtype="string")
    np.testing.assert_array_equal(clone(model)(text), model(text))

    normal = layers.Normalization(name="normal")
    normal.adapt(np.arange(20.0).reshape(10, 2))
    numbers = keras.Input((2,))
    model = keras.Model(numbers, layers.Dense(2)(normal(numbers)))
    x = images(4, (2,))
    np.testing.assert_array_equal(clone(model)(x), model(x))

    bins = layers.Discretization(num_bins=3, output_mode="one_hot", name="bins")
    bins.adapt(np.arange(30.0))
    number = keras.Input((1,))
    model = keras.Model(number, layers.Dense(2)(bins(number)))
    np.testing.assert_array_equal(clone(model)(x[:, :1]), model(x[:, :1]))


def test_a_lambda_is_copied_too():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2)(layers.Lambda(lambda t: t * 2, name="double")(inputs)))
    x = images(2, (3,))
    np.testing.assert_array_equal(clone(model)(x), model(x))


def test_a_copy_keeps_names_that_are_in_no_configuration():
    class Silent(layers.Layer):
        def __init__(self, k=2.0, **kwargs):
            super().__init__(**kwargs)
            self.k = k

        def call(self, inputs):
            return inputs * self.k

        def get_config(self):
            return {"k": self.k}

    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="top")(Silent(name="silent")(inputs)))
    assert [layer.name for layer in clone(model).layers[1:]] == ["silent", "top"]


def test_a_copy_of_an_adapted_layer_keeps_kernel_and_adapter_apart():
    model = dense_net()
    low = model.get_layer("low2")
    low.enable_lora(2)
    low.lora_kernel_b.assign(low.lora_kernel_b + 0.3)
    copy = clone(model)
    assert len(copy.variables) == len(model.variables)
    for one, other in zip(copy.variables, model.variables, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.trainable == other.trainable, "the kernel beside an adapter stays fixed"
    x = images(8, (6,)) / 255
    np.testing.assert_array_equal(copy(x), model(x))


def test_a_layer_without_configuration_is_refused():
    class Secret(layers.Layer):
        def __init__(self, width):
            super().__init__()
            self.dense = layers.Dense(width)

        def call(self, inputs):
            return self.dense(inputs)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Secret(2)(inputs), name="secretive")
    with pytest.raises(SurgeryError, match=r"'secretive' cannot be copied: .* Give its own layers a get_config\(\)"):
        clone(model)


def test_masks_reach_the_head():
    """Padding must not count: a longer padded text gives what the network gave."""
    model = masked()
    trunk, head = zoo.split(model, zoo.freeze(model, upto="low"))
    x = np.array([[3, 4, 0, 0, 0], [1, 2, 3, 4, 5]], "int32")
    np.testing.assert_allclose(head(trunk(x)), model(x), rtol=1e-6)
    assert len(trunk.outputs) == 2, "the sequence and its mask"


def test_a_sequential_network_gets_a_new_top():
    model = sequential()
    net = zoo.replace_top(model, classes=4)
    assert net.output_shape == (None, 4)
    assert len(net.layers) == len(model.layers) + 1  # the input layer is one of the functional network's
