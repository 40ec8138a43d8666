"""Traps of cutting and joining networks: each measured in plain Keras and in zoo, on live networks."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

import zoo

from .networks import NETWORKS, dense_net, forking, gap, images, masked, nested, shared
from .test_train import job, train
from .trap import Trap, refusal
from .traps_in_training import PICTURES, compiled, pictured, reported

layers = keras.layers

#: What the differences below are relative to, and of what.
DIFFERENCE = "head(trunk(x)) against model(x), relative to the outputs' spread"


def ours_at(model: keras.Model, x: Any, cuts: Sequence[str] = ()) -> float:
    """The worst difference over zoo's splits at some blocks, by default at all of them."""
    truth = model(x, training=False)
    gaps = []
    for name in cuts or zoo.blocks(model).names[:-1]:
        trunk, head = zoo.split(model, zoo.freeze(model, upto=name))
        gaps.append(gap(truth, head(trunk(x, training=False), training=False)))
    return max(gaps)


def inner_layers_of_a_nested_backbone() -> Trap:
    """The layers inside a nested model belong to another graph: the outer one cannot be cut there."""
    model = nested()
    names = [layer.name for layer in model.get_layer("backbone").layers[1:]]

    def cut(name: str) -> keras.Model:
        return keras.Model(model.input, model.get_layer("backbone").get_layer(name).output)

    def count(act: Callable[[str], object]) -> int:
        return sum(refusal(lambda name=name: act(name)) == "no error" for name in names)

    return Trap(
        f"inner layers of {len(names)} at which it can be cut",
        count(cut),
        count(lambda name: zoo.drop_above(model, name)),
    )


def equal_names_in_two_nested_models() -> Trap:
    """Two models inside whose layers bear the same names cannot become one graph, so they cannot be cut or frozen."""

    def backbone(name: str) -> keras.Model:
        inputs = keras.Input((6,))
        x = layers.Dense(6, activation="tanh", name="dense_a")(inputs)
        return keras.Model(inputs, layers.Dense(6, activation="tanh", name="dense_b")(x), name=name)

    keras.utils.set_random_seed(0)
    first, second = backbone("first"), backbone("second")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(3, name="top")(second(first(inputs))))

    def flattened() -> keras.Model:
        x = inputs
        for inner in (first, second):
            x = keras.models.clone_model(inner, input_tensors=x, clone_function=lambda layer: layer).output
        return keras.Model(inputs, model.get_layer("top")(x))

    return Trap(DIFFERENCE, refusal(flattened), ours_at(model, images(16, (6,)) / 255))


def a_name_that_is_taken() -> Trap:
    """A new layer cannot bear the name of one below."""
    base = zoo.replace_top(dense_net(), classes=4)
    plain = refusal(lambda: keras.Model(base.input, layers.Dense(3, name="top_output")(base.output)))
    ours = refusal(lambda: zoo.replace_top(base, cut="top_output", classes=3))
    return Trap("a top on a layer that is called `top_output`", plain, ours)


def a_networks_name_that_is_taken() -> Trap:
    """Two models of one name, such as two copies of a backbone, cannot stand in one model."""
    inputs = keras.Input((6,))
    one, other = (dense_net(classes=6) for _ in range(2))
    plain = refusal(lambda: keras.Model(inputs, other(one(inputs))))
    model = keras.Model(inputs, layers.Dense(3, name="last")(one(inputs)))
    ours = refusal(lambda: zoo.freeze(zoo.insert_layer(model, other, below="last"), upto="top"))
    return Trap("a second backbone of the same name, and of the same layers' names", plain, ours)


def a_shared_layer_across_the_cut() -> Trap:
    """A layer with one call below the cut and one above stops `keras.Model(cut, outputs)`."""
    keras.utils.set_random_seed(0)
    model = shared()
    cut = model.get_layer("twice").output
    plain = refusal(lambda: keras.Model(cut, model.output))
    return Trap(DIFFERENCE, plain, ours_at(model, NETWORKS["shared"][1]()))


def the_output_of_a_shared_layer() -> Trap:
    """`layer.output` is what the layer's first call gives, whichever was meant; nothing says so."""
    keras.utils.set_random_seed(0)
    model, x = shared(), NETWORKS["shared"][1]()
    twice, between = model.get_layer("twice"), model.get_layer("between")
    last = twice(between(twice(x)))
    plain = gap(last, keras.Model(model.input, twice.output)(x))
    ours = refusal(lambda: zoo.drop_above(model, "twice"))
    return Trap("what is kept against the last call, relative to its spread; or the error", plain, ours)


def a_mask_across_the_cut() -> Trap:
    """A mask is lost where a network is cut by hand: the layers above see the padding as if it were data."""
    keras.utils.set_random_seed(0)
    model = masked()
    embed = model.get_layer("embed")
    embed.embeddings.assign(embed.embeddings * 40)
    x = np.random.default_rng(0).integers(0, 4, (16, 5)).astype("int32")
    y = above = keras.Input((5, 4))
    for name in ("low_lstm", "high_lstm", "top"):
        y = model.get_layer(name)(y)
    trunk, head = keras.Model(model.input, embed.output), keras.Model(above, y)
    plain = gap(model(x, training=False), head(np.asarray(trunk(x))))
    return Trap(DIFFERENCE, plain, ours_at(model, x))


def one_of_several_outputs() -> Trap:
    """A network cannot be cut at one output of a layer where another of its outputs is needed above."""
    keras.utils.set_random_seed(0)
    model = forking()
    sequence = model.get_layer("low_lstm").output[0]
    plain = refusal(lambda: keras.Model(sequence, model.output))
    return Trap(DIFFERENCE, plain, ours_at(model, NETWORKS["forking"][1]()))


def folded(model: keras.Model) -> keras.Model:
    """A copy with its batch normalization folded by hand into the convolution, as exporters and engines do."""
    bn, conv = model.get_layer("low_bn"), model.get_layer("low_conv")
    scale = bn.gamma / keras.ops.sqrt(bn.moving_variance + bn.epsilon)
    inputs = keras.Input((8, 8, 1))
    one = layers.Conv2D(3, 3, name="folded_conv", kernel_regularizer=conv.kernel_regularizer)
    x = one(model.get_layer("low_rescale")(inputs))
    one.kernel.assign(conv.kernel * scale)
    one.bias.assign((conv.bias - bn.moving_mean) * scale + bn.beta)
    top = layers.Dense(4, activation="softmax", name="top_output")
    copy = keras.Model(inputs, top(layers.GlobalAveragePooling2D()(layers.ReLU()(x))))
    top.set_weights(model.get_layer("top_output").get_weights())
    assert gap(model(PICTURES[0], training=False), copy(PICTURES[0])) <= 1e-4, "folding keeps the outputs"
    return copy


def penalized() -> keras.Model:
    return pictured(kernel_regularizer=keras.regularizers.L2(0.1))


def the_loss_of_folded_batch_norm() -> Trap:
    """Folding batch normalization keeps the outputs, but not the penalty on the weights: the reported loss changes."""
    model = penalized()
    loss, other = (compiled(m).evaluate(*PICTURES, verbose=0) for m in (model, folded(model)))
    plan = zoo.freeze(model, upto="low")
    for layer in model.layers[:-1]:
        layer.trainable = False
    truth = compiled(model).evaluate(*PICTURES, verbose=0)
    return Trap("reported loss against that of the network as it is, relative",
                abs(other - loss) / loss, abs(reported(model, plan) - truth) / truth)  # fmt: skip


def training_after_folding_batch_norm() -> Trap:
    """What is trained after folding goes another way. zoo folds nothing that is trained: its figure is training on what
    the trunk gave, kept, against training through it."""
    one = penalized()
    other = folded(one)
    one.get_layer("low_bn").trainable = False
    for model in (one, other):
        compiled(model, keras.optimizers.SGD(0.05)).train_on_batch(*PICTURES)
    plain = gap(one(PICTURES[0], training=False), other(PICTURES[0]))
    through, kept = penalized(), penalized()
    for model, augment in ((through, ({"name": "RandomBrightness", "factor": 0.0},)), (kept, "none")):
        train(model, zoo.freeze(model, upto="low"), job(*PICTURES, augment=augment))
    ours = gap(through(PICTURES[0], training=False), kept(PICTURES[0], training=False))
    return Trap("outputs after training, relative to their spread", plain, ours)
