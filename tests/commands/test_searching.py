"""``--find-depth``: what it prints, and what it refuses before anything is loaded."""

import json

import pytest


def test_the_command_searches_and_its_json_is_the_figures(call, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.finding_depth.validation_figures", lambda ready, told: {"loss": 0.5, "accuracy": 1.0})
    flags = ("--limit-per-class", 8, "--test", "rest", "--val", 0.5, "--head-epochs", 3, "--epochs", 2, "--seed", 3)
    out = tmp_path / "run"
    result = call("finetune", "glyphs", "digits", "--find-depth", *flags, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (out / "depth.csv").read_text(encoding="utf-8").startswith("step,reuse,dropped,thawed,cut,freeze,val_loss,")
    assert "step 1: all frozen: val loss 0.5000, accuracy 1.0000; " in result.stderr
    assert "step 2: block3 thawed: val loss 0.5000, accuracy 1.0000; " in result.stderr


def test_a_dry_run_prints_the_steps_and_writes_nothing(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("finetune", "glyphs", "digits", "--find-depth", "--limit-per-class", 10, "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-5:] == [
        "steps, a block more in each, as long as it helps, and one more after one that did not:",
        "  all frozen; then thawed: block3, block2, block1",
        "  block3 dropped, all frozen (cut at 'block2_activation2'); then thawed: block2, block1",
        "  block2 and block3 dropped, all frozen (cut at 'block1_activation2'); then thawed: block1",
        "nothing was trained or written (--dry-run)",
    ]
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--seeds", 2), 2, "--find-depth and --seeds do not go together"),
        (("--save-recipe", "r.toml"), 2, "A recipe cannot say --find-depth"),
        (("--freeze", "all"), 1, "The search finds out how much is frozen. Received freeze = 'all'."),
        (("--thaw", "by_block"), 1, "The search thaws one block more in each step"),
        (("--from-scratch",), 1, "A network from random weights has nothing worth freezing: there is no depth"),
        (("--multiplier", "block3=0.1"), 1, "Received multipliers for block3."),
    ],
)
def test_the_command_refuses_before_anything_is_loaded(call, tmp_path, monkeypatch, flags, code, message):
    monkeypatch.setattr("zoo.depth_plan.prepared", lambda *_, **__: pytest.fail("this should have been refused before"))
    out = tmp_path / "run"
    result = call("finetune", "glyphs", "digits", "--find-depth", *flags, "--out", out)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert not out.exists()


def test_a_recipe_is_searched_by_run_too(call, tmp_path):
    file = tmp_path / "r.toml"
    assert call("finetune", "glyphs", "digits", "--limit-per-class", 8, "--save-recipe", file).exit_code == 0
    result = call("run", file, "--find-depth", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "  all frozen; then thawed: block3, block2, block1" in result.stdout
