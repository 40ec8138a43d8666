"""When a checkpoint is due: often enough to lose little, seldom enough to cost little."""

import time
from collections.abc import Callable

#: The share of the time that checkpoints may take.
SHARE = 0.02
#: The most and the fewest seconds from one to the next.
LONGEST, SHORTEST = 300.0, 2.0
#: Bytes a second that writing is taken to manage until it has been measured.
EXPECTED = 100e6


class Pace:
    """When a checkpoint is due.

    What the last one took, with all that is beside the computation, is at most 2% of the time to the next one; but five
    minutes are never exceeded. The first is judged by its size.

    Args:
        every: Seconds from one to the next instead, at most five minutes; 0 for none.
        clock: What tells the seconds.

    Example:
        >>> now = [0.0]
        >>> pace = Pace(clock=lambda: now[0])
        >>> pace.expect(2_000_000)  # 0.02 s, so one second would do: two are the fewest
        >>> pace.due()
        False
        >>> now[0] = 2.0
        >>> pace.due()
        True
    """

    def __init__(self, every: float | None = None, clock: Callable[[], float] = time.monotonic):
        self._every, self._clock = every, clock
        self._since = clock()
        self._cost: float | None = None
        self._expected = 0.0

    def expect(self, size: int) -> None:
        """Says how many bytes the next one will have, where none was measured yet."""
        self._expected = size / EXPECTED

    @property
    def seconds(self) -> float | None:
        """The seconds from one to the next; ``None`` for never."""
        if self._every is not None:
            return min(self._every, LONGEST) or None
        cost = self._expected if self._cost is None else self._cost
        return min(max(cost / SHARE, SHORTEST), LONGEST)

    def due(self) -> bool:
        """Whether one is due."""
        seconds = self.seconds
        return seconds is not None and self._clock() - self._since >= seconds

    def begin(self) -> None:
        """Counts from now."""
        self._since = self._clock()

    def took(self, seconds: float) -> None:
        """Says what one took."""
        self._cost = seconds
