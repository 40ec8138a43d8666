"""Every command and code block of the README runs, in order, in one folder."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from zoo.commands import zoo

README = Path(__file__).parents[1] / "README.md"
#: What runs elsewhere: the two commands are what CI and the demo's own test run; pip would change the environment.
ELSEWHERE = ("make ", "pip ", "source ")


def _blocks() -> list[tuple[str, str]]:
    return re.findall(r"```(sh|python|toml)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def _commands(block: str) -> list[str]:
    return [line.partition("#")[0].strip() for line in block.splitlines() if line.partition("#")[0].strip()]


@pytest.mark.timeout(900)
def test_every_block_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    ran = 0
    for kind, text in _blocks():
        if kind == "toml":
            (tmp_path / "my.toml").write_text(text, encoding="utf-8")
        elif kind == "python":
            exec(compile(text, "README.md", "exec"), {"__name__": "readme"})
            ran += 1
        else:
            for command in _commands(text):
                if command.startswith(ELSEWHERE):
                    continue
                result = CliRunner().invoke(zoo, shlex.split(command)[1:], catch_exceptions=False)
                assert result.exit_code == 0, f"{command}\n{result.output}"
                ran += 1
    assert ran >= 10


def test_the_readme_names_only_make_targets_that_exist() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`)make ([a-z-]+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(named)
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_plan_in_the_readme_is_the_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code = next(text for kind, text in _blocks() if kind == "python" and "zoo.freeze" in text)
    exec(compile(code.partition("trunk, head")[0], "README.md", "exec"), {"__name__": "readme"})
    shown = re.search(r"```text\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert shown and shown[1] in capsys.readouterr().out


def test_nothing_in_the_readme_waits_to_be_filled_in() -> None:
    assert "<!--" not in README.read_text(encoding="utf-8")


def test_links_of_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert link.startswith("http") or (README.parent / link).exists(), link
