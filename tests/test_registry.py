"""The shelf: what is found under which name, and that nothing there is overwritten or left half-made."""

import shutil
from pathlib import Path

import keras
import pytest

from zoo import registry
from zoo.card import Card, WeightsFile, card_text
from zoo.errors import CardError, WeightsError
from zoo.formats.safetensors import save_weights
from zoo.input_form import InputForm
from zoo.sources.path import digest_of


def said(call, *arguments, error=CardError) -> str:
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("keras") / "little.keras"
    x = keras.Input((4,))
    keras.Model(x, keras.layers.Dense(2)(x)).save(file)
    return file


@pytest.fixture
def dense(tmp_path) -> Path:
    """A card with safetensors beside it."""
    from zoo.network import build

    folder = tmp_path / "dense"
    folder.mkdir()
    card = Card(
        "dense", "v1", "dnn", "classification", "s", InputForm("vector", (4,)), args={"widths": [3]}, labels=("a", "b")
    )
    save_weights(build(card, seed=1), folder / "w.safetensors")
    weights = WeightsFile(
        "w.safetensors", digest_of(folder / "w.safetensors"), (folder / "w.safetensors").stat().st_size
    )
    (folder / "card.toml").write_text(card_text(Card(**{**vars(card), "weights": weights})), encoding="utf-8")
    return folder


def fake_shelf(home: Path, *names: str) -> None:
    """Cards on the shelf, with weights that nobody reads."""
    for full in names:
        name, _, tag = full.partition(".")
        folder = home / "shelf" / full
        folder.mkdir(parents=True)
        card = Card(
            name, tag, "dnn", "classification", "s", InputForm("vector", (4,)), weights=WeightsFile("w", "0" * 64, 1)
        )
        (folder / "card.toml").write_text(card_text(card), encoding="utf-8")


def contents(home: Path) -> list[str]:
    return sorted(str(p.relative_to(home)) for p in home.rglob("*"))


def test_the_home_is_where_the_variable_says_or_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    assert registry.zoo_home() == tmp_path
    monkeypatch.setenv("ZOO_HOME", "~/zoo")
    assert registry.zoo_home() == Path.home() / "zoo"
    monkeypatch.delenv("ZOO_HOME")
    assert registry.zoo_home().name == "zoo"


def test_looking_makes_nothing(home):
    registry.shelf()
    with pytest.raises(CardError):
        registry.find("nothing")
    assert not home.exists()


def test_every_architecture_has_a_card_without_weights():
    from zoo.models import ARCHITECTURES

    assert {card.name for card in registry.architectures()} == set(ARCHITECTURES)
    assert all(card.weights is None and card.input is None for card in registry.architectures())


def test_a_keras_file_on_the_shelf_is_found_and_loads(home, keras_file):
    from zoo.network import load

    card = registry.add(keras_file)
    assert (card.full_name, card.folder) == ("little", home / "shelf" / "little")
    assert registry.find("little") == card
    assert load("little").input_shape == (None, 4)
    assert contents(home) == ["shelf", "shelf/little", "shelf/little/card.toml", "shelf/little/little.keras"]
    assert [c.full_name for c in registry.shelf() if c.folder == card.folder] == ["little"]


def test_safetensors_with_a_card_go_on_the_shelf(home, dense):
    from zoo.network import load

    registry.add(dense / "card.toml")
    assert load("dense.v1").output_shape == (None, 2)


def test_a_run_goes_on_the_shelf_under_a_name_and_a_tag(home, tiny_run):
    from zoo.network import load

    card = registry.add(tiny_run.folder, "mine.v2")
    assert (card.name, card.tag, card.labels) == ("mine", "v2", tuple("0123456789"))
    assert registry.find("mine.v2").blocks == tiny_run.card.blocks
    assert load("mine").output_shape == (None, 10)


@pytest.mark.parametrize("name", ["a/b", "../x", "", ".x", "a.b.c", "a b", "ä", "a.", "-x"])
def test_a_name_that_is_no_name_is_refused(home, keras_file, name):
    assert said(registry.add, keras_file, name) == (
        f"'{name}' cannot be a network's name. Expected letters, digits, '-' and '_', with an optional .TAG."
    )
    assert not home.exists()


def test_what_is_on_the_shelf_is_not_overwritten(home, keras_file, tiny_run):
    registry.add(keras_file, "mine")
    before = {p: p.read_bytes() for p in home.rglob("*") if p.is_file()}
    assert said(registry.add, tiny_run.folder, "mine") == (
        "The shelf has a network 'mine' already. Choose another name (--name), or remove it: zoo remove mine"
    )
    assert {p: p.read_bytes() for p in home.rglob("*") if p.is_file()} == before


def test_an_architectures_name_is_taken(home, keras_file):
    assert said(registry.add, keras_file, "dnn") == (
        "The shelf has a network 'dnn' already. Choose another name (--name)."
    )


def test_a_name_without_a_tag_is_taken_by_one_with_a_tag(home, keras_file):
    registry.add(keras_file, "mine.v1")
    assert "remove it: zoo remove mine.v1" in said(registry.add, keras_file, "mine")
    registry.add(keras_file, "mine.v2")


def test_a_folder_that_is_in_the_way_is_not_overwritten(home, keras_file):
    (home / "shelf" / "little").mkdir(parents=True)
    (home / "shelf" / "little" / "precious").write_text("x", encoding="utf-8")
    assert said(registry.add, keras_file).startswith("The network could not be put on the shelf: ")
    assert contents(home) == ["shelf", "shelf/little", "shelf/little/precious"]


@pytest.mark.parametrize("broken", ["shutil.copyfile", "pathlib.Path.rename", "pathlib.Path.write_text"])
def test_a_full_disk_leaves_nothing(home, keras_file, monkeypatch, broken):
    original = shutil.copyfile

    def full(*arguments, **keywords):
        if broken == "shutil.copyfile":
            original(*arguments, **keywords)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(broken, full)
    assert said(registry.add, keras_file) == (
        "The network could not be put on the shelf: [Errno 28] No space left on device. "
        f"Check that {home / 'shelf'} can be written and has room."
    )
    assert contents(home) == ["shelf"]
    monkeypatch.undo()


def test_an_interrupt_leaves_nothing(home, keras_file, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry.add(keras_file)
    assert contents(home) == ["shelf"]


def test_a_home_that_cannot_be_written_says_so(keras_file, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    assert said(registry.add, keras_file).endswith(
        f"Check that {tmp_path / 'file' / 'shelf'} can be written and has room."
    )


def test_what_a_crash_left_is_not_on_the_shelf(home, keras_file):
    registry.add(keras_file)
    (home / "shelf" / "little").rename(home / "shelf" / ".little.part-1")
    assert said(registry.find, "little").startswith("The zoo knows no network 'little'.")


def test_altered_weights_are_not_added(home, dense):
    (dense / "w.safetensors").write_bytes((dense / "w.safetensors").read_bytes() + b"\0")
    message = said(registry.add, dense, error=WeightsError)
    assert message.startswith(
        f"The weights of 'dense.v1' are not the ones that its card names: {dense / 'w.safetensors'}."
    )
    (dense / "w.safetensors").unlink()
    message = said(registry.add, dense, error=WeightsError)
    assert message.startswith(f"The weights of 'dense.v1' are missing: {dense / 'w.safetensors'}.")
    assert not home.exists()


def test_an_architecture_is_not_added(home, tmp_path):
    card = Card("plain", "", "dnn", "classification", "s", InputForm("vector", (4,)))
    (tmp_path / "c.toml").write_text(card_text(card), encoding="utf-8")
    assert said(registry.add, tmp_path / "c.toml").startswith("'plain' is an architecture without weights.")


def test_the_newest_tag_answers_for_the_name(home):
    fake_shelf(home, "net.v9", "net.v10", "net.v2", "net.beta")
    assert registry.find("net").full_name == "net.v10"
    assert registry.find("net.v9").full_name == "net.v9"
    assert registry.find("net.beta").full_name == "net.beta"


def test_unknown_names_suggest_what_is_near(home):
    fake_shelf(home, "flowers.v1")
    assert (
        said(registry.find, "flovers") == "The zoo knows no network 'flovers'. Did you mean 'flowers' or 'flowers.v1'?"
    )
    assert said(registry.find, "flowers.v2").startswith(
        "The zoo knows no network 'flowers.v2'. Did you mean 'flowers.v1'"
    )
    assert said(registry.find, "convnett") == "The zoo knows no network 'convnett'. Did you mean 'convnet'?"
    assert "Known: convnet, dnn, flowers, flowers.v1" in said(registry.find, "zzz")
    assert said(registry.find, "").startswith("The zoo knows no network ''.")


@pytest.mark.parametrize(
    "name",
    [
        "keras:ResNet50",
        "hub:google/x/1",
        "hub:https://tfhub.dev/x",
        "hf:ORG/NAME@REVISION",
        "kerashub:bert",
        "https://example.org/net.keras",
        "http://example.org",
    ],
)
def test_sources_that_are_planned_say_so(home, name):
    assert said(registry.find, name) == (
        f"This version of zoo cannot fetch '{name}' yet. Expected a name that `zoo list` shows, or a path. "
        "Save the model as .keras, and give its path."
    )


def test_sources_that_nobody_plans_are_unknown(home):
    assert said(registry.find, "kears:ResNet50") == (
        "'kears:ResNet50' names no source that zoo knows. Did you mean 'keras' or 'kerashub'?"
    )


def test_a_name_on_the_shelf_wins_over_a_file_of_that_name(home, keras_file, tmp_path, monkeypatch):
    fake_shelf(home, "net.v1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "card.toml").write_text(
        (home / "shelf/net.v1/card.toml").read_text("utf-8").replace("v1", "here"), "utf-8"
    )
    assert registry.find("net").full_name == "net.v1"
    assert registry.find("./net").full_name == "net.here"
    assert registry.find(Path("net")).full_name == "net.here"
    shutil.move(tmp_path / "net", tmp_path / "other")
    assert registry.find("other").full_name == "net.here"


def test_a_path_that_is_not_there_says_so(home, tmp_path):
    assert said(registry.find, str(tmp_path / "no.keras")).startswith(
        f"There is no network at {tmp_path / 'no.keras'}."
    )
    assert said(registry.find, Path("glyphz")).startswith("There is no network at glyphz.")


def test_removed_networks_are_gone(home, keras_file):
    registry.add(keras_file, "mine.v1")
    assert registry.remove("mine") == "mine.v1"
    assert contents(home) == ["shelf"]
    assert said(registry.remove, "mine").startswith("The zoo knows no network 'mine'.")


def test_what_comes_with_zoo_is_not_removed(home):
    fake_shelf(home, "mine.v1")
    assert said(registry.remove, "dnn") == "'dnn' is not on your shelf: it is part of zoo. On your shelf: mine.v1."


def test_what_lies_at_a_path_is_not_removed(home, keras_file):
    assert said(registry.remove, str(keras_file)) == (
        f"'{keras_file}' is not on your shelf: it is a path. On your shelf: nothing."
    )
    assert keras_file.exists()


def test_a_broken_card_on_the_shelf_is_named(home):
    fake_shelf(home, "mine.v1")
    file = home / "shelf" / "mine.v1" / "card.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("summary", "sumary"), encoding="utf-8")
    assert str(registry.broken()["mine.v1"]) == (
        f"The card of 'mine.v1' on your shelf cannot be used. {file}: unknown key 'sumary'. "
        "Did you mean 'summary'? Mend it, or remove it: zoo remove mine.v1."
    )


def test_a_shelf_with_a_broken_card_can_still_be_mended(home, keras_file):
    fake_shelf(home, "mine.v1")
    (home / "shelf" / "mine.v1" / "card.toml").write_text("schema = 1", encoding="utf-8")
    registry.remove("mine.v1")
    assert contents(home) == ["shelf"]


def test_glyphs_is_shipped():
    card = registry.find("glyphs")
    assert (card.full_name, card.builder, card.input) == ("glyphs.v1", "convnet", InputForm("image", (8, 8, 1)))
    assert [block.name for block in card.blocks][:3] == ["block1", "block2", "block3"]
    assert len(card.labels) == 62
    assert card.weights is not None
    assert card.weights.bytes <= 1_000_000


def broken_card(home: Path, name: str) -> None:
    (home / "shelf" / name).mkdir(parents=True)
    (home / "shelf" / name / "card.toml").write_text("schema = 1", encoding="utf-8")


def test_a_broken_card_is_in_the_way_of_its_own_name_alone(home, keras_file):
    fake_shelf(home, "net.v1", "other.v1")
    broken_card(home, "net.v2")
    assert [card.full_name for card in registry.shelf() if card.folder.parent == home / "shelf"] == [
        "net.v1",
        "other.v1",
    ]
    assert list(registry.broken()) == ["net.v2"]
    assert registry.find("net.v1").full_name == "net.v1"
    assert registry.find("other").full_name == "other.v1"
    for name in ("net.v2", "net"):  # the newest tag
        message = said(registry.find, name)
        assert message.startswith("The card of 'net.v2' on your shelf cannot be used. ")
        assert message.endswith("Mend it, or remove it: zoo remove net.v2.")
    assert "There is" not in said(registry.find, "nothing")


def test_an_older_broken_card_is_not_in_the_way_of_a_newer_one(home):
    fake_shelf(home, "net.v10")
    broken_card(home, "net.v9")
    assert registry.find("net").full_name == "net.v10"


def test_a_broken_cards_name_is_taken(home, keras_file):
    broken_card(home, "net.v1")
    for name in ("net.v1", "net"):
        assert said(registry.add, keras_file, name) == (
            f"The shelf has a network '{name}' already. Choose another name (--name), or remove it: zoo remove net.v1"
        )
