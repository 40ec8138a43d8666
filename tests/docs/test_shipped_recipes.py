"""The pages on the shipped recipes and on the transfer exercise: every call in them runs, in order."""

from pathlib import Path

import pytest

from tests.docs.pages import run_page


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("page", "calls"), [("shipped-recipes", 7), ("transfer-exercise", 6)])
def test_every_call_of_the_page_runs_in_order(page: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    ran, _ = run_page(page)
    assert len(ran) == calls
