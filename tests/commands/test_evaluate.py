"""``zoo evaluate``"""

import json

import numpy as np


def test_the_runs_own_data_gives_the_runs_own_figures(call, tiny, tiny_run):
    result = call("evaluate", tiny, "digits", "--json")
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert figures["accuracy"] == tiny_run.metrics["test"]["accuracy"]
    assert figures["confusion"] == tiny_run.metrics["test"]["confusion"]
    assert f"the run's own data: its test side, {figures['examples']} of 1797 examples" in result.stderr


def test_figures_are_a_table_without_json(call, tiny, tiny_run):
    result = call("evaluate", tiny, "digits", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    accuracy = tiny_run.metrics["test"]["accuracy"]
    assert result.stdout.startswith(
        f"test accuracy {accuracy:.4f} on {tiny_run.metrics['test']['examples']} examples\n"
    )
    assert "precision" in result.stdout


def test_examples_of_the_training_are_left_out_of_other_data(call, tiny, tmp_path):
    from zoo.data.builtin import digits

    x, y, names = digits.load()
    np.savez(tmp_path / "all.npz", x=x[:900], y=np.array([names[i] for i in y[:900]]))
    result = call("evaluate", tiny, tmp_path / "all.npz", "--json")
    assert result.exit_code == 0
    left = 900 - json.loads(result.stdout)["examples"]
    assert 0 < left <= 50
    assert f"{left} of 900 examples left out: the run was trained or validated on them" in result.stderr


def test_errors_are_explained(call, tiny, tmp_path):
    result = call("evaluate", tmp_path / "none", "digits")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: There is no run at {tmp_path / 'none'}. Expected a folder that zoo finetune wrote (its --out).\n"
    )
    result = call("evaluate", tmp_path, "digits")
    assert result.stderr.startswith(f"Error: {tmp_path} is not a run folder. Expected a folder that zoo finetune wrote")
    (tmp_path / "recipe.toml").touch()
    result = call("evaluate", tmp_path, "digits")
    assert result.stderr.startswith(f"Error: The run at {tmp_path} did not finish, or is not one: model.keras, ")
    result = call("evaluate", tiny, "digitz")
    assert result.exit_code == 1
    assert "digits" in result.stderr


def test_classes_that_the_run_does_not_know_are_an_error(call, tiny, tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros((4, 8, 8, 1), "uint8"), y=np.array(["cat", "dog", "cat", "dog"]))
    result = call("evaluate", tiny, tmp_path / "other.npz")
    assert result.exit_code == 1
    assert "The data has classes that the run does not know: cat, dog." in result.stderr
