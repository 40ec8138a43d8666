"""Which engine runs a trunk: decided purely where that is enough, else by timing those that are installed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from .engine import ENGINES, build, refusals
from .engine_difference import Difference
from .engine_memory import Judged, Remembered, key_of, recall, recall_verdict, remember
from .engine_trial import Case, Trial, tried
from .engines.interface import Engine, Setup, computes_in
from .errors import DeviceError
from .neighbours import NeighboursMatter

#: From so many examples on, timing costs less than the fastest engine can save.
WORTH_TIMING = 2048
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
        setup: How it is run: as asked for, or one by one where the place in a batch is known to matter.
        refused: Why each of the others cannot.
        identity: The trunk's digest, by which findings are remembered; ``None`` where they are not.
        judged: What was found of the engine before; ``None`` where it is still to be compared with Keras.
    """

    engine: str | None
    candidates: tuple[str, ...]
    why: str
    setup: Setup
    refused: Mapping[str, str] = field(default_factory=dict)
    identity: str | None = None
    judged: Judged | None = None

    @property
    def key(self) -> str | None:
        """What a timed choice is remembered by; ``None`` where it is not."""
        return key_of(self.identity, self.setup, self.candidates) if self.identity else None

    @property
    def compared(self) -> bool:
        """Whether :func:`choose` only builds the engine, and runs nothing."""
        return self.judged is not None

    def __str__(self) -> str:
        if self.engine:
            return f"engine {self.engine}: {self.why}"
        return f"engine: the fastest of {', '.join(self.candidates)} ({self.why})"


@dataclass(frozen=True)
class Choice:
    """An engine that was built, and why it was taken.

    Attributes:
        engine: What was computed to compare it is handed out if that is the first batch; its ``setup`` is the final
            one: batches of 1 where the place in a batch matters.
        why: In words.
        difference: From Keras in float32, on the first examples, now or when it was compared; ``None`` of Keras itself.
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
        computes = computes_in(self.engine.trunk, setup)
        return (f"engine {self.engine.name}, {computes}, batches of {setup.batch}: {self.why}", *self.notes)


def decide(trunk: keras.Model, wanted: str, count: int, setup: Setup, identity: str | None = None) -> Decision:
    """Decides which engine runs a trunk, or that those that can are to be timed; nothing is built.

    Args:
        trunk: A functional network.
        wanted: ``auto``, or an engine's name.
        count: How many examples the run needs, cached or not: which of them are cached must not decide.
        setup: Precision, batch, threads and device.
        identity: The trunk's digest; without one nothing is timed, since the choice could not be remembered.

    Returns:
        The decision: the engine that was asked for, the default for few examples unless it is known not to give
        Keras's results, the one that was the fastest before on this machine, or none yet.

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
        return _known(Decision(wanted, (wanted,), "as asked", setup, refused, identity))
    default = ("tensorflow", "keras", "openvino") if keras.backend.backend() == "tensorflow" else ("keras",)
    able = tuple(name for name in default if name not in refused)
    if not able:
        what = f"No engine can run the network '{trunk.name}' in {setup.precision}: {refused['keras']}."
        raise DeviceError(what, fix="Use float32.")
    if len(able) == 1:
        why = "no other engine can run this network here"
    elif count < WORTH_TIMING:
        why = f"the default for fewer than {WORTH_TIMING} examples"
    elif identity is None:
        why = "the default for a network that has no digest"
    else:
        return _fastest(
            Decision(None, able, f"timed on the first batch, from {WORTH_TIMING} examples on", setup, refused, identity)
        )
    return _known(Decision(able[0], able, why, setup, refused, identity))


def _fastest(decision: Decision) -> Decision:
    """The engine that was the fastest when they were timed, where they were."""
    before = recall(decision.key) if decision.key else None
    if before is None or before.engine not in decision.candidates:
        return decision
    why = f"remembered for this network and machine ({before.why})"
    return _known(replace(decision, engine=before.engine, why=why))


def _known(decision: Decision) -> Decision:
    """A decision with what was found of its engine; Keras is taken where another is known not to give its results."""
    if decision.identity is None or decision.engine is None:
        return decision
    judged = recall_verdict(decision.identity, decision.setup, decision.engine)
    if judged is None:
        return decision
    if judged.taken:
        return replace(decision, judged=judged, setup=replace(decision.setup, batch=judged.batch))
    if decision.engine == "keras" or "keras" not in decision.candidates:
        return decision  # compared again, and refused with the reason
    return _known(replace(decision, engine="keras", why=f"{decision.engine} is not taken: {judged.why}"))


def without_engine(decision: Decision, reason: str, setup: Setup) -> Decision | None:
    """What is decided where the engine that was known to run a trunk cannot be built now: Keras runs it.

    Args:
        decision: What :func:`decide` gave.
        reason: Why it cannot be built.
        setup: Precision, batch, threads and device, as they were given to :func:`decide`.

    Returns:
        The decision; ``None`` where that engine alone was asked for, or it is Keras.
    """
    if not decision.compared or decision.engine == "keras" or "keras" not in decision.candidates:
        return None
    why = f"{decision.engine} is not taken: {reason.rstrip('.')}"
    return _known(replace(decision, engine="keras", judged=None, setup=setup, why=why))


def choose(trunk: keras.Model, decision: Decision, first: Any, count: int, setup: Setup) -> Choice:
    """Builds the engine that was decided on; where none was, times those that can and remembers the fastest.

    Every engine that was not compared before, on this machine, is compared on the first batch: with itself on another
    batch of the same examples, then with Keras. One to which the place in the batch matters runs examples one by one.
    In float32 one that does not give Keras's results is not taken; see :func:`zoo.engine_difference.judge`.

    Args:
        trunk: A functional network.
        decision: What :func:`decide` gave.
        first: The inputs of the first batch: exactly ``setup.batch`` examples. Not looked at where
            ``decision.compared``.
        count: How many of them differ: the first ones.
        setup: Precision, batch, threads and device, as they were given to :func:`decide`.

    Returns:
        The engine, and why.

    Raises:
        DeviceError: if the engine that was asked for cannot run the trunk, or is not within tolerance.
        NeighboursMatter: if what the trunk gives for an example depends on the others in its batch.
    """
    case = Case(trunk, first, count, setup, decision.identity)
    if decision.engine is None:
        return _timed(case, decision)
    if decision.judged is not None:
        trial = Trial(build(trunk, decision.engine, decision.setup), decision.judged)
        return _choice(case, trial, f"{trial.why(decision.why)} (found before)" if trial.judged.why else decision.why)
    trial = tried(case, decision.engine)
    if isinstance(trial, Trial):
        return _choice(case, trial, trial.why(decision.why))
    if "keras" in decision.candidates and decision.engine != "keras":  # auto: it may be another than the default
        other = tried(case, "keras")
        if isinstance(other, Trial):
            return _choice(case, other, other.why(f"{decision.engine} is not taken: {trial}"))
        trial = other
    what = f"The engine '{decision.engine}' cannot run the network '{trunk.name}': {trial}."
    raise DeviceError(what, fix="Use the engine auto, or keras.")


def _choice(
    case: Case, trial: Trial, reason: str, speeds: Mapping[str, float] | None = None, notes: Sequence[str] = ()
) -> Choice:
    name, said = trial.engine.name, [trial.engine.note]
    if trial.engine.setup.batch != case.setup.batch:
        said.append(f"its place in a batch changes the last bits of what {name} gives for an example: one at a time")
    found = (line for line in (*said, *trial.notes, *notes) if line)
    return Choice(trial.engine, reason, trial.judged.difference, speeds or {}, tuple(found))


def _timed(case: Case, decision: Decision) -> Choice:
    """Times the engines one after another; each must be clearly faster than the best of those before it."""
    best: Trial | None = None
    speeds, notes = {}, [f"{name} was not timed: {reason}" for name, reason in decision.refused.items()]
    for name in decision.candidates:
        try:
            trial = tried(case, name, repeats=REPEATS)
        except NeighboursMatter as reason:
            if best is None:  # the trunk's doing
                raise
            trial = str(reason)
        if isinstance(trial, str):
            notes.append(f"{name} is not taken: {trial.rstrip('.')}")
            continue
        speeds[name] = round(trial.speed, 1)
        if best is None or trial.speed > CLEARLY * best.speed:
            best, trial = trial, best
        if trial:
            trial.engine.close()
    if best is None:
        what = f"No engine can run the network '{case.trunk.name}' in {case.setup.precision}: {'; '.join(notes)}."
        raise DeviceError(what, fix="Use float32, or the engine keras.")
    measured = ", ".join(f"{name} {speed:g}" for name, speed in speeds.items())
    why = f"timed on the first batch: {measured} examples a second"
    return _kept(case, decision, best, Remembered(best.engine.name, why, speeds), notes)


def _kept(case: Case, decision: Decision, best: Trial, choice: Remembered, notes: list[str]) -> Choice:
    """Keeps a choice; where another process was first, its choice is taken."""
    try:
        kept = remember(decision.key, choice) if decision.key else choice
    except DeviceError as reason:
        notes = [*(line for line in notes if not line.startswith("not remembered")), f"not remembered: {reason}"]
        kept, best = choice, replace(best, notes=())
    if kept.engine == choice.engine:
        return _choice(case, best, best.why(choice.why), choice.speeds, notes)
    other = tried(case, kept.engine)
    if isinstance(other, str):  # it could not be built here
        return _choice(
            case, best, best.why(choice.why), choice.speeds, [*notes, f"{kept.engine} is not taken: {other}"]
        )
    best.engine.close()
    return _choice(case, other, f"chosen by another process ({kept.why})", kept.speeds)
