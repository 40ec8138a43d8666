"""An engine on trial: built, compared with itself and with Keras on the first batch, and timed where that is asked."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from .engine import make
from .engine_difference import EXAMPLES, judge
from .engine_memory import Judged, recall_verdict, remember_verdict
from .engines.interface import CannotRun, Engine, Setup
from .errors import DeviceError
from .framework_error import said_by
from .neighbours import NeighboursMatter
from .steadiness import same_bits, unsteady


@dataclass(frozen=True)
class Case:
    """A trunk, its first batch, and how it is to be run; see :func:`zoo.engine_choice.choose`."""

    trunk: keras.Model
    first: Any
    count: int
    setup: Setup
    identity: str | None


@dataclass(frozen=True)
class Trial:
    """An engine, what was found of it, what it gave for its first batch, and the seconds that it took for a call."""

    engine: Engine
    judged: Judged
    computed: list[np.ndarray] | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def speed(self) -> float:
        return self.engine.setup.batch / self.seconds

    def why(self, reason: str) -> str:
        return f"{reason}; {self.judged.why}" if self.judged.why else reason


def tried(case: Case, name: str, *, repeats: int = 0) -> Trial | str:
    """Builds an engine, compares it on the first batch where that was not done yet, and times it; or why it is not to
    be taken."""
    known = recall_verdict(case.identity, case.setup, name) if case.identity else None
    if known and not known.taken and repeats:
        return known.why
    try:
        trial = _known_trial(case, name, known) if known and known.taken else _compared(case, name, known is not None)
    except CannotRun as reason:
        why = str(reason).rstrip(".")
        return why if known else _not_taken(case, name, why)
    except DeviceError as reason:  # such as too little memory now
        return str(reason).rstrip(".")
    except NeighboursMatter:
        raise
    except Exception as reason:  # whatever its framework raises on this network
        return said_by(reason).rstrip(".")
    if isinstance(trial, str):
        return trial
    if trial.computed is None and not repeats:
        return trial
    inputs = _rows(case.first, 0, trial.engine.setup.batch)
    try:
        computed = trial.engine.run(inputs) if trial.computed is None else trial.computed
        seconds = min((_seconds(trial.engine, inputs) for _ in range(repeats)), default=0.0)
    except Exception as reason:  # whatever its framework raises on this network
        trial.engine.close()
        return said_by(reason).rstrip(".")
    trial.engine.expect(inputs, computed)
    return replace(trial, seconds=seconds)


def _compared(case: Case, name: str, again: bool) -> Trial | str:
    """An engine that was compared with itself and with Keras; or why it is not to be taken.

    Args:
        case: What it is to run.
        name: Its name.
        again: Whether it was compared before, and not taken: if it is now, that stands.

    Raises:
        CannotRun: if it cannot be built.
        NeighboursMatter: if what it gives for an example depends on the others in its batch.
    """
    engine = make(case.trunk, name, case.setup)
    with _closed_on_error(engine):
        outputs = engine.run(case.first)
        found = unsteady(engine, case.first, outputs, case.count)
        if found and not found.rounding:
            raise NeighboursMatter
    if found:
        engine.close()
        engine = make(case.trunk, name, replace(case.setup, batch=1))
    with _closed_on_error(engine):
        if found:
            outputs = _one_by_one(engine, case)
        judged = beside_keras(case, name, engine.setup.batch, outputs)
        kept, notes = remembered(case, name, judged, again=again and judged.taken)
    if not kept.taken:
        engine.close()
        return kept.why
    if kept.batch != engine.setup.batch:  # another process found that first
        engine.close()
        return _known_trial(case, name, kept)
    return Trial(engine, kept, [part[: kept.batch] for part in outputs], notes=notes)


def _one_by_one(engine: Engine, case: Case) -> list[np.ndarray]:
    """What an engine of single examples gives for the first few; the first of them is run twice."""
    few = [engine.run(_rows(case.first, place, 1)) for place in (*range(min(case.count, EXAMPLES)), 0)]
    if any(len(part) != 1 for part in few[0]) or not same_bits(few[0], few.pop()):
        raise NeighboursMatter
    return [np.concatenate(parts) for parts in zip(*few, strict=True)]


def _known_trial(case: Case, name: str, judged: Judged) -> Trial:
    return Trial(make(case.trunk, name, replace(case.setup, batch=judged.batch)), judged)


def _rows(inputs: Any, start: int, count: int) -> Any:
    return keras.tree.map_structure(lambda array: array[start : start + count], inputs)


def remembered(case: Case, name: str, judged: Judged, *, again: bool = False) -> tuple[Judged, tuple[str, ...]]:
    """Keeps what was found; where another process was first, what it found holds, but where this was found again."""
    if case.identity is None:
        return judged, ()
    try:
        return remember_verdict(case.identity, case.setup, name, judged, again=again), ()
    except DeviceError as reason:
        return judged, (f"not remembered: {reason}",)


def _not_taken(case: Case, name: str, why: str) -> str:
    return remembered(case, name, Judged(False, why, None, case.setup.batch))[0].why


def _seconds(engine: Engine, inputs: Any) -> float:
    start = time.perf_counter()
    engine.run(inputs)
    return time.perf_counter() - start


@contextmanager
def _closed_on_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.close()
        raise


def beside_keras(case: Case, name: str, batch: int, outputs: Sequence[np.ndarray]) -> Judged:
    """What is to be remembered of an engine that gave some outputs for the first examples, in batches of some size."""
    narrow = case.setup.precision != "float32"
    if name == "keras" and not narrow:
        return Judged(True, "", None, batch)
    verdict = judge(case.trunk, case.first, outputs, case.count, exact=not narrow)
    taken = verdict.within or (narrow and bool(np.isfinite(verdict.difference.largest)))
    why = f"bfloat16 differs from float32 by {verdict.difference}" if narrow and taken else verdict.why
    return Judged(taken, why, verdict.difference, batch)
