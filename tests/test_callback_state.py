"""What callbacks have counted goes into a checkpoint and comes back."""

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.callback_state import CallbackState, restore, state_of, unkept

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


class Own(keras.callbacks.Callback):
    """A user's callback."""


@given(st.dictionaries(st.sampled_from(["count", "best", "seen"]), plain))
def test_plain_values_come_back_as_they_were(values: dict[str, Any]):
    one, other = Own(), Own()
    vars(one).update(values)
    state = state_of([one])
    through = CallbackState(json.loads(json.dumps(list(state.values))), state.arrays)
    restore([other], through)
    assert {name: vars(other)[name] for name in values} == values
    assert {name: type(vars(other)[name]) for name in values} == {name: type(values[name]) for name in values}


def test_arrays_and_lists_of_arrays_come_back_bit_for_bit_and_apart():
    one, other = Own(), Own()
    one.sums, one.weights, one.best = np.arange(3.0), [np.ones((2, 2), "float32"), np.zeros(1, "int8")], np.float32(0.1)
    state = state_of([keras.callbacks.Callback(), one])
    one.sums += 1
    restore([keras.callbacks.Callback(), other], state)
    assert list(other.sums) == [0, 1, 2], "it is a copy"
    assert [array.dtype.name for array in other.weights] == ["float32", "int8"]
    assert isinstance(other.best, np.float32) and other.best == np.float32(0.1)


def test_a_list_of_more_than_ten_arrays_stays_in_order():
    one, other = Own(), Own()
    one.weights = [np.full(1, i) for i in range(12)]
    restore([other], state_of([one]))
    assert [int(array[0]) for array in other.weights] == list(range(12))


def test_what_cannot_be_kept_is_named():
    one = Own()
    one.file, one.count, one.rule = object(), 1, len
    assert unkept(one) == ["file"]
    one.keeps_state = False
    assert unkept(one) == [] and state_of([one]).values == [{"class": "Own", "values": {}}]


def test_other_callbacks_are_refused():
    with pytest.raises(ValueError, match=r"callbacks of the classes \['Own'\]"):
        restore([keras.callbacks.Callback()], state_of([Own()]))


LOSSES = (1.0, 0.995, 0.994, 0.993, 0.992, 0.991)
MONITORS: dict[str, Callable[[], Any]] = {
    "early stopping": lambda: keras.callbacks.EarlyStopping(patience=3, min_delta=0.01, restore_best_weights=False),
    "plateau": lambda: keras.callbacks.ReduceLROnPlateau(patience=2, min_delta=0.01, factor=0.1),
}


@pytest.mark.parametrize("kind", MONITORS)
@pytest.mark.parametrize("stops", [(0,), (1,), (2,), (1, 3), (1, 2, 4)])
def test_what_counts_as_better_is_the_same_after_any_number_of_resumes(kind: str, stops: tuple[int, ...]):
    """Keras turns the sign of ``min_delta`` around when the first epoch ends."""

    def through(stops: tuple[int, ...]) -> list[tuple[int, float, bool, float]]:
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.stop_training = False
        seen, callback = [], MONITORS[kind]()
        callback.set_model(model)
        callback.on_train_begin()
        for epoch, loss in enumerate(LOSSES):
            if epoch in stops:
                held, callback = state_of([callback]), MONITORS[kind]()
                callback.set_model(model)
                callback.on_train_begin()
                restore([callback], held)
            callback.on_epoch_end(epoch, {"val_loss": loss, "loss": loss})
            rate = float(np.asarray(model.optimizer.learning_rate))
            seen.append((callback.wait, float(callback.best), bool(model.stop_training), rate))
        return seen

    assert through(stops) == through(())
