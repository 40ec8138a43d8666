"""Reading features: the same rows in memory and mapped, batches by seed, and Keras's own fit."""

import hashlib
import random
from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.errors import CacheError, DataError
from zoo.feature_folder import FeatureFolder
from zoo.features import Features

COUNT = 23
RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(size=(COUNT, 4)).astype("float32"), RNG.normal(size=(COUNT, 2, 3)).astype("float32")]
EXAMPLES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(COUNT)]


def stored(path: Path) -> Features:
    """The same features in shards of several sizes, in another order."""
    folder, order = FeatureFolder(path), RNG.permutation(COUNT)
    for part in np.split(order, [1, 5, 14]):
        folder.add([EXAMPLES[i] for i in part], [array[part] for array in ARRAYS])
    return FeatureFolder(path).refresh().features(EXAMPLES)


@pytest.fixture(params=["memory", "mapped", "one shard"])
def features(request, tmp_path) -> Features:
    if request.param == "memory":
        return Features.of(ARRAYS)
    if request.param == "mapped":
        return stored(tmp_path)
    FeatureFolder(tmp_path).add(EXAMPLES, ARRAYS)
    return FeatureFolder(tmp_path).refresh().features(EXAMPLES)


def test_rows_are_those_of_the_examples_in_any_order_and_more_than_once(features):
    assert len(features) == COUNT
    assert features.shapes == ((4,), (2, 3))
    assert features.nbytes == sum(array.nbytes for array in ARRAYS)
    for indices in ([], [3], [22, 0, 22, 5], np.arange(COUNT)[::-1], np.array([-1])):
        taken = np.asarray(indices, int)
        for found, array in zip(features.rows(indices), ARRAYS, strict=True):
            np.testing.assert_array_equal(found, array[taken])
            assert found.flags.writeable


def test_all_of_them_are_arrays_within_a_budget(features):
    for found, array in zip(features.arrays(features.nbytes), ARRAYS, strict=True):
        np.testing.assert_array_equal(found, array)
    with pytest.raises(CacheError) as error:
        features.arrays(features.nbytes - 1)
    assert str(error.value) == (
        "The features do not fit the memory that they may take. Expected at most 919 bytes; received 920 bytes. Raise "
        "the budget, or read them batch by batch: .rows(indices), .dataset(targets, batch_size)."
    )


def test_they_are_held_in_memory_where_they_fit(tmp_path):
    mapped = stored(tmp_path)
    assert not mapped.in_memory
    assert mapped.held(mapped.nbytes - 1) is mapped
    held = mapped.held(mapped.nbytes)
    assert held.in_memory
    for a, b in zip(held.rows([3, 1]), mapped.rows([3, 1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert held.held() is held
    assert held.arrays()[0] is held.arrays()[0], "nothing is copied"


def test_one_shard_is_still_mapped(tmp_path):
    FeatureFolder(tmp_path).add(EXAMPLES, ARRAYS)
    assert not FeatureFolder(tmp_path).refresh().features(EXAMPLES).in_memory


def test_some_rows_of_one_part_are_not_taken_for_all():
    features = Features([ARRAYS], np.zeros(3, "int32"), np.array([2, 0, 1]))
    np.testing.assert_array_equal(features.arrays()[0], ARRAYS[0][[2, 0, 1]])
    assert len(Features([ARRAYS], np.zeros(3, "int32"), np.arange(3)).arrays()[0]) == 3


def epochs(features: Features, count: int = 2, **options: object) -> list[list[np.ndarray]]:
    dataset, found = features.dataset(np.arange(COUNT), 5, **options), []
    for _ in range(count):
        found.append([dataset[i][1] for i in range(len(dataset))])
        dataset.on_epoch_end()
    return found


def test_batches_are_a_function_of_seed_and_epoch_and_hold_every_example_once(features):
    first, second = epochs(features, seed=3)
    assert [len(batch) for batch in first] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate(first).tolist()) == sorted(np.concatenate(second).tolist()) == list(range(COUNT))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()
    again, other = epochs(features, seed=3), epochs(features, seed=4)
    assert all((a == b).all() for x, y in zip((first, second), again, strict=True) for a, b in zip(x, y, strict=True))
    assert np.concatenate(first).tolist() != np.concatenate(other[0]).tolist()
    plain = epochs(features)
    assert np.concatenate(plain[0]).tolist() == np.concatenate(plain[1]).tolist() == list(range(COUNT))


def test_a_batch_is_features_targets_and_weights_of_the_same_examples(features):
    targets, weights = np.arange(COUNT), np.arange(COUNT) / 10
    dataset = features.dataset(targets, 4, seed=0, weights=weights)
    x, y, w = dataset[2]
    np.testing.assert_array_equal(x[1], ARRAYS[1][y])
    np.testing.assert_array_equal(w, weights[y])
    assert isinstance(Features.of(ARRAYS[:1]).dataset(targets, 4)[0][0], np.ndarray)
    with pytest.raises(IndexError):
        dataset[6]


@pytest.mark.parametrize("which", ["targets", "weights"])
def test_too_few_targets_or_weights_are_an_error(which):
    given = {"targets": np.arange(COUNT), "weights": np.ones(COUNT), which: np.arange(3)}
    with pytest.raises(DataError) as error:
        Features.of(ARRAYS).dataset(given["targets"], 4, weights=given["weights"])
    assert str(error.value) == f"There are not as many {which} as examples. Expected 23; received 3."


def test_keras_fits_and_predicts_with_it_and_a_seed_gives_the_same_weights(features):
    def trained() -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        a, b = keras.Input((4,)), keras.Input((2, 3))
        out = keras.layers.Dense(1)(keras.layers.Concatenate()([a, keras.layers.Flatten()(b)]))
        model = keras.Model([a, b], out)
        model.compile("sgd", "mse")
        random.seed()
        model.fit(features.dataset(np.arange(COUNT) / COUNT, 5, seed=1), epochs=3, shuffle=False, verbose=0)
        assert model.predict(features.dataset(np.arange(COUNT), 5), verbose=0).shape == (COUNT, 1)
        return model.get_weights()

    for a, b in zip(trained(), trained(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_scikit_like_readers_get_plain_arrays(tmp_path):
    x = stored(tmp_path).arrays()[0]
    assert type(x) is np.ndarray
    np.testing.assert_allclose(np.linalg.lstsq(x, ARRAYS[0], rcond=None)[0], np.eye(4), atol=1e-5)
