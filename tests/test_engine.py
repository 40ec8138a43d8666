"""Running a network over every example, in batches of one shape."""

import keras
import numpy as np
import pytest

from zoo import engine

from .networks import images, small_convnet


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return small_convnet()


def test_an_examples_features_do_not_depend_on_its_neighbours(network: keras.Model):
    """One fixed, padded batch shape: the last bits depend on it."""
    x = images(100)
    together = engine.outputs(network, engine.rows_of([x]), 100)[0]
    for start, stop in ((0, 3), (60, 70), (99, 100)):
        alone = engine.outputs(network, engine.rows_of([x[start:stop]]), stop - start)[0]
        np.testing.assert_array_equal(alone, together[start:stop])


def test_every_call_has_the_same_shape(network: keras.Model):
    read: list[int] = []

    def reading(indices: np.ndarray) -> np.ndarray:
        read.append(len(indices))
        assert indices.max() < 70
        return images(70)[indices]

    done: list[tuple[int, int]] = []
    result = engine.outputs(network, reading, 70, batch_size=32, step=lambda *progress: done.append(progress))
    assert read == [32, 32, 32]
    assert done == [(32, 70), (64, 70), (70, 70)]
    assert result[0].shape == (70, 10)


def test_no_examples_give_empty_arrays(network: keras.Model):
    assert [part.shape for part in engine.outputs(network, engine.rows_of([images(0)]), 0)] == [(0, 10)]


def test_several_inputs_and_outputs():
    a, b = keras.Input((2,)), keras.Input((3,))
    network = keras.Model([a, b], [a * 2, b * 3])
    x, y = images(5, (2,)), images(5, (3,))
    first, second = engine.outputs(network, engine.rows_of([x, y]), 5)
    np.testing.assert_array_equal(first, x * 2)
    np.testing.assert_array_equal(second, y * 3)


def test_texts_become_strings():
    words = keras.layers.TextVectorization(vocabulary=["good", "bad"], output_sequence_length=2)
    inputs = keras.Input((), dtype="string")
    network = keras.Model(inputs, words(inputs))
    texts = np.array(["good bad", "bad"], dtype=object)
    assert engine.outputs(network, engine.rows_of([texts]), 2)[0].tolist() == [[2, 3], [3, 0]]
