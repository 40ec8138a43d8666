"""What crosses a run's frozen boundaries: found on the disk, or computed once by the fastest engine, and kept there."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import numpy as np

from . import engine
from .atomic import hidden
from .batch_shape import batch_of
from .boundary import Boundary, cut_trunk
from .byte_size import size_said
from .caching import OPEN_SIZES, FeatureSettings, bytes_of, no_room
from .engine_choice import Choice, choose, decide
from .engine_difference import Difference, judge
from .engine_memory import Remembered, remember
from .engines.interface import Setup, settings
from .errors import DeviceError
from .extraction import Filled, NeighboursMatter, fill
from .feature_cache import FeatureCache, about_of
from .feature_folder import FeatureFolder, remove_folder
from .feature_key import feature_key
from .progress import Progress
from .registry import zoo_home
from .stored_features import Stored
from .trunk_digest import read_trunk
from .trunk_route import WORTH, Route, Wanted, direct, from_lower, together
from .trunk_rows import TrunkRows

_FACTS = ("key", "engine", "precision", "batch", "dtype", "difference")


class FeatureStore:
    """The features of a run, in the cache or for the run only.

    Args:
        settings: How trunks are run, and what is kept.
        inputs: How an example becomes what a trunk takes; see :func:`zoo.feature_key.feature_key`.
        network: What the network is called, for people; by default its own name.
        progress: Where lines go.
    """

    def __init__(
        self,
        settings: FeatureSettings | None = None,
        *,
        inputs: str = "",
        network: str = "",
        progress: Progress | None = None,
    ) -> None:
        self.settings = settings or FeatureSettings()
        self._inputs, self._network = inputs, network
        self._progress = progress or Progress(quiet=True)
        self._cache = FeatureCache(zoo_home() / "features", self.settings.size)
        self._of_run: dict[str, Path] = {}
        self._folders: dict[Path, FeatureFolder] = {}
        self.last: Stored | None = None

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Removes what was kept for the run only."""
        for path in self._of_run.values():
            remove_folder(path)
        self._of_run.clear()

    def get(
        self, graph: keras.Model, edge: Boundary, rows: TrunkRows, *, later: Sequence[Boundary] = (), stage: str = ""
    ) -> Stored | None:
        """What crosses a boundary for every row; computed where it is not kept yet.

        Args:
            graph: The flat network.
            edge: The boundary.
            rows: The examples.
            later: The boundaries of later stages below which nothing will have changed by then: where that gives the
                same bits they are computed in the same pass, or this one from them.
            stage: The stage's name, for what is printed.

        Returns:
            The features, or ``None`` where they cannot be kept: a line has said why, and the trunk is to be run in
            every step.

        Raises:
            CacheError: if they cannot be written.
            DeviceError: if the engine that was asked for cannot run the trunk.
        """
        wanted = self._wanted(graph, edge, rows)
        last = self.last
        if last is not None and (last.trunk, last.edge.places) == (wanted.digest, edge.places):
            return last
        self.last = None
        self.last = _Filling(self, graph, wanted, rows, f"stage {stage}: " if stage else "").run(later)
        return self.last

    def _wanted(self, graph: keras.Model, edge: Boundary, rows: TrunkRows) -> Wanted:
        trunk, kept = cut_trunk(graph, edge), self.settings
        setup = Setup(kept.precision, batch_of(trunk), kept.threads, kept.device)
        digest, unknown = read_trunk(trunk)
        decision = decide(trunk, kept.engine, len(rows), setup, None if unknown else digest)
        return Wanted(edge, trunk, digest, setup, decision, not unknown)

    def _folder(self, wanted: Wanted, name: str) -> FeatureFolder:
        """Where the features of a trunk are, run by an engine."""
        how = settings(engine.kind_of(name), wanted.setup)
        key = feature_key(wanted.digest, self._inputs, how, self.settings.dtype)
        float16 = self.settings.dtype == "float16"
        found = self._cache.folder(key, float16=float16)
        if self.settings.keep == "run" or not wanted.known:
            path = self._of_run.setdefault(key, hidden(found.path))
            found = FeatureFolder(path, float16=float16)
        found = self._folders.setdefault(found.path, found)
        found.about = {**about_of(found.path), **self._about(wanted, name, key), **found.about}
        return found

    def _about(self, wanted: Wanted, name: str, key: str) -> dict[str, Any]:
        """What ``zoo cache list`` and the lock say of features."""
        return {
            "what": f"{self._network or wanted.trunk.name.removesuffix('_trunk')} up to {wanted.name}",
            "key": key,
            "engine": name,
            "precision": wanted.setup.precision,
            "batch": wanted.setup.batch,
            "dtype": self.settings.dtype,
        }


class _Filling:
    """One call of :meth:`FeatureStore.get`."""

    def __init__(self, store: FeatureStore, graph: keras.Model, wanted: Wanted, rows: TrunkRows, stage: str) -> None:
        self.store, self.graph, self.wanted, self.rows, self.stage = store, graph, wanted, rows, stage
        self._choice: Choice | None = None
        self._first: Any = None

    def run(self, later: Sequence[Boundary]) -> Stored | None:
        """The features, computed where they are missing; ``None`` where the trunk is to be run in every step."""
        wanted, rows, decision = self.wanted, self.rows, self.wanted.decision
        each = self._bytes_of(wanted)
        if each is None:
            return self._refuse(OPEN_SIZES)
        try:
            folder = self.store._folder(wanted, decision.engine or self.choice.engine.name)
            missing = folder.refresh().missing(rows.digests)
            if len(missing) or folder.damaged:
                others = [self.store._wanted(self.graph, edge, rows) for edge in later]
                ahead = [self.store._folder(one, one.decision.engine or self.choice.engine.name) for one in others]
                if not self._room(len(missing) * each, (folder,), ahead):
                    return None
                name = self.choice.engine.name  # not the default one, where that is not within tolerance
                folder = self.store._folder(wanted, name).refresh()
                self._fill(folder, others)
            else:
                folder.touch()
                self._say(f"the features of all {len(rows)} examples are in the cache")
                self._say_precision(folder)
        except NeighboursMatter:
            for one in self.store._folders.values():
                if not one.shards:  # what was made to be locked
                    remove_folder(one.path)
            return self._refuse("what it gives for an example changes with the others in its batch")
        finally:
            if self._choice is not None:
                self._choice.engine.close()
        if folder.float16:
            self._say(f"stored with 16 bits: off by at most {folder.difference:.1e} of a tensor's mean magnitude")
        facts = {key: folder.about[key] for key in _FACTS if folder.about.get(key) is not None}
        memory = self.store.settings.memory
        return Stored(folder.features(rows.digests), rows.parts, wanted.edge, wanted.digest, facts, memory)

    @property
    def choice(self) -> Choice:
        """The engine, built when it is first needed."""
        if self._choice is None:
            setup, count = self.wanted.setup, len(self.rows)
            self._choice = choose(self.wanted.trunk, self.wanted.decision, self.first, min(count, setup.batch), setup)
            for line in self._choice.lines:
                self._say(line)
        return self._choice

    @property
    def first(self) -> Any:
        """The inputs of the first batch of all rows, whichever of them are known."""
        if self._first is None:
            self._first = self.rows.read(np.resize(np.arange(len(self.rows)), self.wanted.setup.batch))
        return self._first

    def _say(self, line: str) -> None:
        self.store._progress.line(f"{self.stage}{line}")

    def _refuse(self, why: str) -> None:
        self._say(f"the frozen trunk is run in every step: {why}")

    def _bytes_of(self, wanted: Wanted) -> int | None:
        example = self.rows.read(np.zeros(1, "int64"))
        shape = example.shape[1:] if isinstance(example, np.ndarray) else ()
        return bytes_of(wanted.trunk, shape, self.store.settings.dtype)

    def _room(self, needed: int, used: Sequence[FeatureFolder], ahead: Sequence[FeatureFolder] = ()) -> bool:
        """Makes room for features, and says what went; or says that there is none.

        Args:
            needed: The bytes.
            used: What must stay.
            ahead: What later stages will use: it stays where there is room without it.
        """
        cache = self.store._cache
        paths = [folder.path for folder in used]
        going = cache.evictions(needed, keep=[*paths, *(folder.path for folder in ahead)])
        going = cache.evictions(needed, keep=paths) if going is None else going
        if going is None:
            self._refuse(no_room(needed, cache.limit))
            return False
        for entry in cache.evict(going):
            self._say(f"removed from the cache to make room: {entry.about.get('what', entry.name)}")
        return True

    def _fill(self, folder: FeatureFolder, others: Sequence[Wanted]) -> None:
        """Computes what is missing, by the way that costs least and gives the same bits."""
        running = self.choice.engine
        if self._choice is not None and self._choice.difference is not None:
            folder.about = {**folder.about, "difference": _gap(self._choice.difference)}
        other = self._other_route(folder, others)
        route = other or direct(self.wanted, running, self.rows.read, folder)
        if route.line:
            self._say(route.line)
        started = time.perf_counter()
        try:
            filled = fill(
                route.sinks,
                self.rows.digests,
                route.running.run,
                route.read,
                route.running.setup.batch,
                step=self._stepper(started),
                waiting=lambda: self._say("another process computes features of this trunk: waiting for it"),
            )
        finally:
            if other is not None:
                other.running.close()
        self._say(_told(filled, self.wanted, time.perf_counter() - started))

    def _other_route(self, folder: FeatureFolder, others: Sequence[Wanted]) -> Route | None:
        """A way that costs less than the trunk alone, where there is one that gives the same bits."""
        running, rows = self.choice.engine, self.rows
        missing = folder.missing(rows.digests)
        if len(missing) < WORTH * self.wanted.setup.batch:
            return None
        fitting = [one for one in others if self._fits(one)]
        folders = {one.digest: self.store._folder(one, running.name) for one in fitting}
        lacking = {one.digest: folders[one.digest].refresh().missing(rows.digests) for one in fitting}
        for one in fitting:
            if not len(lacking[one.digest]):
                below = folders[one.digest].features(rows.digests)
                head = below.rows(np.resize(np.arange(len(rows)), self.wanted.setup.batch))
                route = from_lower(self.graph, self.wanted, one, running, self.first, head, below.rows, folder)
                if route is not None:
                    return route
        same = [(one, folders[one.digest]) for one in fitting if np.array_equal(lacking[one.digest], missing)]
        if not same or not self._room_beside(folder, same, len(missing)):
            return None
        route = together(self.wanted, same, running, self.first, rows.read, folder)
        if route is None:
            self._say("what later stages need is computed again there: together with this it would not be the same")
            return None
        for (one, beside), sink in zip(same, route.sinks[1:], strict=True):
            if not self._judged(one, beside, [route.outputs[column] for column in sink.columns]):
                route.running.close()
                return None
            self._keep_engine(one)
        return route

    def _judged(self, one: Wanted, folder: FeatureFolder, outputs: list[np.ndarray]) -> bool:
        """Whether what crosses another boundary is Keras's too; notes how far it is off."""
        narrow = one.setup.precision != "float32"
        count = min(len(self.rows), one.setup.batch)
        verdict = judge(one.trunk, self.first, outputs, count, exact=not narrow)
        folder.about = {**folder.about, "difference": _gap(verdict.difference)}
        return narrow or verdict.within

    def _fits(self, one: Wanted) -> bool:
        """Whether another boundary's features may be computed by the engine of this one."""
        wanted = self.wanted
        chosen = one.decision.engine in (None, self.choice.engine.name)
        return one.digest != wanted.digest and one.setup == wanted.setup and chosen and one.known == wanted.known

    def _room_beside(self, folder: FeatureFolder, others: Sequence[tuple[Wanted, FeatureFolder]], count: int) -> bool:
        """Whether the features of later stages fit beside those of now."""
        sizes = [self._bytes_of(one) for one in (self.wanted, *(one for one, _ in others))]
        if None in sizes:
            return False
        needed = count * sum(size or 0 for size in sizes)
        cache = self.store._cache
        used = (folder, *(one for _, one in others))
        if cache.evictions(needed, keep=[one.path for one in used]) is None:
            names = "; ".join(one.name for one, _ in others)
            self._say(f"computed again in a later stage: up to {names}; all of it takes {size_said(needed)}, too much")
            return False
        return self._room(needed, used)

    def _keep_engine(self, one: Wanted) -> None:
        """Has a boundary that was computed with this one run by the same engine from now on."""
        if one.decision.engine is None and one.decision.key is not None:
            why = f"as for the boundary above it: {self.choice.why}"
            try:
                remember(one.decision.key, Remembered(self.choice.engine.name, why))
            except DeviceError as reason:
                self._say(f"not remembered: {reason}")

    def _stepper(self, started: float) -> Callable[[int, int], None]:
        def step(done: int, total: int) -> None:
            speed = done / max(time.perf_counter() - started, 1e-9)
            self.store._progress.step(f"{self.stage}trunk", done, total, f"examples, {speed:.0f} a second")

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
    parts = [
        f"the trunk up to {wanted.name} ({wanted.size}) was run on {filled.computed} examples in {seconds:.1f} s{speed}"
    ]
    parts += [f"{filled.found} were in the cache"] if filled.found else []
    if filled.damaged:
        parts.append(f"damaged shards that were removed: {filled.damaged}")
    return "; ".join(parts)
