"""Filling what a store lacks: the engine, the way, the room, and what is said of it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from .boundary import Boundary
from .byte_size import size_said
from .caching import Room, decide_caching
from .engine_choice import Choice, Decision, choose, without_engine
from .engine_difference import Difference
from .engine_memory import Remembered, remember
from .engine_trial import Case, beside_keras, remembered
from .errors import DeviceError
from .extraction import Filled, fill
from .feature_cache import Eviction
from .feature_folder import FeatureFolder
from .neighbours import NeighboursMatter
from .stored_features import Stored
from .trunk_route import WORTH, Route, direct, from_lower, together
from .trunk_rows import TrunkRows
from .wanted_features import Wanted

if TYPE_CHECKING:
    from .feature_store import FeatureStore


class Filling:
    """One call of :meth:`zoo.feature_store.FeatureStore.get`.

    Args:
        store: Where features are kept.
        graph: The flat network.
        wanted: What is decided.
        rows: The examples.
        stage: What lines begin with.
    """

    def __init__(self, store: "FeatureStore", graph: keras.Model, wanted: Wanted, rows: TrunkRows, stage: str) -> None:
        self.store, self.graph, self.wanted, self.rows, self.stage = store, graph, wanted, rows, stage
        self._choice: Choice | None = None
        self._first: Any = None

    def run(self, later: Sequence[Boundary]) -> Stored | None:
        """The features, computed where they are missing; ``None`` where the trunk is to be run in every step."""
        wanted, rows = self.wanted, self.rows
        try:
            folder = self._folder_of(wanted)
            missing = folder.refresh().missing(rows.digests)
            if len(missing):
                folder = self._chosen_folder(wanted)
                missing = folder.refresh().missing(rows.digests)
            if len(missing):
                if not self._room(len(missing), folder, later):
                    return None
                self._fill(folder, later)
            else:
                folder.touch()
                if dropped := folder.mend():
                    self._say(f"damaged shards of other examples that were removed: {dropped}")
                self._say(f"the features of all {len(rows)} examples are in the cache")
                self._say_precision(folder)
        except NeighboursMatter:
            return self._refuse("what it gives for an example changes with the others in its batch")
        finally:
            if self._choice is not None:
                self._choice.engine.close()
        if folder.float16:
            self._say(f"stored with 16 bits: off by at most {folder.difference:.1e} of a tensor's mean magnitude")
        facts = {key: value for key, value in folder.about.items() if key != "what" and value is not None}
        features = folder.features(rows.digests)
        return Stored(features, rows.digests, rows.parts, wanted.edge, wanted.digest, facts, self.store.settings.memory)

    def _folder_of(self, wanted: Wanted) -> FeatureFolder:
        """Where features would be, as far as it is decided without an engine."""
        if wanted.decision is not None and wanted.decision.engine:
            return self.store.folder(wanted)
        return self._chosen_folder(wanted)

    def _chosen_folder(self, wanted: Wanted) -> FeatureFolder:
        """Where the features of the engine that was taken go: another than the default, where that is off."""
        if wanted.caching.way == "run":
            self.store.hold_place_of_run()
        taken = self.choice.engine
        folder = self.store.folder(wanted, taken.name, taken.setup)
        if self.choice.difference is not None:
            folder.about = {**folder.about, "difference": _gap(self.choice.difference)}
        return folder

    @property
    def choice(self) -> Choice:
        """The engine, built when it is first needed."""
        if self._choice is None:
            decision = self.wanted.decided
            try:
                self._choice = self._chosen(decision)
            except DeviceError as reason:
                other = without_engine(decision, str(reason), self.wanted.asked)
                if other is None:
                    raise
                self._choice = self._chosen(other)
            for line in self._choice.lines:
                self._say(line)
        return self._choice

    def _chosen(self, decision: Decision) -> Choice:
        asked = self.wanted.asked
        first = None if decision.compared else self.first
        return choose(self.wanted.trunk, decision, first, min(len(self.rows), asked.batch), asked)

    @property
    def first(self) -> Any:
        """The inputs of the first batch of all rows, whichever of them are known."""
        if self._first is None:
            self._first = self.rows.read(self._first_rows)
        return self._first

    @property
    def _first_rows(self) -> np.ndarray:
        return np.resize(np.arange(len(self.rows)), self.wanted.asked.batch)

    def _say(self, line: str) -> None:
        self.store.progress.line(f"{self.stage}{line}")

    def _refuse(self, why: str) -> None:
        self._say(f"the frozen trunk is run in every step: {why}")

    def _room(self, missing: int, folder: FeatureFolder, later: Sequence[Boundary]) -> bool:
        """Makes room for features, and says what went; or says that there is none.

        What later stages will read stays, where there is room without it.
        """
        if self.wanted.caching.way == "run":
            return True
        cache, needed = self.store.cache, missing * (self.wanted.each or 0)
        using = folder.shards_of(self.rows.digests)
        going = cache.evictions(needed, using=using)
        if going:
            ahead = [self._folder_of(self._wanted(edge)).refresh() for edge in later]
            stay = using.union(*(other.shards_of(self.rows.digests) for other in ahead))
            going = cache.evictions(needed, using=stay) or going
        if going is None:
            room = Room(cache.room(using=using), cache.limit)
            self._refuse(decide_caching(self.wanted.edge, "disk", needed=needed, room=room).why)
            return False
        self._evict(going)
        return True

    def _evict(self, going: Sequence[Eviction]) -> None:
        for entry in self.store.cache.evict(going):
            self._say(f"removed from the cache to make room: {entry.about.get('what', entry.name)}")

    def _wanted(self, edge: Boundary) -> Wanted:
        """Another boundary of the run, to be kept as this one is."""
        other = self.store.decide(self.graph, edge, lambda: self.rows)
        return other.with_caching(self.wanted.caching, other.known)

    def _fill(self, folder: FeatureFolder, later: Sequence[Boundary]) -> None:
        """Computes what is missing, by the way that costs least and gives the same bits."""
        running = self.choice.engine
        other = self._other_route(folder, later)
        route = other or direct(self.wanted, running, self.rows.read, folder)
        if route.line:
            self._say(route.line)
        started = time.perf_counter()
        try:
            filled = fill(
                route.sinks,
                self.rows.digests,
                route.running,
                route.read,
                route.running.setup.batch,
                step=self._stepper(started),
                waiting=lambda: self._say("another process computes features of this trunk: waiting for it"),
            )
        finally:
            if other is not None:
                other.running.close()
        self._say(_told(filled, self.wanted, time.perf_counter() - started))

    def _other_route(self, folder: FeatureFolder, later: Sequence[Boundary]) -> Route | None:
        """A way that costs less than the trunk alone, where there is one that gives the same bits."""
        running, rows = self.choice.engine, self.rows
        missing = folder.missing(rows.digests)
        if len(missing) < WORTH or running.setup.batch == 1:
            return None
        others = [one for one in map(self._wanted, later) if one.each and one.digest != self.wanted.digest]
        for one in others:
            if not self._fits(one) and one.known < len(rows):
                self._say_later(one, "it is run by another engine, or in other batches")
        others = [one for one in others if self._fits(one)]
        found = [(one, self.store.folder(one, running.name, running.setup).refresh()) for one in others]
        lacking = [(one, there, there.missing(rows.digests)) for one, there in found]
        for one, there, left in lacking:
            if not len(left):
                below = there.features(rows.digests)
                head = below.rows(self._first_rows)
                route = from_lower(self.graph, self.wanted, one, running, self.first, head, below.rows, folder)
                if route is not None:
                    return route
        for one, _, left in lacking:
            if len(left) and not np.array_equal(left, missing):
                self._say_later(one, "other examples than of this one are in the cache")
        same = [(one, there) for one, there, left in lacking if np.array_equal(left, missing)]
        beside, going = self._with_room(folder, same, len(missing), [there for _, there in found])
        if not beside:
            return None
        route = together(self.wanted, beside, running, self.first, len(rows), rows.read, folder)
        if route is None:
            self._say("what later stages need is computed again there: together with this it would not be the same")
            return None
        for (one, there), sink in zip(beside, route.sinks[1:], strict=True):
            if not self._may_give(one, there, [route.outputs[column] for column in sink.columns]):
                route.running.close()
                return None
        self._evict(going)
        return route

    def _fits(self, one: Wanted) -> bool:
        """Whether another boundary's features may be computed by the engine of this one."""
        running = self.choice.engine
        chosen = one.decided.engine in (None, running.name) and one.setup == running.setup
        return chosen and bool(one.unknown) == bool(self.wanted.unknown)

    def _say_later(self, one: Wanted, why: str) -> None:
        self._say(f"computed in a later stage: up to {one.name}; {why}")

    def _with_room(
        self,
        folder: FeatureFolder,
        others: Sequence[tuple[Wanted, FeatureFolder]],
        count: int,
        later: Sequence[FeatureFolder],
    ) -> tuple[list[tuple[Wanted, FeatureFolder]], Sequence[Eviction]]:
        """Those boundaries whose features fit beside those of now, and what has to go for that; says which do not fit.

        What later stages will read stays, where there is room without it.
        """
        cache, needed = self.store.cache, count * (self.wanted.each or 0)
        beside: list[tuple[Wanted, FeatureFolder]] = []
        going: Sequence[Eviction] = ()
        stay = set[Path]().union(*(each.shards_of(self.rows.digests) for each in (folder, *later)))
        run_only = self.wanted.caching.way == "run"
        for one, there in others:
            more = count * (one.each or 0)
            folders = (folder, there, *(other for _, other in beside))
            using = set[Path]().union(*(each.shards_of(self.rows.digests) for each in folders))
            room: Sequence[Eviction] | None = ()
            if not run_only:
                room = cache.evictions(needed + more, using=stay)
                room = cache.evictions(needed + more, using=using) if room is None else room
            if room is None:
                self._say_later(one, f"with it all would take {size_said(needed + more)}, too much")
                continue
            beside.append((one, there))
            needed, going = needed + more, room
        return beside, going

    def _may_give(self, one: Wanted, folder: FeatureFolder, outputs: list[np.ndarray]) -> bool:
        """Whether the engine of now gives Keras's results for another boundary; has that run by it from now on."""
        running, decided = self.choice.engine, one.decided
        batch = running.setup.batch
        case = Case(one.trunk, self.first, min(len(self.rows), batch), one.asked, decided.identity)
        found, notes = remembered(case, running.name, beside_keras(case, running.name, batch, outputs))
        if found.difference is not None:
            folder.about = {**folder.about, "difference": _gap(found.difference)}
        if found.taken and decided.engine is None and decided.key is not None:
            try:
                remember(decided.key, Remembered(running.name, f"as for the boundary above it: {self.choice.why}"))
            except DeviceError as reason:
                notes = (f"not remembered: {reason}",)
        for note in notes:
            self._say(note)
        return found.taken

    def _stepper(self, started: float) -> Callable[[int, int], None]:
        def step(done: int, total: int) -> None:
            speed = done / max(time.perf_counter() - started, 1e-9)
            self.store.progress.step(f"{self.stage}trunk", done, total, f"examples, {speed:.0f} a second")

        return step

    def _say_precision(self, folder: FeatureFolder) -> None:
        """What was measured of a trunk that does not compute in float32, when its features were computed."""
        gap = folder.about.get("difference")
        if folder.about.get("precision") != "float32" and gap:
            self._say(f"its bfloat16 differs from float32 by {Difference(gap['largest'], gap['typical'])}")


def _gap(found: Difference) -> dict[str, float]:
    return {"largest": found.largest, "typical": found.typical}


def _told(filled: Filled, wanted: Wanted, seconds: float) -> str:
    speed = f", {filled.computed / seconds:.0f} a second" if seconds > 0 else ""
    done = f"{filled.computed} example{'' if filled.computed == 1 else 's'} in {seconds:.1f} s{speed}"
    parts = [f"the trunk up to {wanted.name} ({wanted.size}) was run on {done}"]
    parts += [f"{filled.found} were in the cache"] if filled.found else []
    if filled.damaged:
        parts.append(f"damaged shards that were removed: {filled.damaged}")
    return "; ".join(parts)
