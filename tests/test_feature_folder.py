"""The features of one trunk: found by content, whatever was added, seen, damaged and dropped in which order."""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import CacheError
from zoo.feature_folder import FeatureFolder, as_bytes, shards_in
from zoo.feature_shard import DATA, MANIFEST

EXAMPLES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(12)]


def row(example: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(example), "u1").astype("float32")


def columns(examples: list[str]) -> list[np.ndarray]:
    rows = np.array([row(example) for example in examples]).reshape(len(examples), 32)
    return [rows, rows.reshape(-1, 4, 8) * 2]


def flip(file: Path, chance: random.Random) -> None:
    whole = bytearray(file.read_bytes())
    bit = chance.randrange(8 * len(whole))
    whole[bit // 8] ^= 1 << bit % 8
    file.write_bytes(whole)


ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 2), st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=6)),
    st.tuples(st.just("refresh"), st.integers(0, 2), st.none()),
    st.tuples(st.just("damage"), st.integers(0, 5), st.sampled_from([DATA, MANIFEST])),
    st.tuples(st.just("drop"), st.integers(0, 2), st.none()),
    st.tuples(st.just("restart"), st.integers(0, 2), st.none()),
)


@given(st.lists(ACTIONS, max_size=12), st.randoms(use_true_random=False))
def test_any_sequence_of_adding_seeing_damaging_and_dropping_gives_the_same_rows(actions, chance):
    """Three processes with one folder: each finds what it added and saw, in any order, and never anything wrong."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "trunk"
        folders = [FeatureFolder(path) for _ in range(3)]
        seen: list[set[str]] = [set(), set(), set()]
        sound: dict[Path, set[str]] = {}
        for action, i, what in actions:
            if action == "add":
                new = list(dict.fromkeys(what))
                sound[folders[i].add(new, columns(new)).folder] = set(new)
                seen[i] |= set(new)
            elif action == "damage" and sound:
                victim = list(sound)[i % len(sound)]  # by when it came: names are random, and a trial must repeat
                held = [folder for folder in folders if any(s.folder == victim for s in folder.shards)]
                if held and what == DATA:
                    continue  # a file that is mapped is not changed by anybody
                flip(victim / what, chance)
                del sound[victim]
            elif action in ("refresh", "drop"):
                folders[i].refresh()
                seen[i] |= {example for examples in sound.values() for example in examples}
                if action == "drop":
                    folders[i].drop_damaged()
            elif action == "restart":
                folders[i], seen[i] = FeatureFolder(path), set()
        for folder, examples in zip(folders, seen, strict=True):
            missing = [EXAMPLES[position] for position in folder.missing(EXAMPLES)]
            assert missing == [example for example in EXAMPLES if example not in examples]
            assert folder.rows == len(examples)
            if examples:
                asked = chance.choices(sorted(examples), k=9)
                for found, expected in zip(folder.features(asked).arrays(), columns(asked), strict=True):
                    np.testing.assert_array_equal(found, expected)
        last = FeatureFolder(path).refresh()
        last.drop_damaged()
        assert {shard.folder for shard in last.shards} == set(shards_in(path)) == set(sound)


@given(st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=8), st.data())
def test_digests_with_any_bytes_are_told_apart(raw, data):
    """NumPy's own text type drops zeros at the end; a digest may have them, there and elsewhere."""
    ends = [bytes(31) + b"\1", bytes(32), b"\1" + bytes(31), b"\1" + bytes(30) + b"\1", b"\1\1" + bytes(30)]
    examples = [digest.hex() for digest in dict.fromkeys([*raw, *ends])]
    held = data.draw(st.lists(st.sampled_from(examples), unique=True, min_size=1))
    with tempfile.TemporaryDirectory() as name:
        folder = FeatureFolder(Path(name))
        folder.add(held, columns(held))
        assert [examples[i] for i in folder.missing(examples)] == [e for e in examples if e not in held]
        for known in (held, as_bytes(held)):
            np.testing.assert_array_equal(folder.features(known).arrays()[0], columns(held)[0])
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
    assert folder.agrees(EXAMPLES[:1], [np.array([[1 / 3]], "float32")])
    assert not folder.agrees(EXAMPLES[:1], [np.array([[0.334]], "float32")])


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
