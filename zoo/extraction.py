"""Computing the features that are missing: read ahead in a thread, in batches of one shape, stored shard by shard."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .errors import CacheError
from .extraction_batches import plan_batches
from .extraction_buffer import ShardBuffer
from .feature_folder import Digests, FeatureFolder, as_bytes
from .neighbours import NeighboursMatter
from .read_ahead import Read, read_ahead

#: A shard is written when it holds so many bytes, or so many seconds of work: that is what a kill can lose.
SHARD_BYTES = 2**25
SHARD_SECONDS = 15.0

Run = Callable[[Any], list[np.ndarray]]


class Streaming(Protocol):
    """An engine: what runs batch after batch, and may be handed the next one while it computes."""

    def stream(self, batches: Iterable[tuple[Any, Any]], /) -> Iterator[tuple[Any, list[np.ndarray]]]:
        """The outputs of each batch, in order, beside what it is known by."""
        ...


Step = Callable[[int, int], None]


@dataclass(frozen=True)
class Sink:
    """Where features go: a trunk may give those of several boundaries at once, and each has a folder of its own.

    ``columns`` are the numbers of the outputs of the trunk that cross the boundary.
    """

    folder: FeatureFolder
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Filled:
    """What was done: the examples found and those computed, the damaged shards that were removed and computed again,
    and whether another process was waited for."""

    found: int
    computed: int
    damaged: int
    waited: bool


def fill(
    sinks: Sequence[Sink],
    examples: Digests,
    run: Run | Streaming,
    read: Read,
    batch: int,
    *,
    step: Step | None = None,
    waiting: Callable[[], None] | None = None,
) -> Filled:
    """Computes the features that folders do not hold yet, and stores them.

    Where nothing is missing nothing is written, so a cache that may only be read is enough. What is complete is stored
    even if this is interrupted. That an example comes out the same in every batch, :func:`zoo.engine_choice.choose` has
    seen to.

    Args:
        sinks: Where the features go.
        examples: What each example is known by: a SHA-256, see :data:`zoo.feature_folder.Digests`.
        run: What gives one array for each output, of inputs of ``batch`` examples: an engine, or a function.
        read: Gives the inputs of the examples of some indices.
        batch: The examples of a call.
        step: Told how many examples are done, of how many.
        waiting: Called once if another process computes features of the same trunk.

    Returns:
        What was done.

    Raises:
        CacheError: if something cannot be written, or a feature is beyond what float16 holds; what is complete stays.
        NeighboursMatter: if an output has no row for each example.
    """
    examples = as_bytes(examples)
    for sink in sinks:
        sink.folder.refresh()
    damaged, waited, computed = 0, False, 0
    if len(_missing(sinks, examples)):
        with ExitStack() as held:
            for sink in sorted(sinks, key=lambda sink: sink.folder.path):  # one order for all: nobody waits in a circle
                waited = held.enter_context(sink.folder.alone(None if waited else waiting)) or waited
                damaged += sink.folder.refresh().drop_damaged()
                sink.folder.remove_leftovers()
            missing = _missing(sinks, examples)
            _Extraction(sinks, examples, run, batch).of(missing, read, step)
            computed = len(missing)
    else:
        damaged = sum(sink.folder.mend() for sink in sinks)
    for sink in sinks:
        sink.folder.touch()
    return Filled(len(np.unique(examples)) - computed, computed, damaged, waited)


def _missing(sinks: Sequence[Sink], examples: np.ndarray) -> np.ndarray:
    found = [sink.folder.missing(examples) for sink in sinks]
    return np.unique(np.concatenate(found))


def _streamed(run: Any) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """Batch after batch: an engine may be handed the next one while it computes."""
    return getattr(run, "stream", None) or (lambda calls: ((indices, run(inputs)) for indices, inputs in calls))


@dataclass
class _Extraction:
    """Runs the trunk, and stores what it gives."""

    sinks: Sequence[Sink]
    examples: np.ndarray
    run: Run | Streaming
    batch: int
    since: float = field(default_factory=time.monotonic)

    def of(self, missing: np.ndarray, read: Read, step: Step | None) -> None:
        """Computes what is missing."""
        waiting = ShardBuffer(SHARD_BYTES, len(missing), self.batch)
        left = [~sink.folder.holds(self.examples) for sink in self.sinks]
        batches = plan_batches(missing, self.batch)
        done = 0
        try:
            with closing(read_ahead(read, [one.indices for one in batches])) as ready:
                pairs = zip(batches, ready, strict=True)
                calls = (call for read_now, inputs in pairs for call in read_now.calls(inputs))
                for indices, outputs in _streamed(self.run)(calls):
                    self._take(indices, outputs, waiting)
                    if waiting.full or time.monotonic() - self.since >= SHARD_SECONDS:
                        self._flush(waiting, left)
                    done += len(indices)
                    if step is not None:
                        step(done, len(missing))
        finally:
            self._flush(waiting, left)

    def _take(self, indices: np.ndarray, outputs: list[np.ndarray], waiting: ShardBuffer) -> None:
        columns = [np.asarray(output) for output in outputs]
        if any(column.ndim < 1 or len(column) != self.batch for column in columns):
            raise NeighboursMatter
        columns = [column[: len(indices)] for column in columns]
        for sink in self.sinks:
            if sink.folder.float16:
                _check_float16([columns[c] for c in sink.columns])
        waiting.add(indices, columns)

    def _flush(self, waiting: ShardBuffer, left: list[np.ndarray]) -> None:
        if not len(waiting):
            return
        positions, columns = waiting.taken()
        for sink, wanted in zip(self.sinks, left, strict=True):
            rows = np.flatnonzero(wanted[positions])
            if len(rows):
                taken = [columns[c] if len(rows) == len(positions) else columns[c][rows] for c in sink.columns]
                sink.folder.add(self.examples[positions[rows]], taken)
        self.since = time.monotonic()


def _check_float16(columns: Sequence[np.ndarray]) -> None:
    """Says at once, and not when a shard is written, that features are too large."""
    for column in columns:
        if column.dtype.kind != "f" or column.dtype.itemsize <= 2:
            continue
        largest = float(np.max(np.abs(column), initial=0.0, where=np.isfinite(column)))
        with np.errstate(over="ignore"):
            fits = np.isfinite(np.float64(largest).astype("float16"))
        if not fits:
            what = "Features are too large for float16."
            fix = "Store them as float32: --feature-dtype float32."
            raise CacheError(what, expected="at most 65504", received=f"{largest:g}", fix=fix)
