"""The page on the feature cache: every call in it runs, in order, and the lines that it shows are those printed."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, run_page

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
    shown = {match[1]: match[2] or "" for match in SHOWN.finditer(PAGE)}
    ran, _ = run_page("features")
    of_block = {call.block: "".join(other.output for other in ran if other.block == call.block) for call in ran}
    for block, said in of_block.items():
        if block.language == "sh":
            assert [line for line in masked(shown[block.code]) if line not in masked(said)] == [], said
    assert len(of_block) >= 10
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
