"""The page on the feature cache: every call in it runs, in order, and the lines that it shows are those printed."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.docs.pages import DOCS, ROOT, blocks
from zoo.commands import zoo

PAGE = (DOCS / "features.md").read_text(encoding="utf-8")
#: Blocks of commands, and the block of text that says what they print, where one follows.
SHOWN = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.M | re.S)


def masked(text: str) -> list[str]:
    """Lines without what differs from run to run, numbers and names, and without how far an engine is off."""
    lines = [re.sub(r"; (within|\S+ from Keras).*", "", line) for line in text.splitlines()]
    lines = [re.sub(r"\b[0-9a-f]{12}\b|\d[\d.,:e-]*", "#", line) for line in lines]
    return [" ".join(line.split()) for line in lines]


def test_every_call_runs_in_order_and_prints_what_is_shown(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "features"}
    shown = {match[1]: match[2] or "" for match in SHOWN.finditer(PAGE)}
    ran = 0
    for block in blocks(PAGE):
        ran += 1
        if block.language == "python":
            exec(compile(block.code, f"features.md:{block.line}", "exec"), names)
            continue
        said = ""
        for line in block.code.splitlines():
            result = CliRunner().invoke(zoo, shlex.split(line)[1:], catch_exceptions=False)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            said += result.output
        assert [line for line in masked(shown[block.code]) if line not in masked(said)] == [], said
    assert ran >= 10
    assert list(home.glob("features/*/*/features.h5"))


def test_the_lines_in_the_table_are_those_of_the_code():
    table = PAGE.partition("## When they are kept")[2].partition("\n## ")[0]
    said = [code for row in table.splitlines() if row.count("|") == 4 for code in re.findall("`([^`]*)`", _last(row))]
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "zoo").glob("*.py"))
    parts = [part.strip(" ,") for line in said for part in re.split("…|: ", line)]
    assert len(said) >= 12
    assert [part for part in parts if part not in code] == []


def _last(row: str) -> str:
    return row.split("|")[3]
