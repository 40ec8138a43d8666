"""What holds for every verb: help, exit codes, messages without a traceback, interrupts, closed pipes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from zoo.commands import VERBS, zoo
from zoo.errors import ZooError

ROOT = Path(__file__).parents[2]


def test_help_lists_every_verb_with_its_line(call):
    call("list")  # its module is called `list` too
    result = call("--help")
    assert result.exit_code == 0
    for verb, line in VERBS.items():
        assert f"  {verb}" in result.stdout
        assert line in result.stdout
    assert zoo.list_commands(click.Context(zoo)) == [*VERBS]
    assert call("-h").stdout == result.stdout


def test_the_version_is_the_distributions(call):
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert call("--version").stdout == f"zoo, version {version}\n"


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_help_whose_line_agrees(call, verb):
    result = call(verb, "--help")
    assert result.exit_code == 0
    assert f"Usage: zoo {verb} " in result.stdout
    assert "--debug" in result.stdout


def test_a_verb_that_does_not_exist_is_wrong_usage_and_suggests_one(call):
    result = call("finetun")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "There is no command 'finetun'. Did you mean 'finetune'?" in result.stderr
    assert call("zzz").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--nope"),
        ("info",),
        ("evaluate", "x"),
        ("predict", "x"),
        ("finetune", "dnn", "digits", "--test", "some"),
    ],
)
def test_wrong_usage_is_exit_code_2(call, arguments):
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: zoo" in result.stderr


def test_an_error_that_zoo_explains_is_one_paragraph_and_exit_code_1(call, home):
    result = call("info", "glyfs")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: The zoo knows no network 'glyfs'.")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments", [("--debug", "info", "glyfs"), ("info", "--debug", "glyfs"), ("info", "glyfs", "--debug")]
)
def test_debug_raises_wherever_it_stands(call, home, arguments):
    result = call(*arguments)
    assert isinstance(result.exception, ZooError)
    assert result.exit_code == 1


def test_debug_of_one_call_does_not_stay_for_the_next(call, home):
    call("info", "glyfs", "--debug")
    assert not isinstance(call("info", "glyfs").exception, ZooError)


def test_an_interrupt_is_exit_code_130(call, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.registry.shelf", interrupt)
    result = call("list")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.strip() == "interrupted"


def process(*arguments: str, **keywords: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_run_that_is_interrupted_ends_with_130_and_without_a_traceback(tmp_path):
    out = tmp_path / "run"
    child = process("cli.py", "finetune", "dnn", "digits", "--from-scratch", "--epochs", "9999", "--out", str(out))
    while not (out / "plan.txt").exists():
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in errors
    assert errors.rstrip().endswith("interrupted")


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("arguments", ["list --json", "--help", "info dnn"])
def test_a_closed_pipe_is_harmless(arguments):
    child = process("cli.py", *arguments.split())
    child.stdout.close()
    child.stdout = None
    _, errors = child.communicate(timeout=60)
    assert errors == ""


@pytest.mark.parametrize("start", [("cli.py",), ("-m", "zoo")])
def test_the_command_starts_from_a_checkout(start):
    child = process(*start, "list")
    output, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
    assert output.startswith("name ")


def test_a_traceback_is_shown_with_debug_only():
    child = process("cli.py", "info", "zzz", "--debug")
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "Traceback" in errors
    assert "zoo.errors.CardError: The zoo knows no network 'zzz'." in errors


def test_the_groups_name_is_the_commands():
    assert zoo.name == "zoo"
