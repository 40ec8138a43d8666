"""Folders that appear when they are complete, and what ended processes leave."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo.atomic import ABANDONED, completed_folder, hidden, remove_leftovers


def ended() -> int:
    """The number of a process that has ended."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


def test_a_folder_appears_with_all_of_its_files(tmp_path):
    with completed_folder(tmp_path / "whole") as part:
        (part / "a").write_text("a")
        assert part.parent == tmp_path
        assert part.name.startswith(".")
        assert not (tmp_path / "whole").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert (tmp_path / "whole" / "a").read_text() == "a"


def test_a_folder_whose_block_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), completed_folder(tmp_path / "whole") as part:
        (part / "a").write_text("a")
        raise KeyError
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("form", [".{process}.name.json", "{machine}.{process}.name"])
def test_what_ended_processes_left_is_removed_and_what_running_ones_write_stays(tmp_path, form):
    machine = hidden(Path("x")).name.split(".")[1]
    left, kept = (tmp_path / form.format(process=p, machine=f".{machine}") for p in (ended(), os.getppid()))
    left.mkdir()
    (left / "half").write_text("half")
    kept.write_text("half")
    (tmp_path / f".{ended()}.file").write_text("half")
    assert remove_leftovers(tmp_path) == 2
    assert [*tmp_path.iterdir()] == [kept]


def test_other_hidden_files_stay(tmp_path):
    for name in (".DS_Store", ".nfs000.1", ".a.b.c", ".gitignore", "12.name", f".{ended()}"):
        (tmp_path / name).write_text("x")
    assert remove_leftovers(tmp_path) == 0


def test_what_another_machine_writes_stays_for_a_day(tmp_path):
    other = tmp_path / f".melsewhere.{ended()}.name"
    other.mkdir()
    assert remove_leftovers(tmp_path) == 0
    before = time.time() - ABANDONED - 1
    os.utime(other, (before, before))
    assert remove_leftovers(tmp_path) == 1
