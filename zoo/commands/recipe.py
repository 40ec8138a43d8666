"""``zoo recipe``: the recipes that come with zoo, and those to be written."""

import json
from pathlib import Path

import click

from ..errors import RecipeError, RunError
from ..recipe import recipe_file, shipped_recipes
from ..strict_toml import text_of
from ..text_table import text_table


@click.group("recipe")
def command() -> None:
    """List, show and write recipes: runs as TOML files, for `zoo run`.

    For example: zoo recipe new glyphs my_images --out mine.toml
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the recipes that come with zoo."""
    rows = [(name, _about(file)) for name, file in shipped_recipes().items()]
    if as_json:
        click.echo(json.dumps([{"name": name, "about": about} for name, about in rows], ensure_ascii=False, indent=1))
        return
    click.echo(text_table(("name", "what it does"), rows))


def _about(file: Path) -> str:
    """A recipe's first line of comment."""
    lines = text_of(file, RecipeError).splitlines()
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("#") and line.strip("# ")), "")


@command.command("show")
@click.argument("recipe", metavar="NAME|FILE")
def show(recipe: str) -> None:
    """Print a recipe as it is written, comments and all."""
    click.echo(text_of(recipe_file(recipe), RecipeError), nl=False)


@command.command("new")
@click.argument("model")
@click.argument("data")
@click.option("--out", type=click.Path(path_type=Path), help="The file; it must not exist.  [default: print it]")
def new(model: str, data: str, out: Path | None) -> None:
    """Write a recipe to start from: what MODEL and DATA hold, and the keys that one is likely to change."""
    if out is not None and out.exists():
        what = f"{out} exists already."
        raise RunError(what, expected="a path where nothing is", fix="Choose another --out, or remove it.")
    from .. import registry
    from ..new_recipe import must_be_loaded, new_recipe

    if must_be_loaded(registry.find(model)):
        from .starting import quietly

        with quietly():
            from .. import network  # noqa: F401
    text = new_recipe(model, data)
    if out is None:
        click.echo(text, nl=False)
        return
    from ..atomic import write_text

    write_text(out, text)
    click.echo(f"next: zoo run {out} --out runs/NAME")


@command.command("schema")
def schema() -> None:
    """Print the form of a recipe as JSON schema, for editors."""
    from ..recipe_schema import recipe_schema_text

    click.echo(recipe_schema_text(), nl=False)
