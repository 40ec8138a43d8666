"""Targets of classes that are made when they are read equal those made at once."""

import numpy as np
import pytest

from zoo.one_hot import OneHot

NUMBERS = np.array([2, 0, 3, 3, 1])
WHOLE = np.eye(4, dtype="float32")[NUMBERS]


@pytest.mark.parametrize(
    "taken", [np.array([4, 0, 0]), [1, 2], slice(1, 4), slice(0), np.array([], int), np.int64(2), NUMBERS > 2, -1]
)
def test_any_examples_are_those_of_the_array(taken):
    targets = OneHot(NUMBERS, 4)
    for found in (targets[taken], np.asarray(targets)[taken]):
        assert (found.dtype, found.tolist()) == (np.dtype("float32"), WHOLE[taken].tolist())
    if np.ndim(targets.numbers[taken]):
        part = targets.of(taken)
        assert (len(part), part.shape) == (len(WHOLE[taken]), WHOLE[taken].shape)
        np.testing.assert_array_equal(part, WHOLE[taken])


def test_a_class_number_that_does_not_exist_is_an_error():
    with pytest.raises(IndexError):
        OneHot([0, 4], 4)[:]


def test_only_class_numbers_are_held():
    targets = OneHot(np.zeros(1000, "int64"), 1000)
    assert targets.numbers.nbytes == 4000
