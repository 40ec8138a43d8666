"""Which engine runs a trunk: decided purely where that is enough, else by timing those that are installed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from .engine import ENGINES, build, make, refusals
from .engine_difference import Difference, Verdict, judge
from .engine_memory import Remembered, key_of, recall, remember
from .engines.interface import CannotRun, Engine, Setup
from .errors import DeviceError
from .framework_error import said_by

#: From so many batches on, timing costs less than the fastest engine can save.
WORTH_TIMING = 32
#: How often each engine is timed, after a call that warms it up; the quickest counts.
REPEATS = 2
#: An engine is taken instead of the default where it is so many times as fast.
CLEARLY = 1.1


@dataclass(frozen=True)
class Decision:
    """What is decided about an engine before anything is built.

    Attributes:
        engine: Its name; ``None`` where those of ``candidates`` are timed first.
        candidates: The engines that may run the trunk, the default first.
        why: In words.
        refused: Why each of the others cannot.
        key: What the choice is remembered by; ``None`` where it is not.
        compared: Whether the engine was found within tolerance of Keras when it was chosen.
    """

    engine: str | None
    candidates: tuple[str, ...]
    why: str
    refused: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    compared: bool = False

    def __str__(self) -> str:
        if self.engine:
            return f"engine {self.engine}: {self.why}"
        return f"engine: the fastest of {', '.join(self.candidates)} ({self.why})"


@dataclass(frozen=True)
class Choice:
    """An engine that was built, and why it was taken.

    Attributes:
        engine: It runs the first batch for free: what was computed to compare it is handed out.
        why: In words.
        difference: From Keras in float32, on the first examples; ``None`` where it was compared before.
        speeds: Examples a second, by engine; empty where none was timed.
        notes: What else is to be said, a line each.
    """

    engine: Engine
    why: str
    difference: Difference | None = None
    speeds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What is printed."""
        setup = self.engine.setup
        return (f"engine {self.engine.name}, {setup.precision}, batches of {setup.batch}: {self.why}", *self.notes)


@dataclass(frozen=True)
class _Trial:
    """An engine on the first batch: what it gave beside Keras, and the seconds it took."""

    engine: Engine
    verdict: Verdict | None
    seconds: float = 0.0

    @property
    def speed(self) -> float:
        return self.engine.setup.batch / self.seconds

    def why(self, reason: str) -> str:
        if self.verdict is None:
            return reason
        if self.engine.setup.precision == "float32":
            return f"{reason}; {self.verdict.why}"
        return f"{reason}; bfloat16 differs from float32 by {self.verdict.difference}"


def decide(trunk: keras.Model, wanted: str, count: int, setup: Setup, identity: str | None = None) -> Decision:
    """Decides which engine runs a trunk, or that those that can are to be timed; nothing is built.

    Args:
        trunk: A functional network.
        wanted: ``auto``, or an engine's name.
        count: How many examples the run needs, cached or not: which of them are cached must not decide.
        setup: Precision, batch, threads and device.
        identity: The trunk's digest; without one nothing is timed, since the choice could not be remembered.

    Returns:
        The decision: the engine that was asked for, the one remembered for this network and machine, the default for
        few examples, or none yet.

    Raises:
        DeviceError: if the engine that was asked for cannot run the trunk, or none can.

    Example:
        >>> inputs = keras.Input((2,))
        >>> trunk = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        >>> print(decide(trunk, "auto", 100, Setup()))
        engine tensorflow: the default for fewer than 2048 examples
    """
    known = refusals(trunk, setup)
    refused = {name: reason for name, reason in known.items() if reason}
    if wanted != "auto":
        if wanted in refused or wanted not in ENGINES:
            build(trunk, wanted, setup)  # says why not
        return Decision(wanted, (wanted,), "as asked", refused)
    default = ("tensorflow", "keras", "openvino") if keras.backend.backend() == "tensorflow" else ("keras",)
    able = tuple(name for name in default if name not in refused)
    if not able:
        what = f"No engine can run the network '{trunk.name}' in {setup.precision}: {refused['keras']}."
        raise DeviceError(what, fix="Use float32.")
    if len(able) == 1:
        return Decision(able[0], able, "no other engine can run this network here", refused)
    key = key_of(identity, setup, able) if identity else None
    before = recall(key) if key else None
    if before and before.engine in able:
        why = f"remembered for this network and machine ({before.why})"
        return Decision(before.engine, able, why, refused, key, compared=True)
    few = WORTH_TIMING * setup.batch
    if count < few:
        return Decision(able[0], able, f"the default for fewer than {few} examples", refused, key)
    if key is None:
        return Decision(able[0], able, "the default for a network that has no digest", refused)
    return Decision(None, able, f"timed on the first batch, from {few} examples on", refused, key)


def choose(trunk: keras.Model, decision: Decision, first: Any, count: int, setup: Setup) -> Choice:
    """Builds the engine that was decided on; where none was, times those that can and remembers the fastest.

    Every engine that was not compared with Keras on this machine before is compared on the first batch. In float32 one
    that is not within tolerance is not taken; see :func:`zoo.engine_difference.judge`.

    Args:
        trunk: A functional network.
        decision: What :func:`decide` gave.
        first: The inputs of the first batch: exactly ``setup.batch`` examples.
        count: How many of them differ: the first ones.
        setup: Precision, batch, threads and device.

    Returns:
        The engine, and why.

    Raises:
        DeviceError: if the engine that was asked for cannot run the trunk, or is not within tolerance.
    """
    if decision.engine is None:
        return _timed(trunk, decision, first, count, setup)
    trial = _try(trunk, decision.engine, first, count, setup, compared=decision.compared)
    if isinstance(trial, _Trial):
        return _choice(trial, trial.why(decision.why))
    if "keras" in decision.candidates and decision.engine != "keras":  # auto: it may be another than the default
        other = _try(trunk, "keras", first, count, setup)
        if isinstance(other, _Trial):
            why = f"{decision.engine} is not taken: {trial}"
            return _kept(trunk, decision, other, Remembered("keras", why), ())
        trial = other
    what = f"The engine '{decision.engine}' cannot run the network '{trunk.name}': {trial}."
    raise DeviceError(what, fix="Use the engine auto, or keras.")


def _choice(trial: _Trial, reason: str, speeds: Mapping[str, float] | None = None, notes: Sequence[str] = ()) -> Choice:
    found = trial.verdict.difference if trial.verdict else None
    said = (trial.engine.note, *notes)
    return Choice(trial.engine, reason, found, speeds or {}, tuple(line for line in said if line))


def _try(
    trunk: keras.Model, name: str, first: Any, count: int, setup: Setup, *, repeats: int = 0, compared: bool = False
) -> _Trial | str:
    """Builds an engine and compares it with Keras on the first batch; or why it is not to be taken."""
    try:
        engine = make(trunk, name, setup)
    except (CannotRun, DeviceError) as reason:
        return str(reason).rstrip(".")
    narrow = setup.precision == "bfloat16"
    if not repeats and ((compared and not narrow) or (name == "keras" and not narrow)):
        return _Trial(engine, None)
    try:
        outputs = engine.run(first)
        seconds = min((_seconds(engine, first) for _ in range(repeats)), default=0.0)
    except Exception as reason:  # whatever its framework raises on this network
        engine.close()
        return said_by(reason).rstrip(".")
    verdict = None if name == "keras" and not narrow else judge(trunk, first, outputs, count, exact=not narrow)
    if verdict and not (verdict.within or (narrow and np.isfinite(verdict.difference.largest))):
        engine.close()
        return verdict.why
    engine.expect(first, outputs)
    return _Trial(engine, verdict, seconds)


def _seconds(engine: Engine, inputs: Any) -> float:
    start = time.perf_counter()
    engine.run(inputs)
    return time.perf_counter() - start


def _timed(trunk: keras.Model, decision: Decision, first: Any, count: int, setup: Setup) -> Choice:
    """Times the engines one after another; each must be clearly faster than the best of those before it."""
    best: _Trial | None = None
    speeds, notes = {}, [f"{name} was not timed: {reason}" for name, reason in decision.refused.items()]
    for name in decision.candidates:
        trial = _try(trunk, name, first, count, setup, repeats=REPEATS)
        if isinstance(trial, str):
            notes.append(f"{name} is not taken: {trial}")
            continue
        speeds[name] = round(trial.speed, 1)
        if best is None or trial.speed > CLEARLY * best.speed:
            best, trial = trial, best
        if trial:
            trial.engine.close()
    if best is None:
        what = f"No engine can run the network '{trunk.name}' in {setup.precision}: {'; '.join(notes)}."
        raise DeviceError(what, fix="Use float32, or the engine keras.")
    measured = ", ".join(f"{name} {speed:g}" for name, speed in speeds.items())
    why = best.why(f"timed on the first batch: {measured} examples a second")
    return _kept(trunk, decision, best, Remembered(best.engine.name, why, speeds), notes)


def _kept(trunk: keras.Model, decision: Decision, best: _Trial, choice: Remembered, notes: Sequence[str]) -> Choice:
    """Keeps a choice; where another process was first, its choice is taken."""
    kept = choice
    if decision.key:
        try:
            kept = remember(decision.key, choice)
        except DeviceError as reason:
            notes = [*notes, f"not remembered: {reason}"]
    if kept.engine == choice.engine:
        return _choice(best, choice.why, choice.speeds, notes)
    setup = best.engine.setup
    best.engine.close()
    return Choice(make(trunk, kept.engine, setup), f"chosen by another process ({kept.why})", None, kept.speeds)
