"""What a command line says is a recipe: every flag has its key, every key can be said, and both say the same."""

from dataclasses import fields

import click
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zoo.commands.finetune import command as finetune
from zoo.commands.run import command as run
from zoo.errors import RecipeError
from zoo.keras_names import OPTIMIZERS
from zoo.options import Options, with_options
from zoo.recipe import AUGMENTATIONS, LOSSES, PRECISIONS, TARGETS, Recipe, parse_recipe, recipe_text
from zoo.recipe_parts import COMPUTE, DATA, MODEL, TOP, ComputePart, DataPart, ModelPart, TopPart
from zoo.recipe_stage import BATCH_NORM, STAGE, THAWS, StagePart
from zoo.said_recipe import said_recipe
from zoo.schedule_option import SCHEDULES
from zoo.trunk_options import CACHES, ENGINES, FEATURE_DTYPES, TRUNK_PRECISIONS

#: Where a recipe says what a flag says, for those that do not have the name of their key.
KEYS = {
    "model": "model.name",
    "data": "data.path",
    "head_epochs": "stage.epochs",
    "head_learning_rate": "stage.optimizer",
    "learning_rate": "stage.optimizer",
    "schedule": "stage.optimizer",
    "momentum": "stage.optimizer",
    "nesterov": "stage.optimizer",
    "weight_decay": "stage.optimizer",
    "clipnorm": "stage.optimizer",
    "clipvalue": "stage.optimizer",
    "global_clipnorm": "stage.optimizer",
    "patience": "stage.early_stopping",
    "no_cache": "compute.cache",
}
#: What is not the run, but what becomes of it; and where the recipe comes from.
NOT_THE_RUN = {
    "out",
    "find_depth",
    "settings",
    "seeds",
    "save_recipe",
    "dry_run",
    "as_json",
    "quiet",
    "recipe",
    "debug",
}
#: What only a file or --set can say.
ONLY_SET = {"model.args", "stage.name", "stage.train", "stage.reduce_on_plateau"}

TABLES = {"model": MODEL, "data": DATA, "top": TOP, "compute": COMPUTE, "stage": STAGE}
ALL_KEYS = {"seed", *(f"{name}.{key.name}" for name, table in TABLES.items() for key in table.keys)}


def key_of(flag: str) -> str:
    return KEYS.get(flag) or next(key for key in ALL_KEYS if key.rpartition(".")[2] == flag)


def test_every_flag_has_a_key_and_every_key_a_flag_or_set():
    flags = {param.name for param in finetune.params} - NOT_THE_RUN
    said = {key_of(flag) for flag in flags}
    assert said <= ALL_KEYS
    assert ALL_KEYS - said == ONLY_SET
    assert any(param.name == "settings" for param in finetune.params)


def test_what_is_done_with_a_recipe_is_the_same_for_both_commands():
    both = [{p.name: p.opts for p in c.params if isinstance(p, click.Option)} for c in (finetune, run)]
    done = NOT_THE_RUN - {"recipe", "debug"}
    assert {name: both[0][name] for name in done} == {name: both[1][name] for name in done}
    assert both[1].keys() - {"debug"} == done


def test_the_keys_of_each_table_are_those_of_its_part_with_its_defaults():
    for keys, part in ((MODEL, ModelPart("n")), (DATA, DataPart("d")), (TOP, TopPart()), (COMPUTE, ComputePart())):
        assert [key.name for key in keys.keys] == [field.name for field in fields(part)]
        for key in keys.keys[1 if keys in (MODEL, DATA) else 0 :]:
            assert key.default == getattr(part, key.name)
    assert {key.name for key in STAGE.keys} == {field.name for field in fields(StagePart)}
    for field in fields(StagePart)[3:]:
        assert next(key for key in STAGE.keys if key.name == field.name).default == field.default


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
rates = st.floats(1e-6, 10)
OPTIONS = {
    "seed": st.integers(0, 2**63 - 1),
    "cut": words,
    "from_scratch": st.booleans(),
    "val": st.floats(0, 0.4),
    "test": st.floats(0, 0.4) | st.just("rest"),
    "limit_per_class": st.integers(1, 99),
    "augment": st.sampled_from(AUGMENTATIONS),
    "views": st.integers(0, 3),
    "batch_size": st.integers(1, 512),
    "class_weights": st.sampled_from(("none", "balanced")) | st.dictionaries(words, rates, min_size=1, max_size=2),
    "target": st.sampled_from(TARGETS),
    "label_column": st.lists(words, max_size=2).map(tuple),
    "path_column": words,
    "text_column": words,
    "feature_columns": st.lists(words, max_size=2).map(tuple),
    "skip_bad": st.booleans(),
    "hidden": st.lists(st.integers(1, 99), max_size=2).map(tuple),
    "activation": words,
    "dropout": st.floats(0, 0.9),
    "loss": st.sampled_from(LOSSES),
    "label_smoothing": st.floats(0, 0.9),
    "engine": st.sampled_from(ENGINES),
    "trunk_precision": st.sampled_from(TRUNK_PRECISIONS),
    "cache": st.sampled_from(CACHES),
    "cache_size": st.sampled_from(("5GB", "1.5 TB")),
    "feature_dtype": st.sampled_from(FEATURE_DTYPES),
    "precision": st.sampled_from(PRECISIONS),
    "threads": st.integers(0, 8),
    "device": st.sampled_from(("auto", "cpu", "gpu:1")),
    "checkpoint_every": st.floats(0, 900),
    "freeze": st.sampled_from(("all", "none", "half", "block1")),
    "head_epochs": st.integers(1, 99),
    "head_learning_rate": rates,
    "epochs": st.integers(1, 99),
    "optimizer": st.sampled_from([*OPTIMIZERS]),
    "learning_rate": rates,
    "schedule": st.sampled_from(SCHEDULES),
    "momentum": st.floats(0, 0.99),
    "nesterov": st.booleans(),
    "weight_decay": rates,
    "clipnorm": rates,
    "clipvalue": rates,
    "global_clipnorm": rates,
    "layer_decay": st.floats(0.1, 1),
    "multipliers": st.dictionaries(words, rates, min_size=1, max_size=2),
    "thaw": st.sampled_from(THAWS),
    "batch_norm": st.sampled_from(BATCH_NORM) | st.dictionaries(words, st.sampled_from(BATCH_NORM), min_size=1),
    "patience": st.integers(2, 9),
    "l2_sp": st.floats(0, 1),
    "weight_averaging": st.floats(0, 0.9),
}


@st.composite
def flags(draw):
    """Some flags: few enough that they seldom contradict one another."""
    names = draw(st.lists(st.sampled_from([*OPTIONS]), unique=True, max_size=6))
    return Options(**{name: draw(OPTIONS[name]) for name in names})


def made(options: Options, base: Recipe | None = None) -> Recipe:
    try:
        return said_recipe("glyphs", "rows.csv", base, options)
    except RecipeError:
        assume(False)
        raise


def test_the_strategies_know_every_option():
    assert OPTIONS.keys() == {field.name for field in fields(Options)}


@given(flags())
def test_flags_are_a_recipe_that_says_the_same(options):
    said = made(options)
    again = parse_recipe(recipe_text(said))
    assert again == said
    assert with_options(again, Options()) == said, "no flags over it change nothing"
    assert said_recipe(None, None, again, Options()) == said


@given(flags(), flags())
def test_flags_over_a_recipe_are_a_recipe_too(before, after):
    said = made(after, made(before))
    assert with_options(parse_recipe(recipe_text(said)), Options()) == said


@given(flags())
def test_the_same_flags_again_change_nothing(options):
    said = made(options)
    try:
        assert made(options, said) == said
    except RecipeError:  # --head-epochs where --freeze all left one stage, and the like
        raise AssertionError(options) from None


def test_the_command_line_says_what_preparing_a_run_takes():
    from zoo.preparation import resolve

    table = said_recipe("glyphs", "a.csv", None, Options(label_column=("y",), feature_columns=("x",)))
    for network, data, base, options in (
        ("glyphs", "digits", None, Options(seed=3, epochs=4)),
        (None, None, table, Options(batch_size=8)),
        ("dnn", None, table, Options(from_scratch=True)),
        (None, "b.csv", table, Options()),
        (None, "digits", table, Options()),
        ("other.keras", "folder", table, Options(freeze="all")),
    ):
        assert said_recipe(network, data, base, options) == resolve(network, data, base, options)


@pytest.mark.parametrize(("network", "data"), [(None, None), ("glyphs", None), (None, "digits")])
def test_a_run_needs_a_network_and_data(network, data):
    with pytest.raises(RecipeError, match=r"^A run needs a network and data\. Say both, or give a recipe\.$"):
        said_recipe(network, data, None, Options())
