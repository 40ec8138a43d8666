"""Every call in the documentation exists: names, arguments, commands, options, recipes."""

import keras
import pytest

from tests.docs.pages import DOCS, ROOT, blocks, command_faults, commands, missing_names, run_block, sections
from zoo.commands import zoo as root
from zoo.errors import RecipeError
from zoo.layers import augmentation, optimizer
from zoo.recipe import parse_recipe

PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md"]


def found(language):
    return [
        pytest.param(block.code, id=f"{page.name}:{block.line}")
        for page in PAGES
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language == language
    ]


@pytest.mark.parametrize("code", found("python"))
def test_python_names_only_what_exists(code):
    assert missing_names(code) == []


@pytest.mark.parametrize("code", found("sh"))
def test_commands_name_only_what_exists(code):
    assert [fault for words in commands(code) for fault in command_faults(words, root)] == []


@pytest.mark.parametrize("code", found("toml"))
def test_recipes_are_recipes(code):
    assert recipe_of(code).model.name


@pytest.mark.parametrize("code", found("toml"))
def test_optimizers_and_augmentation_in_recipes_are_keras_s_with_its_arguments(code):
    augmentation(recipe_of(code).data.augment)
    for stage in recipe_of(code).stages:
        assert isinstance(optimizer(steps=100, **stage.optimizer), keras.optimizers.Optimizer)


def recipe_of(code):
    """A whole recipe, or one of which the page shows only the stages."""
    whole = code if "schema" in code else f'schema = 1\nmodel.name = "glyphs"\ndata.path = "digits"\n{code}'
    return parse_recipe(whole)


@pytest.mark.parametrize("section", sections((DOCS / "chapter.md").read_text(encoding="utf-8")), ids=lambda s: s.label)
@pytest.mark.slow
def test_the_chapters_calls_run(section, tmp_path, monkeypatch):
    """Each block on its own: it imports what it needs."""
    monkeypatch.chdir(tmp_path)
    for block in section.blocks:
        run_block(block, {"__name__": section.label})


def test_the_checks_see_a_wrong_name():
    assert missing_names("import zoo\nzoo.no_such_thing()") == ["zoo.no_such_thing"]
    assert missing_names("import zoo\nzoo.freeze(net, up_to='block1')") == ["zoo.freeze(up_to=...)"]
    assert missing_names("import zoo\nzoo.finetune(net, data, epoch=3)") == ["zoo.finetune(epoch=...)"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("zoo finetoone glyphs digits", "no command 'finetoone'"),
        ("zoo finetune glyphs digits --frozen all", "`finetune` has no option --frozen"),
        ("zoo finetune glyphs digits --augment wild", "--augment does not take 'wild'"),
    ],
)
def test_the_checks_see_a_wrong_command(line, fault):
    assert command_faults(line.split(), root) == [fault]


def test_the_checks_see_a_wrong_recipe():
    with pytest.raises(RecipeError, match="epoch"):
        recipe_of('[[stage]]\nname = "head"\ntrain = ["top"]\nepoch = 3\noptimizer = { name = "adam" }')
