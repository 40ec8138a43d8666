"""What everything of ours in ``zoo.layers`` is tried on, by kind; and what it gives, to be compared across backends.

    KERAS_BACKEND=tensorflow python -m tests.layers.contract FOLDER

writes what this backend gives: ``results.npz``, and each layer in a ``.keras`` file. ``make test-jax`` does, and has
``test_contract.py`` compare it with another backend's in an environment without TensorFlow. So nothing here, or in
``layers/``, may name a backend.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import zoo.layers as ours
from zoo.layers import activations

layers = keras.layers
schedules = keras.optimizers.schedules

#: How training draws: the smallest, the largest, the mean and the standard deviation on ones (for RReLU: on minus one).
Draws = tuple[float, float, float, float]


@dataclass(frozen=True)
class LayerCase:
    """A layer on trial.

    ``make`` takes ``dtype``; ``shapes`` are its inputs' without the batch, the first of them floats and any second one
    a mask; ``draws`` says what training makes of ``at`` where it is random; ``moves`` are the variables that a step of
    training changes.
    """

    make: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((4, 6),)
    draws: Draws | None = None
    at: float = 1.0
    moves: tuple[str, ...] = ()


def _inference(inner: Callable[..., Any]) -> Callable[..., Any]:
    return lambda dtype=None: ours.Inference(inner(dtype=dtype))


#: By the name of the class, and what is special about the case.
LAYERS: dict[str, LayerCase] = {
    "FrozenBatchNorm": LayerCase(ours.FrozenBatchNorm),
    "FrozenBatchNorm, axis 1": LayerCase(lambda **k: ours.FrozenBatchNorm(1, 0.1, center=False, **k)),
    "Inference": LayerCase(_inference(layers.BatchNormalization), moves=("gamma", "beta")),
    "Inference, dropout": LayerCase(_inference(lambda dtype: layers.Dropout(0.5, dtype=dtype)), draws=(1, 1, 1, 0)),
    "Masked": LayerCase(ours.Masked, shapes=((4, 6), (4,))),
    "RReLU": LayerCase(ours.RReLU, draws=(-1 / 3, -1 / 8, -11 / 48, 5 / 24 / 12**0.5), at=-1.0),
    "RReLU, own range": LayerCase(
        lambda **k: ours.RReLU(0.1, 0.5, **k), draws=(-0.5, -0.1, -0.3, 0.4 / 12**0.5), at=-1.0
    ),
    "StochasticDepth": LayerCase(lambda **k: ours.StochasticDepth(0.25, **k), draws=(0, 4 / 3, 1, 3**-0.5)),
    "StochasticDepth, none": LayerCase(lambda **k: ours.StochasticDepth(0.0, **k), draws=(1, 1, 1, 0)),
    "FeatureNoise": LayerCase(
        lambda **k: ours.FeatureNoise(0.5, [2.0] * 6, **k), shapes=((6,),), draws=(-np.inf, np.inf, 1, 1)
    ),
    "FeatureDropout": LayerCase(
        lambda **k: ours.FeatureDropout(0.2, [3.0] * 6, **k), shapes=((6,),), draws=(1, 3, 1.4, 0.8)
    ),
    "Function": LayerCase(lambda **k: activations.Function("celu", {"alpha": 2.0}, **k)),
    "activation, rrelu": LayerCase(lambda **k: ours.activation({"name": "rrelu", "upper": 0.5}, **k)),
    "activation, prelu": LayerCase(lambda **k: ours.activation("prelu", rank=3, **k), moves=("alpha",)),
    "activation, leaky_relu": LayerCase(lambda **k: ours.activation("leaky_relu", **k)),
    "activation, elu": LayerCase(lambda **k: ours.activation({"name": "elu", "alpha": 0.5}, **k)),
    "activation, gelu": LayerCase(lambda **k: ours.activation({"name": "gelu", "approximate": True}, **k)),
}

_COSINE = schedules.CosineDecay(0.1, 20)

SCHEDULES: dict[str, Callable[[], Any]] = {
    "PowerDecay": lambda: ours.PowerDecay(0.1, 7.0, 1.5),
    "WarmUp": lambda: ours.WarmUp(_COSINE, 5, 0.01),
    "WarmUp, constant": lambda: ours.WarmUp(0.1, 5),
    "OneCycle": lambda: ours.OneCycle(1.0, 30),
    "OneCycle, three phases": lambda: ours.OneCycle(1.0, 30, anneal="linear", three_phase=True),
    "OneCycleMomentum": lambda: ours.OneCycleMomentum(30),
    "schedule, power": lambda: ours.schedule({"name": "power", "initial_learning_rate": 0.1}, 30),
    "schedule, warm-up": lambda: ours.schedule(
        {"name": "exponential", "initial_learning_rate": 0.1, "warmup_steps": 4}, 30
    ),
}

#: Momenta are no rates, and are tried under optimizers.
RATES = tuple(name for name in SCHEDULES if "Momentum" not in name)


def _by_variable(plain: Any) -> Any:
    return ours.by_variable(plain, [0.5, 1.0, 0.0, 2.0])  # two dense layers: the second kernel is held


def _with_momentum(plain: Any) -> Any:
    return ours.with_momentum(plain, ours.OneCycleMomentum(30))


optimizers = keras.optimizers

#: Each for the four variables of :func:`two_layers`.
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "FtrlFromWeights": lambda: ours.FtrlFromWeights(0.05, l1_regularization_strength=0.001),
    "optimizer, adamw": lambda: ours.optimizer("adamw", learning_rate=0.01, weight_decay=0.1, clipnorm=1.0),
    "optimizer, one cycle": lambda: ours.optimizer(
        "sgd",
        steps=30,
        learning_rate={"name": "one_cycle", "max_learning_rate": 0.2},
        momentum={"name": "one_cycle_momentum"},
        nesterov=True,
    ),
    "by_variable, sgd": lambda: _by_variable(optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01)),
    "by_variable, adam": lambda: _by_variable(optimizers.Adam(0.01, global_clipnorm=1.0)),
    "by_variable, lamb": lambda: _by_variable(optimizers.Lamb(0.01, weight_decay=0.01)),
    "with_momentum, sgd": lambda: _with_momentum(optimizers.SGD(0.05, nesterov=True)),
    "with_momentum, rmsprop": lambda: _with_momentum(optimizers.RMSprop(0.01)),
    "with_momentum, adam": lambda: _with_momentum(optimizers.Adam(0.01)),
    "with_momentum, nadam": lambda: _with_momentum(optimizers.Nadam(0.01)),
}

#: Regularizers of a weight of shape (3, 4).
REGULARIZERS: dict[str, Callable[[], Any]] = {
    "L2SP": lambda: ours.L2SP(0.5, numbers((3, 4), seed=9)),
}

CONSTRAINTS: dict[str, Callable[[], Any]] = {
    "max_norm": lambda: ours.max_norm(0.7, "Dense"),
    "max_norm, convolution": lambda: ours.max_norm(0.7, "Conv2D"),
    "max_norm, einsum": lambda: ours.max_norm(0.7, layers.EinsumDense("ab,bcd->acd", (2, 3))),
}

#: With the standard deviation, in units of 1 / sqrt(fan-in), and the largest value, likewise.
INITIALIZERS: dict[str, tuple[Callable[..., Any], float, float]] = {
    "for_activation": (lambda **k: ours.for_activation("relu", **k), 2**0.5, 2.2737 * 2**0.5),
    "for_activation, uniform": (
        lambda **k: ours.for_activation("selu", distribution="uniform", **k),
        1.0,
        3**0.5,
    ),
    "chapter_table": (lambda **k: ours.chapter_table("tanh", mode="fan_in", **k), 4.0, 2.2737 * 4),
}


def _mixing() -> list[Any]:
    x, y = numbers((6, 5, 5, 2)), np.eye(3)[np.arange(6) % 3]
    mixing = ours.mixing([{"name": "CutMix", "alpha": 1.0}, {"name": "MixUp", "alpha": 0.4}])
    return [part for seed in (1, 2, 3) for part in mixing(x, y, np.arange(6) + 1.0, seed=seed)]


def _augmentation() -> list[Any]:
    x = np.abs(numbers((2, 8, 8, 3))) * 100
    return [layer(x, training=False) for name in ours.PRESETS for layer in ours.augmentation(name)]


def _stack() -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="selu"), layers.Dropout(0.1)])


#: What needs no contract of a kind: functions, by what they give.
FUNCTIONS: dict[str, Callable[[], list[Any]]] = {
    "activation": lambda: [
        ours.activation(name, rank=2)(numbers((3, 8)) * 3) for name in activations.names() if name != "threshold"
    ],
    "augmentation": _augmentation,
    "check_selu": lambda: [len(ours.check_selu(_stack()))],
    "linear_rates": lambda: [ours.linear_rates(5)],
    "mixed": lambda: [ours.mixed(numbers((4, 3)), np.array([1, 0, 3, 2]), np.full((4, 1), 0.25))],
    "mixing": _mixing,
    "reduce_on_plateau": lambda: [ours.reduce_on_plateau({"factor": 0.5}).factor],
    "split_spec": lambda: [len(part) for part in ours.split_spec("mixup")],
}

#: Public names that are data, or come out of a function above.
NOT_ON_TRIAL = ("PRESETS", "VECTOR_PRESETS", "Mix", "Mixing")


def kinds() -> dict[str, Mapping[str, Any]]:
    """Every table."""
    return {
        "layer": LAYERS,
        "schedule": SCHEDULES,
        "optimizer": OPTIMIZERS,
        "regularizer": REGULARIZERS,
        "constraint": CONSTRAINTS,
        "initializer": INITIALIZERS,
        "function": FUNCTIONS,
    }


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random numbers that are the same everywhere."""
    return np.random.Generator(np.random.Philox(seed)).normal(0, 1, shape).astype("float32")


def array(value: Any) -> np.ndarray:
    """A tensor of any backend, or a number, in float64."""
    return np.asarray(keras.ops.convert_to_numpy(value), "float64")


def set_weights(model: Any, seed: int = 5) -> Any:
    """Gives every variable that holds numbers values that are nothing special; variances stay above 0."""
    for i, variable in enumerate(model.weights):
        value = 0.5 * numbers(tuple(variable.shape), seed + i)
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.path else value)
    return model


def inputs_of(case: LayerCase, count: int = 8, seed: int = 3) -> Any:
    """What a case's model takes: numbers, and masks of 1 to 4 steps."""
    masks = [np.arange(np.prod(shape)) < 1 + np.arange(count)[:, None] % 4 for shape in case.shapes[1:]]
    return one_or_all([numbers((count, *case.shapes[0]), seed), *masks])


def _inputs(case: LayerCase) -> list[Any]:
    return [keras.Input(case.shapes[0]), *(keras.Input(shape, dtype="bool") for shape in case.shapes[1:])]


def one_or_all(values: list[Any]) -> Any:
    """A single value as itself: what a model of one input takes."""
    return values if len(values) > 1 else values[0]


def alone(case: LayerCase, dtype: str = "float32") -> keras.Model:
    """A model of the layer alone; its batch size is free."""
    inputs = _inputs(case)
    outputs = case.make(dtype=dtype)(one_or_all(inputs))
    return set_weights(keras.Model(one_or_all(inputs), outputs))


def between(case: LayerCase, dtype: str = "float32") -> keras.Model:
    """A model with the layer between two dense ones: a gradient must come through it."""
    inputs = _inputs(case)
    x = layers.Dense(case.shapes[0][-1], name="below", dtype=dtype)(inputs[0])
    x = case.make(dtype=dtype)(one_or_all([x, *inputs[1:]]))
    if len(case.shapes[0]) > 1:
        x = layers.GlobalAveragePooling1D()(x)  # it minds a mask
    top = layers.Dense(2, name="above", dtype="float32")(x)
    return set_weights(keras.Model(one_or_all(inputs), top))


def two_layers(regularizer: Any = None) -> keras.Model:
    """Two dense layers, four variables."""
    inputs = keras.Input((3,))
    x = layers.Dense(4, activation="tanh", name="below", kernel_regularizer=regularizer)(inputs)
    return set_weights(keras.Model(inputs, layers.Dense(2, name="above")(x)))


def fitted(model: keras.Model, x: Any, optimizer: Any, epochs: int = 5) -> tuple[keras.Model, list[float]]:
    """A model after some steps on all of ``x`` at once, and its losses."""
    model.compile(optimizer, "mse")
    count = len(x[0]) if isinstance(x, list) else len(x)
    history = model.fit(x, numbers((count, 2), seed=7), batch_size=count, epochs=epochs, shuffle=False, verbose=0)
    return model, history.history["loss"]


def is_random(name: str) -> bool:
    """Whether a case's training draws."""
    draws = LAYERS[name].draws
    return (draws is not None and draws[3] > 0) or "rrelu" in name


def results() -> Iterator[tuple[str, list[np.ndarray]]]:
    """What is the same on every backend, by name."""
    for name, case in LAYERS.items():
        x = inputs_of(case)
        yield f"layer: {name}", [array(alone(case)(x, training=False))]
        if not is_random(name):
            model, losses = fitted(between(case), x, keras.optimizers.SGD(0.05))
            yield f"layer, trained: {name}", [np.array(losses), *(array(v) for v in model.weights)]
    for name, make in SCHEDULES.items():
        yield f"schedule: {name}", [np.array([float(make()(step)) for step in range(35)])]
    for name, make in OPTIMIZERS.items():
        model, losses = fitted(two_layers(), numbers((16, 3)), make(), epochs=8)
        yield f"optimizer: {name}", [np.array(losses), *(array(v) for v in model.weights)]
    for name in RATES:
        model, losses = fitted(two_layers(), numbers((16, 3)), keras.optimizers.SGD(SCHEDULES[name]()), epochs=8)
        yield f"schedule, trained: {name}", [np.array(losses), *(array(v) for v in model.weights)]
    for name, make in REGULARIZERS.items():
        model, losses = fitted(two_layers(make()), numbers((16, 3)), keras.optimizers.SGD(0.05))
        yield f"regularizer: {name}", [array(make()(numbers((3, 4)))), np.array(losses), *map(array, model.weights)]
    for name, make in CONSTRAINTS.items():
        yield f"constraint: {name}", [array(make()(keras.ops.convert_to_tensor(numbers((3, 3, 4, 5)))))]
    for name, make in FUNCTIONS.items():
        yield f"function: {name}", [array(value) for value in make()]


def file_name(name: str) -> str:
    """The file of a case."""
    return name.replace(", ", "_").replace(" ", "_") + ".keras"


def main(folder: Path) -> None:
    """Writes what this backend gives."""
    folder.mkdir(parents=True, exist_ok=True)
    held = {f"{name}|{i}": part for name, parts in results() for i, part in enumerate(parts)}
    np.savez(folder / "results.npz", backend=keras.backend.backend(), **held)
    for name, case in LAYERS.items():
        alone(case).save(folder / file_name(name))
    print(f"{len(held)} results and {len(LAYERS)} models of {keras.backend.backend()} in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
