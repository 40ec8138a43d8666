"""Ctrl-C and SIGTERM: the first one is answered where nothing is lost, the second one at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: What asks a run to end; on Windows nothing sends the second.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run was asked to end.

    Args:
        saved: Whether it did where nothing is lost; else what was done since the last checkpoint is.
    """

    def __init__(self, saved: bool = False) -> None:
        super().__init__()
        self.saved = saved


class Interruption:
    """Whether a run was asked to end, and what becomes of that.

    Within :meth:`deferred` the first signal only sets ``asked``: what runs there looks at it, and ends at its next
    opportunity. Everywhere else, and the second time, it is :class:`Interrupted` at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self._deferring = False

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """What a signal does."""
        if self._deferring and not self.asked:
            self.asked = True
            return
        raise Interrupted

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """What runs inside looks at ``asked`` by itself."""
        before, self._deferring = self._deferring, True
        try:
            yield
        finally:
            self._deferring = before

    def check(self) -> None:
        """Ends a run that was asked to end, where everything is kept.

        Raises:
            Interrupted: if it was.
        """
        if self.asked:
            raise Interrupted(saved=True)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Answers signals while the block runs, and puts back what answered them before.

    In another thread than the main one, where Python answers no signals, it never asks.

    Yields:
        What says whether the run was asked to end.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before: dict[int, Any] = {number: signal.signal(number, interruption.handle) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
