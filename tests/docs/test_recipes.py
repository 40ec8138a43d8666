"""The page on recipes has every key, with its default, and its Python runs."""

import re

import pytest

from tests.docs.pages import DOCS, blocks
from zoo.recipe_parts import COMPUTE, DATA, MODEL, TOP
from zoo.recipe_stage import STAGE
from zoo.strict_toml import REQUIRED

PAGE = (DOCS / "recipes.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, str]:
    """The keys of a section's first table, and what it says is each one's default."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    found = {}
    for keys, default in re.findall(r"^\| (`.+?) \|(.*?)\|", section, re.M):
        names, values = re.findall(r"`(\w+)`", keys), default.strip().split(", ")
        found |= dict(zip(names, values if len(values) == len(names) else [default.strip()] * len(names), strict=True))
    return found


@pytest.mark.parametrize(
    ("heading", "keys"),
    [("`[model]`", MODEL), ("`[data]`", DATA), ("`[top]`", TOP), ("`[compute]`", COMPUTE), ("`[[stage]]`", STAGE)],
)
def test_the_tables_have_every_key_with_its_default(heading, keys):
    said = rows(heading)
    assert said.keys() == {key.name for key in keys.keys}
    for key in keys.keys:
        written = said[key.name].strip("`").strip('"')
        if key.default is REQUIRED:
            assert written == "", key.name
        elif isinstance(key.default, (bool, int, float, str)):
            assert written.lower() == str(key.default).lower(), key.name
        else:
            assert written or key.name in ("train", "freeze"), key.name  # one of the two is needed


def test_its_python_runs(capsys):
    for block in blocks(PAGE):
        if block.language == "python":
            exec(block.code, {})
    assert capsys.readouterr().out == "1\n"
