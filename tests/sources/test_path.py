"""Networks at paths: what is one, and what each message says of what is not."""

import hashlib
import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CardError
from zoo.input_form import InputForm
from zoo.sources.path import card_at, digest_of, input_form_of, looks_like_path

CARD = """schema = 1
name = "net"
builder = "dnn"
task = "classification"
summary = "s"
[input]
kind = "vector"
shape = [4]
"""


def said(path: Path) -> str:
    with pytest.raises(CardError) as caught:
        card_at(path)
    return str(caught.value)


def keras_file(path: Path, config: object) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
    return path


def inputs(*shapes: object, dtype: str = "float32") -> dict:
    layers = [{"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": dtype}} for shape in shapes]
    return {"config": {"layers": layers}}


@pytest.mark.parametrize("name", ["./glyphs", "a/b", "a\\b", "net.keras", "w.safetensors", "c.toml", ".", ".."])
def test_slashes_and_endings_make_a_path(name):
    assert looks_like_path(name)


@pytest.mark.parametrize("name", ["glyphs", "glyphs.v1", "keras:ResNet50", "net.h5"])
def test_other_names_are_names(name):
    assert not looks_like_path(name)


def test_a_folder_with_a_card_is_a_network(tmp_path):
    (tmp_path / "card.toml").write_text(CARD, encoding="utf-8")
    card = card_at(tmp_path)
    assert (card.name, card.folder) == ("net", tmp_path)


def test_a_run_folder_is_a_network(tiny_run):
    card = card_at(tiny_run.folder)
    assert (card.builder, card.input) == ("keras", InputForm("image", (8, 8, 1)))
    assert card.weights_path == tiny_run.folder / "model.keras"
    assert card.labels == tuple("0123456789")


@pytest.mark.parametrize("ending", [".keras", ".safetensors"])
def test_a_card_of_the_same_name_beside_a_file_speaks_for_it(tmp_path, ending):
    (tmp_path / "a.toml").write_text(CARD, encoding="utf-8")
    (tmp_path / f"a{ending}").write_bytes(b"not looked at")
    assert card_at(tmp_path / f"a{ending}").name == "net"
    assert card_at(tmp_path / "a.toml").name == "net"


@pytest.mark.parametrize("ending", [".keras", ".safetensors"])
def test_another_toml_file_of_the_same_name_is_not_its_card(tmp_path, ending):
    file = tmp_path / f"a{ending}"
    file.touch()
    (tmp_path / "a.toml").write_text('schema = 1\n[model]\nname = "glyphs"\n', encoding="utf-8")
    assert said(file) == (
        f"a.toml was read as the card of {file.name}, since it lies beside it, and is none. "
        f"{tmp_path / 'a.toml'}: the key 'name' is missing. Expected a string. Add it: name = ... "
        f"If it is another file, such as a recipe, rename it; if it is the card of {file.name}, mend it."
    )


@pytest.mark.parametrize("stem", ["_net", "-net", "nét"])
def test_the_card_that_a_keras_file_gives_can_be_written_and_read(tmp_path, stem):
    from zoo.card import card_text, parse_card

    card = card_at(keras_file(tmp_path / f"{stem}.keras", inputs([None, 4])))
    assert parse_card(card_text(card)).name == card.name


def test_weights_alone_are_not_a_network(tmp_path):
    (tmp_path / "a.safetensors").touch()
    assert said(tmp_path / "a.safetensors") == (
        f"{tmp_path / 'a.safetensors'} holds weights only. Expected a card beside it: a.toml. "
        "Write one; docs/layout.md shows its form."
    )


def test_the_page_that_the_message_names_shows_the_form_of_a_card():
    page = Path(__file__).parents[2] / "docs" / "layout.md"
    assert "[[block]]" in page.read_text(encoding="utf-8")


def test_a_folder_without_a_card_is_not_a_network(tmp_path):
    assert said(tmp_path) == (
        f"The folder {tmp_path} holds no network. Expected a run folder, or any folder with a card.toml. "
        "A run that failed has none."
    )


def test_another_file_is_not_a_network(tmp_path):
    (tmp_path / "a.h5").touch()
    assert said(tmp_path / "a.h5").startswith(f"{tmp_path / 'a.h5'} is not a form of network that zoo reads.")


def test_nothing_there_suggests_what_is_near(tmp_path):
    (tmp_path / "network.keras").touch()
    assert said(tmp_path / "netwrk.keras") == (
        f"There is no network at {tmp_path / 'netwrk.keras'}. Did you mean 'network.keras'?"
    )
    assert said(tmp_path / "zzz").endswith("zzz. Check the path.")
    assert said(tmp_path / "no" / "such" / "folder").endswith("Check the path.")


def test_a_name_longer_than_any_file_has_is_not_there(tmp_path):
    assert said(tmp_path / ("x" * 5000)).endswith("Check the path.")


def test_a_path_through_a_file_is_not_there(tmp_path):
    (tmp_path / "a").touch()
    assert said(tmp_path / "a" / "b").endswith("Check the path.")


def test_a_keras_file_without_a_card_gives_one(tmp_path):
    import keras

    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    path = tmp_path / "my nét.keras"
    network.save(path)
    card = card_at(path)
    assert (card.name, card.builder, card.input) == ("my-n-t", "keras", InputForm("image", (8, 8, 3)))
    assert card.weights is not None
    assert (card.weights.sha256, card.weights.bytes) == (digest_of(path), path.stat().st_size)
    assert card.weights_path == path


def test_a_sequential_network_without_an_input_layer_has_the_shape_it_was_built_with(tmp_path):
    import keras

    network = keras.Sequential([keras.layers.Dense(2)])
    network.build((None, 4))
    network.save(tmp_path / "s.keras")
    assert card_at(tmp_path / "s.keras").input == InputForm("vector", (4,))


def test_inner_networks_inputs_are_not_the_networks(tmp_path):
    import keras

    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    outer = keras.Input((3,))
    keras.Model(outer, inner(outer)).save(tmp_path / "n.keras")
    assert card_at(tmp_path / "n.keras").input == InputForm("vector", (3,))


def test_two_inputs_are_refused(tmp_path):
    path = keras_file(tmp_path / "two.keras", inputs([None, 3], [None, 4]))
    assert said(path) == (
        f"{path}: a network with 2 inputs cannot be fine-tuned by name. Expected one input of known shape. "
        "Load it with keras, and give the model to zoo.finetune."
    )


def test_no_known_input_is_refused(tmp_path):
    assert "a network with 0 inputs" in said(keras_file(tmp_path / "none.keras", {"config": {"layers": []}}))


def test_a_size_that_is_not_fixed_is_refused(tmp_path):
    path = keras_file(tmp_path / "any.keras", inputs([None, None, None, 3]))
    assert said(path) == (
        f"{path}: the network takes inputs of any size: (None, None, 3). Expected a fixed input shape. "
        "Give it one in Keras, or write a card beside the file."
    )


@pytest.mark.parametrize(
    ("shape", "dtype", "form"),
    [
        ([], "string", InputForm("text", ())),
        ([28, 28, 1], "uint8", InputForm("image", (28, 28, 1))),
        ([28, 28, 4], "float32", InputForm("array", (28, 28, 4))),
        ([28, 28], "float32", InputForm("array", (28, 28))),
        ([7], "float32", InputForm("vector", (7,))),
    ],
)
def test_an_inputs_shape_says_what_it_takes(shape, dtype, form):
    assert input_form_of("net", shape, dtype) == form


@pytest.mark.parametrize(
    "config", ["[]", "{", "3", {"config": 3}, {"config": {"layers": [3]}}, inputs(3), inputs(None), {"build_config": 3}]
)
def test_a_keras_file_that_keras_did_not_write_is_refused(tmp_path, config):
    message = said(keras_file(tmp_path / "odd.keras", config))
    assert message.startswith(str(tmp_path / "odd.keras"))
    assert "Expected a .keras file as model.save() writes it." in message


def test_a_file_that_is_no_archive_is_not_a_keras_file(tmp_path):
    (tmp_path / "a.keras").write_bytes(b"\x89HDF and so on")
    assert said(tmp_path / "a.keras") == (
        f"{tmp_path / 'a.keras'} is not a Keras file: File is not a zip file. "
        "Expected a .keras file as model.save() writes it."
    )
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("other.json", "{}")
    assert "is not a Keras file: There is no item named 'config.json' in the archive." in said(tmp_path / "b.keras")


def test_a_damaged_archive_is_not_a_keras_file(tmp_path):
    path = tmp_path / "d.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(inputs([None, 4])) * 50)
    damaged = bytearray(path.read_bytes())
    damaged[60:90] = b"\xff" * 30
    path.write_bytes(damaged)
    assert "is not a Keras file: " in said(path)


def test_the_digest_is_sha_256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_that_has_not_changed_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that was changed just now always is: within a tick of the clock it may change and look the same."""
    file = tmp_path / "w"
    file.write_bytes(b"one")
    hashed, found = [], hashlib.file_digest

    def counted(stream: Any, kind: str) -> Any:
        hashed.append(kind)
        return found(stream, kind)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    assert digest_of(file) == digest_of(file) == hashlib.sha256(b"one").hexdigest()
    assert len(hashed) == 2
    monkeypatch.setattr("zoo.sources.path._SETTLED", -1e9)
    assert digest_of(file) == digest_of(file) == hashlib.sha256(b"one").hexdigest()
    assert len(hashed) == 3
    time.sleep(0.05)
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest_of(file) == hashlib.sha256(b"two").hexdigest(), "its times and size can be made to look the same"
    other = tmp_path / "v"
    other.write_bytes(b"six")
    other.replace(file)
    assert digest_of(file) == hashlib.sha256(b"six").hexdigest()
