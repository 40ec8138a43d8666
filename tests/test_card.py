"""Cards: strict in what they take, and the same after being written and read."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from zoo.card import TASKS, BlockPattern, Card, WeightsFile, card_text, parse_card, read_card
from zoo.errors import CardError
from zoo.input_form import FITS, RESAMPLES, InputForm

WHOLE = {
    "schema": 1,
    "name": "glyphs",
    "tag": "v1",
    "builder": "convnet",
    "task": "classification",
    "summary": "characters",
    "license": "Apache-2.0",
    "source": "a recipe",
    "cut": "features",
    "args": {"filters": [8, 16]},
    "weights": {"file": "glyphs.v1.safetensors", "sha256": "0" * 64, "bytes": 12},
    "input": {"kind": "image", "shape": [8, 8, 1], "range": [0.0, 255.0], "resample": "bilinear", "fit": "stretch"},
    "block": [{"name": "block1", "layers": "block1_.*"}],
    "labels": {"names": ["0", "1"]},
    "results": {"test": {"accuracy": 0.9}},
}


def edited(key: str, value: object) -> str:
    """The whole card with one key changed; ``None`` takes it out."""
    data = {k: dict(v) if isinstance(v, dict) else v for k, v in WHOLE.items()}
    *outer, last = key.split(".")
    table = data[outer[0]] if outer else data
    if value is None:
        del table[last]
    else:
        table[last] = value
    return tomli_w.dumps(data)


def message(text: str) -> str:
    with pytest.raises(CardError) as caught:
        parse_card(text, "c.toml")
    return str(caught.value)


def test_a_whole_card_is_read():
    card = parse_card(tomli_w.dumps(WHOLE))
    assert card.full_name == "glyphs.v1"
    assert card.input == InputForm("image", (8, 8, 1))
    assert card.weights == WeightsFile("glyphs.v1.safetensors", "0" * 64, 12)
    assert card.blocks == (BlockPattern("block1", "block1_.*"),)
    assert (card.labels, card.cut, card.args) == (("0", "1"), "features", {"filters": [8, 16]})


def test_a_card_read_from_a_file_knows_its_folder(tmp_path):
    (tmp_path / "c.toml").write_text(tomli_w.dumps(WHOLE), encoding="utf-8")
    card = read_card(tmp_path / "c.toml")
    assert card.folder == tmp_path
    assert card.weights_path == tmp_path / "glyphs.v1.safetensors"


@pytest.mark.parametrize(
    "key",
    [
        "name",
        "builder",
        "task",
        "input",
        "input.kind",
        "input.shape",
        "weights.file",
        "weights.sha256",
        "weights.bytes",
    ],
)
def test_a_missing_key_is_named_with_the_file(key):
    said = message(edited(key, None))
    assert said.startswith(f"c.toml: the key '{key}' is missing.")
    assert f"Add it: {key.split('.')[-1]} = ..." in said


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("builderr", "builder"),
        ("blok", "block"),
        ("weights.sha265", "sha256"),
        ("input.resampel", "resample"),
        ("input.decode", "decoder"),
        ("labels.name", "names"),
        ("licence", "license"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key, near):
    assert message(edited(key, "x")).startswith(f"c.toml: unknown key '{key}'. Did you mean '{near}'")


def test_an_unknown_key_of_a_block_is_named_with_its_number():
    blocks = [WHOLE["block"][0], {"name": "b", "layers": ".*", "frozen": True}]
    assert message(edited("block", blocks)).startswith("c.toml: unknown key 'block[1].frozen'.")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("name", 3, "a string; received 3"),
        ("name", "a/b", "letters, digits, '-' and '_'; received 'a/b'"),
        ("name", "../x", "letters, digits, '-' and '_'; received '../x'"),
        ("name", "", "letters, digits, '-' and '_'; received ''"),
        ("tag", "v1/../../x", "letters, digits, '-' and '_'; received 'v1/../../x'"),
        ("tag", "v1.2", "letters, digits, '-' and '_'; received 'v1.2'"),
        ("cut", 3, "a layer's name; received 3"),
        ("args", [1], "a table; received [1]"),
        ("block", [1], "tables, each headed [[block]]; received [1]"),
        ("block", [{"name": "b", "layers": "("}], "a regular expression"),
        ("labels.names", ["a", 1], "a list of strings; received ['a', 1]"),
        ("weights.bytes", True, "a whole number; received True"),
        ("weights.bytes", 1.5, "a whole number; received 1.5"),
        ("weights.bytes", -1, "0 or more; received -1"),
        ("weights.sha256", "ABC", "64 hexadecimal digits; received 'ABC'"),
        ("weights.file", "../secret", "the name of a weights file beside the card; received '../secret'"),
        ("weights.file", "/etc/passwd", "the name of a weights file beside the card"),
        ("weights.file", "a\\b", "the name of a weights file beside the card"),
        ("weights.file", "..", "the name of a weights file beside the card; received '..'"),
        ("weights.file", "", "the name of a weights file beside the card; received ''"),
        ("weights.file", "card.toml", "the name of a weights file beside the card; received 'card.toml'"),
        ("input.shape", [8, 8.5, 1], "a list of whole numbers"),
        ("input.shape", [8, 8], "height, width, and 1 or 3 channels for kind = 'image'; received [8, 8]"),
        ("input.shape", [8, 8, 2], "height, width, and 1 or 3 channels"),
        ("input.shape", [0, 8, 1], "height, width, and 1 or 3 channels"),
        ("input.range", [0.0, 1.0], "[0.0, 255.0]; received [0.0, 1.0]. Put the rescaling inside the network."),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(key, value, expected):
    said = message(edited(key, value))
    assert re.match(r"c\.toml: '[\w.\[\]]+' has the wrong value\. Expected ", said)
    assert f"'{key}" in said
    assert expected in said


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("task", "classify", "classification | labels | regression | features; received 'classify'"),
        ("input.kind", "images", "Did you mean 'image'?"),
        ("input.resample", "bilinaer", "Did you mean 'bilinear'?"),
        ("input.fit", "stretched", "Did you mean 'stretch'?"),
    ],
)
def test_a_word_that_is_not_a_choice_shows_the_choices(key, value, expected):
    said = message(edited(key, value))
    assert said.startswith(f"c.toml: '{key}' is not one that zoo knows. Expected ")
    assert expected in said


def test_vectors_texts_and_arrays_have_shapes_of_their_own():
    for kind, shape in (("vector", [4]), ("text", []), ("array", [4, 5])):
        card = parse_card(edited("input", {"kind": kind, "shape": shape}))
        assert card.input == InputForm(kind, tuple(shape))
    assert "one length for kind = 'vector'; received [4, 5]" in message(
        edited("input", {"kind": "vector", "shape": [4, 5]})
    )
    assert "[] for kind = 'text'; received [4]" in message(edited("input", {"kind": "text", "shape": [4]}))


def test_another_schema_is_refused():
    assert message(edited("schema", 2)) == (
        "c.toml: the 'schema' is not one that this zoo knows. Expected schema = 1; received schema = 2. "
        "Use the zoo that wrote it, or a newer one."
    )


def test_what_is_not_toml_names_the_line():
    assert message("schema = 1\nname = ") == (
        "c.toml is not valid TOML: Invalid value (at end of document). Mend the line that it names."
    )


def test_a_file_that_is_not_there_or_not_text_is_an_error(tmp_path):
    with pytest.raises(CardError, match=r"^There is no file .*none\.toml\. Check the path\.$"):
        read_card(tmp_path / "none.toml")
    with pytest.raises(CardError, match=r"cannot be read: .*Expected a UTF-8 text file"):
        read_card(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CardError, match=r"b\.toml cannot be read: .*Expected a UTF-8 text file\."):
        read_card(tmp_path / "b.toml")


def test_a_card_without_weights_is_an_architecture():
    card = parse_card(edited("weights", None))
    with pytest.raises(CardError, match=r"^'glyphs\.v1' is an architecture without weights\. .*--from-scratch"):
        _ = card.weights_path


def test_a_card_without_an_input_cannot_be_written():
    with pytest.raises(CardError, match=r"The card of 'glyphs\.v1' says no input"):
        card_text(replace(parse_card(tomli_w.dumps(WHOLE)), input=None))


slugs = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(texts, values, max_size=3)
sizes = st.integers(1, 500)
forms = st.builds(
    lambda kind_shape, resample, fit: InputForm(*kind_shape, resample, fit),
    st.one_of(
        st.tuples(st.just("image"), st.tuples(sizes, sizes, st.sampled_from((1, 3)))),
        st.tuples(st.just("vector"), st.tuples(sizes)),
        st.tuples(st.just("array"), st.lists(sizes, min_size=1, max_size=4).map(tuple)),
        st.just(("text", ())),
    ),
    st.sampled_from(RESAMPLES),
    st.sampled_from(FITS),
)
cards = st.builds(
    Card,
    name=slugs,
    tag=st.just("") | slugs,
    builder=texts,
    task=st.sampled_from(TASKS),
    summary=texts,
    input=forms,
    license=texts,
    source=texts,
    cut=st.none() | texts,
    decoder=texts,
    args=tables,
    weights=st.none()
    | st.builds(
        WeightsFile,
        slugs.map(lambda s: f"{s}.safetensors"),
        st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        st.integers(0, 2**40),
    ),
    blocks=st.lists(st.builds(BlockPattern, texts, texts.map(re.escape)), max_size=3).map(tuple),
    labels=st.lists(texts, max_size=4).map(tuple),
    results=tables,
)


@given(cards)
def test_a_card_is_the_same_after_being_written_and_read(card):
    assert parse_card(card_text(card)) == card


def test_every_shipped_card_is_read_and_its_weights_are_what_it_says():
    from zoo import registry
    from zoo.formats.safetensors import read_header
    from zoo.sources.path import digest_of

    for file in sorted(Path(registry.shipped_folder()).glob("*.toml")):
        card = read_card(file)
        assert card.weights is not None
        assert file.name == f"{card.full_name}.toml"
        assert digest_of(card.weights_path) == card.weights.sha256
        assert card.weights_path.stat().st_size == card.weights.bytes
        assert read_header(card.weights_path)
