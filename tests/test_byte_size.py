"""Sizes as people write and read them, and of numbers."""

import keras
import pytest

from zoo.boundary import Crossing, boundary
from zoo.byte_size import dtype_bytes, size_of, size_said


@pytest.mark.parametrize(
    ("text", "size"),
    [("5", 5), ("5B", 5), ("2 kb", 2000), ("1.5GB", 1_500_000_000), (" 3 TB ", 3 * 10**12), ("0.5M", 500_000)],
)
def test_a_size_is_read(text, size):
    assert size_of(text) == size


def test_a_size_of_any_length_is_exact():
    assert size_of("9007199254740993") == 2**53 + 1
    assert size_of("9" * 400) == int("9" * 400)


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 PB", "1,5 GB", "1 GiB", "nan", "1e9", "\u0663 GB"])
def test_what_is_no_size_is_none(text):
    assert size_of(text) is None


@pytest.mark.parametrize("given", [None, 5, 10**9, 1.5, True, b"5 GB", ["5 GB"]])
def test_what_is_no_text_is_none(given):
    assert size_of(given) is None


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [
        (0, 1000, "0 kB"),
        (1999, 1000, "2 kB"),
        (999_499, 1000, "999 kB"),
        (10**6, 1000, "1.0 MB"),
        (10**9, 1000, "1.0 GB"),
        (0, 1024, "0.0 kB"),
        (40, 1024, "40 B"),
        (64, 1024, "0.1 kB"),
        (1536, 1024, "1.5 kB"),
        (2**20, 1024, "1.0 MB"),
        (3 * 2**30, 1024, "3.0 GB"),
    ],
)
def test_sizes_are_said_in_thousands_and_those_of_tensors_in_powers_of_two(count, unit, text):
    assert size_said(count, unit) == text


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("float32", 4),
        ("float64", 8),
        ("bfloat16", 2),
        ("float8_e4m3fn", 1),
        ("float8_e5m2", 1),
        ("int4", 1),
        ("uint16", 2),
        ("complex64", 8),
        ("bool", 1),
        ("string", 16),
    ],
)
def test_every_type_has_its_bytes(name, size):
    assert dtype_bytes(name) == size


@pytest.mark.parametrize("name", ["", "resource", "float", "32", "datetime64"])
def test_what_is_no_type_of_numbers_is_an_error(name):
    with pytest.raises(ValueError, match=f"'{name}' is no type of numbers"):
        dtype_bytes(name)


@pytest.mark.parametrize(
    ("kind", "size"), [("float32", 20), ("float16", 10), ("int16", 10), ("uint32", 20), ("bool", 5)]
)
def test_what_crosses_a_boundary_takes_the_bytes_of_its_type(kind, size):
    inputs = keras.Input((5,))
    low = keras.ops.cast(keras.layers.Dense(5, name="low")(inputs), kind)
    graph = keras.Model(inputs, keras.layers.Dense(2, name="top")(low))
    found = boundary(graph, frozenset({"low"})).crossings
    assert [one.bytes for one in found] == [size]
    assert str(Crossing("low", (5,), size)) == f"low (5, {size} B an example)"
