"""A recipe to start from: it says what is there, is strict TOML, and runs."""

import keras
import numpy as np
import pytest

from zoo.data import open_data
from zoo.errors import CardError, DataError
from zoo.new_recipe import must_be_loaded, new_recipe
from zoo.options import Options, with_options
from zoo.preparation import prepared
from zoo.recipe import DataPart, ModelPart, Recipe, parse_recipe
from zoo.registry import find


def test_it_says_what_network_and_data_hold_and_is_the_default_run():
    text = new_recipe("glyphs", "digits")
    for line in (
        "# glyphs.v1 on digits: a recipe to start from. Run it: zoo run FILE --out runs/NAME",
        "# takes image 8x8x1",
        "# 1,797 examples: image 8x8x1",
        '# cut = "features"  # the layer kept as the last; everything above it is dropped',
        "# limit_per_class = 20  # labels a class to use, validation included",
        "# a fresh top of 10 outputs; hidden layers come before it",
    ):
        assert f"{line}\n" in text
    assert "# blocks, bottom to top: block1 (9,760 parameters), block2 (55,808 parameters), block3" in text
    assert "# 10 classes: 0 (178), 1 (182)" in text
    default = with_options(Recipe(ModelPart("glyphs"), DataPart("digits")), Options())
    assert parse_recipe(text) == default


def test_what_is_commented_out_may_be_taken_in():
    text = new_recipe("glyphs", "digits")
    taken = text.replace("# cut =", "cut =").replace("# limit_per", "limit_per").replace("# early_", "early_")
    recipe = parse_recipe(taken)
    assert (recipe.model.cut, recipe.data.limit_per_class) == ("features", 20)
    assert [stage.early_stopping["patience"] for stage in recipe.stages] == [5, 5]


def test_the_parameters_of_its_blocks_are_those_of_the_network():
    from zoo.block import blocks
    from zoo.network import load

    card = find("glyphs")
    found = {block.name: block.parameters for block in blocks(load(card), card.blocks)}
    text = new_recipe("glyphs", "digits")
    for name in ("block1", "block2", "block3"):
        assert f"{name} ({found[name]:,} parameters)" in text


def test_an_architecture_starts_from_random_weights():
    text = new_recipe("convnet", "digits")
    recipe = parse_recipe(text)
    assert recipe.model.from_scratch
    assert [stage.name for stage in recipe.stages] == ["scratch"]
    assert "# takes what the data has\n" in text
    assert not must_be_loaded(find("convnet"))


def test_blocks_that_no_card_names_come_from_the_network(tmp_path):
    x = keras.Input((4,))
    y = keras.layers.Dense(3, activation="relu", name="low_dense")(x)
    keras.Model(x, keras.layers.Dense(2, activation="softmax", name="top")(y)).save(tmp_path / "net.keras")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(40, 4)).astype("float32"), y=np.arange(40) % 2)
    assert must_be_loaded(find(tmp_path / "net.keras"))
    text = new_recipe(str(tmp_path / "net.keras"), str(tmp_path / "d.npz"))
    assert "# blocks, bottom to top: low (15 parameters), top (new)\n" in text or "low_dense (15 parameters)" in text
    assert prepared(None, None, recipe=parse_recipe(text)).plans


def test_numbers_and_tables_are_described(tmp_path):
    rows = "\n".join(f"{i},{i * i},{i / 3:.3f}" for i in range(30))
    (tmp_path / "r.csv").write_text(f"a,b,price\n{rows}\n", encoding="utf-8")
    text = new_recipe("dnn", str(tmp_path / "r.csv"))
    assert "# 30 examples: vector 2\n# 1 numbers: price\n" in text
    assert prepared(None, None, recipe=parse_recipe(text)).plans


def test_very_many_classes_are_not_all_listed_and_no_name_ends_its_comment(tmp_path):
    names = np.array([f"class\n{i:03}" for i in range(100)] * 2)
    np.savez(tmp_path / "d.npz", x=np.arange(800).reshape(200, 4).astype("float32"), y=names)
    assert open_data(tmp_path / "d.npz").target.size == 100
    text = new_recipe("dnn", str(tmp_path / "d.npz"))
    assert "# 100 classes: class?000 (2), " in text
    assert "and 40 more\n" in text
    assert parse_recipe(text).data.path == str(tmp_path / "d.npz")
    assert max(map(len, text.splitlines())) < 200


@pytest.mark.parametrize("network", ["glyphs", "dnn"])
def test_data_that_cannot_be_learned_is_refused(tmp_path, network):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 8), "float32"))
    with pytest.raises(DataError, match=r"has no targets to learn\. Expected class folders, a label column"):
        new_recipe(network, str(tmp_path / "d.npz"))


def test_data_that_the_network_does_not_take_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 8), "float32"), y=np.arange(4) % 2)
    with pytest.raises(DataError, match=r"The network and the data do not fit together\. Expected image of shape"):
        new_recipe("glyphs", str(tmp_path / "d.npz"))


def test_an_unknown_network_is_refused():
    with pytest.raises(CardError, match=r"The zoo knows no network 'glyfs'\. Did you mean"):
        new_recipe("glyfs", "digits")
