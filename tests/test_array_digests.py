"""Hashes of arrays are those of their bytes, whoever computes them and when."""

import hashlib

import keras
import ml_dtypes
import numpy as np
import pytest

from zoo import array_digests
from zoo.array_digests import ArrayDigests, variable_digests
from zoo.checkpoint import weights_digest
from zoo.enforcement import audit, frozen_digests
from zoo.errors import PlanError
from zoo.plan import freeze

from .networks import dense_net

RNG = np.random.default_rng(0)
ARRAYS = (
    np.float32(3.0).reshape(()),
    np.empty((0, 4), "float32"),
    RNG.normal(size=(3, 5)).astype("float32"),
    RNG.normal(size=(300, 500)).astype(ml_dtypes.bfloat16),
    RNG.normal(size=(200, 300))[::2, ::3],
    np.asfortranarray(RNG.normal(size=(400, 300))),
    RNG.integers(0, 2, 200_000).astype(bool),
)


@pytest.mark.parametrize("waiting", [array_digests.WAITING, 300_000, 0])
def test_each_is_that_of_its_bytes_in_order_however_much_may_wait(waiting: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(array_digests, "WAITING", waiting)
    with ArrayDigests() as digests:
        found = [digests.of(array) for array in ARRAYS * 3]
        assert repr(found[3]) == repr(str(found[3]))
    assert [str(one) for one in found] == [hashlib.sha256(array.tobytes()).hexdigest() for array in ARRAYS] * 3


def test_an_error_meanwhile_is_not_hidden():
    with pytest.raises(RuntimeError, match="meanwhile"), ArrayDigests() as digests:
        digests.of(np.zeros(10**6))
        what = "meanwhile"
        raise RuntimeError(what)


def test_what_is_known_of_variables_gives_the_digests_that_they_give_themselves():
    model = dense_net()
    plan = freeze(model, upto="low2")
    known = variable_digests(model.variables)
    assert known == {id(v): hashlib.sha256(v.numpy().tobytes()).hexdigest() for v in model.variables}
    before = frozen_digests(plan, model)
    assert before == frozen_digests(plan, model, known)
    assert audit(plan, model, before, known) == len(before) > 0
    assert weights_digest(model) == weights_digest(model, known)
    kernel = model.get_layer("low1").kernel
    kernel.assign(kernel + 1e-6)
    with pytest.raises(PlanError, match="1 frozen variable"):
        audit(plan, model, before, variable_digests(model.variables))
    assert weights_digest(model) != weights_digest(model, known)


def test_types_and_shapes_count_in_a_networks_digest():
    class Holding(keras.layers.Layer):
        def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
            super().__init__(name="one")
            self.held = self.add_weight(shape=shape, initializer="zeros", dtype=dtype, name="held")

        def call(self, x):
            return x

    def network(shape: tuple[int, ...], dtype: str) -> keras.Model:
        return keras.Sequential([keras.Input((2,)), Holding(shape, dtype)])

    found = {weights_digest(network(*one)) for one in (((2, 3), "float32"), ((3, 2), "float32"), ((2, 3), "int32"))}
    assert len(found) == 3
