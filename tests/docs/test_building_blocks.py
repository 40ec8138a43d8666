"""The pages on the building blocks: every call in them runs, in order, and every picture is there."""

import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.docs.pages import DOCS, ROOT, blocks
from zoo.commands import zoo

PAGES = (
    "initializers",
    "activations",
    "batch-norm",
    "optimizers",
    "schedules",
    "regularizers",
    "augmentation",
    "inspect",
    "guidelines",
    "deep-networks",
)


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_call_of_a_page_runs_in_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page}
    ran = 0
    for block in blocks(text_of(page)):
        if block.language == "python":
            exec(compile(block.code, f"{page}.md:{block.line}", "exec"), names)
            ran += 1
        for line in block.code.splitlines() if block.language == "sh" else ():
            if not line.startswith("zoo "):
                continue
            result = CliRunner().invoke(zoo, shlex.split(line, comments=True)[1:], catch_exceptions=False)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            ran += 1
    assert ran >= 1


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_a_label_and_says_where_its_formulas_come_from(page: str):
    text = text_of(page)
    assert re.match(r"\([a-z0-9-]+\)=\n# \S", text)
    assert re.search(r"\b(19|20)\d\d\b", text), "no source with its year"


@pytest.mark.parametrize("page", PAGES)
def test_its_pictures_exist_and_are_pictures(page: str):
    for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text_of(page)):
        assert ElementTree.parse(DOCS / name).getroot().tag.endswith("svg")


def test_every_picture_of_a_page_has_the_script_that_draws_it():
    drawn = {name for page in PAGES for name in re.findall(r"\(images/([\w.-]+)\)", text_of(page))}
    scripts = [*(DOCS / "plots").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    said = "\n".join(script.read_text(encoding="utf-8") for script in scripts)
    assert [name for name in sorted(drawn) if name.removesuffix(".svg") not in said] == []
