"""Weights in .keras files: read as data, whatever the configuration asks for."""

import json
import zipfile
from pathlib import Path

import h5py
import keras
import pytest

from zoo.errors import WeightsError
from zoo.formats.keras_file import opened

layers = keras.layers
CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def names(file: Path) -> list[str]:
    with opened(file) as tensors:
        return sorted(tensors)


def said(file: Path) -> str:
    with pytest.raises(WeightsError) as caught, opened(file):
        pass
    return str(caught.value)


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(file: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return file


def model() -> keras.Model:
    """Classes that repeat and alternate, operations that are no layers, and models inside."""
    inner = keras.Input((4,))
    x = layers.Dense(4, name="low")(inner)
    base = keras.Model(inner, layers.Dense(4, name="high")(layers.BatchNormalization(name="norm")(x)), name="base")
    tail = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="first"), layers.Dense(4, name="second")], name="tail"
    )
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="zero")(inputs) + keras.ops.relu(inputs)
    x = keras.ops.softmax(layers.Softmax(name="soft")(base(x)))
    return keras.Model(inputs, layers.Dense(3, name="top")(tail(x)))


NAMES = sorted(
    [
        *(f"base/{layer}/{i}" for layer in ("low", "high") for i in range(2)),
        *(f"base/norm/{i}" for i in range(4)),
        *(f"{layer}/{i}" for layer in ("zero", "top", "tail/first", "tail/second") for i in range(2)),
    ]
)


def saved(folder: Path) -> Path:
    model().save(folder / "w.keras")
    return folder / "w.keras"


def without_names(file: Path) -> Path:
    """The file as Keras wrote it before it kept the layers' names beside their variables."""
    content = members(file)
    part = file.with_suffix(".h5")
    part.write_bytes(content[WEIGHTS])
    with h5py.File(part, "a") as handle:
        groups: list[str] = []
        handle.visititems(lambda name, item: groups.append(name) if isinstance(item, h5py.Group) else None)
        for name in [name for name in groups if name.rpartition("/")[2] == "vars"]:
            handle[name].attrs.pop("name", None)
            if not len(handle[name]):
                del handle[name]
    content[WEIGHTS] = part.read_bytes()
    return packed(file, content)


def test_variables_are_told_by_their_layer_and_number(tmp_path):
    assert names(saved(tmp_path)) == NAMES


def test_the_names_come_from_the_configuration_where_the_weights_have_none(tmp_path):
    assert names(without_names(saved(tmp_path))) == NAMES


def test_the_values_are_those_of_the_layers(tmp_path):
    one = model()
    one.save(tmp_path / "w.keras")
    for file in (tmp_path / "w.keras", without_names(tmp_path / "w.keras")):
        with opened(file) as tensors:
            kernel = one.get_layer("tail").get_layer("second").kernel.numpy()
            assert tensors["tail/second/0"].read().tobytes() == kernel.tobytes()


def test_nothing_of_the_network_is_built_and_no_code_runs(tmp_path, monkeypatch):
    content = members(saved(tmp_path))
    config = json.loads(content[CONFIG])
    config["class_name"], config["module"] = "system", "os"
    config["config"]["layers"].append(
        {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "evil", "function": "__import__('os')"}}
    )
    content[CONFIG] = json.dumps(config).encode()

    def never(*_, **__):
        raise AssertionError

    for place in ("keras.src.saving.serialization_lib.deserialize_keras_object", "keras.layers.Layer.from_config"):
        monkeypatch.setattr(place, never)
    assert names(packed(tmp_path / "w.keras", content)) == NAMES


def test_a_packed_archive_is_read(tmp_path):
    content = members(saved(tmp_path))
    assert names(packed(tmp_path / "w.keras", content, zipfile.ZIP_DEFLATED)) == NAMES


def test_what_claims_to_unpack_to_a_multiple_of_its_size_is_refused(tmp_path):
    content = members(saved(tmp_path)) | {WEIGHTS: bytes(10**7)}
    text = said(packed(tmp_path / "w.keras", content, zipfile.ZIP_DEFLATED))
    assert f"Received its {WEIGHTS} claims 10000000 bytes; " in text
    content |= {CONFIG: bytes(65 * 1024 * 1024)}
    assert f"Received its {CONFIG} claims 68157440 bytes." in said(
        packed(tmp_path / "w.keras", content, zipfile.ZIP_DEFLATED)
    )


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_member_that_is_missing_or_twice_there_is_refused(name, tmp_path):
    content = members(saved(tmp_path))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "w.keras", "a") as archive:
        archive.writestr(name, content[name])
    assert f"Received it holds {name} 2 times." in said(tmp_path / "w.keras")
    del content[name]
    assert f"Received it holds {name} 0 times." in said(packed(tmp_path / "w.keras", content))


@pytest.mark.parametrize("config", [b"", b"{", b"[" * 100_000])
def test_a_damaged_configuration_is_refused(config, tmp_path):
    content = members(saved(tmp_path)) | {CONFIG: config}
    assert "cannot be read as a .keras file. Received " in said(packed(tmp_path / "w.keras", content))


def test_a_flipped_bit_and_what_is_no_zip_are_refused(tmp_path):
    content = bytearray(saved(tmp_path).read_bytes())
    at = content.index(b"\x89HDF") + 3000
    content[at] ^= 1
    (tmp_path / "w.keras").write_bytes(content)
    assert "Received Bad CRC-32 for file 'model.weights.h5'." in said(tmp_path / "w.keras")
    (tmp_path / "w.keras").write_bytes(b"hello")
    assert (
        said(tmp_path / "w.keras")
        == f"{tmp_path / 'w.keras'} cannot be read as a .keras file. Received File is not a zip file."
    )


def test_a_link_in_the_weights_is_told_with_the_archive_s_name(tmp_path):
    content = members(saved(tmp_path))
    with h5py.File(tmp_path / "w.h5", "w") as handle:
        handle["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/a")
    content[WEIGHTS] = (tmp_path / "w.h5").read_bytes()
    assert said(packed(tmp_path / "w.keras", content)) == (
        f"{tmp_path / 'w.keras'} cannot be read as an HDF5 file of weights. "
        "Received '/layers/dense/vars/0' is a link, which could lead to any file."
    )


@pytest.mark.parametrize("layers", ["[4, 3]", "[{}]", '[{"class_name": "Own", "config": {"width": 3}}]'])
def test_a_models_own_setting_that_is_called_layers_is_no_list_of_layers(layers, tmp_path):
    content = members(saved(tmp_path)) | {CONFIG: f'{{"config": {{"layers": {layers}}}}}'.encode()}
    with opened(packed(tmp_path / "w.keras", content)) as held:
        assert held
