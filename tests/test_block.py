"""Blocks: every layer in exactly one, named as the card or the network says."""

import math

import keras
import pytest

import zoo
from zoo.card import BlockPattern
from zoo.errors import SurgeryError
from zoo.flattening import flat
from zoo.graph import operations

from .networks import NETWORKS, SKIPPING_BLOCKS, small_convnet

layers = keras.layers


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_in_exactly_one_block(name: str):
    model = NETWORKS[name][0]()
    found = zoo.blocks(model)
    inside = [layer for block in found for layer in block.layers]
    assert sorted(inside) == sorted(op.name for op in operations(flat(model)))
    assert len(set(found.names)) == len(found)
    assert sum(block.parameters for block in found) == sum(math.prod(v.shape) for v in model.weights)


@pytest.mark.parametrize(
    ("application", "size", "extra"),
    [("MobileNetV2", 32, {"alpha": 0.35}), ("VGG16", 32, {}), ("EfficientNetB0", 32, {}), ("ResNet50", 32, {})],
)
def test_applications_divide_into_the_blocks_that_their_names_tell(application: str, size: int, extra: dict):
    build = getattr(keras.applications, application)
    model = build(weights=None, include_top=application != "VGG16", input_shape=(size, size, 3), **extra)
    found = zoo.blocks(model)
    inside = [layer for block in found for layer in block.layers]
    assert sorted(inside) == sorted(op.name for op in operations(flat(model)))
    expected = {
        "MobileNetV2": ("Conv1", "block_1", "block_16", "predictions"),
        "VGG16": ("block1", "block5"),
        "EfficientNetB0": ("stem", "block1a", "block7a", "top"),
        "ResNet50": ("conv1", "conv2", "conv3", "conv4", "conv5", "predictions"),
    }[application]
    assert [name for name in found.names if name in expected] == list(expected)


def test_names_of_the_convnet():
    found = zoo.blocks(small_convnet())
    assert found.names == ("block1", "block2", "block3", "top")
    assert found[0].output_shape == (8, 8, 4)
    assert found[1].layers[0] == "block2_pool", "a pooling that opens a block is named after it"
    assert str(found).splitlines()[0].split() == ["block", "layers", "parameters", "output"]


def test_a_sequential_network_with_automatic_names_is_divided_layer_by_layer():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3), layers.ReLU(), layers.Dense(3), layers.Dropout(0.1), layers.Dense(2)]
    )
    found = zoo.blocks(model)
    assert [len(block.layers) for block in found] == [2, 1, 2]
    dense = [layer.name for layer in model.layers if isinstance(layer, layers.Dense)]
    assert list(found.names) == dense
    assert found[2].layers == (model.layers[3].name, dense[2]), "a dropout is of the layer that it is for"


def test_batch_normalization_goes_with_the_convolution_below():
    found = zoo.blocks(NETWORKS["sequential"][0]())
    assert len(found) == 3
    assert len(found[0].layers) == 5


def test_a_block_is_never_entered_again():
    """Names that return higher up are numbered, so that freezing up to one means what it says."""
    inputs = keras.Input((4,))
    x = inputs
    for i, name in enumerate("abaab"):
        x = layers.Dense(4, name=f"{name}_dense{i}x")(x)
    found = zoo.blocks(keras.Model(inputs, layers.Dense(2, name="top")(x)))
    assert found.names == ("a", "b", "a-2", "b-2", "top")
    assert [len(block.layers) for block in found] == [1, 1, 2, 1, 1]


def test_a_cards_patterns_divide_as_they_say():
    found = zoo.blocks(NETWORKS["skipping"][0](), SKIPPING_BLOCKS)
    assert found.names == ("block1", "block2", "block3", "top")
    assert found[1].layers == ("block2_conv", "block2_add")


def test_layers_that_no_pattern_matches_are_divided_as_elsewhere():
    found = zoo.blocks(small_convnet(), [BlockPattern("low", "block[12]_.*")])
    assert found.names == ("low", "block3", "top")


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(SurgeryError, match=r"The card's block 'high' matches no layer.*must match the whole name"):
        zoo.blocks(small_convnet(), [BlockPattern("high", "block9")])


def test_a_network_without_weights_is_one_block():
    inputs = keras.Input((4,))
    found = zoo.blocks(keras.Model(inputs, layers.ReLU(name="cut")(inputs)))
    assert [block.layers for block in found] == [("cut",)]


def test_an_unknown_block_names_close_ones():
    with pytest.raises(SurgeryError, match=r"The network has no block 'blok1'\..*block1"):
        zoo.blocks(small_convnet()).index_of("blok1")
