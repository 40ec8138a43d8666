"""Computing what is missing: the same bytes whatever was there, once for each content, and safe when it ends early."""

import contextlib
import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo import extraction
from zoo.errors import CacheError
from zoo.extraction import Sink, fill
from zoo.extraction_batches import plan_batches
from zoo.feature_folder import FeatureFolder, shards_in
from zoo.feature_shard import DATA
from zoo.neighbours import NeighboursMatter

ROOT = Path(__file__).parents[1]
BATCH = 4
EXAMPLES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(40)]


def read(indices: np.ndarray) -> np.ndarray:
    return np.asarray(indices, "float32")[:, None] * np.array([1, 2, 3], "float32")


def run(inputs: np.ndarray) -> list[np.ndarray]:
    return [np.tanh(inputs), np.sin(inputs[:, 0]), inputs[:, None] + 1]


class Counting:
    """A trunk that counts its calls, and an input that counts what is read."""

    def __init__(self, stop_at: int | None = None, error: BaseException | None = None):
        self.calls, self.read = 0, []
        self.stop_at, self.error = stop_at, error

    def __call__(self, inputs: np.ndarray) -> list[np.ndarray]:
        assert len(inputs) == BATCH
        if self.calls == self.stop_at and self.error is not None:
            raise self.error
        self.calls += 1
        return run(inputs)

    def reading(self, indices: np.ndarray) -> np.ndarray:
        self.read += indices.tolist()
        return read(indices)


def filled(path: Path, examples: list[str], trunk=run, reading=None, **options):
    """Fills a folder with the features of examples, and gives what was done."""
    number = {example: i for i, example in enumerate(EXAMPLES)}
    numbers = np.array([number[example] for example in examples])
    plain = getattr(trunk, "reading", read)
    sinks = [Sink(FeatureFolder(path), (0, 1, 2))]
    return fill(sinks, examples, trunk, reading or (lambda i: plain(numbers[i])), BATCH, **options)


def values(path: Path, examples: list[str]) -> list[bytes]:
    return [a.tobytes() for a in FeatureFolder(path).refresh().features(examples).arrays()]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_BYTES", 150)


@given(st.lists(st.integers(0, 100), unique=True, max_size=30), st.integers(1, 9))
def test_every_missing_example_is_in_one_call_and_all_but_the_last_are_full(missing, size):
    batches = plan_batches(missing, size)
    assert [i for b in batches for i in b.indices.tolist()] == missing
    calls = [call for b in batches for call in b.calls({"x": b.indices, "y": b.indices[:, None] * 2.0})]
    assert [i for indices, _ in calls for i in indices.tolist()] == missing
    assert [len(indices) for indices, _ in calls[:-1]] == [size] * (len(calls) - 1)
    for indices, full in calls:
        np.testing.assert_array_equal(full["x"], np.resize(indices, size))
        np.testing.assert_array_equal(full["y"][:, 0], full["x"] * 2)
    again = [call for b in batches for call in b.calls(b.indices)]
    assert all(np.array_equal(x, full["x"]) for (_, x), (_, full) in zip(again, calls, strict=True))
    assert len(batches) == -(-len(missing) // (size if size > 1 else 64)), "single examples are read many at a time"


@given(st.data())
def test_any_order_of_runs_over_any_examples_gives_the_same_bytes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cache") / "trunk"
    seen: set[str] = set()
    for _ in range(data.draw(st.integers(1, 4))):
        asked = data.draw(st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=25))
        new = len(set(asked) - seen)
        trunk = Counting()
        done = filled(path, asked, trunk)
        assert (done.computed, done.found) == (new, len(set(asked)) - new)
        assert trunk.calls == -(-new // BATCH)
        assert len(trunk.read) == new
        seen |= set(asked)
        numbers = np.array([EXAMPLES.index(e) for e in asked])
        assert values(path, asked) == [a.tobytes() for a in run(read(numbers))]


def test_a_warm_cache_computes_reads_and_writes_nothing(tmp_path):
    filled(tmp_path / "trunk", EXAMPLES)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "trunk").rglob("*")}
    trunk = Counting()
    done = filled(tmp_path / "trunk", EXAMPLES, trunk)
    assert (done.computed, done.found, trunk.calls, trunk.read) == (0, 40, 0, [])
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "trunk").rglob("*")}
    changed = {p.name for p in after if after[p] != before.get(p)}
    assert changed <= {"used"}


def test_a_warm_cache_that_may_only_be_read_is_enough(tmp_path, monkeypatch):
    filled(tmp_path / "trunk", EXAMPLES)

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("touch", "mkdir", "write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, refused)
    monkeypatch.setattr(os, "open", refused)
    assert filled(tmp_path / "trunk", EXAMPLES).found == 40
    with pytest.raises(CacheError, match="read-only file system"):
        filled(tmp_path / "other", EXAMPLES)


def test_one_more_image_costs_one_call_and_rewrites_nothing(tmp_path):
    filled(tmp_path, EXAMPLES[:20])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.h5")}
    trunk = Counting()
    done = filled(tmp_path, EXAMPLES[:21], trunk)
    assert (done.computed, trunk.calls) == (1, 1)
    assert trunk.read == [20]
    after = {p: p.read_bytes() for p in tmp_path.rglob("*.h5")}
    assert len(after) == len(before) + 1
    assert after.items() >= before.items()


def test_progress_counts_what_is_missing(tmp_path):
    said = []
    filled(tmp_path, EXAMPLES[:10])
    filled(tmp_path, EXAMPLES[:25], step=lambda done, total: said.append((done, total)))
    assert said == [(4, 15), (8, 15), (12, 15), (15, 15)]


@pytest.mark.parametrize("trunk", [lambda x: [x.mean(axis=0)], lambda x: [x.sum()], lambda x: [np.repeat(x, 2, 0)]])
def test_a_trunk_without_a_row_for_each_example_is_found(tmp_path, trunk):
    with pytest.raises(NeighboursMatter) as error:
        fill([Sink(FeatureFolder(tmp_path), (0,))], EXAMPLES[:9], trunk, read, BATCH)
    assert str(error.value) == (
        "What this trunk gives for an example changes with the other examples of its batch. Expected the same "
        "features, to the last bit, in every batch. Its features cannot be kept: --no-cache."
    )
    assert shards_in(tmp_path) == []


def test_features_beyond_float16_are_told_after_the_first_batch(tmp_path):
    def large(inputs: np.ndarray) -> list[np.ndarray]:
        trunk.calls += 1
        return [run(inputs)[0], np.full((BATCH, 2), [1, -65520], "float32"), np.full(BATCH, np.inf, "float32")]

    trunk = Counting()
    with pytest.raises(CacheError) as error:
        fill([Sink(FeatureFolder(tmp_path, float16=True), (0, 1))], EXAMPLES, large, read, BATCH)
    assert str(error.value) == (
        "Features are too large for float16. Expected at most 65504; received 65520. "
        "Store them as float32: --feature-dtype float32."
    )
    assert (trunk.calls, shards_in(tmp_path)) == (1, [])
    fill([Sink(FeatureFolder(tmp_path, float16=True), (0, 2))], EXAMPLES, large, read, BATCH)
    fill([Sink(FeatureFolder(tmp_path / "wide"), (0, 1))], EXAMPLES, large, read, BATCH)


def test_what_fitted_into_float16_before_is_kept(tmp_path):
    sinks = [Sink(FeatureFolder(tmp_path, float16=True), (0,))]
    with pytest.raises(CacheError, match="too large for float16"):
        fill(sinks, EXAMPLES, lambda x: [x * np.float32(3000)], read, BATCH)
    assert 0 < FeatureFolder(tmp_path).refresh().rows < 40


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the GPU is gone")])
@pytest.mark.parametrize("stop", range(10))
def test_what_is_complete_stays_when_it_ends_early(tmp_path, stop, error):
    trunk = Counting(stop, error)
    with contextlib.suppress(KeyboardInterrupt, OSError):
        filled(tmp_path, EXAMPLES, trunk)
    assert not [t for t in threading.enumerate() if t.name == "zoo-reader"]
    stored = FeatureFolder(tmp_path).refresh().rows
    assert stored == stop * BATCH
    done = filled(tmp_path, EXAMPLES)
    assert done.computed == 40 - stored
    assert values(tmp_path, EXAMPLES) == [a.tobytes() for a in run(read(np.arange(40)))]


def test_an_image_that_cannot_be_read_stops_it_and_what_is_complete_stays(tmp_path):
    def reading(indices: np.ndarray) -> np.ndarray:
        if 30 in indices:
            what = "broken.jpg cannot be read."
            raise CacheError(what)
        return read(indices)

    with pytest.raises(CacheError, match=r"broken\.jpg"):
        filled(tmp_path, EXAMPLES, run, reading)
    assert FeatureFolder(tmp_path).refresh().rows >= 24


def test_a_damaged_shard_is_computed_again_and_only_it(tmp_path):
    filled(tmp_path, EXAMPLES)
    victim = shards_in(tmp_path)[1]
    whole = bytearray((victim / DATA).read_bytes())
    whole[-3] ^= 4
    (victim / DATA).write_bytes(whole)
    rows = 40 - FeatureFolder(tmp_path).refresh().rows
    done = filled(tmp_path, EXAMPLES)
    assert (done.damaged, done.computed) == (1, rows)
    assert not victim.exists()
    assert values(tmp_path, EXAMPLES) == [a.tobytes() for a in run(read(np.arange(40)))]


def test_one_pass_fills_the_folders_of_several_boundaries(tmp_path):
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    numbers = np.arange(40)
    fill([Sink(FeatureFolder(lower), (2,))], EXAMPLES[:9], run, read, BATCH)
    trunk = Counting()
    sinks = [Sink(FeatureFolder(upper), (1, 0)), Sink(FeatureFolder(lower), (2,))]
    done = fill(sinks, EXAMPLES, trunk, trunk.reading, BATCH)
    assert (done.computed, trunk.calls) == (40, 10)
    expected = run(read(numbers))
    assert values(upper, EXAMPLES) == [expected[1].tobytes(), expected[0].tobytes()]
    assert values(lower, EXAMPLES) == [expected[2].tobytes()]
    assert sum(shard.rows for shard in FeatureFolder(lower).refresh().shards) == 40, "nothing is stored twice"
    assert fill(sinks, EXAMPLES, trunk, trunk.reading, BATCH).computed == 0


def test_time_writes_a_shard_too(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "SHARD_BYTES", 2**40)
    filled(tmp_path / "by bytes", EXAMPLES)
    assert len(shards_in(tmp_path / "by bytes")) == 1
    monkeypatch.setattr(extraction, "SHARD_SECONDS", 0.0)
    filled(tmp_path / "by time", EXAMPLES)
    assert len(shards_in(tmp_path / "by time")) == 10
    assert values(tmp_path / "by bytes", EXAMPLES) == values(tmp_path / "by time", EXAMPLES)


WORKER = """
import fcntl, hashlib, json, sys, time
from pathlib import Path
import numpy as np
from zoo import extraction
from zoo.extraction import Sink, fill
from zoo.feature_folder import FeatureFolder
extraction.SHARD_BYTES = 1
if sys.argv[2] == "broken":
    fcntl.flock = lambda *_: None
examples = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(200)]
def run(x):
    time.sleep(0.01)
    return [np.tanh(x)]
print("ready", flush=True)
sys.stdin.readline()
folder = FeatureFolder(Path(sys.argv[1]))
said = lambda: print("another process computes the same features; waiting", flush=True)
done = fill([Sink(folder, (0,))], examples, run, lambda i: np.sin(i[:, None].astype("float32")), 8, waiting=said)
rows = folder.features(examples).arrays()[0]
print(json.dumps([done.computed, done.waited, hashlib.sha256(rows.tobytes()).hexdigest()]), flush=True)
"""


@pytest.mark.parametrize("locks", ["working", "broken"])
def test_two_processes_wait_or_compute_twice_and_never_get_it_wrong(tmp_path, locks):
    import json

    command = [sys.executable, "-c", WORKER, str(tmp_path / "trunk"), locks]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120) for process in both]
    assert [error for _, error in answers] == ["", ""]
    said = [out.splitlines() for out, _ in answers]
    ends = [json.loads(lines[-1]) for lines in said]
    numbers = np.arange(200)
    right = hashlib.sha256(np.tanh(np.sin(numbers[:, None].astype("float32"))).tobytes()).hexdigest()
    assert [digest for *_, digest in ends] == [right, right]
    folder = FeatureFolder(tmp_path / "trunk").refresh()
    assert folder.rows == 200
    assert folder.damaged == ()
    assert not [p for p in folder.path.iterdir() if p.name.startswith(".")]
    if locks == "working":
        assert sorted(computed for computed, *_ in ends) == [0, 200]
        waiting = ["another process computes the same features; waiting"]
        assert sorted([waited, lines[:-1]] for lines, (_, waited, _) in zip(said, ends, strict=True)) == [
            [False, []],
            [True, waiting],
        ]
        assert sum(shard.rows for shard in folder.shards) == 200
    else:
        assert sum(computed for computed, *_ in ends) > 200, "without locks nobody waited"
