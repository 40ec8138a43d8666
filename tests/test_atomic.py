"""Folders that appear when they are complete, and what ended processes leave."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo import atomic
from zoo.atomic import ABANDONED, alive, completed, completed_folder, hidden, remove_leftovers


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


def test_what_ended_processes_left_is_removed_and_what_running_ones_write_stays(tmp_path):
    place = hidden(Path("x")).name.split(".")[1]
    left, kept = (tmp_path / f".{place}.{process}.name" for process in (ended(), os.getppid()))
    left.mkdir()
    (left / "half").write_text("half")
    kept.write_text("half")
    os.utime(kept, (1000, 1000))
    (tmp_path / f".{place}.{ended()}.file.json").write_text("half")
    assert remove_leftovers(tmp_path) == 2
    assert [*tmp_path.iterdir()] == [kept], "however long it takes"


def test_other_hidden_files_stay(tmp_path):
    place = hidden(Path("x")).name
    for name in (".DS_Store", ".nfs000.1", ".a.b.c", ".gitignore", "12.name", f"a.{place}.{ended()}.b"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1000, 1000))
    assert remove_leftovers(tmp_path) == 0


def test_what_another_machine_writes_stays_for_a_day(tmp_path):
    other = tmp_path / f".melsewhere.{ended()}.name"
    other.mkdir()
    file = tmp_path / f".melsewhere.{ended()}.file"
    file.write_text("half")
    assert remove_leftovers(tmp_path) == 0
    before = time.time() - ABANDONED - 1
    (other / "half").write_text("half")
    os.utime(other, (before, before))
    os.utime(file, (before, before))
    assert remove_leftovers(tmp_path) == 1, "the folder's file was changed today"
    os.utime(other / "half", (before, before))
    assert remove_leftovers(tmp_path) == 1
    assert not [*tmp_path.iterdir()]


def test_a_place_is_one_start_of_one_machine_and_one_space_of_processes(monkeypatch):
    def place() -> str:
        atomic._place.cache_clear()
        return atomic._place()

    here = place()
    assert place() == here
    with monkeypatch.context() as patch:
        patch.setattr("platform.node", lambda: "elsewhere")
        assert place() != here
    with monkeypatch.context() as patch:
        patch.setattr(os, "readlink", lambda path: "pid:[1]")
        assert place() != here, "a container with the same name"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", lambda path: "another start")
        assert place() != here
    with monkeypatch.context() as patch:

        def none(*_: object) -> str:
            raise FileNotFoundError

        patch.setattr(os, "readlink", none)
        patch.setattr(Path, "read_text", none)
        assert place() not in (here, "")
    assert place() == here


HOLDER = """
import sys, time
from pathlib import Path
from zoo import atomic
atomic._place = lambda: "mcontainer"
if sys.argv[2] == "alive":
    path = atomic.hidden(Path(sys.argv[1]) / "run")
    life = atomic.alive(path)
    print(path, flush=True)
    time.sleep(600)
with atomic.completed_folder(Path(sys.argv[1]) / "whole") as part:
    print(part, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["alive", "completed"])
def test_a_folder_of_a_process_that_cannot_be_seen_stays_while_it_lives_however_old(tmp_path, how):
    command = [sys.executable, "-c", HOLDER, str(tmp_path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            part = Path(process.stdout.readline().strip())
            os.utime(part, (1000, 1000))
            assert part.name.startswith(".mcontainer.")
            assert remove_leftovers(tmp_path) == 0
        finally:
            process.kill()
    assert remove_leftovers(tmp_path) == 1
    assert not part.exists()


def test_a_sign_of_life_ends_when_it_is_told_to(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_place", lambda: "mcontainer")
    path = hidden(tmp_path / "deep" / "run")
    life, again = alive(path), alive(path)
    os.utime(path, (1000, 1000))
    monkeypatch.undo()
    life.end()
    life.end()
    assert remove_leftovers(path.parent) == 0, "the other one still says so"
    del again
    assert remove_leftovers(path.parent) == 1
    with completed_folder(tmp_path / "whole"):
        before = len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_where_there_are_no_locks_age_alone_tells(tmp_path, monkeypatch):
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", none)
    path = tmp_path / f".melsewhere.{os.getpid()}.name"
    life = alive(path)
    assert remove_leftovers(tmp_path) == 0
    os.utime(path, (1000, 1000))
    assert remove_leftovers(tmp_path) == 1
    life.end()


def test_a_file_appears_whole_and_its_ending_stays(tmp_path):
    with completed(tmp_path / "a.json") as part:
        part.write_text("{}")
        assert part.suffix == ".json"
        assert part.name.startswith(".")
        assert remove_leftovers(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
