"""Weights in safetensors: read strictly, written completely."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from zoo.errors import WeightsError
from zoo.formats.safetensors import (
    load_weights,
    opened,
    parameter_count,
    read_header,
    read_tensors,
    save_weights,
    write_tensors,
)


def network(units: int = 3, name: str = "a") -> keras.Model:
    x = keras.Input((4,))
    y = keras.layers.Dense(units, name=f"{name}_dense")(x)
    return keras.Model(x, keras.layers.BatchNormalization(name=f"{name}_norm")(y))


def raw(file: Path, header: bytes, payload: bytes = b"", length: int | None = None) -> Path:
    file.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + payload)
    return file


def said(call, *arguments) -> str:
    with pytest.raises(WeightsError) as caught:
        call(*arguments)
    return str(caught.value)


def test_weights_are_the_same_after_being_written_and_read(tmp_path):
    one, other = network(), network()
    one.layers[2].moving_mean.assign([1.0, 2.0, 3.0])
    save_weights(one, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    for before, after in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(before.numpy(), after.numpy())


def test_any_other_reader_of_safetensors_reads_the_file(tmp_path):
    one = network()
    save_weights(one, tmp_path / "w.safetensors")
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == {v.path for v in one.weights}
    np.testing.assert_array_equal(found["a_dense/kernel"], one.layers[1].kernel.numpy())


def test_values_stay_whatever_their_order_in_memory(tmp_path):
    bfloat16 = keras.ops.convert_to_numpy(keras.ops.arange(3, dtype="bfloat16"))
    straight = np.arange(6, dtype="float32").reshape(2, 3)
    arrays = {"turned": straight.T, "big-endian": straight.astype(">f4"), "16 bits": bfloat16, "gewöhnlich": straight}
    write_tensors(tmp_path / "w.safetensors", arrays, {"what": "several"})
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].astype("float32"), array.astype("float32"))
    assert found["16 bits"].dtype.name == "bfloat16"


def test_what_the_format_cannot_hold_is_said_and_nothing_is_written(tmp_path):
    message = "Safetensors cannot hold this type. Expected numbers; received str32."
    assert said(write_tensors, tmp_path / "w.safetensors", {"a": np.array(["x"])}) == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "uint8", "bool"])
def test_types_and_shapes_stay(tmp_path, dtype):
    arrays = {"a": np.ones((2, 3), dtype), "none": np.ones((0, 3), dtype), "one": np.ones((), dtype)}
    write_tensors(tmp_path / "w", arrays)
    found = read_tensors(tmp_path / "w")
    assert {k: (v.dtype, v.shape) for k, v in found.items()} == {k: (v.dtype, v.shape) for k, v in arrays.items()}


def test_an_array_that_is_not_contiguous_is_written_as_it_reads(tmp_path):
    turned = np.arange(6).reshape(2, 3).T
    write_tensors(tmp_path / "w", {"a": turned})
    np.testing.assert_array_equal(read_tensors(tmp_path / "w")["a"], turned)


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    arrays = {"b": np.ones(3, "float32"), "a": np.zeros(2, "float32")}
    write_tensors(tmp_path / "one", arrays)
    write_tensors(tmp_path / "two", dict(reversed(arrays.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_header_alone_gives_names_and_shapes(tmp_path):
    write_tensors(tmp_path / "w", {"a": np.ones((2, 3)), "b": np.ones(())}, {"note": "x"})
    assert read_header(tmp_path / "w") == {"a": (2, 3), "b": ()}


def test_moving_statistics_are_not_parameters(tmp_path):
    save_weights(network(), tmp_path / "w")
    assert parameter_count(tmp_path / "w") == 4 * 3 + 3 + 2 * 3


def test_missing_and_left_over_names_are_shown_as_a_difference(tmp_path):
    save_weights(network(name="b"), tmp_path / "w")
    one = network(name="a")
    before = [v.numpy() for v in one.weights]
    assert said(load_weights, one, tmp_path / "w") == (
        f"The weights in {tmp_path / 'w'} are not this network's. Received 6 missing (-), 6 left over (+)"
        "\n  - a_dense/bias\n  - a_dense/kernel\n  - a_norm/beta\n  - a_norm/gamma"
        "\n  - a_norm/moving_mean\n  - a_norm/moving_variance"
        "\n  + b_dense/bias\n  + b_dense/kernel\n  + b_norm/beta\n  + b_norm/gamma"
        "\n  + b_norm/moving_mean\n  + b_norm/moving_variance."
    )
    for old, variable in zip(before, one.weights, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_one_name_missing_is_enough(tmp_path):
    one = network()
    write_tensors(tmp_path / "w", {v.path: v.numpy() for v in one.weights[1:]})
    assert "Received 1 missing (-), 0 left over (+)\n  - a_dense/kernel." in said(load_weights, one, tmp_path / "w")


def test_another_shape_is_refused_before_anything_is_loaded(tmp_path):
    save_weights(network(units=5), tmp_path / "w")
    one = network(units=3)
    before = one.layers[1].kernel.numpy()
    assert said(load_weights, one, tmp_path / "w") == (
        f"The weights in {tmp_path / 'w'} do not fit: 'a_dense/kernel'. Expected (4, 3); received (4, 5)."
    )
    np.testing.assert_array_equal(before, one.layers[1].kernel.numpy())


def test_what_is_not_safetensors_is_refused(tmp_path):
    for name, content in (
        ("empty", b""),
        ("short", b"\x01"),
        ("text", b"hello, this is text and no header"),
        ("zip", b"PK\x03\x04" * 9),
    ):
        (tmp_path / name).write_bytes(content)
        for reader in (read_header, read_tensors):
            assert said(reader, tmp_path / name).startswith(f"{tmp_path / name} is not a safetensors file: ")
    assert said(read_header, tmp_path / "none").startswith(f"{tmp_path / 'none'} is not a safetensors file: ")
    assert said(read_header, tmp_path).startswith(f"{tmp_path} is not a safetensors file: ")


@pytest.mark.parametrize("header", [b"[]", b"3", b'{"a": 3}', b'{"a": {}}', b'{"a": {"shape": 3}}', b"{", b"\xff\xfe"])
def test_an_odd_header_is_refused(tmp_path, header):
    assert "is not a safetensors file: " in said(read_header, raw(tmp_path / "w", header))


def test_a_header_that_claims_to_be_endless_is_refused_unread(tmp_path):
    file = raw(tmp_path / "w", b"{}", length=2**62)
    assert said(read_header, file) == f"{file} is not a safetensors file: its header's length is impossible."


def test_a_name_given_twice_is_refused(tmp_path):
    entry = b'{"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}'
    file = raw(tmp_path / "w", b'{"a": ' + entry + b', "a": ' + entry + b"}", b"\x01")
    assert said(read_tensors, file) == f"{file} is not a safetensors file: its header names a tensor twice."


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    write_tensors(tmp_path / "w", {"a": np.ones(100)})
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:-8])
    assert said(read_tensors, tmp_path / "w").startswith(f"{tmp_path / 'w'} cannot be read: ")


def test_a_payload_that_lies_about_its_shape_is_refused(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}).encode()
    assert "cannot be read: " in said(read_tensors, raw(tmp_path / "w", header, b"\0" * 4))


def test_writing_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    file = tmp_path / "w"
    write_tensors(file, {"a": np.ones(3)})
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(file, {"a": np.zeros(3)})
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
    shutil.rmtree(tmp_path)


def test_tensors_are_known_by_the_header_and_read_when_asked(tmp_path):
    arrays = {"b/kernel": np.ones((2, 3), "float16"), "a": np.arange(3), "flag": np.ones((), "bool")}
    arrays["half"] = np.array([1.5, -2.0]).astype(np.dtype("bfloat16"))
    write_tensors(tmp_path / "w", arrays)
    with opened(tmp_path / "w") as tensors:
        assert {n: (t.name, t.shape, t.dtype) for n, t in tensors.items()} == {
            n: (n, a.shape, a.dtype.name) for n, a in arrays.items()
        }
        for name, array in arrays.items():
            np.testing.assert_array_equal(tensors[name].read(), array)


def test_a_type_that_numpy_does_not_have_is_told_by_its_code_and_refused_when_read(tmp_path):
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    with opened(raw(tmp_path / "w", header, b"\0\0")) as tensors:
        assert tensors["a"].dtype == "F8_E4M3"
        assert "cannot be read as a safetensors file. Received " in said(tensors["a"].read)


def test_opening_what_is_not_safetensors_is_refused(tmp_path):
    def enter(file):
        with opened(file):
            pass

    write_tensors(tmp_path / "w", {"a": np.ones(100)})
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:-8])
    assert said(enter, tmp_path / "w").startswith(f"{tmp_path / 'w'} cannot be read as a safetensors file. Received ")
    assert said(enter, tmp_path / "none").startswith(f"{tmp_path / 'none'} is not a safetensors file: ")
