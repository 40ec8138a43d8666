"""The shipped network is what its card and its recipe say."""

import numpy as np

import zoo
from zoo import registry
from zoo.formats.safetensors import parameter_count, read_header
from zoo.recipe import read_recipe


def test_the_weights_take_at_most_a_megabyte_and_hold_nothing_but_the_network() -> None:
    card = registry.find("glyphs")
    network = zoo.load("glyphs")
    assert card.full_name == "glyphs.v1"
    assert card.weights is not None and card.weights.bytes == card.weights_path.stat().st_size <= 2**20
    assert read_header(card.weights_path).keys() == {v.path for v in network.weights}
    assert parameter_count(card.weights_path) == sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def test_card_and_recipe_describe_the_same_network() -> None:
    card, recipe = registry.find("glyphs"), read_recipe("glyphs")
    assert (card.builder, card.args) == (recipe.model.name, recipe.model.args)


def test_the_blocks_are_named_from_bottom_to_top_and_end_in_features() -> None:
    card = registry.find("glyphs")
    found = zoo.blocks(zoo.load("glyphs"), card.blocks)
    assert found.names == ("block1", "block2", "block3", "top")
    assert found == zoo.blocks(zoo.load("glyphs"))
    assert found[2].layers[-1] == card.cut == "features"


def test_it_reads_printed_characters_that_it_was_not_trained_on() -> None:
    data = zoo.open_data("characters:examples=620,seed=987654")
    card = registry.find("glyphs")
    assert card.input is not None and card.labels == data.classes
    outputs = zoo.load("glyphs").predict(data.batch(np.arange(len(data)), card.input), verbose=0)
    assert (outputs.argmax(axis=1) == data.target.values).mean() > 0.8


def test_a_bare_call_moves_nothing() -> None:
    network = zoo.load("glyphs")
    before = [v.numpy().tobytes() for v in network.weights]
    x = np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 1)).astype("float32")
    assert np.array_equal(network(x), network(x, training=False))
    assert before == [v.numpy().tobytes() for v in network.weights]
