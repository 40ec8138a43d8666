"""The freeze plan: what it decides, and that deciding changes nothing."""

import keras
import pytest

import zoo
from zoo.card import BlockPattern
from zoo.enforcement import apply, audit, frozen_digests, multipliers_of, restore_switches, trainable_switches
from zoo.errors import PlanError, SurgeryError
from zoo.flattening import flat
from zoo.planning import BATCH_NORM_MODES
from zoo.recipe_stage import BATCH_NORM

from .networks import NETWORKS, SKIPPING_BLOCKS, dense_net, small_convnet, values

layers = keras.layers


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return small_convnet()


def rates(plan: zoo.Plan) -> list[float]:
    return [row.rate for row in plan.rows]


def test_freezing_up_to_a_block_includes_it(net: keras.Model):
    assert rates(zoo.freeze(net, upto="block2")) == [0, 0, 1, 1]
    assert rates(zoo.freeze(net)) == [1, 1, 1, 1]
    assert rates(zoo.freeze(net, train=["top", "block1"])) == [1, 0, 0, 1]


def test_rates_halve_from_block_to_block(net: keras.Model):
    assert rates(zoo.freeze(net, upto="block1", layer_decay=0.5)) == [0, 0.25, 0.5, 1]


def test_explicit_multipliers(net: keras.Model):
    plan = zoo.freeze(net, multipliers={"block1": 0, "block2": 0.1})
    assert rates(plan) == [0, 0.1, 1, 1]
    assert plan.rows[0].frozen


def test_freeze_changes_nothing(net: keras.Model):
    before = values(net)
    zoo.freeze(net, upto="block2", batch_norm="train")
    assert values(net) == before


def test_batch_norm_modes(net: keras.Model):
    def modes(**arguments):
        return [row.batch_norm for row in zoo.freeze(net, **arguments).rows]

    assert modes(upto="block1") == ["frozen", "frozen", "frozen", None]
    assert modes(upto="block1", batch_norm="train") == ["frozen", "train", "train", None]
    assert modes(batch_norm={"block3": "fixed_statistics"}) == ["frozen", "frozen", "fixed_statistics", None]
    table = {"default": "train", "block3": "frozen"}
    assert modes(upto="block1", batch_norm=table) == ["frozen", "train", "frozen", None]


def test_the_modes_are_those_that_recipes_know():
    assert BATCH_NORM_MODES == BATCH_NORM


def test_batch_norm_counts_among_what_learns_unless_it_is_frozen(net: keras.Model):
    scales = sum(2 * n for n in (4, 4, 6, 6, 8, 8))
    frozen, fixed = zoo.freeze(net), zoo.freeze(net, batch_norm="fixed_statistics")
    assert fixed.trained - frozen.trained == scales
    assert fixed.trained == sum(int(keras.ops.size(v)) for v in net.trainable_weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"upto": "block1", "train": ["top"]}, "either the highest frozen block or the blocks that learn"),
        ({"layer_decay": 0.5, "multipliers": {"top": 1}}, "either a decay of the rate .* or explicit multipliers"),
        ({"layer_decay": 0}, "Expected 0 < layer_decay <= 1; received 0"),
        ({"layer_decay": 1.5}, "Expected 0 < layer_decay <= 1; received 1.5"),
        ({"multipliers": {"top": -1}}, "multiplier for 'top' is out of range. Expected 0 or more; received -1.0"),
        ({"multipliers": {"top": float("nan")}}, "multiplier for 'top' is out of range"),
        ({"upto": "block1", "multipliers": {"block1": 0.5}}, "The block 'block1' has a rate, but does not learn"),
        ({"upto": "top"}, r"The plan leaves nothing to learn. Expected at least one block .* Freeze less"),
        ({"train": []}, "The plan leaves nothing to learn"),
        (
            {"batch_norm": "freeze"},
            r"'freeze' is not a mode of batch normalization.*frozen \| fixed_statistics \| adapt \| train",
        ),
        (
            {"batch_norm": {"top": "train"}},
            "'top' has no batch normalization: its mode cannot be 'train'.*block1, block2",
        ),
        ({"batch_norm": 3}, "is a word, or a table from block to mode.*received 3"),
        ({"train": "block3"}, r"are a list of names. Received 'block3'. Write train=\['block3'\]"),
        ({"multipliers": ["top"]}, "The rates of a plan are numbers"),
        ({"multipliers": {"top": "fast"}}, "The rates of a plan are numbers"),
        ({"layer_decay": "0.5"}, "The rates of a plan are numbers"),
        (
            {"upto": "block1", "batch_norm": {"block1": "train"}},
            "'block1' is frozen: its batch normalization cannot be",
        ),
    ],
)
def test_contradictions_are_refused(net: keras.Model, arguments: dict, message: str):
    with pytest.raises(PlanError, match=message):
        zoo.freeze(net, **arguments)


@pytest.mark.parametrize("argument", [{"upto": "blok1"}, {"train": ["blok1"]}, {"batch_norm": {"blok1": "train"}}])
def test_unknown_blocks_name_close_ones(net: keras.Model, argument: dict):
    with pytest.raises(SurgeryError, match=r"The network has no block 'blok1'\..*block1"):
        zoo.freeze(net, **argument)


def test_the_table_shows_everything(net: keras.Model):
    lines = str(zoo.freeze(net, upto="block1", layer_decay=0.5, batch_norm="fixed_statistics")).splitlines()
    header = ["block", "layers", "parameters", "share", "output", "rate", "batch", "norm", "crosses", "above"]
    assert lines[0].split() == header
    assert lines[1].split()[-5:] == ["8x8x4", "frozen", "frozen", "0.2", "kB"]
    assert lines[2].split()[-4:] == ["x0.25", "fixed_statistics", "0.1", "kB"]
    assert lines[4].split()[-3:] == ["x1", "-", "-"]
    assert "parameters learn; the frozen trunk gives block2_pool (4x4x4, 0.2 kB an example)" in lines[5]
    assert str(zoo.freeze(net)).endswith("nothing is frozen from the input upwards")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_variable_is_covered_by_exactly_one_row(name: str):
    graph = flat(NETWORKS[name][0]())
    plan = zoo.freeze(graph, blocks_of=SKIPPING_BLOCKS if name == "skipping" else ())
    for layer in graph.layers[1:]:
        assert [layer.name in row.block.layers for row in plan.rows].count(True) == 1
    apply(plan, graph)
    assert set(multipliers_of(plan, graph)) == {id(v) for v in graph.trainable_variables}


class Tied(layers.Layer):
    """Uses another layer's weights."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def call(self, inputs):
        return keras.ops.matmul(inputs, keras.ops.transpose(self.other.kernel))


def test_a_variable_shared_by_two_blocks_is_refused():
    inputs = keras.Input((4,))
    low = layers.Dense(3, name="low")
    x = low(inputs)
    x = layers.Dense(3, name="middle")(x)
    model = keras.Model(inputs, Tied(low, name="tied")(x))
    with pytest.raises(PlanError, match="The variable 'low/kernel' is shared by the blocks 'low' and 'tied'"):
        zoo.freeze(model, upto="low")
    together = [BlockPattern("both", "low|tied")]
    assert zoo.freeze(model, train=["both"], blocks_of=together).rows[0].rate == 1


def test_a_plan_for_another_network_is_refused(net: keras.Model):
    with pytest.raises(PlanError, match="does not cover the layer 'low1': it was made for another network"):
        apply(zoo.freeze(net), flat(dense_net()))


def test_leaves_are_switched_under_a_parent_whose_switch_says_the_same():
    """``model.trainable = True`` when it is True already does nothing in Keras: frozen children stay frozen."""
    model = small_convnet()
    model.get_layer("block3_conv1").trainable = False
    model.trainable = True
    apply(zoo.freeze(model), flat(model))
    assert model.get_layer("block3_conv1").trainable


def test_beside_an_adapter_a_layers_own_kernel_holds_still():
    """Keras's ``layer.trainable = True`` would thaw it again."""
    model = dense_net()
    model.get_layer("low2").enable_lora(2)
    learning = sum(int(keras.ops.size(v)) for v in model.trainable_weights)
    plan = zoo.freeze(model)
    assert plan.trained == learning < sum(row.block.parameters for row in plan.rows)
    apply(plan, flat(model))
    assert sum(int(keras.ops.size(v)) for v in model.trainable_weights) == learning
    before = frozen_digests(plan, model)
    kernel = model.get_layer("low2")._kernel
    kernel.assign(kernel + 1e-6)
    with pytest.raises(PlanError, match=r"1 frozen variable\(s\) moved during training: low2.*kernel"):
        audit(plan, model, before)


def test_switches_of_an_adapted_layer_are_put_back():
    model = dense_net()
    model.get_layer("low2").enable_lora(2)
    before = [v.trainable for v in model.variables]
    switches = trainable_switches(model)
    apply(zoo.freeze(model, upto="low2"), flat(model))
    assert [v.trainable for v in model.variables] != before
    restore_switches(model, switches)
    assert [v.trainable for v in model.variables] == before


def test_switches_are_put_back():
    model = small_convnet()
    model.get_layer("block1_conv1").trainable = False
    before = values(model)
    switches = trainable_switches(model)
    apply(zoo.freeze(model, upto="block2"), flat(model))
    assert values(model) != before
    restore_switches(model, switches)
    assert values(model) == before


@pytest.mark.parametrize(
    ("mode", "layer", "variable", "caught"),
    [
        ("frozen", "block1_conv1", "kernel", True),
        ("frozen", "block1_bn1", "moving_mean", True),
        ("frozen", "block3_bn1", "gamma", True),
        ("frozen", "block3_bn1", "moving_variance", True),
        ("frozen", "block3_conv1", "kernel", False),
        ("fixed_statistics", "block3_bn1", "moving_mean", True),
        ("fixed_statistics", "block3_bn1", "gamma", False),
        ("adapt", "block3_bn1", "moving_mean", True),
        ("adapt", "block3_bn1", "gamma", False),
        ("adapt", "block1_bn1", "gamma", True),
        ("train", "block3_bn1", "moving_mean", False),
        ("train", "block1_bn1", "moving_mean", True),
    ],
)
def test_the_audit_sees_what_may_not_move_and_only_that(mode, layer: str, variable: str, caught: bool):
    model = small_convnet()
    plan = zoo.freeze(model, upto="block2", batch_norm=mode)
    before = frozen_digests(plan, model)
    assert audit(plan, model, before) == len(before) > 10
    moved = getattr(model.get_layer(layer), variable)
    moved.assign(moved + 1e-6)
    if caught:
        with pytest.raises(PlanError, match=rf"1 frozen variable\(s\) moved during training: {layer}.*{variable}"):
            audit(plan, model, before)
    else:
        audit(plan, model, before)


class Unit(layers.Layer):
    """Dense and batch normalization in one layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.norm = layers.Dense(4, name="inner"), layers.BatchNormalization(name="norm")

    def call(self, inputs, training=None):
        return self.norm(self.dense(inputs), training=training)


def test_statistics_inside_another_layer_cannot_be_fixed_alone():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, name="top")(Unit(name="unit")(inputs)))
    with pytest.raises(PlanError, match="statistics inside 'unit' cannot be fixed while the rest of that layer learns"):
        zoo.freeze(model, batch_norm="fixed_statistics")
    assert zoo.freeze(model, batch_norm="train").rows[0].batch_norm == "train"
