"""The page on reproducibility: every call in it runs, in order, and what it says of the lock and of verify is so."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, run_page
from zoo.lock_file import lock_of

PAGE = (DOCS / "reproducibility.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each call prints, by the call; the runs are left in the folder `folder`."""
    root = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        calls, names = run_page("reproducibility")
    said = {call.line: call.stdout for call in calls if call.line}
    return {**said, "folder": str(root), "python": str(names["found"])}


def test_every_call_of_the_page_runs_and_says_what_the_page_does(ran: dict[str, str]):
    assert len(ran) >= 7
    assert ran["zoo verify runs/first"].startswith("identical, bit for bit: ")
    assert ran["python"] == ran["zoo verify runs/first"].strip()
    assert "seed" in ran["zoo diff runs/first runs/second"]
    assert ran["zoo verify runs/first --metrics-only --tolerance 0.05"].startswith("agrees ")


def test_the_keys_of_a_lock_are_those_on_the_page(ran: dict[str, str]):
    table = PAGE.partition("## The lock")[2].partition("\n\nThe split")[0]
    said = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    lock = lock_of(Path(ran["folder"], "runs", "first"))
    assert set(lock) - {"schema"} <= said
    assert said - set(lock) == {"given", "resumed"}
