"""The schema for editors says what the reader does: the same keys, and whatever the reader takes."""

import json
import tomllib
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from zoo import recipe as recipes
from zoo.errors import RecipeError
from zoo.keras_names import OPTIMIZERS, SCHEDULES
from zoo.optimizer_table import OptimizerForm
from zoo.recipe import parse_recipe, recipe_from, recipe_text, shipped_recipes
from zoo.recipe_schema import recipe_schema, recipe_schema_text

from .test_broken_recipes import BROKEN
from .test_recipe import WHOLE, whole

SCHEMA = recipe_schema()
FILE = next(iter(shipped_recipes().values())).parent / "recipe.schema.json"
CHECK = Draft202012Validator(SCHEMA)


def faults(data: Any) -> list[str]:
    return [error.message for error in CHECK.iter_errors(data)]


def test_the_file_that_comes_with_zoo_is_the_schema():
    assert FILE.read_text(encoding="utf-8") == recipe_schema_text(), "write it again: zoo recipe schema"
    Draft202012Validator.check_schema(json.loads(FILE.read_text(encoding="utf-8")))


def objects(schema: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """The keys of every object of the schema that takes no others, by its path."""
    found = {}
    if isinstance(schema, dict):
        if schema.get("additionalProperties") is False:
            found[path] = set(schema["properties"])
        for key, inner in schema.get("properties", {}).items():
            found |= objects(inner, (*path, key))
        for key in ("items", "anyOf"):
            several = schema.get(key, [])
            for inner in several if isinstance(several, list) else [several]:
                found |= objects(inner, path)
    return found


TABLES = objects(SCHEMA)


def known(path: tuple[str, ...]) -> set[str]:
    """The keys that the reader knows in a table: it takes an unknown one for none of them, and names them all."""
    data = deepcopy(WHOLE)
    for stage in data["stage"]:
        stage.pop("early_stopping", None), stage.pop("weight_averaging", None), stage.pop("reduce_on_plateau", None)
    table: Any = data
    for key in path:
        table = table[0] if isinstance(table, list) else table
        table = table.setdefault(key, {})
    table = table[0] if isinstance(table, list) else table
    table["?"] = 1
    with pytest.raises(RecipeError) as caught:
        recipe_from(data, "r")
    message = str(caught.value)
    assert message.startswith("r: unknown key '"), message
    return set(message.rpartition("Known: ")[2].rstrip(".").split(", "))


@pytest.mark.parametrize("path", [path for path in TABLES if path[-1:] not in (("optimizer",), ("l2_sp",))])
def test_schema_and_reader_know_the_same_keys(path):
    assert known(path) == TABLES[path]


def test_schema_and_reader_know_the_same_arguments():
    assert TABLES[("stage", "optimizer")] == {"name", *(key for keys in OPTIMIZERS.values() for key in keys)}
    schedule = SCHEMA["$defs"]["schedule"]["properties"]
    assert set(schedule) == {"name", *(key for keys in SCHEDULES.values() for key in keys)}
    assert TABLES[("stage", "l2_sp")] == {"alpha", "beta"}
    assert set(OptimizerForm().schema()["properties"]) == TABLES[("stage", "optimizer")]


@given(whole())
def test_what_the_reader_takes_the_schema_takes(recipe):
    assert faults(tomllib.loads(recipe_text(recipe))) == []


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_fit(name):
    assert faults(tomllib.loads(shipped_recipes()[name].read_text(encoding="utf-8"))) == []


def test_what_the_tests_take_for_a_whole_recipe_fits():
    assert faults(WHOLE) == []


def test_the_schema_finds_most_of_what_is_broken():
    """What it cannot find takes more than one table to see, or names that depend on one another."""
    parsed = [text for text, *_ in BROKEN if not text.startswith("schema = 1\nseed = =")]
    missed = [text for text in parsed if not faults(tomllib.loads(text))]
    assert len(missed) < len(parsed) / 3


def test_every_key_says_what_it_is_for():
    for path, keys in TABLES.items():
        if path[-1:] == ("optimizer",):
            continue
        table: Any = SCHEMA
        for key in path:
            table = table["properties"][key]
            table = table.get("items", table) if table.get("type") == "array" else table
        found = [table, *table.get("anyOf", [])]
        properties = next(one["properties"] for one in found if "properties" in one)
        assert all(properties[key].get("description") for key in keys), path


def test_defaults_in_the_schema_are_those_of_the_reader():
    plain = parse_recipe('schema = 1\n[model]\nname = "n"\n[data]\npath = "d"')
    for name in ("model", "data", "top", "compute"):
        for key, says in SCHEMA["properties"][name]["properties"].items():
            if "default" in says:
                value = getattr(getattr(plain, name), key)
                assert says["default"] == (list(value) if isinstance(value, tuple) else value)


def test_words_in_the_schema_are_those_of_the_reader():
    data = SCHEMA["properties"]["data"]["properties"]
    assert data["augment"]["anyOf"][0]["enum"] == list(recipes.AUGMENTATIONS)
    assert data["target"]["enum"] == list(recipes.TARGETS)
