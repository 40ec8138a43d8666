"""``zoo verify``"""

import json
import shutil
from pathlib import Path

import pytest
import tomli_w

from tests.copied_runs import copy_instead
from zoo.lock_file import lock_of


@pytest.fixture(autouse=True)
def _alike(tiny: str, monkeypatch: pytest.MonkeyPatch):
    """Doing it again gives the same, without doing it: the tests of `zoo.verify` do."""
    copy_instead(monkeypatch, Path(tiny))


@pytest.fixture
def copy(tiny: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_a_run_is_identical(call, tiny):
    result = call("verify", tiny)
    assert (result.exit_code, result.stdout[:10]) == (0, "identical,")
    assert f"doing {tiny} again: " in result.stderr
    assert "Traceback" not in result.stderr


def test_json_says_it_for_programs(call, tiny, tiny_run):
    result = call("verify", tiny, "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert (found["outcome"], found["run"]) == ("identical", tiny)
    assert found["weights"] == lock_of(tiny_run.folder)["result"]["weights"]


def test_a_difference_is_a_result_and_exit_code_1(call, copy):
    lines = (copy / "steps.csv").read_text().splitlines()
    stage, epoch, step, _, _ = lines[2].split(",")
    lines[2] = f"{stage},{epoch},{step},1.5,3fc00000"
    (copy / "steps.csv").write_text("\n".join([*lines, ""]))
    result = call("verify", copy, "--quiet")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith(
        f"different: first in the stage '{stage}', epoch {epoch}, step {step} (number 2 of {len(lines) - 1}): "
        "loss 1.5 before (3fc00000), "
    )


def test_what_would_have_to_match_is_said_with_exit_code_1(call, copy):
    lock = lock_of(copy)
    lock["compute"]["threads"] += 1
    (copy / "recipe.lock").write_text(tomli_w.dumps(lock))
    result = call("verify", copy, "--quiet")
    assert (result.exit_code, result.stderr) == (1, "")
    first, second = result.stdout.splitlines()
    assert first == "not comparable, because of:"
    assert second.startswith(f"  the number of threads: {lock['compute']['threads']} before, ")
    found = json.loads(call("verify", copy, "--quiet", "--json").stdout)
    assert found["outcome"] == "not comparable"
    assert found["obstacles"][0]["what"] == second.strip().partition(". ")[0]


def test_figures_alone_may_be_off_by_the_tolerance(call, copy):
    lock = lock_of(copy)
    lock["result"]["test"]["accuracy"] -= 0.25
    (copy / "recipe.lock").write_text(tomli_w.dumps(lock))
    result = call("verify", copy, "--metrics-only", "--tolerance", "0.2", "--quiet")
    assert result.exit_code == 1
    assert result.stdout.startswith("disagrees (figures alone, not bits)\n")
    result = call("verify", copy, "--metrics-only", "--tolerance", "0.3", "--quiet", "--json")
    assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (0, "agrees")


def test_a_tolerance_without_metrics_only_is_wrong_usage(call, tiny):
    result = call("verify", tiny, "--tolerance", "0.1")
    assert result.exit_code == 2
    assert "--tolerance is for --metrics-only: bits are the same, or they are not." in result.stderr


def test_a_run_that_did_not_finish_is_sent_to_resume(call, copy):
    (copy / "model.keras").unlink()
    result = call("verify", copy)
    assert result.exit_code == 1
    assert f"model.keras missing. Go on with: zoo resume {copy}" in result.stderr


def test_what_is_no_run_is_explained(call, tmp_path):
    result = call("verify", tmp_path / "none")
    assert result.exit_code == 1
    assert f"There is no run at {tmp_path / 'none'}." in result.stderr
