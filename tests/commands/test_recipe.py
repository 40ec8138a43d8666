"""``zoo recipe``: list, show, new, schema."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.recipe import parse_recipe, read_recipe, shipped_recipes
from zoo.recipe_schema import recipe_schema

ROOT = Path(__file__).parents[2]


def test_list_shows_each_with_its_first_line(call):
    result = call("recipe", "list")
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (0, 1 + len(shipped_recipes()))
    about = "The shipped network glyphs.v1: a small convolutional network on rendered characters."
    assert any(line.split() == ["glyphs", *about.split()] for line in lines)
    rows = json.loads(call("recipe", "list", "--json").stdout)
    assert {row["name"] for row in rows} == set(shipped_recipes())
    assert all(row["about"].endswith((".", ":")) and not row["about"].startswith("#") for row in rows)


def test_show_prints_the_file_as_it_is(call, tmp_path):
    file = shipped_recipes()["glyphs"]
    assert call("recipe", "show", "glyphs").stdout == file.read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text("# mine\nschema = 1\n", encoding="utf-8")
    assert call("recipe", "show", tmp_path / "mine.toml").stdout == "# mine\nschema = 1\n"


def test_show_names_what_is_near(call):
    result = call("recipe", "show", "glyfs")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: There is no recipe 'glyfs'. Expected a path to a .toml file, or a shipped")
    assert "Did you mean 'glyphs'" in result.stderr


def test_new_prints_or_writes_one(call, tmp_path):
    printed = call("recipe", "new", "glyphs", "digits")
    assert printed.exit_code == 0
    assert parse_recipe(printed.stdout).model.name == "glyphs"
    out = tmp_path / "mine.toml"
    written = call("recipe", "new", "glyphs", "digits", "--out", out)
    assert written.stdout == f"next: zoo run {out} --out runs/NAME\n"
    assert out.read_text(encoding="utf-8") == printed.stdout
    again = call("recipe", "new", "glyphs", "digits", "--out", out)
    assert again.exit_code == 1
    assert (
        f"{out} exists already. Expected a path where nothing is. Choose another --out, or remove it." in again.stderr
    )


def test_new_of_a_run_takes_the_card_s_blocks_and_runs(call, tiny, tmp_path):
    out = tmp_path / "mine.toml"
    assert call("recipe", "new", tiny, "digits", "--out", out).exit_code == 0
    said = out.read_text(encoding="utf-8")
    assert "# blocks, bottom to top: block1, block2" in said
    assert said.count("top (new)") == 1
    quick = ("--set", "stage.head.epochs=1", "--set", "stage.fine-tune.epochs=1", "--set", "data.limit_per_class=2")
    result = call("run", out, "--out", tmp_path / "run", "--quiet", *quick)
    assert result.exit_code == 0, result.output
    assert read_recipe(tmp_path / "run" / "recipe.toml").stages[0].epochs == 1


def test_schema_prints_it(call):
    assert json.loads(call("recipe", "schema").stdout) == recipe_schema()


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("show", "glyphs"), ("schema",), ("new", "glyphs", "digits"), ("new", "convnet", "digits")],
)
def test_no_framework_is_loaded(arguments):
    code = """
import sys
import zoo.commands
try:
    zoo.commands.main()
except SystemExit as done:
    print(done.code, *({"tensorflow", "keras"} & set(sys.modules)), file=sys.stderr)
"""
    command = [sys.executable, "-c", code, "recipe", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "0\n"
