"""Recipes: everything that a run does, as strict TOML.

A recipe is data. What is not written has a default; the recipe in a run folder has every default written out.
"""

import math
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from . import strict_toml
from .byte_size import size_of
from .errors import RecipeError, close_matches
from .recipe_stage import StagePart, are_weights, read_stage
from .strict_toml import Table
from .trunk_options import CACHES, ENGINES, FEATURE_DTYPES, TRUNK_PRECISIONS

#: Presets for images, for both kinds (`none`, `mixup`), and for vectors (the last two).
AUGMENTATIONS = ("none", "light", "standard", "strong", "cutmix", "mixup", "noise", "feature_dropout")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
TARGETS = ("auto", "classes", "labels", "numbers")
LOSSES = (
    "auto",
    "categorical_crossentropy",
    "binary_crossentropy",
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
)


@dataclass(frozen=True)
class ModelPart:
    """``[model]``: which network, where it is cut, and whether it starts from random weights.

    ``args`` are the builder's arguments, over the card's; only with ``from_scratch``.
    """

    name: str
    cut: str | None = None
    from_scratch: bool = False
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataPart:
    """``[data]``: which data, how it is split, and how it is fed.

    ``val`` and ``test`` are shares of the whole; ``test = "rest"`` makes everything that is not labelled the test side,
    and ``val`` a share of the labelled. ``limit_per_class`` counts training and validation together. ``views`` is how
    many views of each augmented example there are; with 0 it looks different in every epoch.
    """

    path: str
    val: float = 0.1
    test: float | str = 0.2
    limit_per_class: int | None = None
    augment: str | tuple[dict[str, Any], ...] = "none"
    views: int = 0
    batch_size: int = 32
    class_weights: str | dict[str, float] = "none"
    target: str = "auto"
    label_column: tuple[str, ...] = ()
    path_column: str | None = None
    text_column: str | None = None
    feature_columns: tuple[str, ...] = ()
    skip_bad: bool = False


@dataclass(frozen=True)
class TopPart:
    """``[top]``: the fresh layers, and the loss."""

    hidden: tuple[int, ...] = ()
    activation: str | dict[str, Any] = "elu"
    dropout: float = 0.0
    loss: str = "auto"
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class ComputePart:
    """``[compute]``: how it is computed; ``threads = 0`` means as many as the machine has, up to 8: the run says.

    ``engine`` and ``trunk_precision`` are for what is frozen; ``cache``, ``cache_size`` and ``feature_dtype`` for what
    it gives. ``checkpoint_every`` is the seconds between the checkpoints within a stage, 0 for none; by default as
    often as costs little, and every five minutes at least.
    """

    engine: str = "auto"
    trunk_precision: str = "float32"
    cache: str = "disk"
    cache_size: str | None = None
    feature_dtype: str = "float32"
    precision: str = "float32"
    threads: int = 0
    device: str = "auto"
    checkpoint_every: float | None = None


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; see :func:`read_recipe` for its form in TOML."""

    model: ModelPart
    data: DataPart
    seed: int = 0
    top: TopPart = TopPart()
    compute: ComputePart = ComputePart()
    stages: tuple[StagePart, ...] = ()


def read_recipe(source: str | os.PathLike[str]) -> Recipe:
    """Reads a recipe.

    Args:
        source: A path, or the name of a recipe that comes with zoo, such as ``glyphs``.

    Returns:
        The recipe.

    Raises:
        RecipeError: naming file and key, if the file is missing, is not TOML, or has unknown, missing or wrong keys.

    Example:
        >>> read_recipe("glyphs").model.name
        'convnet'
    """
    text = os.fspath(source)
    path = Path(text)
    if not isinstance(source, os.PathLike) and not path.suffix and "/" not in text:
        path = shipped_recipes().get(text, path)
        if not path.exists():
            what = f"There is no recipe '{text}'."
            expected = "a path to a .toml file, or a shipped name"
            raise RecipeError(what, expected=expected, fix=close_matches(text, shipped_recipes()))
    return _read(strict_toml.read(path, RecipeError))


def parse_recipe(text: str, where: str = "recipe") -> Recipe:
    """Reads a recipe from TOML text; see :func:`read_recipe`."""
    return _read(strict_toml.parse(text, where, RecipeError))


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with zoo, by name."""
    return {file.stem: file for file in sorted((Path(__file__).parent / "recipes").glob("*.toml"))}


def _read(table: Table) -> Recipe:
    seed = table.take("seed", int, 0)
    table.check("seed", 0 <= seed < 2**63, "0 to 2**63 - 1", seed)
    with table.table("model", required=True) as inner:
        model = _read_model(inner)
    with table.table("data", required=True) as inner:
        data = _read_data(inner)
    with table.table("top") as inner:
        top = _read_top(inner)
    with table.table("compute") as inner:
        compute = ComputePart(
            engine=inner.choice("engine", ENGINES, "auto"),
            trunk_precision=inner.choice("trunk_precision", TRUNK_PRECISIONS, "float32"),
            cache=inner.choice("cache", CACHES, "disk"),
            cache_size=inner.optional("cache_size", str),
            feature_dtype=inner.choice("feature_dtype", FEATURE_DTYPES, "float32"),
            precision=inner.choice("precision", PRECISIONS, "float32"),
            threads=inner.take("threads", int, 0),
            device=inner.take("device", str, "auto"),
            checkpoint_every=inner.optional("checkpoint_every", float),
        )
        size = compute.cache_size
        inner.check("cache_size", size is None or size_of(size) is not None, "a size, such as 20 GB", size)
        inner.check("threads", compute.threads >= 0, "0 or more", compute.threads)
        every = compute.checkpoint_every
        inner.check("checkpoint_every", every is None or 0 <= every < math.inf, "seconds, 0 or more", every)
    stages = table.tables("stage", read_stage, named=True)
    table.close()
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names):
        table.fail("stage", "stages of different names", names)
    return Recipe(model, data, seed, top, compute, stages)


def _read_model(table: Table) -> ModelPart:
    part = ModelPart(
        table.take("name", str),
        table.optional("cut", str),
        table.take("from_scratch", bool, False),
        table.take("args", dict, {}),
    )
    if part.args and not part.from_scratch:
        table.fail(
            "args", "from_scratch = true beside it", part.args, "A pretrained network's arguments are its card's."
        )
    return part


def _read_data(table: Table) -> DataPart:
    test = table.take_any("test", 0.2)
    val = table.take("val", float, 0.1)
    if not (test == "rest" or (isinstance(test, (int, float)) and not isinstance(test, bool) and 0 <= test < 1)):
        table.fail("test", 'a share from 0 to below 1, or "rest"', test)
    below = 0 <= val < 1 and (test == "rest" or val + float(test) < 1)
    table.check("val", below, "0 or more, and below 1 together with test", val)
    limit = table.optional("limit_per_class", int)
    table.check("limit_per_class", limit is None or limit >= 1, "1 or more", limit)
    if test == "rest" and limit is None:
        table.fail("test", "a share, where no limit_per_class says what is labelled", test)
    views = table.take("views", int, 0)
    table.check("views", views >= 0, "0 or more", views)
    batch_size = table.take("batch_size", int, 32)
    table.check("batch_size", batch_size >= 1, "1 or more", batch_size)
    return DataPart(
        path=table.take("path", str),
        val=val,
        test=test if isinstance(test, str) else float(test),
        limit_per_class=limit,
        augment=_read_augment(table),
        views=views,
        batch_size=batch_size,
        class_weights=_read_class_weights(table),
        target=table.choice("target", TARGETS, "auto"),
        label_column=table.strings("label_column", []),
        path_column=table.optional("path_column", str),
        text_column=table.optional("text_column", str),
        feature_columns=table.strings("feature_columns", []),
        skip_bad=table.take("skip_bad", bool, False),
    )


def _read_augment(table: Table) -> str | tuple[dict[str, Any], ...]:
    value = table.take_any("augment", "none")
    if value == []:
        return "none"
    if isinstance(value, list) and all(isinstance(v, dict) and isinstance(v.get("name"), str) for v in value):
        return tuple(value)
    if value not in AUGMENTATIONS:
        expected = f'{" | ".join(AUGMENTATIONS)}, or a list of layers: [{{ name = "RandomFlip", ... }}]'
        table.fail("augment", expected, value, close_matches(str(value), AUGMENTATIONS))
    return str(value)


def _read_class_weights(table: Table) -> str | dict[str, float]:
    value = table.take_any("class_weights", "none")
    if isinstance(value, dict) and are_weights(value):
        return {name: float(v) for name, v in value.items()}
    if value not in ("none", "balanced"):
        table.fail("class_weights", "none | balanced, or a table of class = weight, 0 or more", value)
    return value


def _read_activation(table: Table) -> str | dict[str, Any]:
    value = table.take_any("activation", "elu")
    named = value.get("name") if isinstance(value, dict) else value
    if not isinstance(named, str):
        table.fail("activation", 'a name, or a table such as { name = "elu", alpha = 0.5 }', value)
    return value


def _read_top(table: Table) -> TopPart:
    part = TopPart(
        table.numbers("hidden", [], whole=True),
        _read_activation(table),
        table.take("dropout", float, 0.0),
        table.choice("loss", LOSSES, "auto"),
        table.take("label_smoothing", float, 0.0),
    )
    table.check("hidden", all(n >= 1 for n in part.hidden), "widths of 1 or more", list(part.hidden))
    table.check("dropout", 0 <= part.dropout < 1, "0 to below 1", part.dropout)
    table.check("label_smoothing", 0 <= part.label_smoothing < 1, "0 to below 1", part.label_smoothing)
    return part


def recipe_text(recipe: Recipe) -> str:
    """The recipe as TOML text, every default written out; :func:`parse_recipe` gives it back."""
    import tomli_w

    data: dict[str, Any] = {"schema": 1, "seed": recipe.seed}
    for name in ("model", "data", "top", "compute"):
        data[name] = _plain(getattr(recipe, name))
    data["stage"] = [_plain(stage) for stage in recipe.stages]
    return tomli_w.dumps(data)


def _plain(part: Any) -> dict[str, Any]:
    """A part as a table; what is ``None`` or an empty table is left out: TOML has no word for it."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v is not None and v != {}}
