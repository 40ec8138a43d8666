"""Several training steps a call: the same numbers as Keras's one, however steps are grouped, and when it is done."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo import engine, steps
from zoo.checkpoint import weights_digest
from zoo.epochs import Side, calls, watches_steps
from zoo.graph import is_seed_state
from zoo.layers.optimizers import names
from zoo.precision import in_precision
from zoo.recipe_stage import StagePart
from zoo.stage_network import StageNetwork
from zoo.stage_result import StageResult
from zoo.step_rule import XLA_FROM, way_of

from .networks import clusters, dense_net, small_convnet
from .test_train import Kept, job, one_hot, stage, train

layers = keras.layers
X, LABELS = clusters(70)
Y = one_hot(LABELS, 3)
#: Four steps an epoch, the last one of 8 examples; 14 examples to validate.
ARRAYS = {"x": X, "y": Y, "val": 14}


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets how steps are run, and how many are read at a time."""

    def setting(way: str, per_read: int | None = None) -> None:
        monkeypatch.setattr(steps, "way_of", lambda *_: way)
        if per_read is not None:
            monkeypatch.setattr(steps, "READ", per_read * 16 * (X[0].nbytes + Y[0].nbytes))

    return setting


def network(dropout: float = 0.3, **dense: Any) -> keras.Model:
    """Dense layers with batch normalization and dropout."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="tanh", name="low1", **dense)(inputs)
    x = layers.BatchNormalization(name="low1_bn")(x)
    x = layers.Dropout(dropout, seed=1, name="low1_dropout")(x) if dropout else x
    x = layers.Dense(8, activation="relu", name="low2", **dense)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="top", **dense)(x), name="net")


def trained(
    how: StagePart | None = None, model: keras.Model | None = None, plan: dict[str, Any] | None = None, **changes: Any
) -> tuple[keras.Model, StageResult, Kept]:
    """A network after two epochs."""
    model, kept = model or network(), Kept()
    plan = plan if plan is not None else {"batch_norm": "train"}
    changes["callbacks"] = [*changes.get("callbacks", ()), kept]
    result = train(model, zoo.freeze(model, **plan), job(**{**ARRAYS, **changes}), how or stage(2))
    return model, result, kept


def figures(result: StageResult) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]


def assert_same(one: tuple[keras.Model, StageResult, Kept], other: tuple[keras.Model, StageResult, Kept]) -> None:
    """Weights, states of random generators, everything that the optimizer holds, and the history: to the last bit."""
    assert weights_digest(one[0]) == weights_digest(other[0])
    held = [[*model.variables, *kept.optimizer.variables] for model, _, kept in (one, other)]
    for first, second in zip(*held, strict=True):
        np.testing.assert_array_equal(first, second, err_msg=first.path)
    assert figures(one[1]) == figures(other[1])


def assert_close(one: tuple[keras.Model, StageResult, Kept], other: tuple[keras.Model, StageResult, Kept]) -> None:
    """The same to float accuracy."""
    for first, second in zip(one[0].weights, other[0].weights, strict=True):
        if not is_seed_state(first):
            np.testing.assert_allclose(first, second, rtol=2e-4, atol=2e-6, err_msg=first.path)
    for first, second in zip(figures(one[1]), figures(other[1]), strict=True):
        assert first.pop("stage") == second.pop("stage")
        assert first == pytest.approx(second, rel=1e-4)


DECAY = {"name": "ExponentialDecay", "initial_learning_rate": 0.1, "decay_steps": 1, "decay_rate": 0.9}
MANNERS: dict[str, dict[str, Any]] = {name: {"name": name, "learning_rate": 0.02} for name in sorted(names())} | {
    "momentum": {"name": "sgd", "momentum": 0.9, "nesterov": True, "global_clipnorm": 0.1},
    "one cycle": {
        "name": "sgd",
        "learning_rate": {"name": "OneCycle", "max_learning_rate": 0.1},
        "momentum": {"name": "one_cycle_momentum"},
    },
    "schedule": {"learning_rate": DECAY},
    "clipnorm": {"name": "adamw", "clipnorm": 0.1, "weight_decay": 0.1},
    "clipvalue": {"name": "adamw", "clipvalue": 0.01},
    "average": {"name": "adamw", "use_ema": True, "ema_overwrite_frequency": 2},
    "accumulation": {"name": "adamw", "gradient_accumulation_steps": 3},
}


#: A family each of how a step changes the weights; the others are alike, and slow.
FEW = ("adam", "average", "accumulation", "clipnorm", "ftrl", "one cycle", "schedule", "schedulefreeadamw", "sgd")


@pytest.mark.parametrize(
    "manner", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in MANNERS]
)
def test_several_steps_a_call_are_those_of_keras_to_the_last_bit(manner: str, take: Any):
    """With live batch normalization, dropout, and rates by block."""
    given = {"plan": {"batch_norm": "train", "multipliers": {"low1": 0.25, "low2": 0.5}}}
    take("single")
    alone = trained(stage(2, **MANNERS[manner]), **given)
    take("loop")
    assert_same(trained(stage(2, **MANNERS[manner]), **given), alone)


@pytest.mark.slow
@pytest.mark.parametrize("manner", [name for name in FEW if name != "adam"])
def test_xla_gives_the_same_to_float_accuracy_however_a_step_changes_the_weights(manner: str, take: Any):
    take("single")
    alone = trained(stage(2, **MANNERS[manner]), network(0))
    take("xla", 2)
    assert_close(trained(stage(2, **MANNERS[manner]), network(0)), alone)


WEIGHTS = np.linspace(0.2, 3, 56, dtype="float32")
CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "weights of examples": lambda: {"train": Side(engine.rows_of([X[:56]]), Y[:56], WEIGHTS)},
    "penalties": lambda: {"model": network(kernel_regularizer="l2")},
    "constraints": lambda: {"model": network(kernel_constraint=keras.constraints.MaxNorm(0.5))},
    "pull to the start": lambda: {"how": replace(stage(2), l2_sp={"alpha": 0.1, "beta": 0.01})},
    "average of the weights": lambda: {"how": replace(stage(4), weight_averaging={"start": 0.5})},
    "early stopping": lambda: {"how": replace(stage(4), early_stopping={"monitor": "val_loss", "patience": 1})},
    "plateau": lambda: {"how": replace(stage(4), reduce_on_plateau={"monitor": "val_loss", "patience": 1})},
    "float16": lambda: {"model": in_precision(network(), "mixed_float16"), "precision": "mixed_float16"},
    "features": lambda: {"model": dense_net(), "plan": {"upto": "low1"}},
    "no validation": lambda: {"val": 0},
    "whole batches": lambda: {"x": X[:64], "y": Y[:64], "val": 0, "how": stage(2, learning_rate=DECAY)},
    "mean squared error": lambda: {"loss": "mean_squared_error"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_goes_into_a_step_goes_into_several(change: str, take: Any):
    take("single")
    alone = trained(**CHANGES[change]())
    take("loop")
    assert_same(trained(**CHANGES[change]()), alone)


@pytest.mark.parametrize("size", [20, 64])
def test_where_a_batch_is_no_power_of_two_the_mean_may_differ_in_its_last_bit(size: int, take: Any):
    """Keras's own step divides by a constant until it has seen a last batch, and by a number from then on."""
    ends = []
    for way in ("single", "loop"):
        take(way)
        ends.append(trained(batch_size=size))
    assert_close(*ends)


def test_xla_gives_the_same_to_float_accuracy(take: Any):
    take("single")
    alone = trained(stage(2, name="adam", learning_rate=0.01), network(0))
    take("xla")
    assert_close(trained(stage(2, name="adam", learning_rate=0.01), network(0)), alone)


class Counting(keras.callbacks.Callback):
    """Wants to be told of every step, and keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.begun: list[int] = []
        self.told: list[tuple[int, float, float]] = []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        rate = float(self.model.optimizer.learning_rate)
        self.told.append((batch, logs["loss"], rate))


@pytest.mark.parametrize("way", ["loop", "xla"])
def test_weights_do_not_depend_on_how_steps_are_grouped(way: str, take: Any):
    """One step a call because a callback watches, two or all of them read at a time."""
    model = lambda: network(0.3 if way == "loop" else 0)  # noqa: E731
    how = stage(2, name="adam", learning_rate=0.01)
    take(way, 4)
    at_once = trained(how, model())
    assert_same(trained(how, model(), callbacks=[Counting()]), at_once)
    take(way, 2)
    in_twos = trained(how, model())
    if way == "loop":
        assert_same(in_twos, at_once)
    assert_same(trained(how, model(), callbacks=[Counting()]), in_twos)


def test_a_callback_is_told_of_every_step_and_can_set_the_rate(take: Any):
    class Halving(Counting):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.model.optimizer.learning_rate = 0.1 / (len(self.told) + 1)

    told = {}
    for way in ("single", "loop"):
        take(way)
        watching = Halving()
        told[way] = [trained(callbacks=[watching]), watching]
    assert_same(told["single"][0], told["loop"][0])
    assert told["single"][1].told == told["loop"][1].told
    assert told["loop"][1].begun == [0, 1, 2, 3, 0, 1, 2, 3]


def test_who_watches_steps():
    class Epochs(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pass

    class Old(keras.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            pass

    class Mine(zoo.WeightAveraging):
        def on_train_batch_begin(self, batch, logs=None):
            pass

    own = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    watch = [Old(), Counting(), Mine(), own, zoo.WeightAveraging(unit="step")]
    quiet = [Epochs(), keras.callbacks.EarlyStopping(), keras.callbacks.LambdaCallback(), zoo.WeightAveraging()]
    assert [watches_steps(callback) for callback in watch] == [True] * 5
    assert [watches_steps(callback) for callback in quiet] == [False] * 4


def test_averages_over_steps_are_the_same(take: Any):
    ends = []
    for way in ("single", "loop"):
        take(way)
        ends.append(trained(stage(4), callbacks=[zoo.WeightAveraging(0.5, 2, unit="step")]))
    assert_same(*ends)


def test_a_network_that_a_callback_compiles_again_is_trained_as_compiled(take: Any):
    class Compiling(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.compile(keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
                self.model.optimizer.build(self.model.trainable_variables)

    ends = []
    for way in ("single", "loop"):
        take(way)
        ends.append(trained(callbacks=[Compiling()]))
    assert_same(*ends)


def test_examples_are_read_a_few_steps_at_a_time(take: Any, tmp_path: Path):
    """From a file mapped into memory, with the same result as from memory."""
    np.save(tmp_path / "x.npy", X[:56])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    sizes = []

    def read(indices: np.ndarray) -> np.ndarray:
        sizes.append(len(indices))
        return mapped[indices]

    take("loop", 2)
    assert_same(trained(train=Side(read, Y[:56])), trained())
    assert max(sizes) == 32


def test_several_inputs_are_read_as_a_list(take: Any):
    first, second = keras.Input((6,), name="first"), keras.Input((2,), name="second")
    keras.utils.set_random_seed(0)
    inside = layers.Dense(3, activation="softmax")(layers.Concatenate()([first, second]))
    head = keras.Model([first, second], inside)
    model = StageNetwork([], None, head, "float32", head)
    model.compile("sgd", keras.losses.CategoricalCrossentropy())
    side = Side(engine.rows_of([X, X[:, :2]]), Y)
    several = steps.several_steps(model, side, {}, 16, 10)
    assert several is not None
    measured = list(several.evaluate(side))
    assert [count for count, _ in measured] == [16, 16, 16, 16, 6]
    for i, (_, logs) in enumerate(measured):
        part = slice(16 * i, 16 * i + 16)
        assert logs["loss"] == pytest.approx(model.test_on_batch([X[part], X[part, :2]], Y[part]))


# When


def built(head: keras.Model, loss: Any = "mse", precision: str = "float32", **parts: Any) -> StageNetwork:
    given = {"augment": [], "trunk": None} | parts
    model = StageNetwork(head=head, precision=precision, network=head, **given)
    model.compile("sgd", loss)
    return model


def with_layer(layer: Any) -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(3)(layer(inputs)))


class OwnLayer(keras.layers.Layer):
    def call(self, inputs):
        return inputs


def own_function(x: Any) -> Any:
    return x


def own_loss(truth: Any, outputs: Any) -> Any:
    return keras.ops.mean(outputs - truth)


MANY = int(XLA_FROM)
EXAMPLE = X[:1]
WAYS: dict[str, tuple[str, Callable[[], StageNetwork], Any, int]] = {
    "dense": ("xla", lambda: built(dense_net()), EXAMPLE, MANY),
    "batch norm": ("xla", lambda: built(network(0)), EXAMPLE, MANY),
    "several inputs": ("xla", lambda: built(dense_net()), [EXAMPLE, EXAMPLE], MANY),
    "few steps": ("loop", lambda: built(dense_net()), EXAMPLE, 1000),
    "dropout": ("loop", lambda: built(network()), EXAMPLE, MANY),
    "convolutions": ("loop", lambda: built(small_convnet(4)), np.zeros((1, 8, 8, 1), "uint8"), MANY),
    "recurrent": ("loop", lambda: built(recurrent()), np.zeros((1, 5, 2), "float32"), MANY),
    "float16": ("loop", lambda: built(in_precision(dense_net(), "mixed_float16")), EXAMPLE, MANY),
    "texts": ("single", lambda: built(dense_net()), np.array(["a"], object), MANY),
    "a layer of the user's": ("single", lambda: built(with_layer(OwnLayer())), EXAMPLE, MANY),
    "a function of the user's": ("single", lambda: built(with_layer(layers.Dense(2, own_function))), EXAMPLE, MANY),
    "a lambda": ("single", lambda: built(with_layer(layers.Lambda(lambda x: x))), EXAMPLE, MANY),
    "a loss of the user's": ("single", lambda: built(dense_net(), own_loss), EXAMPLE, MANY),
    "augmentation": ("single", lambda: built(dense_net(), augment=[layers.GaussianNoise(1)]), EXAMPLE, MANY),
    "mixing": ("single", lambda: built(dense_net(), mixes=True), EXAMPLE, MANY),
    "a trunk": ("single", lambda: built(dense_net(), trunk=with_layer(layers.Identity())), EXAMPLE, MANY),
}


def recurrent() -> keras.Model:
    inputs = keras.Input((5, 2))
    return keras.Model(inputs, layers.Dense(3)(layers.LSTM(4)(inputs)))


@pytest.mark.parametrize("case", WAYS)
def test_how_steps_are_run_follows_from_the_network(case: str):
    expected, model, example, count = WAYS[case]
    assert way_of(model(), example, count) == expected


def test_a_shape_that_fills_a_read_alone_is_run_step_by_step():
    side = Side(lambda indices: np.zeros((len(indices), 1000, 1000), "float32"), Y)
    inputs = keras.Input((1000, 1000))
    head = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(inputs)))
    assert steps.several_steps(built(head), side, {}, 16, 10) is None


def test_networks_with_convolutions_and_cells_are_the_same(take: Any):
    rng = np.random.default_rng(0)
    cases = [
        (lambda: small_convnet(3, dropout=0.2), rng.uniform(0, 255, (70, 8, 8, 1)).astype("float32")),
        (recurrent_classes, rng.normal(size=(70, 5, 2)).astype("float32")),
    ]
    for make, x in cases:
        ends = []
        for way in ("single", "loop"):
            take(way)
            ends.append(trained(model=make(), x=x))
        assert_close(*ends)


def recurrent_classes() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 2))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.LSTM(4)(inputs)))


def test_calls_cover_every_step_once_and_take_the_last_by_itself():
    for each in (False, True):
        for total in (1, 2, 7, 8):
            parts = [calls(a, min(a + 3, total), total, each=each) for a in range(0, total, 3)]
            taken = [call for part in parts for call in part]
            assert [step for first, last in taken for step in range(first, last)] == list(range(total))
            assert taken[-1] == (total - 1, total)
