"""``zoo run``: what a recipe says."""

from typing import Any

import click

from .running import asked, carry_out, outcome, recipe_with


@click.command("run")
@click.argument("recipe", metavar="RECIPE")
@outcome
def command(recipe: str, settings: tuple[str, ...], **given: Any) -> None:
    """Run RECIPE, and write everything about it into a run folder.

    RECIPE is a path, or a name that `zoo recipe list` shows; of a run folder, its recipe.toml is taken.

    For example: zoo run few-shot-digits --set seed=3 --set stage.head.epochs=20 --out runs/third
    """
    wanted = asked(given)
    carry_out(wanted, None, None, recipe_with(recipe, settings, None, None, {}), {})
