"""Stochastic weight averaging against means and statistics taken by hand."""

import keras
import numpy as np
import pytest

from zoo import WeightAveraging
from zoo.boundary import cut_trunk
from zoo.enforcement import apply, edge_of
from zoo.epochs import Side
from zoo.errors import RecipeError
from zoo.flattening import flat
from zoo.layers import Inference
from zoo.plan import freeze
from zoo.stage_network import StageNetwork, held_head
from zoo.weight_averaging import live_batch_norms

from .networks import clusters, dense_net, images, quadrants, small_convnet

layers = keras.layers


class Watching(keras.callbacks.Callback):
    """Keeps the weights of every epoch's and every step's end."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[list[np.ndarray]] = []
        self.steps: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.steps.append([v.numpy() for v in self.model.trainable_variables])

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.epochs.append([v.numpy() for v in self.model.trainable_variables])


def mean(kept: list[list[np.ndarray]]) -> list[np.ndarray]:
    return [np.mean(np.array(values, "float64"), axis=0).astype("float32") for values in zip(*kept, strict=True)]


def fitted(callback: keras.callbacks.Callback, epochs: int = 8, **compiled: object) -> tuple[keras.Model, Watching]:
    net, watching = dense_net(), Watching()
    net.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": "sparse_categorical_crossentropy", **compiled})
    x, labels = clusters(24)
    net.fit(x, labels, batch_size=8, epochs=epochs, callbacks=[callback, watching], verbose=0)
    return net, watching


def test_a_mean_worked_out_by_hand():
    """One weight, loss w x with x = 1, rate 1: each epoch of one step takes 1 away. From 0: -1, -2, -3, -4, -5."""
    dense = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    net = keras.Sequential([keras.Input((1,)), dense])
    net.compile(keras.optimizers.SGD(1.0), lambda truth, out: keras.ops.sum(out, axis=-1))
    late = WeightAveraging(start=3)
    net.fit(np.ones((1, 1)), np.ones((1, 1)), epochs=5, callbacks=[late], verbose=0)
    assert float(np.asarray(dense.kernel)[0, 0]) == (-3 - 4 - 5) / 3
    assert late.averaged == 3


@pytest.mark.parametrize(
    ("callback", "chosen"),
    [
        (WeightAveraging(), [6, 7]),
        (WeightAveraging(start=0.5), [4, 5, 6, 7]),
        (WeightAveraging(start=0), [0, 1, 2, 3, 4, 5, 6, 7]),
        (WeightAveraging(start=8), [7]),
        (WeightAveraging(start=0.5, every=2), [5, 7]),
    ],
    ids=["default", "half", "all", "one epoch", "every second from the last"],
)
def test_the_mean_is_of_the_epochs_that_count(callback: WeightAveraging, chosen: list[int]):
    net, watching = fitted(callback)
    expected = mean([watching.epochs[i] for i in chosen])
    for variable, value in zip(net.trainable_variables, expected, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert callback.averaged == len(chosen)
    assert not np.array_equal(expected[0], mean(watching.epochs[:3])[0]), "the weights did not move"


def test_steps_count_from_the_start():
    """Eight epochs of three steps; from epoch 7 on every second one: of steps 18 to 23 the second, fourth, sixth."""
    net, watching = fitted(WeightAveraging(every=2, unit="step"))
    for variable, value in zip(net.trainable_variables, mean([watching.steps[i] for i in (19, 21, 23)]), strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_each_training_starts_a_mean_of_its_own():
    late = WeightAveraging(start=1)
    fitted(late, epochs=3)
    net, watching = fitted(late, epochs=2)
    np.testing.assert_array_equal(net.trainable_variables[0].numpy(), mean(watching.epochs)[0])


def test_batch_norm_knows_the_averaged_network():
    """By hand: the first layer's statistics are those of the averaged convolution's outputs, the second's follow."""
    net = small_convnet(4)
    x, labels = quadrants(48)
    net.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    net.fit(x, labels, batch_size=16, epochs=4, callbacks=[WeightAveraging(start=0.5, x=x)], verbose=0)
    for conv, name in (("block1_conv1", "block1_bn1"), ("block1_conv2", "block1_bn2")):
        reaching = np.asarray(keras.Model(net.input, net.get_layer(conv).output)(x, training=False), "float64")
        norm = net.get_layer(name)
        np.testing.assert_allclose(norm.moving_mean.numpy(), reaching.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(norm.moving_variance.numpy(), reaching.var(axis=(0, 1, 2)), rtol=1e-4)


def stage(train: list[str]) -> tuple[keras.Model, StageNetwork]:
    """What zoo trains: live statistics in what learns but in block2, which is frozen in the middle."""
    net = small_convnet(4)
    plan = freeze(net, train=train, batch_norm="train")
    graph = flat(net)
    apply(plan, graph)
    edge = edge_of(plan, graph)
    trunk = cut_trunk(graph, edge) if edge.below else None
    return net, StageNetwork([], trunk, held_head(graph, edge, plan), "float32", graph)


def test_in_a_stage_frozen_weights_and_held_statistics_move_by_no_bit():
    net, model = stage(["block1", "block3", "top"])
    assert live_batch_norms(model) == ["block1_bn1", "block1_bn2", "block3_bn1", "block3_bn2"]
    x, labels = quadrants(32)
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    frozen = {v.path: v.numpy() for layer in net.layers if layer.name.startswith("block2") for v in layer.variables}
    late = WeightAveraging(start=0.5, x=Side(lambda i: x[i], labels))
    callbacks = keras.callbacks.CallbackList([late, watching := Watching()], model=model)
    callbacks.set_params({"epochs": 4})
    callbacks.on_train_begin()
    for epoch in range(4):
        callbacks.on_epoch_begin(epoch)
        model.train_on_batch(x, labels)
        callbacks.on_epoch_end(epoch, {})
    callbacks.on_train_end()
    after = {v.path: v.numpy() for layer in net.layers for v in layer.variables}
    assert frozen
    assert all(after[path].tobytes() == value.tobytes() for path, value in frozen.items())
    for variable, value in zip(model.trainable_variables, mean(watching.epochs[2:]), strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    reaching = np.asarray(keras.Model(net.input, net.get_layer("block3_conv1").output)(x, training=False))
    np.testing.assert_allclose(
        net.get_layer("block3_bn1").moving_mean.numpy(), reaching.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-4
    )


def test_statistics_below_a_boundary_stay_as_they_are():
    _, model = stage(["block3", "top"])
    assert live_batch_norms(model) == ["block3_bn1", "block3_bn2"]


def test_batch_norm_that_does_not_move_needs_no_data():
    net = small_convnet()
    for layer in net.layers:
        layer.trainable = not layer.name.startswith("block")
    assert live_batch_norms(net) == []
    inputs = keras.Input((4,))
    held = keras.Model(inputs, Inference(layers.BatchNormalization())(inputs))
    assert live_batch_norms(held) == []


def test_double_and_half_weights_are_averaged_in_their_own_type():
    wide = [] if keras.backend.backend() == "jax" else ["float64"]  # by default JAX has no numbers of 64 bits
    for dtype in (*wide, "bfloat16"):
        dense = layers.Dense(1, use_bias=False, dtype=dtype)
        net = keras.Sequential([keras.Input((3,), dtype=dtype), dense])
        net.compile(keras.optimizers.SGD(0.1), "mse")
        watching, x = Watching(), np.ones((4, 3))
        net.fit(x, np.ones((4, 1)), epochs=3, callbacks=[WeightAveraging(start=1), watching], verbose=0)
        by_hand = np.mean([np.asarray(w[0], "float64") for w in watching.epochs], axis=0)
        np.testing.assert_array_equal(dense.kernel.numpy(), by_hand.astype(dense.kernel.numpy().dtype))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, use_ema=True),
        lambda: keras.optimizers.ScheduleFreeAdamW(),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(use_ema=True)),
    ],
    ids=["ema", "schedule free", "loss scale"],
)
def test_two_averages_are_refused(optimizer):
    with pytest.raises(RecipeError, match=r"The optimizer keeps an average of the weights itself.*use_ema=False"):
        fitted(WeightAveraging(), optimizer=optimizer())


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(RecipeError, match=r"would start in epoch 9, and training has 8\..*as a share"):
        fitted(WeightAveraging(start=9))
    net = small_convnet()
    net.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(RecipeError, match=r"new batch-norm statistics, of 6 layers here\..*x=x_train"):
        net.fit(images(8), np.arange(8), callbacks=[WeightAveraging()], verbose=0)
    inputs = keras.Input((4, 3))
    inner = keras.Model(inputs, layers.TimeDistributed(layers.BatchNormalization(), name="each")(inputs))
    with pytest.raises(RecipeError, match="statistics inside 'each' cannot be re-estimated"):
        live_batch_norms(inner)
    for arguments, message in (
        ({"start": 1.0}, r"`start`\. Expected 0 to below 1, or an epoch's number; received 1\.0"),
        ({"every": 0}, r"`every`\. Expected a whole number, 1 or more; received 0"),
        ({"unit": "batch"}, r"`unit`\. Expected \"epoch\" or \"step\"; received 'batch'"),
    ):
        with pytest.raises(RecipeError, match=message):
            WeightAveraging(**arguments)


def test_numbers_of_numpy_are_numbers():
    assert WeightAveraging(start=np.float32(0.5), every=np.int64(2)).first_epoch(8) == 4
    assert WeightAveraging(start=np.int32(3)).first_epoch(8) == 2


def test_training_that_ends_too_early_says_that_nothing_was_averaged():
    class Stopping(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.model.stop_training = True

    late = WeightAveraging()
    net = dense_net()
    net.compile("sgd", "sparse_categorical_crossentropy")
    x, labels = clusters(8)
    with pytest.warns(UserWarning, match="averaged nothing: training ended before it started"):
        net.fit(x, labels, epochs=8, callbacks=[late, Stopping()], verbose=0)
    assert late.averaged == 0
