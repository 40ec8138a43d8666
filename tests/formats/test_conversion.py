"""Numbers in another type: floats are rounded, all else stays what it is."""

import ml_dtypes
import numpy as np
import pytest

from zoo.formats.conversion import _within, converted

BIG = 2**63


@pytest.mark.parametrize("source", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("target", ["float16", "float32", "float64", "bfloat16"])
def test_floats_of_any_width_are_rounded(source, target):
    values = np.array([0.1, -3.3, np.inf, np.nan, 0]).astype(source)
    result = converted(values, target)
    assert result.dtype.name == target
    np.testing.assert_allclose(result.astype("float64"), values.astype("float64"), rtol=0.01)


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (np.array([0, 2**24, -(2**24)]), "float32"),
        (np.array([True, False]), "float32"),
        (np.array([0.0, 1.0]), "bool"),
        (np.array([-128.0, 127.0]), "int8"),
        (np.array([2**40]), "float32"),
        (np.array([BIG - 1], "uint64"), "int64"),
        (np.ones((0, 3), "int64"), "bool"),
        (np.array(3, "int8"), "float32"),
    ],
)
def test_what_survives_exactly_is_converted(values, target):
    result = converted(values, target)
    assert result.dtype == target and result.shape == values.shape
    assert result.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (np.array([2**24 + 1]), "float32"),
        (np.array([257]), "bfloat16"),
        (np.array([0.5]), "int32"),
        (np.array([np.nan]), "int32"),
        (np.array([np.inf]), "int64"),
        (np.array([2.0]), "bool"),
        (np.array([300]), "uint8"),
        (np.array([-1]), "uint64"),
        (np.array([BIG], "uint64"), "int64"),
        (np.array([BIG - 1]), "float32"),
        (np.array([float(BIG)]), "int64"),
        (np.array([1e39]), "float32"),
        (np.array([70_000.0]), "float16"),
        (np.array([1e39], "float64"), "bfloat16"),
    ],
)
def test_what_would_change_is_refused(values, target):
    with pytest.raises(ValueError, match=f"its {values.dtype.name} numbers do not survive as {target}"):
        converted(values, target)


def test_a_type_s_range_is_compared_exactly():
    """2**63 as a float is what 2**63 - 1 becomes: on some machines it turns back into that."""
    for values, inside in (([float(BIG)], False), ([-float(BIG)], True), ([np.nan], False), ([1.0, 2.0], True)):
        assert _within(np.array(values), np.dtype("int64")) is inside
    for values, inside in ((np.array([BIG], "uint64"), False), (np.array([BIG - 1], "uint64"), True)):
        assert _within(values, np.dtype("int64")) is inside
    assert _within(np.array([1e300]), np.dtype("float32"))


@pytest.mark.parametrize("values", [np.ones(2, "complex64"), np.array(["a"]), np.array([None]), np.array([b"a"])])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ValueError, match=f"{values.dtype.name} is no kind of number that a network holds"):
        converted(values, "float32")


def test_numbers_of_eight_bits_are_converted():
    values = np.array([1.5, -2.0], ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(converted(values, "float32"), [1.5, -2.0])
