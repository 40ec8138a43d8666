"""What a stage cannot do is refused before anything is trained, with what helps."""

from dataclasses import replace

import pytest

from zoo.errors import RecipeError
from zoo.layers import schedule
from zoo.recipe import DataPart, ModelPart, Recipe
from zoo.recipe_stage import StagePart
from zoo.stage_checks import check_stages

SGD = {"name": "sgd", "learning_rate": 0.1}
STOPPING = {"monitor": "val_loss", "patience": 3, "min_delta": 0.0}


def recipe(*stages: StagePart) -> Recipe:
    return Recipe(ModelPart("glyphs"), DataPart("digits", batch_size=10), stages=stages)


def stage(name: str = "s", epochs: int = 2, **changes: object) -> StagePart:
    return replace(StagePart(name, epochs, SGD, freeze="none"), **changes)


def message(*stages: StagePart) -> str:
    """What is said of stages on 21 examples: three steps an epoch."""
    with pytest.raises(RecipeError) as caught:
        check_stages(recipe(*stages), 21, ["accuracy"])
    return str(caught.value)


@pytest.mark.parametrize(
    ("warm", "needs"),
    [
        ({"name": "cosine", "initial_learning_rate": 0.1, "warmup_steps": 6}, 6),
        ({"name": "power", "initial_learning_rate": 0.1, "warmup_steps": 9}, 9),
        ({"name": "warm_up", "after": 0.1, "steps": 6}, 6),
    ],
)
def test_a_warm_up_as_long_as_its_stage_is_refused(warm: dict, needs: int):
    how = stage("fine-tune", optimizer={**SGD, "learning_rate": warm})
    assert message(how) == (
        f"The warm-up takes {needs} steps, and the stage 'fine-tune' has 6 (2 epochs of 3): its rate would never be "
        f"reached. Expected fewer than 6 steps of warm-up; received {needs}. Give it more steps: --epochs, or a "
        "smaller --batch-size."
    )
    check_stages(recipe(replace(how, epochs=4)), 21, [])


def test_what_helps_is_the_option_of_the_stage():
    warm = {"name": "cosine", "initial_learning_rate": 0.1, "warmup_steps": 60}
    long = stage(optimizer={**SGD, "learning_rate": warm}, epochs=1)
    last = stage("last")
    assert "has 3 (1 epoch of 3)" in message(long)
    assert "more steps: --head-epochs, or" in message(replace(long, name="head"), last)
    assert "more steps: 'epochs' in the recipe, or" in message(replace(long, name="tail"), last)
    assert "more steps: --epochs, or" in message(last, long)


@pytest.mark.parametrize(("share", "steps"), [(0.3, 4), (0.25, 5), (0.5, 3), (0.05, 21)])
def test_one_cycle_says_how_many_steps_it_takes(share: float, steps: int):
    table = {"name": "one_cycle", "max_learning_rate": 0.1, "pct_start": share}
    how = stage(epochs=1, optimizer={**SGD, "learning_rate": table})
    with pytest.raises(RecipeError, match=f"takes {steps} steps or more, and the stage 's' has {steps - 1} "):
        check_stages(recipe(how), (steps - 1) * 10, [])
    check_stages(recipe(how), steps * 10, [])
    schedule(table, steps=steps)
    with pytest.raises(RecipeError):
        schedule(table, steps=steps - 1)


def test_what_nobody_measures_and_what_excludes_each_other_is_refused_here_already():
    assert "cannot watch 'val_acuracy'" in message(stage(early_stopping={**STOPPING, "monitor": "val_acuracy"}))
    averaged = stage(early_stopping=STOPPING, weight_averaging={"start": 0.5, "every": 1})
    assert "ends with the average of its weights" in message(averaged)


def test_an_optimizer_that_keras_does_not_have_is_refused_here_too():
    assert message(stage(optimizer={"name": "adan", "momentum": 0.9})).startswith("Keras has no optimizer 'adan'.")
