"""Traps of freezing and training: each measured in plain Keras and in zoo, on networks of a few hundred parameters."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import zoo
from zoo import engine
from zoo.checkpoint import load, save
from zoo.progress import Progress

from .networks import clusters, dense_net, images, live, nested, quadrants
from .test_train import Noting, job, one_hot, stage, train
from .trap import Trap

layers = keras.layers
Weights = list[np.ndarray]

VECTORS = clusters(32)[0], one_hot(clusters(32)[1], 3)
PICTURES = quadrants(32)[0].astype("float32"), one_hot(quadrants(32)[1], 4)


def moved(holder: Any, act: Callable[[], object]) -> int:
    """How many variables of a network, a layer or a list of them an act moves."""
    variables = holder if isinstance(holder, list) else holder.variables
    before = [v.numpy() for v in variables]
    act()
    return sum(not np.array_equal(v.numpy(), old) for v, old in zip(variables, before, strict=True))


def compiled(model: keras.Model, optimizer: Any = "sgd") -> keras.Model:
    model.compile(optimizer, keras.losses.CategoricalCrossentropy())
    return model


def statistics(model: keras.Model) -> list[Any]:
    return [v for v in model.variables if v.name.startswith("moving_")]


def pictured(backbone: bool = False, **layer: Any) -> keras.Model:
    """A convolution and batch normalization, in a model inside where asked, below a dense top."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    low_in = keras.Input((8, 8, 1)) if backbone else inputs
    x = layers.Conv2D(3, 3, name="low_conv", **layer)(layers.Rescaling(1 / 255, name="low_rescale")(low_in))
    x = layers.ReLU(name="low_relu")(layers.BatchNormalization(name="low_bn")(x))
    if backbone:
        x = keras.Model(low_in, x, name="backbone")(inputs, training=False)
    x = layers.GlobalAveragePooling2D(name="top_pool")(x)
    return live(keras.Model(inputs, layers.Dense(4, activation="softmax", name="top_output")(x)))


def trainable_of_a_parent() -> Trap:
    """`model.trainable = True` does nothing where it is True already: layers frozen one by one stay frozen."""
    model = dense_net()
    model.get_layer("low1").trainable = False
    model.trainable = True
    plain = moved(model, lambda: compiled(model).train_on_batch(*VECTORS))
    ours = dense_net()
    ours.get_layer("low1").trainable = False
    return Trap(
        "variables of 6 that learn after thawing all",
        plain,
        moved(ours, lambda: train(ours, zoo.freeze(ours), job(*VECTORS))),
    )


def a_thawed_child_of_a_frozen_parent() -> Trap:
    """A frozen model with a thawed layer inside lists no trainable variable, and yet that layer learns."""

    def switched() -> tuple[keras.Model, keras.Model]:
        model = nested()
        backbone = model.get_layer("backbone")
        backbone.trainable = False
        backbone.get_layer("inner1_bn").trainable = True
        assert not backbone.trainable_variables
        return model, backbone

    x, y = images(16), one_hot(np.arange(16) % 3, 3)
    model, backbone = switched()
    plain = moved(backbone, lambda: compiled(model).train_on_batch(x, y))
    model, backbone = switched()
    plan = zoo.freeze(model, upto=zoo.blocks(model).names[-2])
    return Trap(
        "variables of the frozen model that move in one step",
        plain,
        moved(backbone, lambda: train(model, plan, job(x, y))),
    )


def freezing_without_compiling_again() -> Trap:
    """A layer that is frozen after `compile` goes on learning until the next `compile`."""
    model = compiled(dense_net())
    model.train_on_batch(*VECTORS)
    model.get_layer("low1").trainable = False
    plain = moved(model.get_layer("low1"), lambda: model.train_on_batch(*VECTORS))
    ours = dense_net()
    train(ours, zoo.freeze(ours), job(*VECTORS))
    low = ours.get_layer("low1")
    second = zoo.freeze(ours, upto="low1")
    return Trap(
        "variables that move after freezing",
        plain,
        moved(low, lambda: train(ours, second, job(*VECTORS), index=1)),
    )


def statistics_without_compiling_again() -> Trap:
    """Batch normalization that is frozen after `compile` goes on moving its statistics."""
    model = compiled(pictured())
    model.train_on_batch(*PICTURES)
    model.get_layer("low_bn").trainable = False
    plain = moved(statistics(model), lambda: model.train_on_batch(*PICTURES))
    ours = pictured()
    train(ours, zoo.freeze(ours, batch_norm="train"), job(*PICTURES))
    plan = zoo.freeze(ours, batch_norm="frozen")
    return Trap(
        "moving statistics that move after freezing",
        plain,
        moved(statistics(ours), lambda: train(ours, plan, job(*PICTURES), index=1)),
    )


def training_false_in_a_functional_model() -> Trap:
    """`base(x, training=False)`, the documented recipe, does not hold under `fit` once the base is thawed."""
    model = pictured(backbone=True)
    model.get_layer("backbone").trainable = True
    plain = moved(statistics(model), lambda: compiled(model).fit(*PICTURES, verbose=0))
    ours = pictured(backbone=True)
    plan = zoo.freeze(ours, batch_norm="fixed_statistics")
    scale = moved(ours.get_layer("backbone").get_layer("low_bn"), lambda: train(ours, plan, job(*PICTURES)))
    assert scale == 2, "scale and offset learn"
    return Trap(
        "moving statistics that move in an epoch",
        plain,
        moved(statistics(ours), lambda: train(ours, plan, job(*PICTURES), index=1)),
    )


def augmentation_in_inference() -> Trap:
    """Keras's random layers default to `training=True`: a bare `model(x)` augments."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten(name="low_flat")(layers.RandomTranslation(0.3, 0.3, seed=1, name="low_move")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="top")(layers.Rescaling(1 / 255, name="low_rescale")(x)))
    x = PICTURES[0]
    truth = np.asarray(model(x, training=False))
    spread = truth.std(axis=0).max()
    ours = engine.outputs(model, engine.rows_of([x]), len(x))[0]
    return Trap(
        "largest change of the outputs, relative to their spread",
        float(np.abs(np.asarray(model(x)) - truth).max() / spread),
        float(np.abs(ours - truth).max() / spread),
    )


def resizing_puts_batch_norm_into_training() -> Trap:
    """`Resizing` defaults to `training=True` too, which reaches batch normalization above it in a bare `model(x)`."""
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization(name="low_bn")(layers.Resizing(6, 6, name="low_resize")(inputs))
    x = layers.GlobalAveragePooling2D(name="low_pool")(x)
    model = live(keras.Model(inputs, layers.Dense(4, activation="softmax", name="top")(x)))
    plain = moved(statistics(model), lambda: model(PICTURES[0]))
    plan = zoo.freeze(model, upto="low")
    return Trap(
        "moving statistics that move while outputs are computed",
        plain,
        moved(statistics(model), lambda: train(model, plan, job(*PICTURES))),
    )


def reported(model: keras.Model, plan: zoo.Plan, cached: bool = True) -> float:
    """The loss that a stage reports for validation; the trunk is run in every step where there is augmentation."""
    nothing = ({"name": "RandomBrightness", "factor": 0.0},)
    what = job(
        np.concatenate([PICTURES[0]] * 2), np.concatenate([PICTURES[1]] * 2), 32, augment="none" if cached else nothing
    )
    return train(model, plan, what, stage(learning_rate=0.0)).history[0]["val_loss"]


def weight_penalty_of_a_frozen_layer() -> Trap:
    """The penalty on a layer's weights leaves the reported loss when the layer is frozen.

    The loss in zoo's metrics is that of the outputs, without penalties; in `history.csv` it holds those of what learns.
    """
    model = pictured(kernel_regularizer=keras.regularizers.L2(0.1))
    thawed = compiled(model).evaluate(*PICTURES, verbose=0)
    model.get_layer("low_conv").trainable = False
    frozen = compiled(model).evaluate(*PICTURES, verbose=0)
    losses = []
    with tempfile.TemporaryDirectory() as folder:
        for upto in (None, "low"):
            plan = zoo.freeze(model, upto=upto)
            out, quiet = Path(folder) / f"{upto}", Progress(quiet=True)
            run = zoo.finetune(model, quadrants(32), plan=plan, out=out, epochs=1, learning_rate=0.0, progress=quiet)
            losses.append(run.metrics["test"]["loss"])
    return Trap("change of the reported loss on freezing", abs(thawed - frozen), abs(losses[0] - losses[1]))


def activity_penalty_of_a_frozen_trunk() -> Trap:
    """The penalty on a frozen layer's outputs is part of the loss, and is missing when its outputs were kept."""
    penalty = keras.regularizers.L2(0.1)
    model = pictured(activity_regularizer=penalty)
    for layer in model.layers[:-1]:
        layer.trainable = False
    through = compiled(model).evaluate(*PICTURES, verbose=0)
    cut = model.get_layer("top_pool").output
    features = keras.Model(model.input, cut).predict(PICTURES[0], verbose=0)
    on_features = compiled(keras.Model(cut, model.output)).evaluate(features, PICTURES[1], verbose=0)
    ours = pictured(activity_regularizer=penalty)
    plan = zoo.freeze(ours, upto="low")
    kept, run = reported(ours, plan), reported(ours, plan, cached=False)
    return Trap("reported loss, with the trunk against on its outputs", abs(through - on_features), abs(run - kept))


def the_order_of_batches() -> Trap:
    """After `set_random_seed`, `fit(shuffle=True)` on arrays takes the examples in the same order in every epoch."""

    def orders(act: Callable[[keras.Model], object]) -> list[bytes]:
        noting = Noting(name="noting")
        inputs = keras.Input((1,))
        model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="top")(noting(inputs)))
        act(model)
        return [np.concatenate(noting.seen[i : i + 2]).tobytes() for i in range(0, 6, 2)]

    def fitted(model: keras.Model) -> None:
        keras.utils.set_random_seed(7)
        compiled(model).fit(x, VECTORS[1], epochs=3, batch_size=16, verbose=0)

    x = np.arange(32, dtype="float32")[:, None] / 32
    ours, again = [orders(lambda m: train(m, zoo.freeze(m), job(x, VECTORS[1]), stage(3))) for _ in range(2)]
    assert ours == again, "the order follows from the seed"
    return Trap("different orders in 3 epochs", len(set(orders(fitted))), len(set(ours)))


def dropout_after_loading() -> Trap:
    """A `.keras` file does not hold the state of random generators: after loading, dropout begins anew."""

    def dropping() -> keras.Model:
        inputs = keras.Input((64,))
        model = keras.Model(inputs, layers.Dropout(0.5, seed=1, name="dropout")(inputs))
        model.compile("sgd", "mse")
        model.optimizer.build([])
        return model

    def next_mask(model: keras.Model) -> np.ndarray:
        return np.asarray(model(np.ones((1, 64)), training=True))

    with tempfile.TemporaryDirectory() as folder:
        model = dropping()
        next_mask(model)
        model.save(Path(folder) / "model.keras")
        save(Path(folder) / "state.safetensors", model, model.optimizer, {})
        expected = next_mask(model)
        loaded, ours = keras.models.load_model(Path(folder) / "model.keras"), dropping()
        load(Path(folder) / "state.safetensors", ours, ours.optimizer)
        differ = [float(np.mean(next_mask(one) != expected)) for one in (loaded, ours)]
    return Trap("share of the next mask that differs", *differ)
