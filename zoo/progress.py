"""What a run tells while it runs: lines for everyone, a bar on a terminal only, and the same lines in its log."""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO


class Progress:
    """Writes a run's lines to a stream and to its log.

    Args:
        stream: Where lines go; standard error by default, so that standard output stays the result's.
        quiet: Whether to write lines to the log only.
    """

    #: A bar, or a line of a stage, appears at most this often, in seconds.
    EVERY = 2.0

    def __init__(self, stream: TextIO | None = None, quiet: bool = False):
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.terminal = self.stream.isatty()
        self._log: Path | None = None
        self._kept: list[str] = []
        self._last = time.monotonic()
        self._bar = False

    def log_to(self, file: Path, *, more: bool = False) -> None:
        """From now on every line is added to a file too, the earlier ones first; with ``more``, after what it holds."""
        self._log = file
        with file.open("a" if more else "w", encoding="utf-8") as log:
            log.writelines(f"{line}\n" for line in self._kept)

    def line(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        self._kept.append(text)
        if self._log is not None:
            with suppress(OSError), self._log.open("a", encoding="utf-8") as log:  # a full disk ends no run over a line
                log.write(f"{text}\n")
        if not self.quiet:
            print(text, file=self.stream, flush=True)

    def step(self, what: str, done: int, total: int, note: str = "") -> None:
        """How far something is that takes a while: a bar on a terminal, elsewhere a line every now and then."""
        now = time.monotonic()
        if self.quiet or now - self._last < (0.1 if self._bar else self.EVERY):
            return
        self._last = now
        if not self.terminal:
            print(f"  {what}: {done}/{total} {note}".rstrip(), file=self.stream, flush=True)
            return
        filled = round(24 * done / max(total, 1))
        self._bar = True
        print(
            f"\r\x1b[K{what} [{'#' * filled}{'.' * (24 - filled)}] {done}/{total} {note}",
            end="",
            file=self.stream,
            flush=True,
        )

    def _clear(self) -> None:
        if self._bar:
            print("\r\x1b[K", end="", file=self.stream, flush=True)
        self._bar = False
        self._last = time.monotonic()
