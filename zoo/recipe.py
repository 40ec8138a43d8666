"""Recipes: everything that a run does, as strict TOML.

A recipe is data. What is not written has a default; the recipe in a run folder has every default written out.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import strict_toml
from .errors import RecipeError, close_matches
from .key_form import read_keys
from .recipe_checks import check_data, check_model, check_together
from .recipe_parts import (
    AUGMENTATIONS,
    COMPUTE,
    DATA,
    LOSSES,
    MODEL,
    PRECISIONS,
    SEED,
    TARGETS,
    TOP,
    ComputePart,
    DataPart,
    ModelPart,
    TopPart,
    table_of,
)
from .recipe_stage import StagePart, read_stage
from .settings import with_settings
from .strict_toml import Table

__all__ = [
    "AUGMENTATIONS",
    "LOSSES",
    "PRECISIONS",
    "TARGETS",
    "ComputePart",
    "DataPart",
    "ModelPart",
    "Recipe",
    "TopPart",
    "parse_recipe",
    "read_recipe",
    "recipe_file",
    "recipe_from",
    "recipe_text",
    "shipped_recipes",
]


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; see :func:`read_recipe` for its form in TOML."""

    model: ModelPart
    data: DataPart
    seed: int = 0
    top: TopPart = field(default_factory=TopPart)
    compute: ComputePart = field(default_factory=ComputePart)
    stages: tuple[StagePart, ...] = ()


def read_recipe(source: str | os.PathLike[str], *, set: Mapping[str, Any] | None = None) -> Recipe:
    """Reads a recipe, and sets some of its keys to other values before it is checked.

    Args:
        source: A path (of a run folder, its ``recipe.toml``), or the name of a recipe that comes with zoo, such as
            ``glyphs``.
        set: Values by the addresses of their keys, as ``zoo run --set`` takes them: ``seed``, ``data.limit_per_class``,
            ``stage.head.epochs``, ``stage.0.epochs``.

    Returns:
        The recipe.

    Raises:
        RecipeError: naming file and key, if the file is missing, is not TOML, has unknown, missing or wrong keys, or
            contradicts itself.

    Example:
        >>> read_recipe("glyphs").model.name
        'convnet'
        >>> read_recipe("glyphs", set={"seed": 3, "stage.scratch.epochs": 1}).stages[0].epochs
        1
    """
    file = recipe_file(source)
    text = strict_toml.text_of(file, RecipeError)
    return recipe_from(strict_toml.data_of(text, str(file), RecipeError), str(file), set)


def recipe_file(source: str | os.PathLike[str]) -> Path:
    """The file of a recipe: the path itself, that of a shipped name, or the one in a run folder.

    Raises:
        RecipeError: if it is a name that no shipped recipe has.

    Example:
        >>> recipe_file("glyphs").name
        'glyphs.toml'
    """
    text = os.fspath(source)
    path = Path(text)
    if not isinstance(source, os.PathLike) and not path.suffix and "/" not in text:
        path = shipped_recipes().get(text, path)
        if not path.exists():
            what = f"There is no recipe '{text}'."
            expected = "a path to a .toml file, or a shipped name"
            raise RecipeError(what, expected=expected, fix=close_matches(text, shipped_recipes()))
    return path / "recipe.toml" if path.is_dir() else path


def parse_recipe(text: str, where: str = "recipe") -> Recipe:
    """Reads a recipe from TOML text; see :func:`read_recipe`."""
    return _read(strict_toml.parse(text, where, RecipeError))


def recipe_from(data: Mapping[str, Any], where: str, set: Mapping[str, Any] | None = None) -> Recipe:
    """Reads a recipe from parsed TOML, with some keys set; see :func:`read_recipe`.

    Example:
        >>> recipe_from({"schema": 1, "model": {"name": "glyphs"}}, "mine", set={"data.path": "digits"}).data.path
        'digits'
    """
    if not set:
        return _read(strict_toml.checked(dict(data), where, RecipeError))
    made = with_settings(data, set, where)
    return _read(strict_toml.checked(made, f"{where}, with {', '.join(set)} set", RecipeError))


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with zoo, by name."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "recipes").glob("*.toml"))}


def _read(table: Table) -> Recipe:
    table.only(("schema", SEED.name, "model", "data", "top", "compute", "stage"))
    seed = SEED.form.take(table, SEED.name, SEED.default)
    with table.table("model", required=True) as inner:
        model = ModelPart(**read_keys(inner, MODEL.keys))
        check_model(inner, model)
    with table.table("data", required=True) as inner:
        data = DataPart(**read_keys(inner, DATA.keys))
        check_data(inner, data)
    with table.table("top") as inner:
        top = TopPart(**read_keys(inner, TOP.keys))
    with table.table("compute") as inner:
        compute = ComputePart(**read_keys(inner, COMPUTE.keys))
    stages = table.tables("stage", read_stage, named=True)
    table.close()
    check_together(table, model, data, top, stages)
    return Recipe(model, data, seed, top, compute, stages)


def recipe_text(recipe: Recipe) -> str:
    """The recipe as TOML text, every default written out; :func:`parse_recipe` gives it back."""
    import tomli_w

    data: dict[str, Any] = {"schema": 1, "seed": recipe.seed}
    for name in ("model", "data", "top", "compute"):
        data[name] = table_of(getattr(recipe, name))
    data["stage"] = [table_of(stage) for stage in recipe.stages]
    return tomli_w.dumps(data)
