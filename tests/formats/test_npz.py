"""Weights in .npz files: what is read, and what is refused before anything is allocated."""

import io
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from zoo.errors import WeightsError
from zoo.formats.npz import opened


def said(file: Path) -> str:
    with pytest.raises(WeightsError) as caught, opened(file):
        pass
    return str(caught.value)


def member(array: np.ndarray, *, claimed: tuple[int, ...] | None = None) -> bytes:
    """A .npy, whose header may claim another shape."""
    stream = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": claimed or array.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + array.tobytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_names_shapes_and_types_are_known_and_arrays_are_read_when_asked(save, tmp_path):
    arrays = {"b/kernel": np.arange(6.0).reshape(2, 3).T, "a": np.array(3, "int16"), "none": np.ones((0, 2), "float16")}
    save(tmp_path / "w.npz", **arrays)
    with opened(tmp_path / "w.npz") as tensors:
        assert {n: (t.name, t.shape, t.dtype) for n, t in tensors.items()} == {
            n: (n, a.shape, a.dtype.name) for n, a in arrays.items()
        }
        assert list(tensors) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(tensors[name].read(), array)


def test_bfloat16_which_numpy_stores_without_its_name_is_read(tmp_path):
    array = np.array([1.5, -2.0, 3.25], ml_dtypes.bfloat16)
    np.savez(tmp_path / "w.npz", a=array)
    with opened(tmp_path / "w.npz") as tensors:
        assert tensors["a"].dtype == "bfloat16"
        np.testing.assert_array_equal(tensors["a"].read(), array)


def test_objects_are_never_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    np.savez(tmp_path / "w.npz", a=np.array([Evil()], dtype=object))
    assert said(tmp_path / "w.npz") == (
        f"{tmp_path / 'w.npz'} cannot be read as an .npz file. "
        "Received 'a' holds Python objects, which are not read: they could run any code."
    )
    assert not (tmp_path / "owned").exists()


def test_a_header_that_claims_more_or_less_than_is_stored_is_refused(tmp_path):
    for claimed in ((2**40,), (3,)):
        with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
            archive.writestr("a.npy", member(np.ones(4), claimed=claimed))
        assert f"Received 'a' claims {claimed[0] * 8} bytes; " in said(tmp_path / "w.npz")


def test_two_arrays_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", member(np.ones(4)))
        archive.writestr("a.npy", member(np.ones(4)))
    assert said(tmp_path / "w.npz") == f"{tmp_path / 'w.npz'} has two tensors called 'a'. Save the weights again."


def test_what_is_no_npz_is_refused(tmp_path):
    (tmp_path / "text").write_bytes(b"hello")
    with zipfile.ZipFile(tmp_path / "other", "w") as archive:
        archive.writestr("a.txt", b"hello, this is no array")
    for name in ("text", "other", "none"):
        assert said(tmp_path / name).startswith(f"{tmp_path / name} cannot be read as an .npz file. Received ")


def test_a_flipped_bit_is_noticed_when_the_array_is_read(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.ones(10_000))
    content = bytearray((tmp_path / "w.npz").read_bytes())
    content[50_000] ^= 1
    (tmp_path / "w.npz").write_bytes(content)
    with opened(tmp_path / "w.npz") as tensors, pytest.raises(WeightsError, match="Bad CRC-32"):
        tensors["a"].read()
