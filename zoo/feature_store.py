"""What crosses a run's frozen boundaries: found on the disk, or computed once by the fastest engine, and kept there."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import numpy as np

from . import engine
from .atomic import Life, alive, hidden, remove_leftovers
from .batch_shape import batch_of
from .boundary import Boundary, cut_trunk
from .caching import Caching, FeatureSettings, Room, bytes_of, decide_caching
from .engine_choice import decide
from .engines.interface import Setup, choice_table, settings
from .feature_cache import FeatureCache, about_of
from .feature_folder import FeatureFolder
from .feature_key import feature_key
from .feature_shard import unwritable
from .filling import Filling
from .progress import Progress
from .registry import zoo_home
from .stored_features import Stored
from .trunk_digest import read_trunk
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
        engines: The engine that a trunk was run on before, by its digest: a run that goes on runs it there again.
    """

    def __init__(
        self,
        settings: FeatureSettings | None = None,
        *,
        inputs: str = "",
        network: str = "",
        progress: Progress | None = None,
        engines: Mapping[str, str] | None = None,
    ) -> None:
        self.engines = dict(engines or {})
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
        setup = Setup(kept.precision, threads=kept.threads, device=kept.device)
        setup = replace(setup, batch=batch_of(trunk, on_gpu=setup.on_gpu))
        digest, unknown = read_trunk(trunk)
        asked = self.engines.get(digest, kept.engine)
        decision = decide(trunk, asked, len(rows), setup, None if unknown else digest)
        wanted = Wanted(edge, plain, trunk, digest, setup, decision, unknown, self._bytes(trunk, rows))
        folder = self.folder(wanted, decision.engine) if decision.engine and not unknown else None
        missing = len(rows) if folder is None else len(folder.refresh().missing(rows.digests))
        caching = self._caching(wanted, missing, rows, folder)
        wanted = wanted.with_caching(caching, 0 if caching.way == "run" else len(rows) - missing)
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
            root = self.cache.root if _writable(self.cache.root) else _place_of_the_moment()
            self._of_run = hidden(root / f"run-{id(self):x}")
        return self._of_run

    def hold_place_of_run(self) -> None:
        """Makes the folder of what is kept for the run only, and says that this process lives in it."""
        if self._life is None:
            try:
                self._life = alive(self._place_of_run())
                remove_leftovers(self._place_of_run().parent)
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
        self.last = Filling(self, graph, wanted, rows, f"stage {stage}: " if stage else "").run(later)
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


def _place_of_the_moment() -> Path:
    """Where files of the moment are put, a folder for each user: nobody may write into another's."""
    user = os.getuid() if hasattr(os, "getuid") else "own"
    return Path(tempfile.gettempdir()) / f"zoo-features-{user}"


def _existing(folder: Path) -> Path:
    """A folder, or where it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _writable(folder: Path) -> bool:
    return os.access(_existing(folder), os.W_OK)
