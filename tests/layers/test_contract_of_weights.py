"""The contract for what shapes a layer's weights: constraints and initializers in a network, trained and saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from . import contract
from .contract import CONSTRAINTS, INITIALIZERS

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
#: For each constraint on trial the shape of an input, a layer that takes it, and the axes of one unit's weights.
LAYERS: dict[str, tuple[tuple[int, ...], Callable[..., keras.layers.Layer], tuple[int, ...]]] = {
    "max_norm": ((4,), lambda **k: keras.layers.Dense(5, **k), (0,)),
    "max_norm, convolution": ((6, 6, 4), lambda **k: keras.layers.Conv2D(5, 3, **k), (0, 1, 2)),
    "max_norm, einsum": ((4,), lambda **k: keras.layers.EinsumDense("ab,bcd->acd", (2, 3), **k), (0,)),
}


def network(shape: tuple[int, ...], layer: keras.layers.Layer) -> keras.Model:
    layers = [keras.Input(shape), layer, keras.layers.Flatten(), keras.layers.Dense(2, name="top", dtype="float32")]
    return keras.Sequential(layers)


def trained(model: keras.Model, x: np.ndarray, epochs: int = 3) -> list[np.ndarray]:
    """The weights after some steps on all of ``x`` at once; a compiled model goes on with its optimizer."""
    if not getattr(model, "compiled", False):
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    y = contract.numbers((len(x), 2), seed=7)
    history = model.fit(x, y, batch_size=len(x), epochs=epochs, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    return [contract.array(weight) for weight in model.weights]


def loaded(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def test_every_constraint_has_its_layer():
    assert LAYERS.keys() == CONSTRAINTS.keys()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_holds_after_every_step_and_from_its_file(name: str, policy: str, tmp_path: Path):
    (shape, make, axes), constraint = LAYERS[name], CONSTRAINTS[name]()
    model, free = (
        contract.set_weights(network(shape, make(name="held", dtype=policy, **given)))
        for given in ({"kernel_constraint": constraint}, {})
    )
    x = contract.numbers((16, *shape))

    def norms(one: keras.Model) -> np.ndarray:
        return np.sqrt((contract.array(one.get_layer("held").kernel) ** 2).sum(axis=axes))

    assert norms(model).max() > 0.7, "nothing to hold"
    for _ in range(3):
        trained(model, x, epochs=1)
        assert 0.6 < norms(model).max() <= 0.7 * (1 + 1e-5)
    trained(free, x)
    assert norms(free).max() > 0.75, "it would have been held anyway"
    again = loaded(model, tmp_path)
    kept: Any = again.get_layer("held")
    assert type(kept.kernel_constraint) is type(constraint)
    assert kept.kernel_constraint.get_config() == constraint.get_config()
    for one, other in zip(trained(model, x), trained(again, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    again.get_layer("held").kernel.assign(3 * contract.array(kept.kernel))
    trained(again, x, epochs=1)
    assert norms(again).max() == pytest.approx(0.7, rel=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", INITIALIZERS)
def test_an_initializer_starts_a_network_that_trains_and_draws_the_same_from_its_file(
    name: str, policy: str, tmp_path: Path
):
    made = INITIALIZERS[name][0](seed=1)
    model = network((4,), keras.layers.Dense(5, kernel_initializer=made, name="drawn", dtype=policy))
    start = contract.array(made((4, 5)))
    layer: Any = model.get_layer("drawn")
    np.testing.assert_array_equal(contract.array(layer.kernel), start)
    x = contract.numbers((16, 4))
    trained(model, x)
    assert np.abs(contract.array(layer.kernel) - start).min() > 0, "every weight learns"
    again = loaded(model, tmp_path)
    kept: Any = again.get_layer("drawn")
    assert kept.kernel_initializer.get_config() == made.get_config()
    np.testing.assert_array_equal(contract.array(kept.kernel), contract.array(layer.kernel))
    for one, other in zip(trained(model, x), trained(again, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    fresh: Any = keras.models.clone_model(again).get_layer("drawn")
    np.testing.assert_array_equal(contract.array(fresh.kernel), start)
