"""What a run tells, and its log."""

import io
from pathlib import Path

from zoo.progress import Progress


def test_the_log_holds_every_line_and_those_before_it(tmp_path: Path):
    progress = Progress(io.StringIO())
    progress.line("before")
    progress.log_to(tmp_path / "log.txt")
    progress.line("after")
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "before\nafter\n"


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path):
    """As on a disk that is full: what is said goes to the stream all the same."""
    shown = io.StringIO()
    progress = Progress(shown)
    progress.log_to(tmp_path / "log.txt")
    (tmp_path / "log.txt").unlink()
    (tmp_path / "log.txt").mkdir()
    progress.line("a checkpoint could not be written")
    assert shown.getvalue() == "a checkpoint could not be written\n"
