"""Features as batches for Keras: what it must be given."""

from typing import Any

import numpy as np
import pytest

from zoo.errors import DataError
from zoo.feature_dataset import FeatureDataset
from zoo.features import Features

FEATURES = Features.of([np.arange(5.0)[:, None]])


def dataset(batch_size: Any, seed: Any = None) -> FeatureDataset:
    return FeatureDataset(FEATURES, np.arange(5), batch_size, seed=seed)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, 1.5, "2", None, True, np.array([2])])
def test_a_batch_size_that_is_no_count_is_an_error(batch_size: Any):
    with pytest.raises(DataError) as error:
        dataset(batch_size)
    assert "The batch size of features is not what it must be." in str(error.value)
    assert "a whole number, 1 or more" in str(error.value)
    assert repr(batch_size) in str(error.value)


@pytest.mark.parametrize("seed", [1.0, "1", True, np.random.default_rng(0)])
def test_a_seed_that_is_no_whole_number_is_an_error(seed: Any):
    with pytest.raises(DataError, match="The seed of features is not what it must be") as error:
        dataset(2, seed)
    assert "a whole number, or None" in str(error.value)


def test_whole_numbers_of_numpy_are_taken_as_pythons():
    ours, plain = dataset(np.int64(2), np.uint8(3)), dataset(2, 3)
    assert len(ours) == 3
    for one, other in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(one[1], other[1])
