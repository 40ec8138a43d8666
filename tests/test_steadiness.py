"""Whether an example's features change with its batch: found whatever the examples are, and told from rounding."""

import keras
import numpy as np
import pytest

from zoo import engine
from zoo.engine_difference import EXACT_EXAMPLES, in_inference
from zoo.engines.interface import Engine, Setup
from zoo.steadiness import _places, strangers, unsteady

from .networks import images, small_convnet

layers = keras.layers


class Made(Engine):
    """Runs a function of arrays."""

    name = "keras"

    def __init__(self, run, size: int, trunk: keras.Model | None = None):
        inputs = keras.Input((3,))
        super().__init__(trunk or keras.Model(inputs, layers.Identity()(inputs)), Setup(batch=size))
        self._run, self.ran = run, 0

    @classmethod
    def refusal(cls, trunk: keras.Model, setup: Setup) -> str | None:
        return None

    def _start(self, inputs):
        self.ran += 1
        outputs = self._run(inputs)
        return lambda: outputs


def found(run, count: int, size: int = 16, seed: int = 0, **of):
    x = np.random.default_rng(seed).normal(5, 2, (count, 3)).astype("float32")
    first = np.resize(x, (size, 3))
    made = Made(run, size, **of)
    return unsteady(made, first, run(first), count)


@pytest.mark.parametrize("size", [2, 3, 4, 8, 16, 64])
def test_every_place_is_one_that_is_left_or_taken_by_an_odd_move(size: int):
    places = _places(size, np.random.default_rng(size))
    assert ((places.taken - places.left) % 2 == 1).all()
    strange = np.setdiff1d(np.arange(size), places.taken)
    assert set(places.one) | set(places.other) <= set(strange)
    assert ((places.one - places.other) % 2 == 1).all()
    if size % 4 == 0:
        assert sorted([*places.left, *places.taken]) == list(range(size))
        assert sorted([*places.one, *places.other]) == sorted(places.left)
        assert set(range(min(EXACT_EXAMPLES, size // 2))) <= set(places.left)
    if size == 64:
        assert set((places.taken - places.left) % 8) == {1, 3, 5, 7}


def mean(x: np.ndarray) -> list[np.ndarray]:
    return [x - x.mean(axis=0)]


NEIGHBOURLY = {
    "mean": mean,
    "roll": lambda x: [np.roll(x, 1, axis=0)],
    "flip": lambda x: [x[::-1].copy()],
    "place": lambda x: [x + np.arange(len(x), dtype="float32")[:, None]],
    "sum": lambda x: [np.cumsum(x, axis=0)],
    "max": lambda x: [x / np.abs(x).max()],
    "no rows": lambda x: [x.mean(axis=0)],
    "a number": lambda x: [x.sum()],
    "two rows": lambda x: [np.repeat(x, 2, 0)],
}


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("name", NEIGHBOURLY)
def test_rows_that_depend_on_their_neighbours_are_found(name: str, count: int):
    for size in (4, 16):
        seen = found(NEIGHBOURLY[name], min(count, size), size)
        assert seen is not None
        assert not seen.rounding


@pytest.mark.parametrize("count", [1, 5, 16])
@pytest.mark.parametrize("place", range(16))
def test_one_place_that_rounds_otherwise_is_enough(place: int, count: int):
    def run(x: np.ndarray) -> list[np.ndarray]:
        y = np.tanh(x / 10)
        y[place] = np.nextafter(y[place], 2, dtype="float32")
        return [y]

    seen = found(run, count)
    assert seen is not None
    assert seen.rounding
    assert 0 < seen.difference.largest < 1e-5


def test_what_is_steady_costs_one_batch_and_single_examples_none():
    made = Made(lambda x: [np.tanh(x)], 16)
    x = np.ones((16, 3), "float32")
    assert unsteady(made, x, [np.tanh(x)], 1) is None
    assert made.ran == 1
    alone = Made(lambda x: [np.tanh(x)], 1)
    assert unsteady(alone, x[:1], [np.tanh(x[:1])], 1) is None
    assert alone.ran == 0


def test_a_single_dark_example_does_not_hide_a_mean_that_rounds_by_its_place():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(10, 3, strides=2, activation="relu", padding="same", use_bias=False)(inputs)
    trunk = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    running = engine.build(trunk, "keras", Setup(batch=64, threads=2))
    for first in (np.zeros((64, 16, 16, 3), "uint8"), images(64, (16, 16, 3))):
        seen = unsteady(running, first, running.run(first), 1)
        assert seen is not None
        assert seen.rounding
    assert unsteady(running, first, in_inference(small_convnet(), images(64)), 64) is not None


def deep() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    x = layers.Dense(64)(inputs)
    for _ in range(30):
        x = layers.Dense(64, activation="tanh", kernel_initializer=keras.initializers.RandomNormal(0, 0.2))(x)
    return keras.Model(inputs, x)


def test_rounding_that_a_deep_network_magnifies_is_told_from_places_that_count():
    """The second gives every place its own number, as large as what the first rounds."""
    trunk = deep()

    def rounding(x: np.ndarray) -> list[np.ndarray]:
        nudge = np.float32(1) + np.float32(2**-23) * (np.arange(len(x)) % 2).astype("float32")
        return in_inference(trunk, x * nudge[:, None])

    def counting(x: np.ndarray) -> list[np.ndarray]:
        return [
            part + np.float32(0.01) * np.arange(len(x), dtype="float32")[:, None] for part in in_inference(trunk, x)
        ]

    seen = found(rounding, 16, trunk=trunk)
    assert seen is not None
    assert seen.difference.largest > 1e-5, "the network must magnify more than that"
    assert seen.rounding
    other = found(counting, 16, trunk=trunk)
    assert other is not None
    assert not other.rounding


@pytest.mark.parametrize(
    ("array", "floating"),
    [
        (np.arange(12, dtype="uint8").reshape(4, 3), True),
        (np.zeros((4, 3), "uint8"), True),
        (np.zeros((4, 3), "float32"), True),
        (np.arange(4, dtype="float16")[:, None], True),
        (np.arange(1, 13, dtype="int64").reshape(4, 3), False),
        (np.full((4, 3), 7, "int32"), False),
        (np.full((4,), 7, "int32"), False),
        (np.ones((4, 2), bool), False),
        (np.array([["to be"], ["or not"]] * 2, dtype=object), False),
        (np.array(["one text"] * 4, dtype=object), False),
    ],
)
def test_strangers_are_of_the_type_shape_and_vocabulary_of_the_examples(array: np.ndarray, floating: bool):
    made = strangers(array, 4, np.random.default_rng(0), floating=floating)
    assert (made.dtype, made.shape) == (array.dtype, array.shape)
    assert (made != array).any()
    if array.dtype.kind in "iu" and not floating:
        assert set(made.reshape(-1)) <= {0, *array.reshape(-1)}


def test_text_is_checked_too():
    inputs = keras.Input((1,), dtype="string")
    ids = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)(inputs)
    trunk = keras.Model(inputs, layers.Embedding(5, 2)(ids))
    running = engine.build(trunk, "keras", Setup(batch=8, threads=2))
    first = np.array([["a b"]] * 8, dtype=object)
    assert unsteady(running, first, running.run(first), 1) is None
