"""The page on reuse: what it shows is what is printed, and every call in it runs."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.docs.pages import DOCS, run_page
from zoo.commands import zoo

PAGE = (DOCS / "reuse.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_call_of_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    ran, _ = run_page("reuse")
    assert len(ran) >= 12


def test_the_table_on_the_page_is_the_one_that_is_printed():
    shown = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    assert shown[1] in CliRunner().invoke(zoo, ["info", "glyphs", "--blocks"]).stdout
