"""``zoo finetune``: what it writes, what it prints, and that an early error leaves nothing."""

import json
import re
import tomllib
from dataclasses import fields

import numpy as np
import pytest

from .conftest import FAST


def test_a_run_is_written_and_what_to_do_next_is_said(call, tiny, tmp_path):
    out = tmp_path / "실행 1"
    result = call("finetune", tiny, "digits", "--out", out, *FAST)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"next: zoo predict {out} FILES...   or   zoo evaluate {out} DATA\n"
    assert {p.name for p in out.iterdir()} == {
        "recipe.toml", "recipe.lock", "plan.txt", "history.csv", "metrics.json", "model.keras", "labels.txt",
        "checkpoints", "log.txt", "report.html", "card.toml", "split.csv", "steps.csv",
    }  # fmt: skip
    for line in (out / "log.txt").read_text(encoding="utf-8").splitlines():
        assert line in result.stderr
    recipe = tomllib.loads((out / "recipe.toml").read_text(encoding="utf-8"))
    assert [stage["epochs"] for stage in recipe["stage"]] == [1, 1]
    assert call("predict", out, "digits", "--json").exit_code == 0


def test_the_recipe_of_a_run_gives_the_run_again_and_flags_win(call, tiny, tmp_path):
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    first = call("finetune", tiny, "digits", "--out", one, *FAST, "--freeze", "all", "--seed", 5, "--json", "--quiet")
    assert first.stderr == ""
    again = call("finetune", "--recipe", one / "recipe.toml", "--out", two, "--json")
    other = call("finetune", "--recipe", one / "recipe.toml", "--out", three, "--json", "--seed", 6)
    assert json.loads(first.stdout)["test"] == json.loads(again.stdout)["test"]
    assert json.loads(first.stdout)["test"] != json.loads(other.stdout)["test"]
    locks = [tomllib.loads((run / "recipe.lock").read_text(encoding="utf-8")) for run in (one, two, three)]
    digests = [json.dumps(lock["stage"] if "stage" in lock else lock, default=str) for lock in locks]
    assert digests[0] != digests[2]
    assert tomllib.loads((three / "recipe.toml").read_text(encoding="utf-8"))["seed"] == 6


def test_quiet_prints_the_result_alone(call, tiny, tmp_path):
    result = call("finetune", tiny, "digits", "--out", tmp_path / "r", *FAST, "--freeze", "all", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("test accuracy 0.")
    assert result.stdout.count("\n") == 1


def test_an_existing_out_is_refused_before_anything_is_loaded(call, early, tmp_path):
    result = call("finetune", "glyphs", "digits", "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: {tmp_path} exists already. Expected a path where nothing is. Choose another --out, or remove it.\n"
    )


def test_out_is_needed_unless_it_is_a_dry_run(call, early):
    result = call("finetune", "glyphs", "digits")
    assert result.exit_code == 2
    assert "Missing option '--out'." in result.stderr
    assert call("finetune", "glyphs", "digits", "--dry-run", "--json").exit_code == 2


def test_a_dry_run_prints_the_decisions_and_writes_nothing(call, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("finetune", tiny, "digits", "--dry-run", "--out", "r", "--freeze", "block2")
    assert result.exit_code == 0
    assert list(tmp_path.iterdir()) == []
    lines = result.stdout.splitlines()
    assert lines[0].startswith("data: digits: 1797 examples, 10 classes; ")
    assert any(line.startswith("network: tiny, pretrained, cut at 'features'") for line in lines)
    assert any(line.split()[:1] == ["block2"] and "frozen" in line for line in lines)
    assert lines[-1] == "nothing was trained or written (--dry-run)"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--optimizer", "adan"], "Keras has no optimizer 'adan'. Did you mean 'adam'"),
        (["--momentum", 0.9], "The optimizer 'adam' has no argument 'momentum'."),
        (["--nesterov"], "The optimizer 'adam' has no argument 'nesterov'."),
        (["--schedule", "one_cycle", "--epochs", 1, "--batch-size", 999], "takes 4 steps or more"),
        (["--patience", 1, "--schedule", "performance"], "the rate would never fall: early stopping ends it first."),
        (["--patience", 2, "--weight-averaging", 0.5, "--freeze", "all"], "No stage could stop early"),
        (["--clipnorm", 1, "--clipvalue", 1], "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set"),
        (["--head-learning-rate", 0.1, "--from-scratch"], "'head_learning_rate' is for the stage 'head'"),
        (["--from-scratch", "--freeze", "block1"], "A network from random weights has nothing worth freezing."),
        (["--freeze", "block9"], "The network has no block 'block9' to freeze up to."),
        (["--cut", "featurs"], "The network 'convnet' has no layer 'featurs'. Did you mean 'features'?"),
        (["--activation", "elo"], "Keras has no activation 'elo'."),
        (["--loss", "huber"], "The loss 'huber' does not fit classes. Expected categorical_crossentropy."),
        (["--test", "rest"], "a share, where no limit_per_class says what is labelled"),
        (["--val", 0.9], "'data.val' has the wrong value. Expected 0 or more, and below 1 together with test"),
        (["--dropout", 1], "'top.dropout' has the wrong value. Expected 0 to below 1; received 1.0."),
        (["--hidden", "64,0"], "'top.hidden' has the wrong value. Expected widths of 1 or more; received [64, 0]."),
        (["--device", "gpu:99"], "There is no device gpu:99."),
        (
            ["--layer-decay", 0],
            "'stage[1].layer_decay' (the stage 'fine-tune') has the wrong value.",
        ),
        (["--label-column", "x"], "built-in data, which has no columns"),
        (["--recipe", "no.toml"], "There is no file no.toml. Check the path."),
    ],
)
def test_an_early_error_is_explained_and_leaves_nothing(call, tiny, tmp_path, flags, said):
    result = call("finetune", tiny, "digits", "--out", tmp_path / "r", *flags)
    assert (result.exit_code, result.stdout) == (1, ""), result.exception
    assert said in result.stderr
    assert result.stderr.startswith("Error: ")
    assert list(tmp_path.iterdir()) == []
    assert call("finetune", tiny, "digits", "--dry-run", *flags).stderr == result.stderr


def test_a_dry_run_refuses_a_recipe_as_the_run_does(call, tiny, tmp_path):
    recipe = tmp_path / "r.toml"
    for keys, said in (
        ('early_stopping = { monitor = "val_acuracy" }', "Early stopping cannot watch 'val_acuracy'"),
        ("early_stopping = {}\nweight_averaging = {}", "ends with the average of its weights"),
    ):
        stage = f'[[stage]]\nname = "s"\ntrain = ["top"]\nepochs = 2\noptimizer = {{ name = "adam" }}\n{keys}\n'
        recipe.write_text(f'schema = 1\n[model]\nname = "{tiny}"\n[data]\npath = "digits"\n{stage}')
        dry = call("finetune", "--recipe", recipe, "--dry-run")
        assert (dry.exit_code, dry.stdout) == (1, "")
        assert said in dry.stderr
        assert call("finetune", "--recipe", recipe, "--out", tmp_path / "out").stderr == dry.stderr


def test_the_plan_shows_the_momentum_beside_the_rate(call, tiny):
    flags = ("--optimizer", "sgd", "--learning-rate", 0.1, "--momentum", 0.8)
    assert "30 epochs, sgd at 0.1, momentum 0.8\n" in call("finetune", tiny, "digits", "--dry-run", *flags).stdout
    said = call("finetune", tiny, "digits", "--dry-run", *flags, "--schedule", "one_cycle").stdout
    cycle = "momentum the schedule one_cycle_momentum (base_momentum 0.7, max_momentum 0.8)\n"
    assert f"sgd at the schedule one_cycle (max_learning_rate 0.1), {cycle}" in said


def test_options_that_change_nothing_or_not_everywhere_get_a_line(call, tiny):
    said = call("finetune", tiny, "digits", "--dry-run", "--activation", "relu").stdout
    assert "  activation changes nothing: the new top has no hidden layers (--hidden)\n" in said
    said = call("finetune", tiny, "digits", "--dry-run", "--activation", "relu", "--hidden", 8).stdout
    assert "activation" not in said
    said = call("finetune", tiny, "digits", "--dry-run", "--patience", 3, "--weight-averaging", 0.5).stdout
    assert (
        "  patience is for the other stages: an average is what ends fine-tune, and not one epoch's weights\n" in said
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--hidden", "a"], "'a' is not a list of whole numbers such as 64,32."),
        (["--test", "some"], "'some' is neither a number nor 'rest'."),
        (["--augment", "lots"], "'lots' is not one of"),
        (["--augment", "cutmixx"], "Did you mean 'cutmix'"),
        (["--schedule", "onecycle"], "Did you mean 'one_cycle'?"),
        (["--batch-norm", "block1=frosen"], "Did you mean 'frozen'?"),
        (["--epochs", "many"], "'many' is not a valid integer."),
        (["extra"], "unexpected extra argument"),
    ],
)
def test_a_value_of_the_wrong_kind_is_wrong_usage(call, early, tiny, tmp_path, flags, said):
    result = call("finetune", tiny, "digits", "--out", tmp_path / "r", *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    "names", [("zzz", "digits"), ("./none", "digits"), ("dnn", "digits"), ("dnn", "zzz"), (), ("dnn",)]
)
def test_a_network_or_data_that_is_not_there_leaves_nothing(call, tmp_path, names):
    result = call("finetune", *names, "--out", tmp_path / "r")
    assert (result.exit_code, result.stdout) == (1, ""), result.exception
    assert list(tmp_path.iterdir()) == []


def test_augmentation_and_class_weights_that_do_not_fit_leave_nothing(call, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "v.npz", x=rng.normal(size=(60, 4)).astype("float32"), y=rng.normal(size=60).astype("float32"))
    for flags, said in (
        (["--augment", "light"], "There is no augmentation 'light' for vectors: it is for images."),
        (["--class-weights", "balanced"], "Class weights need classes."),
    ):
        result = call("finetune", "dnn", tmp_path / "v.npz", "--from-scratch", "--out", tmp_path / "r", *flags)
        assert result.exit_code == 1
        assert said in result.stderr
        assert not (tmp_path / "r").exists()


def test_the_defaults_that_help_names_are_those_that_hold():
    from zoo.commands.finetune import command
    from zoo.options import scratch_stages, transfer_stages
    from zoo.recipe import ComputePart, DataPart, TopPart

    said = {}
    for param in command.params:
        found = re.search(r"\[default: (.+)\]$", getattr(param, "help", None) or "")
        if found:
            said[param.name] = found[1]
    (head, tune), (scratch,) = transfer_stages(None), scratch_stages()
    assert said["head_epochs"] == str(head.epochs)
    assert float(said["head_learning_rate"]) == head.optimizer["learning_rate"]
    assert said["epochs"] == f"{tune.epochs}; from scratch {scratch.epochs}"
    assert said["optimizer"] == tune.optimizer["name"] == scratch.optimizer["name"]
    assert said["layer_decay"] == str(tune.layer_decay)
    assert said["batch_norm"] == f"{tune.batch_norm} in thawed blocks"
    rates = {tune.optimizer["learning_rate"], scratch.optimizer["learning_rate"]}
    assert {float(word) for word in re.findall(r"\d[\d.e-]*", said["learning_rate"])} == rates
    for part in (DataPart("d"), TopPart(), ComputePart()):
        for field in fields(part):
            value = getattr(part, field.name)
            if field.name in said and field.name not in ("hidden", "cache_size", "checkpoint_every"):
                assert said[field.name].split(",")[0] == (f"{value:g}" if isinstance(value, float) else str(value))


def test_an_out_that_cannot_be_made_is_an_error(call, tiny, tmp_path):
    (tmp_path / "file").touch()
    result = call("finetune", tiny, "digits", "--out", tmp_path / "file" / "r", *FAST)
    assert result.exit_code == 1
    assert f"The folder {tmp_path / 'file' / 'r'} cannot be made: " in result.stderr
