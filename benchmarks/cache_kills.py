"""What the cache of features survives: kills at random points, a disk that fills up, flipped bits.

Every trial ends with features that are, to the last byte, those of an extraction that nothing disturbed.

    python -m benchmarks.cache_kills [--kills 300] [--points] [--fills 19] [--flips 1000] [--json]

``--kills``: an extraction in a process of its own gets SIGKILL at a random moment, and is started again. ``--points``:
the same at every call that changes the disk, one after another, before it and after it. ``--fills``: the disk is full
at shares of what the extraction needs, evenly from 0 to 1 (19: every 5%), on a small file system in memory (needs root;
elsewhere the writing call fails). ``--flips``: one bit of one file, of a shard's features or of its manifest.
"""

import argparse
import errno
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from zoo import extraction, feature_folder
from zoo.errors import CacheError
from zoo.extraction import Filled, Sink, fill
from zoo.feature_folder import FeatureFolder, shards_in
from zoo.feature_shard import DATA, MANIFEST

EXAMPLES, WIDTH, BATCH = 200, 32, 8
#: The calls by which anything on the disk changes.
CALLS = ("mkdir", "open", "fsync", "rename", "replace", "unlink", "rmdir")
KINDS = ("kills", "points", "fills", "flips")


def examples(count: int = EXAMPLES) -> list[str]:
    """What the examples are known by."""
    return [hashlib.sha256(f"example {i}".encode()).hexdigest() for i in range(count)]


def read(indices: np.ndarray) -> np.ndarray:
    """The inputs of some examples."""
    return np.sin(np.asarray(indices, "float32")[:, None] * np.arange(1, WIDTH + 1, dtype="float32"))


def run(inputs: np.ndarray) -> list[np.ndarray]:
    """A trunk that gives two tensors."""
    return [np.tanh(inputs), np.stack([inputs**2, inputs + 1], -1)]


def extract(path: Path, *, wait: float = 0.0) -> Filled:
    """An extraction; each batch is a shard, and takes ``wait`` seconds to compute."""

    def slow(inputs: np.ndarray) -> list[np.ndarray]:
        time.sleep(wait)
        return run(inputs)

    extraction.SHARD_BYTES, feature_folder.MANY = 1, 16  # so that some shards are merged, too
    return fill([Sink(FeatureFolder(path, {"what": "a trial"}), (0, 1))], examples(), slow, read, BATCH)


def digest(path: Path) -> str:
    """The SHA-256 of all features, in the order of the examples, as they are read from the folder."""
    features = FeatureFolder(path).refresh().features(examples())
    return hashlib.sha256(b"".join(array.tobytes() for array in features.arrays())).hexdigest()


def damaged(path: Path) -> tuple[Path, ...]:
    """The shards in which damage is found before any row of them is used."""
    folder = FeatureFolder(path).refresh()
    folder.missing(examples())
    return folder.damaged


def hidden(path: Path) -> int:
    """How many temporary files and folders there are."""
    return len(list(path.glob(".*")))


def in_a_child(work: Callable[[], object], after: float | None = None) -> int:
    """Does something in a process of its own, which is killed after some seconds; gives its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Trials:
    """Counts what was tried in a folder of its own, and what went wrong."""

    def __init__(self, root: Path, seed: int):
        self.root, self.random = root, random.Random(seed)
        self.counts: dict[str, dict[str, int]] = {}
        extract(root / "whole")
        self.expected = digest(root / "whole")

    def count(self, kind: str, **counts: int) -> None:
        """Adds to the counts of a kind of trial."""
        table = self.counts.setdefault(kind, {"trials": 0, "identical": 0})
        for name, number in counts.items():
            table[name] = table.get(name, 0) + number

    def resume(self, kind: str, path: Path) -> None:
        """Starts an extraction again, and looks at what it leaves."""
        before = FeatureFolder(path).refresh()
        found, left = before.rows, hidden(path)
        done = extract(path)
        self.count(
            kind,
            trials=1,
            identical=int(digest(path) == self.expected),
            resumed_in_the_middle=int(0 < found < EXAMPLES),
            leftovers_found=left,
            leftovers_that_stayed=hidden(path),
            damaged_shards=len(before.damaged),
            computed_again_though_stored=done.computed - (EXAMPLES - found),
        )
        shutil.rmtree(path)

    def kills(self, number: int) -> None:
        """Kills at random moments; one that comes too late is no trial."""
        wait, path = 0.002, self.root / "killed"
        started = time.perf_counter()
        in_a_child(lambda: extract(path, wait=wait))
        longest = time.perf_counter() - started
        shutil.rmtree(path)
        while self.counts.get("kills", {}).get("trials", 0) < number:
            path.mkdir()
            if in_a_child(lambda: extract(path, wait=wait), self.random.uniform(0, longest)) == 0:
                self.count("kills", came_too_late=1)
                longest *= 0.95  # the machine is less busy than it was
                shutil.rmtree(path)
                continue
            longest *= 1.01
            self.resume("kills", path)

    def points(self) -> None:
        """Kills before and after every call that changes the disk, one after another."""
        path = self.root / "point"
        for before in (True, False):
            for call in range(10**6):
                path.mkdir()
                code = in_a_child(lambda call=call, before=before: _dying(call, before, lambda: _short(path)))
                if code == 0:
                    shutil.rmtree(path)
                    break
                self.resume("points", path)

    def fills(self, number: int) -> None:
        """Fills the disk up at shares of what an extraction needs."""
        needed = sum(file.stat().st_size for file in (self.root / "whole").rglob("*") if file.is_file())
        for i in range(number):
            share = (i + 1) / (number + 1)
            with _disk(self.root / "disk", needed, share) as (path, grow):
                try:
                    extract(path)
                except CacheError as error:
                    clear = "no space left on device. " in str(error) and "stays usable" in str(error)
                    self.count("fills", said_clearly=int(clear), leftovers_after_the_error=hidden(path))
                else:
                    self.count("fills", not_full=1)
                grow()
                self.resume("fills", path)

    def flips(self, number: int) -> None:
        """Flips a bit; every fifth in a manifest."""
        path = self.root / "flipped"
        shutil.copytree(self.root / "whole", path)
        for i in range(number):
            name = MANIFEST if i % 5 == 0 else DATA
            file = self.random.choice(shards_in(path)) / name
            whole = bytearray(file.read_bytes())
            bit = self.random.randrange(len(whole) * 8)
            whole[bit // 8] ^= 1 << bit % 8
            file.write_bytes(whole)
            found = damaged(path)
            done = extract(path)
            self.count(
                "flips",
                trials=1,
                found=int(found == (file.parent,)),
                in_a_manifest=int(name == MANIFEST),
                shards_computed_again=done.damaged,
                identical=int(digest(path) == self.expected and not damaged(path)),
            )


def _short(path: Path) -> None:
    """An extraction of three shards: every one goes through the same calls, and in the end they become one."""
    extraction.SHARD_BYTES, feature_folder.MANY = 1, 3
    fill([Sink(FeatureFolder(path, {}), (0, 1))], examples(3 * BATCH), run, read, BATCH)


def _dying(call: int, before: bool, work: Callable[[], object]) -> None:
    """Does something, and kills this process at one of its calls that change the disk."""
    seen = 0

    def dying(made: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **kwargs: object) -> object:
            nonlocal seen
            seen += 1
            if seen - 1 == call and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = made(*args, **kwargs)
            if seen - 1 == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))
    work()


@contextmanager
def _disk(path: Path, needed: int, share: float) -> Iterator[tuple[Path, Callable[[], object]]]:
    """A folder on a file system that is full at a share of what is needed, and what gives it more room."""
    path.mkdir()
    page = resource.getpagesize()

    def mount(size: int, *options: str) -> bool:
        size = -(-size // page) * page
        command = ["mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "tmpfs", str(path)]
        return subprocess.run(command, capture_output=True).returncode == 0

    # A file takes whole pages there.
    if shutil.which("mount") and mount(int(_pages(path.parent / "whole", page) * share)):
        try:
            yield path / "trunk", lambda: mount(4 * needed + 2**22, "remount")
        finally:
            subprocess.run(["umount", str(path)], check=True)
    else:
        with _failing(int(needed * share)) as stop:
            yield path / "trunk", stop
    shutil.rmtree(path)


def _pages(path: Path, page: int) -> int:
    return sum(-(-file.stat().st_size // page) * page for file in path.rglob("*") if file.is_file())


@contextmanager
def _failing(room: int) -> Iterator[Callable[[], None]]:
    """Writing fails once so many bytes were written, in the middle of a file, as on a full disk."""
    left = [room]
    plain = Path.write_bytes

    def write(self: Path, data: bytes) -> int:
        kept = min(len(data), left[0])
        left[0] -= kept
        plain(self, memoryview(data)[:kept])
        if kept < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return kept

    def stop() -> None:
        Path.write_bytes = plain

    Path.write_bytes = write
    try:
        yield stop
    finally:
        stop()


def main() -> None:
    """Runs the trials, and prints their counts; the exit code is 1 where one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--points", action="store_true")
    parser.add_argument("--fills", type=int, default=19)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), options.seed)
        trials.kills(options.kills)
        if options.points:
            trials.points()
        trials.fills(options.fills)
        trials.flips(options.flips)
    counts = trials.counts
    if options.json:
        print(json.dumps(counts))
    else:
        for kind, table in counts.items():
            print(f"{kind}: " + ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in table.items()))
    wrong = ("leftovers_that_stayed", "leftovers_after_the_error", "computed_again_though_stored")
    failed = any(table["identical"] < table["trials"] or any(table.get(w) for w in wrong) for table in counts.values())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
