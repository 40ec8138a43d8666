"""The recipe of each step in the search for how much to reuse, and whether a recipe can be searched at all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .depth_search import Step
from .errors import RecipeError
from .options import Options
from .recipe import Recipe
from .recipe_stage import FREEZE_ALL, FREEZE_NONE, StagePart


def check_searchable(recipe: Recipe, options: Options) -> None:
    """Refuses what a search for how much to freeze would not do.

    Args:
        recipe: The recipe that flags went over, with its stages.
        options: The flags as they were given.

    Raises:
        RecipeError: if they say already how much is frozen, or how each block is trained, or there is nothing to
            freeze, or nothing to choose by.

    Example:
        >>> from zoo.said_recipe import said_recipe
        >>> options = Options(limit_per_class=10)
        >>> check_searchable(said_recipe("glyphs", "digits", None, options), options)
    """
    _check_depth_unsaid(recipe, options)
    head, tune = recipe.stages[0], recipe.stages[-1]
    if len(recipe.stages) != 2 or not _trains_the_top(head) or _trains_the_top(tune):
        what = "A search for the depth needs two stages: one that trains the top alone, and one that fine-tunes."
        received = ", ".join(f"'{stage.name}'" for stage in recipe.stages)
        fix = "Leave the recipe's stages out: the default ones are these."
        raise RecipeError(what, received=f"the stages {received}", fix=fix)
    named = _by_block(tune)
    if named:
        what = "What is said for single blocks does not hold in every step: in some they are frozen or dropped."
        raise RecipeError(what, received=named, fix="Say it for all blocks: layer_decay, or one mode of batch_norm.")
    if not recipe.data.val:
        received = "val = 0"
        raise no_validation(received)


def _check_depth_unsaid(recipe: Recipe, options: Options) -> None:
    """Refuses what says already how much is frozen.

    Raises:
        RecipeError: if something does.
    """
    if recipe.model.from_scratch:
        what = "A network from random weights has nothing worth freezing: there is no depth to find."
        raise RecipeError(what, received="from_scratch", fix="Leave it out, or leave out --find-depth.")
    if options.freeze is not None:
        what = "The search finds out how much is frozen."
        received = f"freeze = {options.freeze!r}"
        raise RecipeError(what, received=received, fix="Leave --freeze out, or leave out --find-depth.")
    thaw = options.thaw or recipe.stages[-1].thaw
    if options.thaw is not None or thaw != "at_once":
        what = "The search thaws one block more in each step, and trains what is thawed together."
        raise RecipeError(what, received=f"thaw = {thaw!r}", fix="Leave thaw out, or leave out --find-depth.")


def no_validation(received: str) -> RecipeError:
    """The error for a search that has nothing to choose by."""
    what = "The search chooses by the validation side, and that is empty."
    return RecipeError(what, expected="some validation examples", received=received, fix="For example: --val 0.3.")


def _trains_the_top(stage: StagePart) -> bool:
    return stage.train == ("top",) or stage.freeze == FREEZE_ALL


def _by_block(stage: StagePart) -> str:
    """What a stage says for single blocks, in words."""
    tables: dict[str, Any] = {"multipliers": stage.multipliers, "batch_norm": stage.batch_norm}
    found = {key: [*table] for key, table in tables.items() if isinstance(table, Mapping)}
    said = {key: [name for name in names if name != "default"] for key, names in found.items()}
    return ", ".join(f"{key} for {', '.join(names)}" for key, names in said.items() if names)


def recipe_of(recipe: Recipe, step: Step, names: Sequence[str], cut: str | None = None) -> Recipe:
    """The recipe of a step: what ``zoo finetune`` does with the step's ``--freeze`` and ``--cut``.

    Args:
        recipe: The one that is searched.
        step: The step.
        names: The blocks that are copied, bottom to top, those that the step drops among them.
        cut: The layer that is kept as the last, where the step drops blocks.

    Returns:
        The recipe: of its first stage alone where nothing is thawed.

    Example:
        >>> from zoo.said_recipe import said_recipe
        >>> found = recipe_of(said_recipe("glyphs", "digits", None, Options()), Step(0, 1), ["block1", "block2"])
        >>> [(stage.name, stage.train, stage.freeze) for stage in found.stages]
        [('head', ('top',), None), ('fine-tune', None, 'block1')]
    """
    head, tune = recipe.stages
    model = recipe.model if cut is None else replace(recipe.model, cut=cut)
    if not step.thawed:
        return replace(recipe, model=model, stages=(head,))
    return replace(recipe, model=model, stages=(head, replace(tune, train=None, freeze=freeze_of(step, names))))


def freeze_of(step: Step, names: Sequence[str]) -> str:
    """What a step's ``--freeze`` is: ``all``, the highest block that stays frozen, or ``none``.

    Example:
        >>> names = ["block1", "block2", "block3"]
        >>> [freeze_of(step, names) for step in (Step(), Step(0, 1), Step(1, 1), Step(0, 3))]
        ['all', 'block2', 'block1', 'none']
    """
    left = names[: len(names) - step.dropped - step.thawed]
    return FREEZE_ALL if not step.thawed else left[-1] if left else FREEZE_NONE


def said(step: Step, names: Sequence[str]) -> str:
    """A step in words.

    Example:
        >>> names = ["block1", "block2", "block3"]
        >>> [said(step, names) for step in (Step(), Step(0, 2), Step(1, 0), Step(1, 1))]
        ['all frozen', 'block2 and block3 thawed', 'block3 dropped, all frozen', 'block3 dropped, block2 thawed']
    """
    kept = len(names) - step.dropped
    dropped = f"{listed(names[kept:])} dropped, " if step.dropped else ""
    return dropped + (f"{listed(names[kept - step.thawed : kept])} thawed" if step.thawed else "all frozen")


def listed(names: Sequence[str]) -> str:
    """Names in words.

    Example:
        >>> listed(["block1", "block2", "block3"])
        'block1, block2 and block3'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
