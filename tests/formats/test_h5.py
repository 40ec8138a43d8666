"""Weights in HDF5 files: both of Keras's forms, and no way out of the file."""

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest

from zoo.errors import WeightsError
from zoo.formats.h5 import opened

layers = keras.layers


def said(file: Path, read: str | None = None) -> str:
    with pytest.raises(WeightsError) as caught, opened(file) as tensors:
        if read:
            tensors[read].read()
    return str(caught.value)


def names(file: Path) -> list[str]:
    with opened(file) as tensors:
        return list(tensors)


def written(file: Path, fill: Callable[[h5py.File], object]) -> Path:
    with h5py.File(file, "w") as handle:
        fill(handle)
    return file


def older(file: Path, weights: dict[str, list[str]], **attributes: object) -> Path:
    """A file as Keras 2 wrote it: names in attributes, as bytes."""
    with h5py.File(file, "w") as handle:
        handle.attrs["layer_names"] = [name.encode() for name in weights]
        handle.attrs.update(attributes)
        for layer, listed in weights.items():
            group = handle.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in listed]
            for i, name in enumerate(listed):
                group[name] = np.full(2, i, "float32")
    return file


def model() -> keras.Model:
    inner = keras.Input((4,))
    backbone = keras.Model(
        inner, layers.BatchNormalization(name="norm")(layers.Dense(4, name="low")(inner)), name="base"
    )
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3, name="top")(backbone(inputs)))


def test_keras_3_numbers_are_told_with_the_names_of_layers(tmp_path):
    model().save_weights(tmp_path / "w.weights.h5")
    with opened(tmp_path / "w.weights.h5") as tensors:
        assert sorted(tensors) == [
            *(f"base/low/{i}" for i in range(2)),
            *(f"base/norm/{i}" for i in range(4)),
            *(f"top/{i}" for i in range(2)),
        ]
        assert {(tensors[f"base/norm/{i}"].count, tensors[f"base/norm/{i}"].shape) for i in range(4)} == {(4, (4,))}


def test_a_class_s_number_is_not_taken_for_a_name_where_the_file_has_none(tmp_path):
    def fill(handle: h5py.File) -> None:
        for path in ("layers/dense", "layers/dense_1", "layers/lstm/cell", "encoder"):
            handle[f"{path}/vars/0"] = np.ones(2)
        handle["optimizer/vars/0"] = handle["metrics/mean/vars/0"] = np.ones(2)

    with opened(written(tmp_path / "w.h5", fill)) as tensors:
        assert list(tensors) == ["encoder/0", "layers/dense/0", "layers/dense_1/0", "layers/lstm/cell/0"]


def test_layers_of_one_name_in_a_list_are_told_by_their_places(tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [layers.Dense(2, name="same"), layers.Dense(2, name="same"), layers.Dense(2, name="other")]

        def call(self, x):
            return self.blocks[2](self.blocks[1](self.blocks[0](x)))

    one = Own()
    one(np.ones((1, 2)))
    one.save_weights(tmp_path / "w.weights.h5")
    places = ("blocks/dense", "blocks/dense_1", "blocks/other")
    assert names(tmp_path / "w.weights.h5") == [f"{place}/{i}" for place in places for i in range(2)]


def test_the_tenth_variable_comes_after_the_ninth(tmp_path):
    class Many(layers.Layer):
        def build(self, _):
            for i in range(12):
                self.add_weight(shape=(), name=f"v{i}")

        def call(self, inputs):
            return inputs

    keras.Sequential([keras.Input((3,)), Many(name="many")]).save_weights(tmp_path / "w.weights.h5")
    assert names(tmp_path / "w.weights.h5") == [f"many/{i}" for i in range(12)]


def test_the_older_form_has_names(tmp_path):
    one = model()
    one.compile("adam", "mse")
    one.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    one.save(tmp_path / "w.h5")
    assert names(tmp_path / "w.h5") == [
        *(f"base/low/{name}" for name in ("kernel", "bias")),
        *(f"base/norm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
        *(f"top/{name}" for name in ("kernel", "bias")),
    ]


def test_keras_2_s_spellings_are_read(tmp_path):
    file = older(
        tmp_path / "w.h5",
        {
            "hidden1": ["hidden1/kernel:0", "hidden1/bias:0"],
            "hidden2": ["hidden2_3/kernel:0"],
            "base": ["inner/kernel:0", "inner/bias:0"],
            "cell": ["own/cell/lstm_cell/kernel:0"],
            "empty": [],
        },
    )
    assert names(file) == [
        "hidden1/kernel",
        "hidden1/bias",
        "hidden2/kernel",
        "base/inner/kernel",
        "base/inner/bias",
        "cell/lstm_cell/kernel",
    ]
    with opened(file) as tensors:
        np.testing.assert_array_equal(tensors["base/inner/bias"].read(), [1, 1])


def test_a_list_of_names_that_was_too_long_for_one_attribute_is_read(tmp_path):
    file = older(tmp_path / "w.h5", {f"layer{i}": [f"layer{i}/kernel:0"] for i in range(5)})
    with h5py.File(file, "a") as handle:
        listed = handle.attrs["layer_names"]
        del handle.attrs["layer_names"]
        handle.attrs["layer_names0"], handle.attrs["layer_names1"] = listed[:3], listed[3:]
    assert names(file) == [f"layer{i}/kernel" for i in range(5)]


def test_a_name_that_is_listed_but_not_there_is_refused(tmp_path):
    file = older(tmp_path / "w.h5", {"a": ["a/kernel:0"]})
    with h5py.File(file, "a") as handle:
        del handle["a/a/kernel:0"]
    assert said(file) == (
        f"{file} cannot be read as an HDF5 file of weights. Received it lists 'a/a/kernel:0', which is not in it."
    )


def test_any_other_dataset_is_called_by_its_path(tmp_path):
    file = written(tmp_path / "w.h5", lambda f: f.create_dataset("net/low/kernel", data=np.ones(3)))
    assert names(file) == ["net/low/kernel"]


def test_bfloat16_is_read(tmp_path):
    array = np.array([1.5, -2.0], ml_dtypes.bfloat16)

    def fill(handle: h5py.File) -> None:
        handle.create_dataset("a", data=array).attrs["dtype"] = "bfloat16"

    with opened(written(tmp_path / "w.h5", fill)) as tensors:
        assert tensors["a"].dtype == "bfloat16"
        np.testing.assert_array_equal(tensors["a"].read(), array)


def outside(folder: Path) -> Path:
    return written(folder / "secret.h5", lambda f: f.create_dataset("a", data=np.ones(3)))


def external_link(handle: h5py.File) -> None:
    handle["layers/dense/vars/0"] = h5py.ExternalLink(str(Path(handle.filename).parent / "secret.h5"), "/a")


def external_group(handle: h5py.File) -> None:
    handle["model_weights"] = h5py.ExternalLink(str(Path(handle.filename).parent / "secret.h5"), "/")


def soft_link(handle: h5py.File) -> None:
    handle["b"] = np.ones(3)
    handle["layers/dense/vars/0"] = h5py.SoftLink("/b")


@pytest.mark.parametrize("fill", [external_link, external_group, soft_link])
def test_links_are_refused(fill, tmp_path):
    outside(tmp_path)
    assert "' is a link, which could lead to any file." in said(written(tmp_path / "w.h5", fill))


def external_storage(handle: h5py.File) -> None:
    secret = Path(handle.filename).with_name("secret.bin")
    secret.write_bytes(b"12345678")
    handle.create_dataset("a", shape=(2,), dtype="float32", external=[(str(secret), 0, 8)])


def virtual(handle: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(3,), dtype="float64")
    layout[:] = h5py.VirtualSource(str(Path(handle.filename).parent / "secret.h5"), "a", shape=(3,))
    handle.create_virtual_dataset("a", layout)


@pytest.mark.parametrize("fill", [external_storage, virtual])
def test_values_in_other_files_are_refused(fill, tmp_path):
    outside(tmp_path)
    assert said(written(tmp_path / "w.h5", fill)) == (
        f"{tmp_path / 'w.h5'} cannot be read as an HDF5 file of weights. Received 'a' keeps its values in another file."
    )


def test_a_group_inside_itself_is_refused(tmp_path):
    def fill(handle: h5py.File) -> None:
        inner = handle.create_group("a/b")
        inner["again"] = handle["a"]

    assert "Received 'a/b/again' is the same object as another one." in said(written(tmp_path / "w.h5", fill))


def test_more_than_is_stored_is_refused_unread(tmp_path):
    def never_written(handle: h5py.File) -> None:
        handle.create_dataset("a", shape=(2**20, 2**20), dtype="float32")

    def hardly_written(handle: h5py.File) -> None:
        data = handle.create_dataset("a", shape=(2**20, 2**20), dtype="float32", chunks=(64, 64), compression="gzip")
        data[0, 0] = 1

    for fill in (never_written, hardly_written):
        assert f"Received 'a' claims {2**42} bytes; " in said(written(tmp_path / "w.h5", fill))


def test_compressed_and_chunked_arrays_are_read(tmp_path):
    def fill(handle: h5py.File) -> None:
        handle.create_dataset("zeros", data=np.zeros((500, 500), "float32"), compression="gzip")
        handle.create_dataset("chunks", data=np.ones((3, 3)), chunks=(2, 2))
        handle.create_dataset("one", data=np.float32(3))
        handle.create_dataset("none", shape=(0, 3))

    with opened(written(tmp_path / "w.h5", fill)) as tensors:
        assert {name: tensor.read().sum() for name, tensor in tensors.items()} == {
            "chunks": 9,
            "none": 0,
            "one": 3,
            "zeros": 0,
        }


def test_an_empty_dataset_and_what_is_no_hdf5_are_refused(tmp_path):
    assert "Received 'a' is empty." in said(
        written(tmp_path / "w.h5", lambda f: f.create_dataset("a", data=h5py.Empty("f")))
    )
    (tmp_path / "text").write_bytes(b"hello")
    for name in ("text", "none"):
        assert said(tmp_path / name).startswith(
            f"{tmp_path / name} cannot be read as an HDF5 file of weights. Received "
        )


def test_chunks_far_larger_than_what_they_hold_are_refused(tmp_path):
    """HDF5 unpacks a chunk whole, and 2 MB of zeros unpack to a gigabyte."""
    file = tmp_path / "w.h5"
    with h5py.File(file, "w") as made:
        made.create_dataset("kernel", (4, 3), "f4", chunks=(2**11, 2**11), maxshape=(None, None), compression="gzip")
        made["kernel"][...] = np.ones((4, 3))
    with pytest.raises(WeightsError, match="'kernel' claims 48 bytes, in chunks of 16777216"), opened(file):
        pass
