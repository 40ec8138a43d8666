"""The recipe that a command line says: network, data and flags over a recipe, without loading anything."""

from dataclasses import replace

from .errors import RecipeError
from .options import Options, with_options
from .recipe import DataPart, ModelPart, Recipe


def said_recipe(network: str | None, data: str | None, recipe: Recipe | None, options: Options) -> Recipe:
    """What a command line says, as one recipe; running that gives the same.

    Args:
        network: A name or a path; ``None`` for the recipe's.
        data: A built-in name or a path; ``None`` for the recipe's.
        recipe: What the others go over.
        options: Flags; they win.

    Returns:
        The recipe, with its stages.

    Raises:
        RecipeError: if network or data are said nowhere, the flags contradict each other, or a value is out of range.

    Example:
        >>> said = said_recipe("glyphs", "digits", None, Options(seed=3, freeze="all", head_epochs=5))
        >>> said.seed, [(stage.name, stage.epochs) for stage in said.stages]
        (3, [('head', 5)])
    """
    if recipe is None:
        if network is None or data is None:
            what = "A run needs a network and data."
            raise RecipeError(what, fix="Say both, or give a recipe.")
        return with_options(Recipe(ModelPart(network), DataPart(data)), options)
    if network is not None:
        recipe = replace(recipe, model=replace(recipe.model, name=network))
    if data is not None:
        recipe = replace(recipe, data=_for_other_data(recipe.data, data))
    return with_options(recipe, options)


def _for_other_data(part: DataPart, path: str) -> DataPart:
    """The recipe's part for other data; the columns of a table stay where that is one too, to be chosen by name."""
    from .data import TakenColumns, is_table

    part = replace(part, path=path)
    return part if is_table(path) else replace(part, **vars(TakenColumns()))
