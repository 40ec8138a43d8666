"""What a stage cannot do with its data, refused before anything is trained: a dry run refuses what the run would.

What it cannot be whatever the data, reading the recipe refuses: ``recipe_checks.py``, ``stage_conflicts.py``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from .errors import RecipeError, RunError
from .layers import optimizer
from .layers.scalars import number
from .recipe import Recipe
from .recipe_stage import StagePart
from .stopping import check_monitor


def features_are_gone(stage: str, held: Mapping[str, Any]) -> RunError:
    """The error for a stage that was training on features, and would have to run its trunk in every step now.

    Its steps would differ in their last bits. Features that another environment computes are another matter: what has
    changed around a run is said, and it goes on.

    Args:
        stage: The stage's name.
        held: What its checkpoint says of the features.
    """
    what = f"The stage '{stage}' was training on features that were computed once, and these cannot be had again."
    said = ", ".join(f"{name} {held[name]}" for name in ("engine", "precision", "dtype") if name in held)
    return RunError(what, expected=said, received="no room", fix="Make room (zoo cache list), then: zoo resume.")


def check_stages(recipe: Recipe, examples: int, metrics: Sequence[str]) -> None:
    """Makes what the stages will need once, and looks at their lengths.

    Args:
        recipe: The recipe, with its stages.
        examples: How many examples are trained on.
        metrics: The names of the metrics that are measured beside the loss.

    Raises:
        RecipeError: if a stage's optimizer cannot be made, its schedule does not fit into its steps, it watches a
            figure that nobody measures, or averages what something else ends with.
    """
    per_epoch = -(-examples // recipe.data.batch_size)
    for stage in recipe.stages:
        longer = f"Give it more steps: {_epochs_of(recipe, stage)}, or a smaller --batch-size."
        _check_length(stage, per_epoch, longer)
        spec = dict(stage.optimizer)
        made = optimizer(spec.pop("name"), steps=stage.epochs * per_epoch, **spec)
        made.build([keras.Variable([0.0])])  # some refuse their rate only here
        check_monitor(stage, metrics)


def _epochs_of(recipe: Recipe, stage: StagePart) -> str:
    """What says how many epochs a stage has, on the command line where it can be said there."""
    if stage is recipe.stages[-1]:
        return "--epochs"
    return "--head-epochs" if stage is recipe.stages[0] and stage.name == "head" else "'epochs' in the recipe"


def _check_length(stage: StagePart, per_epoch: int, longer: str) -> None:
    """Refuses a warm-up that never ends, and a cycle that has no room."""
    rate, steps = stage.optimizer.get("learning_rate"), stage.epochs * per_epoch
    if not isinstance(rate, dict):
        return
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    has = f"the stage '{stage.name}' has {steps} ({epochs} of {per_epoch})"
    rise = rate.get("steps" if rate.get("name") in ("warm_up", "WarmUp") else "warmup_steps")
    if number(rise) and rise >= steps:
        what = f"The warm-up takes {rise} steps, and {has}: its rate would never be reached."
        raise RecipeError(what, expected=f"fewer than {steps} steps of warm-up", received=str(rise), fix=longer)
    share = rate.get("pct_start", 0.3)
    if rate.get("name") not in ("one_cycle", "OneCycle") or "steps" in rate or not number(share) or not 0 < share < 1:
        return
    if share * steps <= 1:
        what = f"One cycle with pct_start = {share} takes {math.floor(1 / share) + 1} steps or more, and {has}."
        raise RecipeError(what, fix=longer)
