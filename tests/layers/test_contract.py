"""One contract for everything of ours in ``zoo.layers``: on TensorFlow here, on JAX by ``make test-jax``."""

import ast
import importlib
import inspect
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo.layers as ours

from . import contract
from .contract import CONSTRAINTS, INITIALIZERS, LAYERS, OPTIMIZERS, RATES, REGULARIZERS, SCHEDULES, LayerCase

#: What another backend gave, where ``make test-jax`` put it.
OTHER = Path(os.environ.get("ZOO_CONTRACT", ""))
beside_another = pytest.mark.skipif(not os.environ.get("ZOO_CONTRACT"), reason="make test-jax runs it")

#: The largest difference between two backends, relative to the largest value of an array.
SAME = 1e-6
#: How many units in the last place mixed precision may be off, relative to the largest value.
UNITS = {"float32": 2.0**-23, "mixed_float16": 2.0**-10, "mixed_bfloat16": 2.0**-7}
POLICIES = tuple(UNITS)
KINDS = (
    keras.layers.Layer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.initializers.Initializer,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.callbacks.Callback,
)


def by_name(table: Mapping[str, Any]) -> Any:
    return pytest.mark.parametrize("name", table)


def as_json(config: Any) -> Any:
    """A configuration as a file has it: tuples become lists."""
    return json.loads(json.dumps(config))


def seed_free(model: Any) -> dict[str, np.ndarray]:
    """The values of all variables but the states of random generators, by path and order."""
    named = [(f"{i} {v.path}", v) for i, v in enumerate(model.variables) if "seed" not in v.path]
    return {path: contract.array(v) for path, v in named}


# What is on trial


@cache
def modules() -> list[Any]:
    return [importlib.import_module(f"zoo.layers.{found.name}") for found in pkgutil.iter_modules(ours.__path__)]


def test_every_public_name_is_on_trial():
    tried = {name.split(",")[0] for table in contract.kinds().values() for name in table}
    assert set(ours.__all__) <= tried | set(contract.NOT_ON_TRIAL)
    assert tried & set(contract.NOT_ON_TRIAL) == set()


def test_every_class_that_keras_may_save_is_on_trial():
    tried = {name.split(",")[0] for table in contract.kinds().values() for name in table}
    own = {
        name
        for module in modules()
        for name, made in vars(module).items()
        if inspect.isclass(made) and issubclass(made, KINDS) and made.__module__ == module.__name__
    }
    assert {name for name in own if not name.startswith("_")} <= tried
    assert {"FrozenBatchNorm", "Function", "L2SP", "PowerDecay", "FtrlFromWeights"} <= own


def test_layers_import_keras_numpy_and_the_errors_alone():
    for module in modules():
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                root = name.split(".")[0]
                assert root in {"keras", "numpy", *sys.stdlib_module_names} or name == "zoo.errors", module.__name__


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="it is the backend")
def test_nothing_loads_tensorflow_on_another_backend():
    assert "tensorflow" not in sys.modules


# Layers


@pytest.mark.parametrize("policy", POLICIES)
@by_name(LAYERS)
def test_shape_and_dtype_for_any_batch(name: str, policy: str):
    case = LAYERS[name]
    model, plain = contract.alone(case, policy), contract.alone(case)
    layer = model.layers[-1]
    assert model.output.shape == (None, *plain.output.shape[1:])
    assert keras.backend.standardize_dtype(model.output.dtype) == layer.compute_dtype
    assert layer.compute_dtype == policy.removeprefix("mixed_")
    assert {v.dtype for v in layer.weights} <= {"float32"}
    for count in (1, 5):
        x = contract.inputs_of(case, count)
        y, wide = model(x, training=False), contract.array(plain(x, training=False))
        assert tuple(y.shape) == (count, *case.shapes[0])
        assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
        assert np.abs(contract.array(y) - wide).max() <= 4 * UNITS[policy] * np.abs(wide).max()


@by_name(LAYERS)
def test_configuration_round_trip(name: str):
    layer = contract.alone(LAYERS[name]).layers[-1]
    config = as_json(layer.get_config())
    assert as_json(type(layer).from_config(as_json(config)).get_config()) == config
    again = keras.saving.deserialize_keras_object(as_json(keras.saving.serialize_keras_object(layer)))
    assert type(again) is type(layer) and as_json(again.get_config()) == config


@pytest.mark.parametrize("policy", POLICIES)
@by_name(LAYERS)
def test_saved_and_loaded(name: str, policy: str, tmp_path: Path):
    case = LAYERS[name]
    model, x = contract.alone(case, policy), contract.inputs_of(case)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(contract.array(loaded(x)), contract.array(model(x)))
    assert as_json(loaded.layers[-1].get_config()) == as_json(model.layers[-1].get_config())
    if not name.startswith("activation"):
        assert type(loaded.layers[-1]).__name__ == name.split(",")[0]


@pytest.mark.parametrize("policy", POLICIES)
@by_name(LAYERS)
def test_training_moves_what_it_should(name: str, policy: str):
    case = LAYERS[name]
    model, x = contract.between(case, policy), contract.inputs_of(case, 32)
    before = seed_free(model)
    _, losses = contract.fitted(model, x, keras.optimizers.SGD(0.05), epochs=3)
    after = seed_free(model)
    assert np.isfinite(losses).all() and all(np.isfinite(value).all() for value in after.values())
    moved = {path.rpartition("/")[2] for path in before if (before[path] != after[path]).any()}
    around = {"kernel", "bias"}  # of the dense layers below and above
    assert moved == around | set(case.moves)
    assert any("below/kernel" in path and (before[path] != after[path]).any() for path in before)


@by_name([name for name, case in LAYERS.items() if not contract.is_random(name)])
def test_what_draws_nothing_is_the_same_in_training(name: str):
    case = LAYERS[name]
    model, x = contract.alone(case), contract.inputs_of(case)
    before = seed_free(model)
    np.testing.assert_array_equal(contract.array(model(x, training=True)), contract.array(model(x, training=False)))
    assert all((value == before[path]).all() for path, value in seed_free(model).items())


@by_name([name for name, case in LAYERS.items() if len(case.shapes[0]) == 2])
def test_a_mask_reaches_what_stands_above(name: str):
    case, steps = LAYERS[name], 2
    x = contract.numbers((3, *case.shapes[0]))
    x[:, steps:] = 0.0
    inputs = keras.Input(case.shapes[0])
    mask = keras.ops.any(keras.ops.not_equal(inputs, 0.0), axis=-1)
    below = [inputs, mask] if len(case.shapes) > 1 else keras.layers.Masking()(inputs)
    layer = case.make()
    y = layer(below)
    mean = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(y))
    all_steps = contract.set_weights(keras.Model(inputs, y))(x)
    wanted = contract.array(all_steps)[:, :steps].mean(axis=1)
    np.testing.assert_allclose(contract.array(mean(x)), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", POLICIES)
@by_name([name for name, case in LAYERS.items() if case.draws])
def test_draws_have_the_mean_the_spread_and_the_range_that_they_should(name: str, policy: str):
    """Closed forms, so that two backends agree in distribution where both agree with them."""
    case = LAYERS[name]
    assert case.draws is not None
    low, high, mean, deviation = case.draws
    keras.utils.set_random_seed(0)
    layer, x = case.make(dtype=policy), np.full((4000, *case.shapes[0]), case.at, "float32")
    y = contract.array(layer(x, training=True))
    unit = UNITS[policy] * max(abs(mean), 1)
    assert low - 2 * unit <= y.min() and y.max() <= high + 2 * unit
    independent = len(x) if "StochasticDepth" in name else y.size
    assert abs(y.mean() - mean) <= 5 * deviation / independent**0.5 + unit
    assert abs(y.std() - deviation) <= 5 * deviation / independent**0.5 + unit


@by_name([name for name in LAYERS if contract.is_random(name)])
def test_draws_follow_their_seed(name: str):
    case, x = LAYERS[name], np.full((50, *LAYERS[name].shapes[0]), -1.0, "float32")
    config = case.make().get_config()

    def drawn(seed: int, calls: int = 1) -> np.ndarray:
        layer = type(case.make()).from_config({**config, "seed": seed})
        return [contract.array(layer(x, training=True)) for _ in range(calls)][-1]

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert (drawn(1) != drawn(2)).any() and (drawn(1) != drawn(1, calls=2)).any()
    layer = case.make()
    np.testing.assert_array_equal(contract.array(layer(x)), contract.array(layer(x, training=False)))


# Schedules and optimizers


@by_name(SCHEDULES)
def test_a_schedule_is_a_number_of_the_step_and_goes_round(name: str):
    made = SCHEDULES[name]()
    serialized = as_json(keras.optimizers.schedules.serialize(made))
    again = keras.optimizers.schedules.deserialize(serialized)
    assert type(again) is type(made) and again.get_config() == made.get_config()
    for step in (0, 3, 17, 40):
        tensor = made(keras.ops.convert_to_tensor(step, "int32"))
        assert (tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)) == ((), "float32")
        assert float(tensor) == float(made(step)) == float(again(step))
        assert np.isfinite(float(tensor)) and float(tensor) >= 0


def cases_of_optimizers() -> dict[str, Callable[[], Any]]:
    rates = {f"rate {name}": lambda name=name: keras.optimizers.SGD(SCHEDULES[name](), momentum=0.9) for name in RATES}
    return {**OPTIMIZERS, **rates}


@by_name(cases_of_optimizers())
def test_an_optimizer_goes_round_and_a_loaded_one_trains_on_alike(name: str, tmp_path: Path):
    made = cases_of_optimizers()[name]()
    again = keras.optimizers.deserialize(as_json(keras.optimizers.serialize(made)))
    assert type(again) is type(made) and again.get_config() == made.get_config()
    x = contract.numbers((16, 3))
    model, losses = contract.fitted(contract.two_layers(), x, made)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(made)
    targets = contract.numbers((16, 2), seed=7)
    for one in (model, loaded):
        one.fit(x, targets, batch_size=16, epochs=3, shuffle=False, verbose=0)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(contract.array(one), contract.array(other), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("policy", POLICIES[1:])
@by_name(OPTIMIZERS)
def test_an_optimizer_trains_in_mixed_precision(name: str, policy: str):
    keras.config.set_dtype_policy(policy)
    try:
        model = contract.two_layers()
    finally:
        keras.config.set_dtype_policy("float32")
    before = seed_free(model)
    _, losses = contract.fitted(model, contract.numbers((16, 3)), OPTIMIZERS[name]())
    assert np.isfinite(losses).all()
    still = [path for path, value in seed_free(model).items() if path in before and (value == before[path]).all()]
    assert [path.split(" ", 1)[1] for path in still] == (["above/kernel"] if "by_variable" in name else [])


# Regularizers, constraints and initializers


@by_name(REGULARIZERS)
def test_a_regularizer_goes_round_and_trains(name: str, tmp_path: Path):
    made = REGULARIZERS[name]()
    again = keras.regularizers.deserialize(as_json(keras.regularizers.serialize(made)))
    assert type(again) is type(made) and again.get_config() == made.get_config()
    for dtype in ("float16", "bfloat16", "float32"):
        weight = keras.ops.convert_to_tensor(contract.numbers((3, 4)), dtype)
        penalty = made(weight)
        assert (tuple(penalty.shape), keras.backend.standardize_dtype(penalty.dtype)) == ((), "float32")
        assert float(penalty) >= 0 and float(penalty) == pytest.approx(float(again(weight)))
    x = contract.numbers((16, 3))
    model, losses = contract.fitted(contract.two_layers(made), x, keras.optimizers.SGD(0.05))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert float(sum(model.losses)) == pytest.approx(float(made(model.get_layer("below").kernel)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(sum(loaded.losses)) == pytest.approx(float(sum(model.losses)))


@by_name(CONSTRAINTS)
def test_a_constraint_goes_round_and_holds(name: str):
    made = CONSTRAINTS[name]()
    again = keras.constraints.deserialize(as_json(keras.constraints.serialize(made)))
    assert again.get_config() == made.get_config()
    value = contract.numbers((3, 3, 4, 5))
    limited = contract.array(made(keras.ops.convert_to_tensor(value)))
    axes = tuple(made.axis) if isinstance(made.axis, list) else made.axis
    norms = [np.sqrt((v.astype("float64") ** 2).sum(axis=axes)) for v in (value, limited)]
    assert norms[0].max() > 0.7 and norms[1].max() <= 0.7 * (1 + 1e-5)
    np.testing.assert_allclose(norms[1], np.minimum(norms[0], 0.7), rtol=1e-5)


@by_name(INITIALIZERS)
def test_an_initializer_draws_what_it_should_in_any_type(name: str):
    make, deviation, largest = INITIALIZERS[name]
    made = make(seed=1)
    again = keras.initializers.deserialize(as_json(keras.initializers.serialize(made)))
    assert again.get_config() == made.get_config()
    for policy, unit in UNITS.items():
        dtype = policy.removeprefix("mixed_")
        drawn = made((400, 500), dtype=dtype)
        assert (tuple(drawn.shape), keras.backend.standardize_dtype(drawn.dtype)) == ((400, 500), dtype)
        values = contract.array(drawn) * 400**0.5
        assert values.std() == pytest.approx(deviation, rel=0.01)
        assert abs(values.mean()) < 5 * deviation / values.size**0.5 + unit * largest / 2
        assert np.abs(values).max() <= largest * (1 + unit)
        np.testing.assert_array_equal(contract.array(again((400, 500), dtype=dtype)), contract.array(drawn))
    assert (contract.array(make(seed=2)((4, 5))) != contract.array(made((4, 5)))).any()


# Beside another backend


def differing(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> list[str]:
    """The results that differ by more than rounding, or are not there."""
    found = sorted(set(one) ^ set(other))
    for name in set(one) & set(other):
        largest = np.abs(one[name]).max(initial=1e-30)
        if one[name].shape != other[name].shape or not np.abs(one[name] - other[name]).max(initial=0) <= SAME * largest:
            found.append(name)
    return sorted(found)


def test_a_difference_would_be_found():
    one = {"a": np.array([1.0, 100.0]), "b": np.array(2.0)}
    assert differing(one, {"a": np.array([1.00005, 100.0]), "b": np.array(2.0)}) == []
    assert differing(one, {"a": np.array([1.0002, 100.0]), "b": np.array(2.0)}) == ["a"]
    assert differing(one, {"a": np.array([1.0, np.nan])}) == ["a", "b"]


@beside_another
@pytest.mark.timeout(600)
def test_results_are_those_of_another_backend():
    with np.load(OTHER / "results.npz", allow_pickle=False) as held:
        assert str(held["backend"]) != keras.backend.backend()
        theirs = {name: held[name] for name in held.files if "|" in name}
    own = {f"{name}|{i}": part for name, parts in contract.results() for i, part in enumerate(parts)}
    assert len(own) > 200 and differing(own, theirs) == []


@beside_another
@by_name(LAYERS)
def test_a_layer_saved_on_another_backend_computes_the_same(name: str):
    case: LayerCase = LAYERS[name]
    x = contract.inputs_of(case)
    loaded = keras.models.load_model(OTHER / contract.file_name(name))
    found, wanted = contract.array(loaded(x)), contract.array(contract.alone(case)(x))
    assert differing({name: found}, {name: wanted}) == []
