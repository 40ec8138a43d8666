"""``zoo resume``"""

import json
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest


def test_a_run_that_has_finished_is_said_and_its_figures_are_printed(call, tiny, tiny_run):
    result = call("resume", tiny, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == tiny_run.metrics
    assert f"the run at {tiny} has finished: there is nothing to go on with" in result.stderr


def test_a_run_that_lost_its_report_gets_it_again(call, tiny, tmp_path):
    """Killed when all was trained: nothing is trained again, and the weights stay."""
    folder = tmp_path / "run"
    shutil.copytree(tiny, folder)
    (folder / "report.html").unlink()
    result = call("resume", folder, "--quiet")
    assert result.exit_code == 0 and result.stdout.startswith("test accuracy ")
    assert (folder / "report.html").exists()
    before, after = (tomllib.loads((place / "recipe.lock").read_text()) for place in (Path(tiny), folder))
    assert after["result"] == before["result"] and "resumed" in after


def test_errors_are_explained(call, tmp_path):
    result = call("resume", tmp_path / "none")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"Error: There is no run at {tmp_path / 'none'}. Expected a folder that zoo finetune"
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_how_to_go_on_and_does(tmp_path, number):
    zoo = [sys.executable, "-m", "zoo"]
    command = ["finetune", "glyphs", "digits", "--limit-per-class", "5", "--epochs", "400", "--head-epochs", "2"]
    command += ["--set", "compute.checkpoint_every=0.05", "--out", "run"]
    process = subprocess.Popen([*zoo, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    seen = 0.0
    while not list((tmp_path / "run" / "checkpoints").glob("2-fine-tune.epoch*.safetensors")):  # it is in the stage now
        time.sleep(0.05)
        seen += 0.05
        assert process.poll() is None and seen < 250
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "everything is kept. Go on with: zoo resume run" in errors and errors.endswith("interrupted\n")
    done = subprocess.run([*zoo, "resume", "run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "going on from the stage 'fine-tune', epoch" in done.stderr
