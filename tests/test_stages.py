"""From a recipe's stages, or the user's own plans, to what learns in each."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import PlanError, RecipeError, SurgeryError
from zoo.options import Options
from zoo.preparation import prepared
from zoo.progress import Progress

from .networks import clusters, dense_net, quadrants, small_convnet, values


def ready(network: Any, data: Any, plan: Any = None, **options: Any):
    return prepared(network, data, plan=plan, options=Options(**options))


def learning(prepared_run) -> list[tuple[str, ...] | None]:
    return [stage.train for stage in prepared_run.recipe.stages]


def test_blocks_are_thawed_one_after_another():
    found = ready(small_convnet(4), quadrants(60), freeze="none", thaw="by_block", epochs=3)
    assert learning(found) == [
        ("top",),
        ("block3", "top"),
        ("block2", "block3", "top"),
        ("block1", "block2", "block3", "top"),
    ]
    assert [stage.name for stage in found.recipe.stages] == ["head", "fine-tune 1", "fine-tune 2", "fine-tune 3"]
    assert [stage.epochs for stage in found.recipe.stages[1:]] == [3, 3, 3]
    rates = [[row.rate for row in plan.rows] for plan in found.plans]
    assert rates == [[0, 0, 0, 1], [0, 0, 0.5, 1], [0, 0.25, 0.5, 1], [0.125, 0.25, 0.5, 1]]
    assert {stage.thaw for stage in found.recipe.stages} == {"at_once"}, "the run's recipe says each step"


def test_thawing_by_block_takes_tables_by_block_apart():
    modes = {"block2": "train", "block3": "fixed_statistics"}
    found = ready(
        small_convnet(4),
        quadrants(60),
        freeze="block1",
        thaw="by_block",
        multipliers={"block2": 0.1, "block3": 0.3},
        batch_norm=modes,
    )
    assert [stage.multipliers for stage in found.recipe.stages[1:]] == [{"block3": 0.3}, {"block2": 0.1, "block3": 0.3}]
    default = {"default": "fixed_statistics"}  # what the stage says by itself
    assert [s.batch_norm for s in found.recipe.stages[1:]] == [
        default | {"block3": "fixed_statistics"},
        default | modes,
    ]


def test_top_is_the_networks_top_whatever_it_is_called():
    """EfficientNet has a pretrained block of that name."""
    model = dense_net()
    base = zoo.replace_top(model, cut="low2", classes=3, hidden=[4])
    net = zoo.replace_top(base, cut="top_activation1", classes=3)
    asked = ready(net, clusters(60), freeze="low2", head_epochs=1, multipliers={"top": 0.5})
    assert learning(asked) == [("top2",), ("top", "top2")]
    assert [row.rate for row in asked.plans[1].rows] == [0, 0, 1, 0.5]
    again = prepared(net, clusters(60), recipe=asked.recipe)
    assert learning(again) == learning(asked), "the resolved recipe means the same"


def test_a_list_of_plans_is_a_stage_each(tmp_path: Path):
    model = dense_net()
    plans = [zoo.freeze(model, upto=name) for name in ("low2", "low1")]
    run = zoo.finetune(
        model, clusters(90), plan=plans, out=tmp_path / "run", epochs=2, head_epochs=3, progress=Progress(quiet=True)
    )
    stages = run.recipe.stages
    assert [(s.name, s.train, s.epochs) for s in stages] == [("head", ("top",), 3), ("fine-tune", ("low2", "top"), 2)]
    np.testing.assert_array_equal(run.model.get_layer("low1").kernel, model.get_layer("low1").kernel)
    assert np.any(run.model.get_layer("low2").kernel.numpy() != model.get_layer("low2").kernel.numpy())
    again = zoo.finetune(
        model, clusters(90), recipe=run.folder / "recipe.toml", out=tmp_path / "again", progress=Progress(quiet=True)
    )
    assert values(again.model) == values(run.model), "the recipe says the plans"


def test_more_plans_than_stages_take_the_last_stages_settings():
    model = small_convnet(4)
    plans = [zoo.freeze(model, upto=name) for name in ("block3", "block2", "block1")]
    found = ready(model, quadrants(60), plan=plans)
    assert [stage.name for stage in found.recipe.stages] == ["head", "fine-tune 1", "fine-tune 2"]
    assert [plan.trained for plan in found.plans] == [plan.trained for plan in plans]


def test_a_plan_for_another_network_is_refused_before_anything_is_made(tmp_path: Path):
    other = zoo.freeze(dense_net(widths=(8, 8, 8)))
    with pytest.raises(PlanError, match="plan has a layer 'low3', and the network has none"):
        zoo.finetune(dense_net(), clusters(60), plan=other, out=tmp_path / "run", progress=Progress(quiet=True))
    with pytest.raises(PlanError, match="plan does not cover the layer 'low3'"):
        zoo.finetune(
            dense_net(widths=(8, 8, 8)),
            clusters(60),
            plan=zoo.freeze(dense_net()),
            out=tmp_path / "run",
            progress=Progress(quiet=True),
        )
    assert not (tmp_path / "run").exists()


def test_what_the_plans_say_is_not_said_again():
    model = dense_net()
    with pytest.raises(RecipeError, match=r"The plan says already what learns, in one stage.*thaw = 'by_block'"):
        ready(model, clusters(60), plan=zoo.freeze(model), thaw="by_block")
    plans = [zoo.freeze(model, upto="low2"), zoo.freeze(model)]
    with pytest.raises(RecipeError, match=r"The plan says already what learns, in each stage.*multipliers"):
        ready(model, clusters(60), plan=plans, multipliers={"low1": 0.1})


@pytest.mark.parametrize("freeze", ["all", "block1"])
def test_adapting_is_said_before_and_done_once_a_stage(tmp_path: Path, freeze: str):
    model, (x, y) = small_convnet(4), quadrants(80)
    before = values(model)
    run = zoo.finetune(
        model,
        (x * 0.5 + 20, y),
        out=tmp_path / "run",
        freeze=freeze,
        batch_norm="adapt",
        head_epochs=1,
        epochs=1,
        progress=Progress(quiet=True),
    )
    log = (run.folder / "log.txt").read_text(encoding="utf-8")
    assert "first the batch-norm statistics of block1, block2, block3 are re-estimated on 59 training examples" in log
    assert "the statistics of 6 batch-norm layers re-estimated on 59 training examples, then fixed" in log
    assert "adapt" in (run.folder / "plan.txt").read_text(encoding="utf-8")
    low = run.model.get_layer("block1_bn1")
    assert np.any(low.moving_mean.numpy() != model.get_layer("block1_bn1").moving_mean.numpy())
    np.testing.assert_array_equal(low.gamma, model.get_layer("block1_bn1").gamma)
    assert values(model) == before


def test_a_callback_sees_the_whole_network(tmp_path: Path):
    seen: list[str] = []

    class Looking(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            seen.extend(layer.name for layer in self.model.network.layers[1:])

    model = dense_net()
    zoo.finetune(
        model,
        clusters(60),
        plan=zoo.freeze(model, upto="low2"),
        callbacks=[Looking()],
        out=tmp_path / "run",
        epochs=1,
        progress=Progress(quiet=True),
    )
    assert seen == ["low1", "low2", "top"]


def test_two_plans_that_both_thaw_pretrained_blocks_take_the_last_stages_settings():
    """The head's rate is for a fresh top: a pretrained block would not survive it."""
    model = small_convnet(4)
    found = ready(model, quadrants(60), plan=[zoo.freeze(model, upto="block2"), zoo.freeze(model)], epochs=5)
    settings = [(stage.name, stage.epochs, stage.optimizer["learning_rate"]) for stage in found.recipe.stages]
    assert settings == [("fine-tune 1", 5, 3e-4), ("fine-tune 2", 5, 3e-4)]


@pytest.mark.parametrize("plan", [[], "block1", [zoo.read_recipe], 3])
def test_what_is_no_plan_is_refused(plan: Any):
    with pytest.raises(RecipeError, match=r"This is not a plan\. Expected a Plan, or a list of them"):
        ready(dense_net(), clusters(60), plan=plan)


def test_a_recipe_that_writes_the_top_first_thaws_from_the_top_all_the_same():
    model = small_convnet(4)
    recipe = ready(model, quadrants(60), freeze="block1").recipe
    stages = (replace(recipe.stages[1], train=("top", "block3", "block2"), thaw="by_block", multipliers=None),)
    found = prepared(model, quadrants(60), recipe=replace(recipe, stages=stages))
    assert learning(found) == [("top",), ("block3", "top"), ("block2", "block3", "top")]


def test_a_mode_for_one_block_leaves_the_others_at_the_default():
    found = ready(small_convnet(4), quadrants(60), freeze="block1", batch_norm={"block3": "train"})
    assert [row.batch_norm for row in found.plans[1].rows] == ["frozen", "fixed_statistics", "train", None]
    again = prepared(small_convnet(4), quadrants(60), recipe=found.recipe)
    assert [row.batch_norm for row in again.plans[1].rows] == [row.batch_norm for row in found.plans[1].rows]


def test_thawing_by_block_what_cannot_be_thawed_is_said_or_refused():
    lines = ready(dense_net(), clusters(60), freeze="all", thaw="by_block").lines()
    assert "  thaw changes nothing: 'top' alone learns in the stage 'head'" in lines
    with pytest.raises(RecipeError, match="from random weights has nothing worth freezing, and so nothing to thaw"):
        ready(dense_net(), clusters(60), from_scratch=True, thaw="by_block")


def test_a_network_without_preprocessing_is_told_what_it_will_be_given():
    def note(network: keras.Model) -> bool:
        return "takes pixels from 0 to 255 as they are" in "\n".join(ready(network, quadrants(60)).lines())

    raw = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.ZeroPadding2D(),
            keras.layers.Conv2D(3, 3, name="first"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, activation="softmax", name="top"),
        ]
    )
    assert note(raw)
    assert not note(zoo.insert_layer(raw, keras.layers.Rescaling(1 / 127.5, offset=-1), below="first"))
    inputs = keras.Input((8, 8, 1))
    assert not note(keras.Model(inputs, raw(inputs / 255.0)))
    assert not note(small_convnet(4))


def test_blocks_that_learn_in_name_only_are_said():
    model = dense_net(widths=(8,) * 14)
    lines = "\n".join(ready(model, clusters(60), freeze="none").lines())
    assert "5 blocks hardly learn in the stage 'fine-tune' ('low1' at x6e-05 of the rate)" in lines
    assert "hardly learn" not in "\n".join(ready(model, clusters(60), freeze="none", layer_decay=0.9).lines())


def test_an_opaque_network_is_not_trained_whole_at_the_heads_rate():
    class Foreign(keras.Model):
        def __init__(self):
            super().__init__(name="foreign")
            self.top = keras.layers.Dense(3, activation="softmax", name="top")

        def call(self, inputs):
            import tensorflow as tf

            return self.top(tf.nn.tanh(inputs))

        def get_config(self):
            return {}

        @classmethod
        def from_config(cls, config):
            return cls()

    model = Foreign()
    model(clusters(4)[0])
    with pytest.raises(SurgeryError, match="Nothing of 'foreign' can be frozen: its layers cannot be told apart"):
        ready(model, clusters(60))
