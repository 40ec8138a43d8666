"""What a stage cannot be is refused when the recipe is read, with file, key and what helps."""

from dataclasses import replace

import pytest

from zoo.errors import RecipeError
from zoo.recipe import DataPart, ModelPart, Recipe, parse_recipe, recipe_text
from zoo.recipe_stage import StagePart

SGD = {"name": "sgd", "learning_rate": 0.1}
STOPPING = {"monitor": "val_loss", "patience": 3, "min_delta": 0.0}
PLATEAU = {"monitor": "val_loss", "factor": 0.1, "patience": 2, "min_delta": 0.0, "cooldown": 0, "min_lr": 0.0}


def stage(name: str = "s", **changes: object) -> StagePart:
    return replace(StagePart(name, 2, SGD, freeze="none"), **changes)


def read(*stages: StagePart) -> Recipe:
    return parse_recipe(recipe_text(Recipe(ModelPart("glyphs"), DataPart("digits"), stages=stages)), "r.toml")


def message(*stages: StagePart) -> str:
    with pytest.raises(RecipeError) as caught:
        read(*stages)
    return str(caught.value)


def test_performance_scheduling_comes_before_early_stopping_or_is_refused():
    read(stage(early_stopping=STOPPING, reduce_on_plateau=PLATEAU))
    late = {**PLATEAU, "patience": 3}
    assert message(stage(early_stopping=STOPPING, reduce_on_plateau=late)) == (
        "r.toml: 'stage[0].reduce_on_plateau.patience' (the stage 's'): In the stage 's' the rate would never fall: "
        "early stopping ends it first. Expected the shorter patience for reduce_on_plateau; received patience = 3 for "
        "reduce_on_plateau, 3 for early_stopping. Raise --patience, or lower the patience of reduce_on_plateau."
    )
    read(stage(early_stopping={**STOPPING, "monitor": "loss"}, reduce_on_plateau=late))


@pytest.mark.parametrize(("slower", "stop", "refused"), [(0.05, 0.0, False), (0.05, 0.05, True), (0.0, 0.05, True)])
def test_what_is_harder_to_please_may_be_as_patient(slower: float, stop: float, refused: bool):
    """A loss that falls a little each epoch stands still for performance scheduling, and not for early stopping."""
    how = stage(
        early_stopping={**STOPPING, "min_delta": stop},
        reduce_on_plateau={**PLATEAU, "patience": 3, "min_delta": slower},
    )
    if refused:
        assert "the rate would never fall" in message(how)
    else:
        read(how)


def test_a_momentum_that_the_optimizer_has_not_names_those_that_have_it():
    adam = stage("fine-tune", optimizer={"name": "adam", "momentum": 0.9})
    assert message(adam) == (
        "r.toml: 'stage[0].optimizer.momentum' (the stage 'fine-tune'): The optimizer 'adam' has no argument "
        "'momentum'. Received momentum = 0.9. Take one that has it: --optimizer sgd, --optimizer muon, --optimizer "
        "rmsprop; what adam has is beta_1, which a recipe can say."
    )
    assert message(stage(optimizer={"name": "Adagrad", "nesterov": True})).endswith(
        "Take one that has it: --optimizer sgd, --optimizer muon."
    )


def test_averages_exclude_what_would_undo_them():
    averaging = {"start": 0.5, "every": 1}
    assert message(stage(early_stopping=STOPPING, weight_averaging=averaging)) == (
        "r.toml: 'stage[0].early_stopping' (the stage 's'): The stage 's' ends with the average of its weights, and "
        "early stopping with one epoch's. Leave one of them out."
    )
    assert message(stage(weight_averaging=averaging, optimizer={**SGD, "use_ema": True})).startswith(
        "r.toml: 'stage[0].weight_averaging' (the stage 's'): The stage 's' averages its weights twice: by its "
        "optimizer, and by weight_averaging. Received the optimizer {"
    )


def test_two_cannot_set_one_rate():
    rate = {"name": "cosine", "initial_learning_rate": 0.1}
    assert message(stage(reduce_on_plateau=PLATEAU, optimizer={"name": "sgd", "learning_rate": rate})).startswith(
        "r.toml: 'stage[0].reduce_on_plateau' (the stage 's'): The stage 's' has two who set its rate: a schedule, and "
        "reduce_on_plateau. Received learning_rate = {"
    )


@pytest.mark.parametrize("learning", [{"train": ("top",), "freeze": None}, {"freeze": "all"}])
def test_one_block_cannot_be_thawed_one_after_another(learning):
    assert "has nothing to thaw one after another: " in message(stage(thaw="by_block", **learning))
    read(stage(thaw="by_block", train=("top", "block3"), freeze=None))
