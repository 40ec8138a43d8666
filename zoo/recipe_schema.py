"""The form of a recipe as JSON schema, for editors: made from the same keys that a recipe is read by."""

from typing import Any

from .key_form import Keys
from .optimizer_table import schedule_schema
from .recipe_parts import COMPUTE, DATA, MODEL, SEED, TOP
from .recipe_stage import STAGE

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TABLES: tuple[tuple[str, Keys, str], ...] = (
    ("model", MODEL, "which network, where it is cut, and whether it starts from random weights"),
    ("data", DATA, "which data, how it is split, and how it is fed"),
    ("top", TOP, "the fresh layers, and the loss"),
    ("compute", COMPUTE, "how it is computed"),
)


def recipe_schema() -> dict[str, Any]:
    """The form of a recipe as JSON schema (draft 2020-12).

    What reading a recipe accepts, the schema accepts; what only reading can say (a network's blocks, settings that
    exclude each other in ways that a schema has no words for) it leaves to reading.

    Returns:
        The schema, plain data.

    Example:
        >>> sorted(recipe_schema()["properties"])
        ['compute', 'data', 'model', 'schema', 'seed', 'stage', 'top']
    """
    tables = {name: {"description": says, **keys.schema()} for name, keys, says in _TABLES}
    either = {"oneOf": [{"required": ["train"]}, {"required": ["freeze"]}]}
    not_both = {"not": {"required": ["layer_decay", "multipliers"]}}
    stage = {**STAGE.schema(), "allOf": [either, not_both]}
    return {
        "$schema": _DRAFT,
        "title": "A recipe of zoo",
        "type": "object",
        "properties": {
            "schema": {"description": "the form of the file", "const": 1},
            SEED.name: SEED.schema(),
            **tables,
            "stage": {"description": "the stages, in order", "type": "array", "items": stage},
        },
        "required": ["schema", "model", "data"],
        "additionalProperties": False,
        "$defs": {"schedule": schedule_schema()},
    }


def recipe_schema_text() -> str:
    """The schema as the text of the file that comes with zoo, ``zoo/recipes/recipe.schema.json``."""
    import json

    return json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n"
