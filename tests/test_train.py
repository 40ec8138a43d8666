"""Stages: what moves, and that every random choice follows from the seed. By how much: see test_rates.py."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo import engine, filling
from zoo.boundary import augmenting
from zoo.card import BlockPattern
from zoo.enforcement import frozen_digests, silenced
from zoo.epochs import Job, Side, batches
from zoo.errors import PlanError, RecipeError, ZooError
from zoo.flattening import flat
from zoo.recipe_stage import StagePart
from zoo.stage_result import StageResult
from zoo.train import FeatureStore, train_stage

from .networks import clusters, dense_net, live, quadrants, small_convnet, values

layers = keras.layers


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype="float32")[labels]


def job(x: np.ndarray, y: np.ndarray, val: int = 0, **changes: Any) -> Job:
    """A job on arrays, the last ``val`` examples its validation side."""
    cut = len(x) - val
    sides = [Side(engine.rows_of([x[part]]), y[part]) for part in (slice(cut), slice(cut, None))]
    plain = Job(
        train=sides[0],
        val=sides[1],
        seed=7,
        batch_size=16,
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=lambda: [keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    return replace(plain, **changes)


def stage(epochs: int = 1, **optimizer: Any) -> StagePart:
    return StagePart("fine-tune", epochs, {"name": "sgd", "learning_rate": 0.1} | optimizer)


def train(model: keras.Model, plan: zoo.Plan, what: Job, how: StagePart | None = None, index: int = 0) -> StageResult:
    return train_stage(model, plan, how or stage(), index, what, FeatureStore())


class Kept(keras.callbacks.Callback):
    """Keeps the optimizer of a stage."""

    optimizer: Any = None

    def on_train_end(self, logs: Any = None) -> None:
        self.optimizer = self.model.optimizer


@pytest.fixture(scope="module")
def vectors() -> tuple[np.ndarray, np.ndarray]:
    x, labels = clusters(64)
    return x, one_hot(labels, 3)


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    x, labels = quadrants(48)
    return x.astype("float32"), one_hot(labels, 4)


def moved(before: dict[str, bytes], model: keras.Model) -> set[str]:
    after = values(model)
    weights = [key for key in before if "?" not in key and "seed_generator" not in key]
    return {key.split(" ")[1] for key in weights if before[key] != after[key]}


# What moves


@pytest.mark.parametrize("mode", ["frozen", "fixed_statistics", "train"])
def test_only_what_the_plan_thaws_moves(pictures, mode):
    model = small_convnet(4)
    before = values(model)
    result = train(model, zoo.freeze(model, upto="block1", batch_norm=mode), job(*pictures))
    changed = moved(before, model)
    learning = {f"block{b}_conv{c}/kernel" for b in (2, 3) for c in (1, 2)} | {"top_output/kernel", "top_output/bias"}
    scales = {f"block{b}_bn{c}/{v}" for b in (2, 3) for c in (1, 2) for v in ("gamma", "beta")}
    statistics = {f"block{b}_bn{c}/moving_{v}" for b in (2, 3) for c in (1, 2) for v in ("mean", "variance")}
    expected = {"frozen": learning, "fixed_statistics": learning | scales, "train": learning | scales | statistics}
    assert changed == expected[mode]
    assert result.audited == len(model.weights) - len(changed)


def test_frozen_blocks_above_learning_ones_hold_still(pictures):
    """There is no trunk to cache: frozen layers stand in the midst of the head."""
    model = small_convnet(4, dropout=0.5)
    before = values(model)
    train(model, zoo.freeze(model, train=["block2"], batch_norm="train"), job(*pictures))
    assert {name.split("_")[0] for name in moved(before, model)} == {"block2"}


def test_a_callback_that_moves_a_frozen_statistic_fails_the_run(pictures):
    model = small_convnet(4)
    statistic = model.get_layer("block1_bn1").moving_mean

    class Meddling(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            statistic.assign(statistic + 1e-3)

    with pytest.raises(PlanError, match=r"not kept: 1 frozen variable\(s\) moved .*block1_bn1.*moving_mean"):
        train(model, zoo.freeze(model, upto="block1"), job(*pictures, callbacks=[Meddling()]))


@pytest.mark.parametrize("mode", ["frozen", "fixed_statistics", "adapt"])
def test_statistics_that_are_moved_on_purpose_fail_the_run(pictures, mode):
    """The same run without the meddling passes, ``adapt`` after its own re-estimation."""
    for meddling in (False, True):
        model = small_convnet(4)
        statistic = model.get_layer("block3_bn1").moving_variance

        def meddle(epoch, logs=None, statistic=statistic):
            statistic.assign(statistic * 1.001)

        callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=meddle)] if meddling else []
        plan, what = zoo.freeze(model, upto="block1", batch_norm=mode), job(*pictures, callbacks=callbacks)
        if meddling:
            with pytest.raises(PlanError, match=r"1 frozen variable\(s\) moved .*block3_bn1.*moving_variance"):
                train(model, plan, what)
        else:
            assert train(model, plan, what).audited > 10


def dropping(frozen_rate: float) -> tuple[keras.Model, zoo.Plan]:
    """Dropout everywhere: in the frozen trunk, in a frozen block above a learning one, and in the learning top."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 255, name="low_rescale")(inputs)
    x = layers.Flatten(name="low_flat")(layers.Conv2D(4, 3, name="low_conv")(x))
    x = layers.Dropout(frozen_rate, seed=1, name="low_dropout")(x)
    x = layers.Dense(8, activation="tanh", name="middle_dense")(x)
    x = layers.Dense(8, activation="tanh", name="high_dense")(x)
    x = layers.Dropout(frozen_rate, seed=2, name="high_dropout")(x)
    x = layers.Dropout(0.5, seed=3, name="top_dropout")(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="top_output")(x))
    patterns = [BlockPattern(name, f"{name}_.*") for name in ("low", "middle", "high", "top")]
    return model, zoo.freeze(model, train=["middle", "top"], blocks_of=patterns)


@pytest.mark.parametrize("augment", ["none", "light"])
def test_dropout_in_frozen_blocks_is_off(pictures, augment: str):
    """Below the boundary and above it, cached or not: training equals that of a network without this dropout."""

    def trained(rate: float) -> dict[str, bytes]:
        model, plan = dropping(rate)
        train(model, plan, job(*pictures, augment=augment))
        return {v.path: v.numpy().tobytes() for v in model.weights}

    assert trained(0.9) == trained(1e-6)  # Keras gives a rate of 0 no random generator


def test_dropout_in_a_learning_block_is_never_computed_once():
    inputs = keras.Input((6,))
    x = layers.Dropout(0.5, name="top_dropout")(layers.Dense(4, name="low_dense")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="top_output")(x))
    trunk, head = zoo.split(model, zoo.freeze(model, train=["top"], blocks_of=[BlockPattern("top", "top_.*")]))
    assert [layer.name for layer in trunk.layers[1:]] == ["low_dense"]
    assert [layer.name for layer in head.layers[1:]] == ["top_dropout", "top_output"]


@pytest.mark.parametrize("nested", [False, True])
def test_the_networks_own_augmentation_goes_on_under_frozen_blocks(pictures, nested: bool):
    """Its user put it there to be random in training; computed once, it would be none."""
    noting = Noting(name="noting")
    inputs = keras.Input((8, 8, 1))
    flip = layers.RandomTranslation(0.3, 0.3, seed=1, name="low_shift")
    inner = keras.Sequential([keras.Input((8, 8, 1)), flip, layers.Rescaling(1 / 255)], name="augment")
    x = inner(inputs) if nested else layers.Rescaling(1 / 255, name="low_rescale")(flip(inputs))
    x = layers.Dropout(0.9, seed=2, name="low_dropout")(layers.Conv2D(4, 3, name="low_conv")(noting(x)))
    x = layers.Flatten(name="low_flat")(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="top")(x))
    plan = zoo.freeze(model, train=["top"], blocks_of=[BlockPattern("low", "low_.*|noting|rescaling.*")])
    before = values(model)
    train(model, plan, job(np.repeat(pictures[0][:1], 48, axis=0), pictures[1]), stage(2))
    assert len({seen.tobytes() for seen in noting.seen}) == 6, "another one in each step of each epoch"
    assert moved(before, model) == {"top/kernel", "top/bias"}
    graph = flat(model)
    assert augmenting(graph) == {"low_shift"}
    assert silenced(plan, graph) == ["low_dropout"]


def test_a_resizing_layer_does_not_put_batch_norm_in_training_mode(pictures):
    """Keras's Resizing defaults to ``training=True``, which leaks to every layer above in a bare ``model(x)``."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Resizing(10, 10, name="low_resize")(inputs)
    x = layers.Conv2D(4, 3, name="low_conv")(x)
    x = layers.BatchNormalization(name="low_bn")(x)
    x = layers.GlobalAveragePooling2D(name="low_pool")(x)
    model = live(keras.Model(inputs, layers.Dense(4, activation="softmax", name="top")(x)))
    before = values(model)
    model(pictures[0])
    assert moved(before, model), "the trap is gone from Keras: this test can go"
    before = values(model)
    plan = zoo.freeze(model, upto="low")
    trunk, _ = zoo.split(model, plan)
    engine.outputs(trunk, engine.rows_of([pictures[0]]), 20)
    engine.outputs(model, engine.rows_of([pictures[0]]), 20)
    assert not moved(before, model)
    train(model, plan, job(*pictures, val=16, augment="light"))
    assert moved(before, model) == {"top/kernel", "top/bias"}


# Every random choice


def test_batches_are_a_function_of_seed_stage_and_epoch():
    def order(*place: int) -> list[int]:
        return np.concatenate(batches(50, 16, *place)).tolist()

    assert [len(b) for b in batches(50, 16, 1, 0, 0)] == [16, 16, 16, 2]
    assert sorted(order(1, 0, 0)) == list(range(50))
    assert order(1, 0, 0) == order(1, 0, 0)
    others = [order(2, 0, 0), order(1, 1, 0), order(1, 0, 1)]
    assert all(order(1, 0, 0) != other for other in others)


class Noting(layers.Layer):
    """Passes its inputs on, and notes what they were."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen: list[np.ndarray] = []

    def call(self, inputs):
        import tensorflow as tf

        tf.py_function(lambda t: self.seen.append(t.numpy()), [inputs], [])
        return inputs


def dropped(x: np.ndarray, y: np.ndarray, epochs: int = 2, index: int = 0, **changes: Any) -> list[np.ndarray]:
    """What leaves the dropout in each step, on inputs that are all ones."""
    keras.utils.set_random_seed(0)
    noting = Noting(name="noting")
    inputs = keras.Input(x.shape[1:])
    t = noting(layers.Dropout(0.5, name="dropout")(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="top")(t))
    train(model, zoo.freeze(model), job(np.ones_like(x), y, **changes), stage(epochs), index)
    return noting.seen


def test_dropout_masks_are_a_function_of_seed_stage_epoch_and_step(vectors):
    first, again = dropped(*vectors), dropped(*vectors)
    assert len(first) == len(again) == 8
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    distinct = {one.tobytes() for one in first}
    assert len(distinct) == 8, "every step of every epoch draws anew"
    assert not distinct & {one.tobytes() for one in dropped(*vectors, seed=8)}
    assert not distinct & {one.tobytes() for one in dropped(*vectors, index=1)}


def augmented(x: np.ndarray, y: np.ndarray, **changes: Any) -> list[np.ndarray]:
    noting = Noting(name="noting")
    inputs = keras.Input(x.shape[1:])
    t = layers.Flatten(name="flat")(noting(inputs))
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="top")(t))
    same = np.repeat(x[:1], len(x), axis=0)
    train(model, zoo.freeze(model), job(same, y, augment="standard", **changes), stage(2))
    return noting.seen


def test_augmentation_is_a_function_of_seed_epoch_and_step(pictures):
    first, again = augmented(*pictures), augmented(*pictures)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({one.tobytes() for one in first}) == len(first) == 6
    assert np.abs(first[0][0] - first[0][1]).max() > 1, "each example of a batch is changed in its own way"
    assert not {one.tobytes() for one in first} & {one.tobytes() for one in augmented(*pictures, seed=8)}


def test_validation_is_neither_augmented_nor_dropped(pictures):
    x, y = pictures
    model = small_convnet(4, dropout=0.5)
    result = train(
        model, zoo.freeze(model, upto="block2"), job(x, y, val=16, augment="strong"), stage(learning_rate=0.0)
    )
    expected = keras.losses.CategoricalCrossentropy()(y[-16:], model(x[-16:], training=False))
    assert result.history[0]["val_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_training_on_features_equals_training_through_the_frozen_network(pictures, monkeypatch):
    def trained(cached: bool) -> tuple[list[np.ndarray], float]:
        model, plan = dropping(0.5)
        with monkeypatch.context() as patch:
            if not cached:  # an augmentation that does nothing: the trunk is run in every step
                patch.setattr("zoo.stage_rows.augmentation", lambda *given, **named: [layers.Rescaling(1.0)])
            result = train(model, plan, job(*pictures, val=16), stage(3))
        return [v.numpy() for v in model.weights], result.history[-1]["val_loss"]

    (on_features, loss), (through, other) = trained(True), trained(False)
    for one, two in zip(on_features, through, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    assert loss == pytest.approx(other, rel=1e-4)


def test_the_trunk_is_computed_once_for_all_stages(pictures, monkeypatch, home):
    runs: list[int] = []
    plain = filling.fill
    noting = lambda *a, **k: (runs.append((found := plain(*a, **k)).computed), found)[1]  # noqa: E731
    monkeypatch.setattr("zoo.filling.fill", noting)
    model, store, what = small_convnet(4), FeatureStore(), job(*pictures, val=16)
    for index, batch_norm in enumerate(["frozen", "train"]):
        train_stage(model, zoo.freeze(model, upto="block2", batch_norm=batch_norm), stage(), index, what, store)
    assert runs == [48]
    train_stage(model, zoo.freeze(model, upto="block1"), stage(), 2, what, store)
    assert runs == [48, 48], "a lower boundary has other features"


def test_two_boundaries_at_one_layer_have_features_of_their_own():
    """A shared layer ends both trunks, and its weights are all that either has."""
    twice = layers.Dense(6, activation="tanh", name="twice")
    inputs = keras.Input((6,))
    x = twice(layers.Dropout(0.5, name="between")(twice(inputs)))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="top")(x))
    patterns = [BlockPattern(name, name) for name in ("twice", "between", "top")]
    x, labels = clusters(64)
    what, store = job(x, one_hot(labels, 3), val=16), FeatureStore()
    losses = []
    for index, learning in enumerate((["top"], ["between", "top"])):
        plan = zoo.freeze(model, train=learning, blocks_of=patterns)
        result = train_stage(model, plan, stage(learning_rate=0.0), index, what, store)
        losses.append(result.history[0]["val_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5), "nothing was trained"


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(pictures):
    def digest(seed: int) -> str:
        model = small_convnet(4, dropout=0.3)
        return train(model, zoo.freeze(model, upto="block1"), job(*pictures, seed=seed), stage(2)).digest

    assert digest(7) == digest(7)
    assert digest(7) != digest(8)


# Stopping


def test_early_stopping_restores_the_best_weights(vectors):
    x, y = vectors
    kept: list[np.ndarray] = []
    model = dense_net()
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.append(model.get_layer("top").kernel.numpy())
    )
    rng = np.random.default_rng(0)
    noisy = y[rng.permutation(len(y))]
    how = replace(stage(30, learning_rate=0.8), early_stopping={"monitor": "val_loss", "patience": 2, "min_delta": 0.0})
    result = train(model, zoo.freeze(model), job(x, noisy, val=24, callbacks=[note]), how)
    losses = [row["val_loss"] for row in result.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 30
    np.testing.assert_array_equal(model.get_layer("top").kernel, kept[best])
    assert np.abs(kept[-1] - kept[best]).max() > 0


def test_the_best_weights_are_restored_at_the_last_epoch_too(vectors):
    """Keras stops after ``patience``; a stage that ends before must give its best epoch all the same."""
    x, y = vectors
    noisy = y[np.random.default_rng(0).permutation(len(y))]
    model = dense_net()
    how = replace(stage(6, learning_rate=0.8), early_stopping={"monitor": "val_loss", "patience": 50, "min_delta": 0.0})
    result = train(model, zoo.freeze(model), job(x, noisy, val=24), how)
    final = keras.losses.CategoricalCrossentropy()(noisy[-24:], model(x[-24:], training=False))
    assert float(final) == pytest.approx(min(row["val_loss"] for row in result.history), rel=1e-5)
    assert result.epochs == 6


def test_early_stopping_on_an_unknown_figure_is_refused(vectors):
    model = dense_net()
    how = replace(stage(3), early_stopping={"monitor": "val_accurcy", "patience": 2, "min_delta": 0.0})
    with pytest.raises(RecipeError, match=r"cannot watch 'val_accurcy': nobody measures it.*val_accuracy"):
        train(model, zoo.freeze(model), job(*vectors, val=16), how)


@pytest.mark.parametrize("optimizer", [{"use_ema": True}, {"name": "schedulefreeadamw", "learning_rate": 0.01}])
def test_early_stopping_and_an_average_of_the_weights_exclude_each_other(vectors, optimizer: dict):
    model = dense_net()
    how = replace(stage(3, **optimizer), early_stopping={"monitor": "val_loss", "patience": 2, "min_delta": 0.0})
    with pytest.raises(RecipeError, match=r"'fine-tune' ends with the average of its weights, and early stopping with"):
        train(model, zoo.freeze(model), job(*vectors, val=16), how)


def test_divergence_is_an_error(vectors):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, name="low"), layers.Dense(3, name="top")])
    what = job(*vectors, loss=keras.losses.MeanSquaredError())
    with pytest.raises(ZooError, match=r"Training diverged in the stage 'fine-tune': .* Lower the learning rate"):
        train(model, zoo.freeze(model), what, stage(20, learning_rate=1e6))


def test_callbacks_are_told_of_everything(vectors):
    told: list[str] = []

    class Telling(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            told.append("begin")

        def on_train_batch_end(self, batch, logs=None):
            told.append(f"batch {batch} {'loss' in logs}")

        def on_epoch_end(self, epoch, logs=None):
            told.append(f"epoch {epoch} {sorted(logs)}")
            self.model.stop_training = True

        def on_train_end(self, logs=None):
            told.append("end")

    model = dense_net()
    result = train(model, zoo.freeze(model), job(*vectors, val=32, callbacks=[Telling()]), stage(5))
    figures = ["accuracy", "learning_rate", "loss", "val_accuracy", "val_loss"]
    assert told == ["begin", "batch 0 True", "batch 1 True", f"epoch 0 {figures}", "end"]
    assert result.epochs == 1


def test_a_schedule_and_an_unknown_optimizer(vectors):
    model = dense_net()
    schedule = {"name": "CosineDecay", "initial_learning_rate": 0.1, "decay_steps": 8}
    result = train(model, zoo.freeze(model, layer_decay=0.5), job(*vectors), stage(2, learning_rate=schedule))
    last = [0.1 * (1 + np.cos(np.pi * step / 8)) / 2 for step in (3, 7)]  # four steps an epoch
    assert [row["learning_rate"] for row in result.history] == pytest.approx(last, abs=1e-6)
    with pytest.raises(RecipeError, match=r"Keras has no optimizer 'adma'\..*adam"):
        train(model, zoo.freeze(model), job(*vectors), stage(name="adma"))


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_the_history_has_the_rate_of_each_epoch_s_last_step(vectors, precision, rate):
    """Worked out by hand: 64 examples in batches of 16 are 4 steps an epoch; the rate is 0.4 in step 0, and falls by
    0.05 in each. A cycle that ends with the last step is not taken for the next one's start."""
    model = dense_net()
    falling = {"name": "PolynomialDecay", "initial_learning_rate": 0.4, "decay_steps": 8, "end_learning_rate": 0.0}
    plan = zoo.freeze(model, multipliers={"low1": rate})
    told: list[float] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append(logs["learning_rate"]))
    what = job(*vectors, precision=precision, callbacks=[note])
    result = train(model, plan, what, stage(2, learning_rate=falling))
    assert [row["learning_rate"] for row in result.history] == pytest.approx([0.25, 0.05], abs=1e-6)
    assert told == [row["learning_rate"] for row in result.history]


def test_the_history_has_the_rate_that_a_callback_set_for_the_step(vectors):
    class Setting(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.01 * (batch + 1)

    model = dense_net()
    result = train(model, zoo.freeze(model), job(*vectors, callbacks=[Setting()]), stage(1))
    assert result.history[0]["learning_rate"] == pytest.approx(0.04)


def test_the_history_is_the_mean_over_examples(vectors):
    """The last batch is smaller: a mean of batches would weigh its examples more."""
    x, y = vectors[0][:40], vectors[1][:40]
    model = dense_net()
    result = train(model, zoo.freeze(model), job(x, y), stage(learning_rate=0.0))
    expected = keras.losses.CategoricalCrossentropy()(y, model(x, training=False))
    assert result.history[0]["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_digests_are_kept_by_the_layers_own_names():
    model = small_convnet()
    names = frozen_digests(zoo.freeze(model, upto="block2"), flat(model))
    assert any(name.startswith("block1_bn1: ") for name in names)
