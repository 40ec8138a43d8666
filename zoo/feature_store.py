"""What crosses a run's frozen boundaries: found on the disk, or computed once by the fastest engine, and kept there."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import numpy as np

from . import engine
from .atomic import Life, alive, hidden
from .batch_shape import batch_of
from .boundary import Boundary, cut_trunk
from .byte_size import size_said
from .caching import Caching, FeatureSettings, Room, bytes_of, decide_caching
from .engine_choice import Choice, choose, decide
from .engine_difference import Difference, judge
from .engine_memory import Judged, Remembered, remember, remember_verdict
from .engines.interface import Setup, choice_table, settings
from .errors import DeviceError
from .extraction import Filled, NeighboursMatter, fill
from .feature_cache import FeatureCache, about_of
from .feature_folder import FeatureFolder
from .feature_key import feature_key
from .feature_shard import unwritable
from .progress import Progress
from .registry import zoo_home
from .stored_features import Stored
from .trunk_digest import read_trunk
from .trunk_route import WORTH, Route, direct, from_lower, together
from .trunk_rows import TrunkRows
from .wanted_features import Wanted

Rows = Callable[[], TrunkRows]


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
        self.progress = progress or Progress(quiet=True)
        self.cache = FeatureCache(zoo_home() / "features", self.settings.size)
        self.last: Stored | None = None
        self._inputs, self._network = inputs, network
        self._folders: dict[Path, FeatureFolder] = {}
        self._of_run: Path | None = None
        self._life: Life | None = None
        self._decided: dict[tuple[Any, ...], tuple[keras.Model, Wanted]] = {}

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Removes what was kept for the run only."""
        if self._life is not None and self._of_run is not None:
            self._life.end()
            shutil.rmtree(self._of_run, ignore_errors=True)
        self._life = self._of_run = None

    def decide(self, graph: keras.Model, edge: Boundary, read_rows: Rows, *, augmented: bool = False) -> Wanted:
        """Decides whether what crosses a boundary is computed once, and how; nothing is computed or written.

        What was decided holds until :meth:`forget`: whatever changes a weight has to call that.

        Args:
            graph: The flat network.
            edge: The boundary.
            read_rows: Gives the examples.
            augmented: Whether training changes them at random.

        Raises:
            DeviceError: if the engine that was asked for cannot run the trunk.
        """
        kept = self.settings
        plain = decide_caching(edge, kept.keep, augmented=augmented)
        if not plain.once:
            return Wanted(edge, plain)
        rows = read_rows()
        key = (id(graph), edge.places, rows.digests.tobytes())
        if key in self._decided:
            return replace(self._decided[key][1], edge=edge)
        trunk = cut_trunk(graph, edge)
        setup = Setup(kept.precision, batch_of(trunk), kept.threads, kept.device)
        digest, unknown = read_trunk(trunk)
        decision = decide(trunk, kept.engine, len(rows), setup, None if unknown else digest)
        wanted = Wanted(edge, plain, trunk, digest, setup, decision, unknown, self._bytes(trunk, rows))
        folder = self.folder(wanted, decision.engine) if decision.engine and not unknown else None
        missing = len(rows) if folder is None else len(folder.refresh().missing(rows.digests))
        wanted = wanted.with_caching(self._caching(wanted, missing, rows, folder), len(rows) - missing)
        self._decided[key] = graph, wanted  # held, so that no other network gets its id
        return wanted

    def forget(self) -> None:
        """Says that weights change now: what was decided before was of other features."""
        self._decided.clear()

    def _bytes(self, trunk: keras.Model, rows: TrunkRows) -> int | None:
        example = rows.read(np.zeros(1, "int64"))
        shape = example.shape[1:] if isinstance(example, np.ndarray) else ()
        return bytes_of(trunk, shape, self.settings.dtype)

    def _caching(self, wanted: Wanted, missing: int, rows: TrunkRows, folder: FeatureFolder | None) -> Caching:
        """What becomes of the features, as far as what is there, the room and the disk tell."""
        keep, each = self.settings.keep, wanted.each
        if each is None:
            return decide_caching(wanted.edge, keep, needed=None)
        if not missing and not wanted.unknown and self.settings.keep == "disk":
            return decide_caching(wanted.edge, keep)
        writable = _writable(self.cache.root)
        if keep == "run" or wanted.unknown or not writable:
            return decide_caching(
                wanted.edge,
                keep,
                unknown=wanted.unknown,
                writable=writable,
                needed=each * len(rows),
                room=Room(shutil.disk_usage(_existing(self._place_of_run())).free),
            )
        using = folder.shards_of(rows.digests) if folder else ()
        room = Room(self.cache.room(using=using), self.cache.limit)
        return decide_caching(wanted.edge, keep, needed=each * missing, room=room)

    def _place_of_run(self) -> Path:
        """The folder of what is kept for the run only: beside the cache, or where files of the moment are put."""
        if self._of_run is None:
            root = self.cache.root if _writable(self.cache.root) else Path(tempfile.gettempdir()) / "zoo-features"
            self._of_run = hidden(root / f"run-{id(self):x}")
        return self._of_run

    def hold_place_of_run(self) -> None:
        """Makes the folder of what is kept for the run only, and says that this process lives in it."""
        if self._life is None:
            try:
                self._life = alive(self._place_of_run())
            except OSError as error:
                raise unwritable(self._place_of_run(), error) from error

    def get(
        self, graph: keras.Model, wanted: Wanted, read_rows: Rows, *, later: Sequence[Boundary] = (), stage: str = ""
    ) -> Stored | None:
        """What crosses a boundary for every row; computed where it is not kept yet.

        Args:
            graph: The flat network.
            wanted: What :meth:`decide` gave.
            read_rows: Gives the examples.
            later: The boundaries of later stages below which nothing will have changed by then: where that gives the
                same bits they are computed in the same pass, or this one from them.
            stage: The stage's name, for what is printed.

        Returns:
            The features, or ``None`` where they cannot be kept: the trunk is to be run in every step. What was not
            decided before is said in a line.

        Raises:
            CacheError: if they cannot be written.
            DeviceError: if the engine that was asked for cannot run the trunk.
        """
        last, self.last = self.last, None
        if not wanted.caching.once:
            return None
        rows = read_rows()
        if last is not None and (last.trunk, last.edge.places) == (wanted.digest, wanted.edge.places):
            if np.array_equal(last.digests, rows.digests):
                self.last = last
                return last
        self.last = _Filling(self, graph, wanted, rows, f"stage {stage}: " if stage else "").run(later)
        return self.last

    def folder(self, wanted: Wanted, name: str | None = None, setup: Setup | None = None) -> FeatureFolder:
        """Where the features of a trunk are, run by an engine."""
        name, setup = name or wanted.engine, setup or wanted.setup
        how = settings(engine.kind_of(name), setup, wanted.trunk)
        key = feature_key(wanted.digest, self._inputs, how, self.settings.dtype)
        float16 = self.settings.dtype == "float16"
        found = self.cache.folder(key, float16=float16)
        if wanted.caching.way == "run":
            found = FeatureFolder(self._place_of_run() / found.path.name, float16=float16)
        found = self._folders.setdefault(found.path, found)
        about = {
            "what": f"{self._network or wanted.trunk.name.removesuffix('_trunk')} up to {wanted.name}",
            "key": key,
            "dtype": self.settings.dtype,
            **choice_table(engine.kind_of(name), setup, wanted.trunk),
        }
        found.about = {**about_of(found.path), **about, **found.about}
        return found


def _existing(folder: Path) -> Path:
    """A folder, or where it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _writable(folder: Path) -> bool:
    return os.access(_existing(folder), os.W_OK)


class _Filling:
    """One call of :meth:`FeatureStore.get`."""

    def __init__(self, store: FeatureStore, graph: keras.Model, wanted: Wanted, rows: TrunkRows, stage: str) -> None:
        self.store, self.graph, self.wanted, self.rows, self.stage = store, graph, wanted, rows, stage
        self._choice: Choice | None = None
        self._first: Any = None

    def run(self, later: Sequence[Boundary]) -> Stored | None:
        """The features, computed where they are missing; ``None`` where the trunk is to be run in every step."""
        wanted, rows = self.wanted, self.rows
        try:
            folder = self._folder_of(wanted)
            missing = folder.refresh().missing(rows.digests)
            if len(missing) or folder.damaged:
                folder = self._chosen_folder(wanted)
                missing = folder.refresh().missing(rows.digests)
            if len(missing) or folder.damaged:
                if not self._room(len(missing), folder, later):
                    return None
                self._fill(folder, later)
            else:
                folder.touch()
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
            asked, decision = self.wanted.asked, self.wanted.decided
            first = None if decision.compared else self.first
            self._choice = choose(self.wanted.trunk, decision, first, min(len(self.rows), asked.batch), asked)
            for line in self._choice.lines:
                self._say(line)
        return self._choice

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
        for entry in cache.evict(going):
            self._say(f"removed from the cache to make room: {entry.about.get('what', entry.name)}")
        return True

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
        if len(missing) < WORTH * running.setup.batch or running.setup.batch == 1:
            return None
        others = [one for one in map(self._wanted, later) if self._fits(one)]
        found = [(one, self.store.folder(one, running.name, running.setup).refresh()) for one in others]
        lacking = [(one, there, there.missing(rows.digests)) for one, there in found]
        for one, there, left in lacking:
            if not len(left):
                below = there.features(rows.digests)
                head = below.rows(self._first_rows)
                route = from_lower(self.graph, self.wanted, one, running, self.first, head, below.rows, folder)
                if route is not None:
                    return route
        same = [(one, there) for one, there, left in lacking if np.array_equal(left, missing)]
        beside = self._with_room(folder, same, len(missing))
        if not beside:
            return None
        route = together(self.wanted, beside, running, self.first, len(rows), rows.read, folder)
        if route is None:
            self._say("what later stages need is computed again there: together with this it would not be the same")
            return None
        for (one, there), sink in zip(beside, route.sinks[1:], strict=True):
            found = self._judged(one, there, [route.outputs[column] for column in sink.columns])
            if not found.taken:
                route.running.close()
                return None
            self._keep_engine(one, found)
        return route

    def _judged(self, one: Wanted, folder: FeatureFolder, outputs: list[np.ndarray]) -> Judged:
        """Whether what crosses another boundary is Keras's too; notes how far it is off."""
        narrow, batch = one.asked.precision != "float32", self.choice.engine.setup.batch
        verdict = judge(one.trunk, self.first, outputs, min(len(self.rows), batch), exact=not narrow)
        folder.about = {**folder.about, "difference": _gap(verdict.difference)}
        why = f"bfloat16 differs from float32 by {verdict.difference}" if narrow else verdict.why
        return Judged(narrow or verdict.within, why, verdict.difference, batch)

    def _fits(self, one: Wanted) -> bool:
        """Whether another boundary's features may be computed by the engine of this one."""
        wanted, running = self.wanted, self.choice.engine
        chosen = one.decided.engine in (None, running.name) and one.setup == running.setup
        return one.digest != wanted.digest and chosen and bool(one.unknown) == bool(wanted.unknown)

    def _with_room(
        self, folder: FeatureFolder, others: Sequence[tuple[Wanted, FeatureFolder]], count: int
    ) -> list[tuple[Wanted, FeatureFolder]]:
        """Those boundaries whose features fit beside those of now; says which do not, and makes room."""
        cache, beside, needed = self.store.cache, [], count * (self.wanted.each or 0)
        run_only, going = self.wanted.caching.way == "run", None
        for one, there in others:
            more = count * (one.each or 0)
            folders = (folder, there, *(other for _, other in beside))
            using = set[Path]().union(*(each.shards_of(self.rows.digests) for each in folders))
            fits = one.each is not None and (run_only or cache.evictions(needed + more, using=using) is not None)
            if fits:
                beside.append((one, there))
                needed += more
                going = None if run_only else cache.evictions(needed, using=using)
            else:
                said = f"with it all would take {size_said(needed + more)}, too much"
                self._say(f"computed again in a later stage: up to {one.name}; {said}")
        for entry in cache.evict(going or ()):
            self._say(f"removed from the cache to make room: {entry.about.get('what', entry.name)}")
        return beside

    def _keep_engine(self, one: Wanted, found: Judged) -> None:
        """Has a boundary that was computed with this one run by the same engine from now on."""
        decided, running = one.decided, self.choice.engine
        if decided.identity is None:
            return
        try:
            remember_verdict(decided.identity, one.asked, running.name, found)
            if decided.engine is None and decided.key is not None:
                remember(decided.key, Remembered(running.name, f"as for the boundary above it: {self.choice.why}"))
        except DeviceError as reason:
            self._say(f"not remembered: {reason}")

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
    done = f"{filled.computed} examples in {seconds:.1f} s{speed}"
    parts = [f"the trunk up to {wanted.name} ({wanted.size}) was run on {done}"]
    parts += [f"{filled.found} were in the cache"] if filled.found else []
    if filled.damaged:
        parts.append(f"damaged shards that were removed: {filled.damaged}")
    return "; ".join(parts)
