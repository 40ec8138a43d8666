"""A model of the user's own: what it starts from, and what is refused since the run would not do it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from zoo.errors import RecipeError
from zoo.options import Options
from zoo.preparation import prepared
from zoo.recipe import DataPart, ModelPart, Recipe, TopPart

from .networks import clusters, dense_net, quadrants, small_convnet, values


def said(out: Path, recipe: Recipe | None = None, **options: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        zoo.finetune(dense_net(), clusters(60), out=out, recipe=recipe, **options)
    assert not out.exists()
    return str(caught.value)


def test_from_scratch_draws_the_weights_of_ones_own_model_anew():
    net = dense_net()
    before = values(net)

    def kernel(seed: int) -> np.ndarray:
        ready = prepared(net, clusters(60), options=Options(from_scratch=True, seed=seed))
        return ready.network.get_layer("low1").kernel.numpy()

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert not np.array_equal(kernel(1), kernel(2))
    assert not np.array_equal(kernel(1), net.get_layer("low1").kernel.numpy())
    assert values(net) == before


def test_ones_own_model_keeps_its_weights_otherwise():
    net = dense_net()
    ready = prepared(net, clusters(60), options=Options(seed=1))
    np.testing.assert_array_equal(ready.network.get_layer("low1").kernel, net.get_layer("low1").kernel)


@pytest.mark.parametrize(
    ("options", "received"),
    [
        ({"hidden": [8]}, "hidden = (8,)"),
        ({"dropout": 0.5}, "dropout = 0.5"),
        ({"activation": "elu"}, "activation = 'elu'"),
        ({"activation": "relu"}, "activation = 'relu'"),
        ({"cut": "low1"}, "cut = 'low1'"),
        ({"recipe": Recipe(ModelPart("x", cut="low2"), DataPart("y"))}, "cut = 'low2'"),
        ({"recipe": Recipe(ModelPart("x"), DataPart("y"), top=TopPart((8,)))}, "hidden = (8,)"),
    ],
)
def test_a_top_or_a_cut_is_refused_with_a_model_of_ones_own(tmp_path: Path, options, received):
    assert said(tmp_path / "run", **options) == (
        f"A model of your own is trained with the top that it has. Received {received}. Give it the top that you want "
        "first: zoo.replace_top(model, cut=..., classes=..., hidden=..., ...)."
    )


def test_a_builders_arguments_are_refused_with_a_model_of_ones_own(tmp_path: Path):
    recipe = Recipe(ModelPart("x", from_scratch=True, args={"widths": [3]}), DataPart("y"))
    assert said(tmp_path / "run", recipe) == (
        "A model of your own is built already: it takes no arguments of a builder. "
        "Received args = {'widths': [3]}. Leave [model.args] out."
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("freeze", "all"),
        ("layer_decay", 0.5),
        ("batch_norm", "train"),
        ("head_epochs", 3),
        ("head_learning_rate", 0.1),
    ],
)
def test_what_a_plan_says_already_is_refused_beside_it(tmp_path: Path, option: str, value: Any):
    assert said(tmp_path / "run", plan=zoo.freeze(dense_net()), **{option: value}) == (
        f"The plan says already what learns, in one stage. Received {option} = {value!r}. Say it there: "
        "zoo.freeze(model, upto=..., layer_decay=..., batch_norm=...); or leave the plan out."
    )


def test_a_plan_that_freezes_is_refused_from_scratch(tmp_path: Path):
    plan = zoo.freeze(dense_net(), upto="low1")
    assert said(tmp_path / "run", plan=plan, from_scratch=True).startswith(
        "A network from random weights has nothing worth freezing. Received from_scratch with a plan that freezes low1."
    )


def test_the_recipe_of_such_a_run_runs_again(tmp_path: Path):
    options = {"freeze": "all", "head_epochs": 1}
    run = zoo.finetune(dense_net(), clusters(60), out=tmp_path / "run", **options)
    zoo.finetune(dense_net(), clusters(60), out=tmp_path / "again", recipe=run.folder / "recipe.toml")
    assert (run.recipe.model.cut, run.recipe.top) == (None, TopPart())


def lines(**options: Any) -> str:
    return "\n".join(prepared(dense_net(), clusters(60), options=Options(**options)).lines())


def test_the_rate_of_another_optimizer_is_its_own_and_is_said():
    assert "stage fine-tune: 30 epochs, sgd at 0.01, its default in Keras" in lines(optimizer="sgd")
    assert "stage fine-tune: 30 epochs, sgd at 0.5\n" in lines(optimizer="sgd", learning_rate=0.5)
    assert "stage fine-tune: 30 epochs, adam at 0.0003\n" in lines(optimizer="adam")
    cycling = "sgd at 0.01, its default in Keras, momentum the schedule one_cycle_momentum\n"
    assert cycling in lines(optimizer={"name": "sgd", "momentum": {"name": "one_cycle_momentum"}})


def test_options_that_change_nothing_are_noted():
    alone = "layer_decay changes nothing: 'top' alone learns in the stage 'head'"
    assert alone in lines(freeze="all", layer_decay=0.5)
    assert "changes nothing" not in lines(freeze="none", layer_decay=0.5)
    without = "batch_norm changes nothing: no block that learns in the stage 'fine-tune' has batch normalization"
    assert without in lines(batch_norm="train")
    norms = prepared(small_convnet(4), quadrants(60), options=Options(batch_norm="train")).lines()
    assert not any("changes nothing" in line for line in norms)
    frozen = prepared(small_convnet(4), quadrants(60), options=Options(batch_norm="train", freeze="all")).lines()
    assert any("batch_norm changes nothing" in line for line in frozen)


@pytest.mark.parametrize(
    ("network", "args"), [("dnn", {"dropout": 0.4, "batch_norm": True}), ("convnet", {"dropout": 0.4})]
)
def test_a_builders_dropout_that_would_go_with_its_top_is_refused(network: str, args: dict[str, Any]):
    model = ModelPart(network, from_scratch=True, args={"depth": 2, "width": 4, **args} if network == "dnn" else args)
    recipe = Recipe(model, DataPart("y"))
    data = quadrants(40)
    with pytest.raises(RecipeError, match=r"dropout = 0\.4 under \[top\]"):
        prepared(None, data, recipe=recipe)
    ready = prepared(None, data, recipe=replace(recipe, top=TopPart(dropout=0.4)))
    assert "top_dropout" in [layer.name for layer in ready.network.layers]


def test_a_builders_dropout_between_its_hidden_layers_stays():
    model = ModelPart("dnn", from_scratch=True, args={"depth": 2, "width": 4, "dropout": 0.4})
    ready = prepared(None, quadrants(40), recipe=Recipe(model, DataPart("y")))
    assert "hidden1_dropout" in [layer.name for layer in ready.network.layers]
