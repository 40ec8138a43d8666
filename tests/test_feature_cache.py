"""All features: what there is, what goes first, and what stays."""

import os
from pathlib import Path

import numpy as np
import pytest

from zoo.errors import CacheError
from zoo.feature_cache import FeatureCache
from zoo.feature_folder import shards_in
from zoo.feature_shard import DATA

NAMES = ["a" * 64, "ab" * 32, "c0" * 32]


@pytest.fixture
def cache(tmp_path) -> FeatureCache:
    """Three trunks, used in the order of their names, the first longest ago."""
    cache = FeatureCache(tmp_path / "features", limit=10**6)
    for i, name in enumerate(NAMES):
        folder = cache.folder(name, {"what": f"trunk {i}"})
        folder.add([f"{i:064x}", f"{i + 8:064x}"], [np.full((2, 500 * (i + 1)), i, "float32")])
        folder.touch()
        os.utime(folder.path / "used", (1000 + i, 1000 + i))
    return cache


def names(entries: list) -> list[str]:
    return [entry.name[:2] for entry in entries]


def test_entries_are_listed_the_last_used_first(cache):
    entries = cache.entries()
    assert names(entries) == ["c0", "ab", "aa"]
    assert [(e.about["what"], e.examples, e.shards, e.used, e.damaged) for e in entries] == [
        ("trunk 2", 2, 1, 1002.0, None),
        ("trunk 1", 2, 1, 1001.0, None),
        ("trunk 0", 2, 1, 1000.0, None),
    ]
    files = sum(file.stat().st_size for file in cache.root.rglob("*") if file.is_file())
    assert sum(entry.bytes for entry in entries) == files
    cache.folder(NAMES[0]).touch()
    assert names(cache.entries()) == ["aa", "c0", "ab"]


def test_nothing_is_listed_where_there_is_nothing(tmp_path):
    cache = FeatureCache(tmp_path / "none")
    assert (cache.entries(), cache.evictions(0)) == ([], [])
    assert cache.limit > 0
    assert not (tmp_path / "none").exists()


def test_damage_is_found_where_it_is_looked_for(cache):
    (victim,) = shards_in(cache.root / NAMES[1][:32])
    data = bytearray((victim / DATA).read_bytes())
    data[-1] ^= 1
    (victim / DATA).write_bytes(data)
    assert [entry.damaged for entry in cache.entries(verify=True)] == [(), (victim.name,), ()]


def test_a_table_for_people_that_is_damaged_harms_nothing(cache):
    for text in ("{", "3", "[" * 10**5, "\xff"):
        (cache.root / NAMES[0][:32] / "trunk.json").write_text(text, encoding="latin-1")
        assert cache.entries(verify=True)[2].about == {}
        assert cache.entries(verify=True)[2].damaged == ()


def test_the_beginning_of_a_name_is_enough(cache):
    assert cache.find("c").name == NAMES[2][:32]
    assert cache.find("ab").name == NAMES[1][:32]
    with pytest.raises(CacheError) as error:
        cache.find("a")
    assert str(error.value) == (
        "Several features in the cache have a name that begins with 'a'. Expected enough of the name to tell them "
        f"apart; received {'a' * 32}, {'ab' * 16}."
    )
    for name in ("zz", "", "../features", ".", "c/"):
        with pytest.raises(CacheError, match=f"The cache has no features named '{name}'"):
            cache.find(name)


def test_what_is_removed_is_gone_and_its_reader_reads_on(cache):
    folder = cache.folder(NAMES[2]).refresh()
    features = folder.features([f"{2:064x}"])
    size = cache.entries()[0].bytes
    assert cache.remove([folder.path]) == size
    assert names(cache.entries()) == ["ab", "aa"]
    assert features.arrays()[0].tolist() == [[2.0] * 1500]
    assert sorted(path.name for path in cache.root.iterdir()) == sorted(name[:32] for name in NAMES[:2])
    assert cache.remove([folder.path]) == 0, "it was gone already"


def test_what_is_being_computed_is_not_removed(cache):
    with cache.folder(NAMES[0]).alone():
        with pytest.raises(CacheError) as error:
            cache.remove([cache.root / NAMES[0][:32]])
        assert str(error.value) == (
            f"The features {'a' * 32} are being computed by another process. Wait until it has finished."
        )
        going = cache.evictions(10**6 - 1)
        assert going is not None
        assert names(cache.evict(going)) == ["ab", "c0"]
    assert names(cache.entries()) == ["aa"]


def test_the_least_recently_used_goes_first_and_only_as_much_as_it_takes(cache):
    used = sum(entry.bytes for entry in cache.entries())
    room = cache.limit - used
    first = cache.entries()[-1].bytes
    assert cache.evictions(room) == []
    assert names(cache.evictions(room + 1)) == ["aa"]
    assert names(cache.evictions(room + first)) == ["aa"]
    assert names(cache.evictions(room + first + 1)) == ["aa", "ab"]
    assert names(cache.evictions(cache.limit)) == ["aa", "ab", "c0"]
    assert cache.evictions(cache.limit + 1) is None
    assert len(cache.entries()) == 3, "deciding removes nothing"


def test_what_is_in_use_stays(cache):
    keep = [cache.root / NAMES[0][:32]]
    assert names(cache.evictions(cache.limit - cache.entries()[-1].bytes, keep)) == ["ab", "c0"]
    assert cache.evictions(cache.limit, keep) is None


def test_a_disk_with_less_than_the_limit_bounds_it_too(cache, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 0, 100))
    assert names(cache.evictions(101)) == ["aa"]
    assert cache.evictions(10**5) is None
    assert FeatureCache(Path("/nowhere/at/all")).limit == 10**8


def test_room_can_be_made_on_a_disk_that_is_full(cache, monkeypatch):
    """A lock needs a file, and that cannot be made there."""
    import errno

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    assert cache.remove([cache.root / NAMES[0][:32]]) > 0
    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(CacheError, match="Features cannot be written to"):
        cache.remove([cache.root / NAMES[1][:32]])


def test_what_a_killed_removal_left_goes_with_the_next(cache):
    import subprocess
    import sys

    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = cache.root / f".{ended.stdout.strip()}.old"
    left.mkdir()
    assert len(cache.entries()) == 3
    cache.evict([])
    assert not left.exists()
