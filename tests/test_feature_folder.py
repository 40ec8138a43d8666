"""The features of one trunk: found by content, whatever was added, seen, damaged and dropped in which order."""

import errno
import hashlib
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import feature_folder
from zoo.errors import CacheError
from zoo.feature_folder import FeatureFolder, as_bytes, remove_folder, shards_in
from zoo.feature_shard import DATA, MANIFEST, Shard, read_shard

EXAMPLES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(12)]


def row(example: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(example), "u1").astype("float32")


def columns(examples: list[str]) -> list[np.ndarray]:
    rows = np.array([row(example) for example in examples]).reshape(len(examples), 32)
    return [rows, rows.reshape(-1, 4, 8) * 2]


def flip(file: Path, chance: random.Random) -> None:
    """Flips a bit of what a new reader finds; what is mapped already stays as it is."""
    whole = bytearray(file.read_bytes())
    bit = chance.randrange(8 * len(whole))
    whole[bit // 8] ^= 1 << bit % 8
    other = file.with_name("flipped")
    other.write_bytes(whole)
    other.replace(file)


def held(shard: Path) -> set[str]:
    read = read_shard(shard)
    assert read is not None
    return {digest.ljust(32, b"\0").hex() for digest in read.examples().tolist()}


class Processes:
    """Three processes with one folder, and what each of them must find and may find."""

    def __init__(self, path: Path):
        self.path = path
        self.folders = [FeatureFolder(path) for _ in range(3)]
        self.known: list[set[Path]] = [set(), set(), set()]
        self.held: dict[Path, set[str]] = {}
        self.sound: set[Path] = set()

    def add(self, i: int, what: list[str], chance: random.Random) -> None:
        new = list(dict.fromkeys(what))
        before = set(shards_in(self.path))
        self.folders[i].add(new, columns(new))
        after = set(shards_in(self.path))
        for shard in after - before:
            self.held[shard] = held(shard)
        self.sound = (self.sound | (after - before)) & after
        self.known[i] = (self.known[i] | (after - before)) - (before - after)

    def refresh(self, i: int, what: None, chance: random.Random) -> None:
        self.folders[i].refresh()
        self.known[i] = set(shards_in(self.path))

    def look(self, i: int, what: None, chance: random.Random) -> None:
        self.folders[i].missing(EXAMPLES)

    def drop(self, i: int, what: None, chance: random.Random) -> None:
        self.refresh(i, what, chance)
        self.look(i, what, chance)
        self.folders[i].drop_damaged()
        self.known[i] &= set(shards_in(self.path))

    def flip(self, i: int, what: str, chance: random.Random) -> None:
        if self.sound:
            victim = [shard for shard in self.held if shard in self.sound][i % len(self.sound)]  # by when it came
            flip(victim / what, chance)
            self.sound.remove(victim)

    def evict(self, i: int, what: None, chance: random.Random) -> None:
        there = [shard for shard in self.held if shard.exists()]
        if there:
            remove_folder(there[i % len(there)])
            self.sound.discard(there[i % len(there)])

    def restart(self, i: int, what: None, chance: random.Random) -> None:
        self.folders[i], self.known[i] = FeatureFolder(self.path), set()

    def check(self, chance: random.Random) -> None:
        for folder, known in zip(self.folders, self.known, strict=True):
            missing = {EXAMPLES[position] for position in folder.missing(EXAMPLES)}
            there = [example for example in EXAMPLES if example not in missing]
            assert set(there) >= {e for shard in known & self.sound for e in self.held[shard]}, "what is sound is found"
            assert set(there) <= {e for shard in known for e in self.held[shard]}, "what is not known is not promised"
            assert folder.rows == len(there) == folder.holds(EXAMPLES).sum()
            if there:
                asked = chance.choices(there, k=9)
                assert all(shard in known for shard in folder.shards_of(asked))
                for found, expected in zip(folder.features(asked).arrays(), columns(asked), strict=True):
                    np.testing.assert_array_equal(found, expected)
            for example in missing:
                with pytest.raises(KeyError):
                    folder.features([example])


NUMBERS = st.integers(0, 5)
ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 2), st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=6)),
    st.tuples(st.sampled_from(["refresh", "look", "drop", "restart"]), st.integers(0, 2), st.none()),
    st.tuples(st.just("flip"), NUMBERS, st.sampled_from([DATA, MANIFEST])),
    st.tuples(st.just("evict"), NUMBERS, st.none()),
)


@settings(max_examples=150)
@given(st.lists(ACTIONS, max_size=14), st.sampled_from([3, 32]), st.randoms(use_true_random=False))
def test_after_any_adding_evicting_flipping_and_refreshing_a_row_is_what_was_added_or_missing(actions, many, chance):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_folder, "MANY", many)
        processes = Processes(Path(name) / "trunk")
        for action, i, what in actions:
            getattr(processes, action)(i, what, chance)
        processes.check(chance)
        last = FeatureFolder(processes.path).refresh()
        last.missing(EXAMPLES)
        last.drop_damaged()
        assert last.refresh().missing(EXAMPLES).tolist() == [
            i for i, e in enumerate(EXAMPLES) if not any(e in processes.held[shard] for shard in processes.sound)
        ]


def test_only_the_shards_with_wanted_rows_are_read_and_once(tmp_path, monkeypatch):
    folder = FeatureFolder(tmp_path)
    shards = [folder.add([each], columns([each])) for each in EXAMPLES[:4]]
    read = []
    plain = Shard.holds
    monkeypatch.setattr(Shard, "holds", lambda shard: read.append(shard.folder) or plain(shard))
    again = FeatureFolder(tmp_path).refresh()
    assert again.missing(EXAMPLES[1:3] + EXAMPLES[8:]).tolist() == [2, 3, 4, 5]
    assert sorted(read) == sorted(shard.folder for shard in shards[1:3])
    again.refresh().missing(EXAMPLES[1:3])
    again.features(EXAMPLES[1:3])
    assert len(read) == 2
    again.features(EXAMPLES[:1])
    assert read[2:] == [shards[0].folder]


def test_damage_where_nothing_is_wanted_stops_nobody_and_is_found_when_it_is(tmp_path):
    folder = FeatureFolder(tmp_path)
    bad = folder.add(EXAMPLES[:2], columns(EXAMPLES[:2]))
    folder.add(EXAMPLES[2:4], columns(EXAMPLES[2:4]))
    whole = bytearray((bad.folder / DATA).read_bytes())
    whole[-1] ^= 1
    (bad.folder / DATA).write_bytes(whole)
    again = FeatureFolder(tmp_path).refresh()
    assert (again.missing(EXAMPLES[2:4]).tolist(), again.damaged) == ([], ())
    with pytest.raises(KeyError, match=EXAMPLES[1]):
        again.features(EXAMPLES[1:3])
    assert again.damaged == (bad.folder,)
    remove_folder(bad.folder)
    assert again.refresh().damaged == (), "another process has removed it"


def test_what_a_run_reads_is_noted_shard_by_shard(tmp_path):
    folder = FeatureFolder(tmp_path)
    shards = [folder.add([each], columns([each])).folder for each in EXAMPLES[:3]]
    for shard in shards:
        os.utime(shard, (1000, 1000))
    folder.missing(EXAMPLES)
    assert [shard.stat().st_mtime for shard in shards] == [1000, 1000, 1000]
    folder.features([EXAMPLES[1]])
    assert [shard.stat().st_mtime == 1000 for shard in shards] == [True, False, True]
    assert folder.shards_of([EXAMPLES[0], EXAMPLES[2], EXAMPLES[9]]) == {shards[0], shards[2]}
    remove_folder(shards[1])
    assert folder.features([EXAMPLES[1]]).arrays()[0].tolist() == columns([EXAMPLES[1]])[0].tolist()
    assert folder.refresh().missing(EXAMPLES[:3]).tolist() == [1]


def test_many_small_shards_become_few_and_a_large_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_folder, "MANY", 4)
    monkeypatch.setattr(feature_folder, "MERGED", 20000)
    folder = FeatureFolder(tmp_path)
    large = [f"{i:064x}" for i in range(30)]
    kept = folder.add(large, columns(large)).folder
    features = None
    for i in range(9):
        folder.add(EXAMPLES[i : i + 1], columns(EXAMPLES[i : i + 1]))
        features = features or folder.features(EXAMPLES[:1])
        assert len(shards_in(tmp_path)) <= 4
        assert folder.missing(EXAMPLES[: i + 1]).tolist() == []
        assert {shard.folder for shard in folder.shards} == set(shards_in(tmp_path))
    assert kept in shards_in(tmp_path)
    assert features is not None
    assert features.arrays()[0].tolist() == columns(EXAMPLES[:1])[0].tolist(), "from a shard that is gone"
    again = FeatureFolder(tmp_path).refresh()
    for found, expected in zip(again.features(EXAMPLES[:9]).arrays(), columns(EXAMPLES[:9]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sum(shard.rows for shard in again.shards) == 39


def test_too_many_open_files_are_no_damage(tmp_path, monkeypatch):
    FeatureFolder(tmp_path).add(EXAMPLES[:2], columns(EXAMPLES[:2]))

    def refused(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    for call in ("open", "examples"):
        with monkeypatch.context() as patch:
            patch.setattr(Shard, call, refused)
            folder = FeatureFolder(tmp_path)
            with pytest.raises(CacheError) as error:
                folder.refresh().missing(EXAMPLES)
        assert str(error.value) == (
            f"Features cannot be read from {shards_in(tmp_path)[0]}: too many open files. Raise the limit (ulimit -n), "
            "or: --no-cache."
        )
        assert folder.damaged == ()


@given(st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=8), st.data())
def test_digests_with_any_bytes_are_told_apart(raw, data):
    """NumPy's own text type drops zeros at the end; a digest may have them, there and elsewhere."""
    ends = [bytes(31) + b"\1", bytes(32), b"\1" + bytes(31), b"\1" + bytes(30) + b"\1", b"\1\1" + bytes(30)]
    examples = [digest.hex() for digest in dict.fromkeys([*raw, *ends])]
    some = data.draw(st.lists(st.sampled_from(examples), unique=True, min_size=1))
    with tempfile.TemporaryDirectory() as name:
        folder = FeatureFolder(Path(name))
        folder.add(some, columns(some))
        assert [examples[i] for i in folder.missing(examples)] == [e for e in examples if e not in some]
        for known in (some, as_bytes(some)):
            np.testing.assert_array_equal(folder.features(known).arrays()[0], columns(some)[0])
        assert folder.missing(as_bytes(examples)).tolist() == folder.missing(examples).tolist()
    assert as_bytes(examples).tobytes().hex() == "".join(examples)


def test_of_several_examples_with_one_content_the_first_is_missing(tmp_path):
    a, b, c = EXAMPLES[:3]
    folder = FeatureFolder(tmp_path)
    assert folder.missing([a, b, a, c, b]).tolist() == [0, 1, 3]
    folder.add([b], columns([b]))
    assert folder.missing([a, b, a, c, b]).tolist() == [0, 3]
    assert folder.holds([a, b, a]).tolist() == [False, True, False]
    assert folder.missing([]).tolist() == folder.holds([]).tolist() == []


def test_an_example_that_is_not_there_is_a_key_error(tmp_path):
    folder = FeatureFolder(tmp_path)
    folder.add(EXAMPLES[:2], columns(EXAMPLES[:2]))
    with pytest.raises(KeyError, match=EXAMPLES[5]):
        folder.features([EXAMPLES[0], EXAMPLES[5]])
    zeros = bytes.fromhex("ab").ljust(32, b"\0").hex()
    with pytest.raises(KeyError, match=f"'{zeros}'"):
        folder.features(as_bytes([EXAMPLES[0], zeros]))


def test_damage_is_found_named_and_dropped(tmp_path):
    folder = FeatureFolder(tmp_path)
    bad, good = folder.add(EXAMPLES[:2], columns(EXAMPLES[:2])), folder.add(EXAMPLES[2:3], columns(EXAMPLES[2:3]))
    flip(bad.folder / DATA, random.Random(0))
    again = FeatureFolder(tmp_path).refresh()
    assert again.missing(EXAMPLES[:3]).tolist() == [0, 1]
    assert again.damaged == (bad.folder,)
    assert [shard.folder for shard in again.shards] == [good.folder]
    assert again.drop_damaged() == 1
    assert again.damaged == ()
    assert shards_in(tmp_path) == [good.folder]


def test_float16_is_read_as_what_the_trunk_gave(tmp_path):
    folder = FeatureFolder(tmp_path, float16=True)
    folder.add(EXAMPLES[:1], [np.array([[1 / 3]], "float32")])
    features = FeatureFolder(tmp_path).refresh().features(EXAMPLES[:1])
    assert features.dtypes == (np.dtype("float32"),)
    assert features.arrays()[0].tolist() == [[float(np.float16(1 / 3))]]
    assert folder.difference == pytest.approx(abs(float(np.float16(1 / 3)) - 1 / 3) * 3, rel=1e-3)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    folder = FeatureFolder(tmp_path / "file" / "trunk")
    for act in (lambda: folder.add(EXAMPLES[:1], columns(EXAMPLES[:1])), lambda: folder.alone().__enter__()):
        with pytest.raises(CacheError, match=r"Features cannot be written to .*trunk: not a directory\. Make room, or"):
            act()
    folder.touch()
    assert folder.refresh().rows == 0


def test_an_error_inside_is_not_the_locks(tmp_path):
    with pytest.raises(FileNotFoundError, match="mine"), FeatureFolder(tmp_path).alone():
        what = "mine"
        raise FileNotFoundError(what)


def test_a_killed_process_lets_go_of_the_folder(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from zoo.feature_folder import FeatureFolder\n"
        "with FeatureFolder(Path(sys.argv[1])).alone(): print('in', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    said = []

    def waiting() -> None:
        said.append("waiting")
        process.kill()

    with FeatureFolder(tmp_path).alone(waiting) as waited:
        assert waited
    assert said == ["waiting"]
    process.wait()
    process.stdout.close()


def test_memory_by_example_is_small(tmp_path):
    """The index of 100,000 examples takes a few megabytes, not tens of them."""
    import tracemalloc

    examples = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(20000)]
    FeatureFolder(tmp_path).add(examples, [np.zeros((20000, 1), "float32")])
    tracemalloc.start()
    folder = FeatureFolder(tmp_path).refresh()
    features = folder.features(examples)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(features) == 20000
    assert held / 20000 < 50, "32 of the digest, and four numbers"
    assert os.listdir(tmp_path)
