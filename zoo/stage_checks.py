"""What a stage cannot do, refused before anything is trained: a dry run refuses what the run would."""

import math
from collections.abc import Sequence

import keras

from .errors import RecipeError
from .layers import optimizer
from .layers.by_name import parameters
from .layers.optimizers import names
from .layers.scalars import number
from .momentum_cycle import argument_of
from .recipe import Recipe
from .recipe_stage import StagePart
from .stopping import check_monitor


def check_stages(recipe: Recipe, examples: int, metrics: Sequence[str]) -> None:
    """Makes what the stages will need once, and looks at their lengths.

    Args:
        recipe: The recipe, with its stages.
        examples: How many examples are trained on.
        metrics: The names of the metrics that are measured beside the loss.

    Raises:
        RecipeError: if a stage's optimizer cannot be made, its schedule does not fit into its steps, it watches a
            figure that nobody measures, or two of its settings exclude each other.
    """
    per_epoch = -(-examples // recipe.data.batch_size)
    for stage in recipe.stages:
        if stage.l2_sp and recipe.model.from_scratch:
            what = "A network from random weights has no pretrained values to stay near."
            received = f"from_scratch with l2_sp in the stage '{stage.name}'"
            raise RecipeError(what, received=received, fix="Leave one out.")
        _check_momentum(stage)
        longer = f"Give it more steps: {_epochs_of(recipe, stage)}, or a smaller --batch-size."
        _check_length(stage, per_epoch, longer)
        spec = dict(stage.optimizer)
        made = optimizer(spec.pop("name"), steps=stage.epochs * per_epoch, **spec)
        made.build([keras.Variable([0.0])])  # some refuse their rate only here
        check_monitor(stage, metrics)
        _check_patience(stage)


def _epochs_of(recipe: Recipe, stage: StagePart) -> str:
    """What says how many epochs a stage has, on the command line where it can be said there."""
    if stage is recipe.stages[-1]:
        return "--epochs"
    return "--head-epochs" if stage is recipe.stages[0] and stage.name == "head" else "'epochs' in the recipe"


def _check_momentum(stage: StagePart) -> None:
    """Refuses a momentum that the optimizer does not have, and says whose is called so."""
    name = str(stage.optimizer["name"]).lower()
    for key in ("momentum", "nesterov"):
        if key in stage.optimizer and name in names() and key not in parameters(names()[name]):
            takers = [f"--optimizer {one}" for one, made in names().items() if key in parameters(made)]
            takers.sort(key=lambda taker: (not taker.endswith(" sgd"), taker))
            adam = key == "momentum" and argument_of(stage.optimizer) == "beta_1"
            own = f"; what {name} has is beta_1, which a recipe can say" if adam else ""
            what = f"The optimizer '{name}' has no argument '{key}'."
            fix = f"Take one that has it: {', '.join(takers)}{own}."
            raise RecipeError(what, received=f"the stage '{stage.name}' with {key} = {stage.optimizer[key]}", fix=fix)


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


def _check_patience(stage: StagePart) -> None:
    """Refuses performance scheduling that early stopping always comes before."""
    slower, stop = stage.reduce_on_plateau, stage.early_stopping
    if slower is None or stop is None or slower["monitor"] != stop["monitor"] or slower["patience"] < stop["patience"]:
        return
    if slower["min_delta"] > stop["min_delta"]:  # it may stand still for one and still improve for the other
        return
    what = f"In the stage '{stage.name}' the rate would never fall: early stopping ends it first."
    received = f"patience = {slower['patience']} for reduce_on_plateau, {stop['patience']} for early_stopping"
    fix = "Raise --patience, or lower the patience of reduce_on_plateau."
    raise RecipeError(what, expected="the shorter patience for reduce_on_plateau", received=received, fix=fix)
