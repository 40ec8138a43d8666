"""The pages on the shipped recipes and on the transfer exercise: every call in them runs, in order."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.docs.pages import DOCS, blocks
from zoo.commands import zoo


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("page", "calls"), [("shipped-recipes", 7), ("transfer-exercise", 6)])
def test_every_call_of_the_page_runs_in_order(page: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page}
    ran = 0
    for block in blocks((DOCS / f"{page}.md").read_text(encoding="utf-8")):
        if block.language == "python":
            exec(compile(block.code, f"{page}.md:{block.line}", "exec"), names)
            ran += 1
        for line in block.code.splitlines() if block.language == "sh" else ():
            result = CliRunner().invoke(zoo, shlex.split(line)[1:], catch_exceptions=False)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            ran += 1
    assert ran == calls
