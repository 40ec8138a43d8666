"""A lock between processes."""

import fcntl
import os
import shutil
import threading

import pytest

from zoo.file_lock import locked


def test_a_second_one_waits_says_so_first_and_goes_on(tmp_path):
    said, order = threading.Event(), []

    def second() -> None:
        with locked(tmp_path / "lock", waiting=said.set) as waited:
            order.append(("second", waited))

    with locked(tmp_path / "lock") as waited:
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(30)
        order.append(("first", waited))
    thread.join(30)
    assert order == [("first", False), ("second", True)]


def test_one_that_does_not_wait_is_refused(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock", wait=False):
        pass
    with locked(tmp_path / "lock", wait=False) as waited:
        assert not waited


def test_a_lock_that_was_removed_while_one_waited_is_made_again(tmp_path):
    """Else the one that waited and the next would both believe to be alone."""
    folder, said, inside, leave = tmp_path / "folder", threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        with locked(folder / "lock", waiting=said.set):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=second)
    with locked(folder / "lock"):
        thread.start()
        assert said.wait(30)
        shutil.rmtree(folder)
    assert inside.wait(30)
    with pytest.raises(BlockingIOError), locked(folder / "lock", wait=False):
        pass
    leave.set()
    thread.join(30)


def test_where_there_are_no_locks_nobody_waits(tmp_path, monkeypatch):
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock") as second:
        assert (first, second) == (False, False)


def test_no_file_stays_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock", wait=False):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
