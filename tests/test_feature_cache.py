"""All features: what there is, what goes first, and what stays."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.atomic import hidden
from zoo.errors import CacheError
from zoo.feature_cache import FeatureCache
from zoo.feature_folder import FeatureFolder, shards_in
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
        for path in (folder.path / "used", *shards_in(folder.path)):
            os.utime(path, (1000 + i, 1000 + i))
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


def taken(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@pytest.fixture
def one(tmp_path) -> tuple[FeatureCache, FeatureFolder, list[Path]]:
    """One trunk with four shards of two examples, used in an order of their own, the third longest ago."""
    cache = FeatureCache(tmp_path / "features", limit=10**6)
    folder = cache.folder(NAMES[0], {"what": "one"})
    shards = []
    for i, when in enumerate((1003, 1001, 1000, 1002)):
        shard = folder.add([f"{2 * i:064x}", f"{2 * i + 1:064x}"], [np.full((2, 500), i, "float32")]).folder
        os.utime(shard, (when, when))
        shards.append(shard)
    return cache, folder, shards


def test_single_shards_go_of_the_trunk_in_use_too_but_those_that_are_wanted(one):
    cache, folder, shards = one
    size = taken(shards[0])
    room = cache.limit - cache.entries()[0].bytes
    using = folder.shards_of([f"{4:064x}"])
    assert using == {shards[2]}
    assert cache.evictions(room, using=using) == []
    (going,) = cache.evictions(room + size + 1, using=using)
    assert (going.name, going.about, going.folders) == (
        NAMES[0][:32],
        {"what": "one"},
        (shards[1].name, shards[3].name),
    )
    assert abs(going.bytes - 2 * size) < 10, "but for the digits in the manifests"
    (going,) = cache.evictions(room + size, using=using)
    assert cache.evict([going]) == [going]
    assert sorted(shards_in(folder.path)) == sorted((shards[0], shards[2], shards[3]))
    assert cache.evictions(cache.limit, using=using) is None
    assert cache.evictions(room + 2 * size, [folder.path]) is None, "nothing of what is kept"
    most = cache.room(using=using)
    assert cache.evictions(most + 1, using=using) is None
    (going,) = cache.evictions(most, using=using)
    cache.evict([going])
    assert shards_in(folder.path) == [shards[2]]
    assert cache.limit - cache.entries()[0].bytes == most
    assert folder.refresh().missing([f"{i:064x}" for i in range(8)]).tolist() == [0, 1, 2, 3, 6, 7]


def test_a_trunks_folder_goes_with_the_last_of_its_shards(one):
    cache, folder, shards = one
    assert cache.room() == cache.limit
    assert cache.room(keep=[folder.path]) == cache.limit - cache.entries()[0].bytes
    (going,) = cache.evictions(cache.limit)
    assert going.folders == tuple(shards[i].name for i in (2, 1, 3, 0))
    assert going.bytes == cache.entries()[0].bytes
    cache.evict([going])
    assert [*cache.root.iterdir()] == []


def test_a_shard_that_came_since_keeps_its_trunks_folder(one):
    cache, folder, _ = one
    going = cache.evictions(cache.limit)
    new = folder.add([f"{9:064x}"], [np.zeros((1, 500), "float32")]).folder
    cache.evict(going)
    assert shards_in(folder.path) == [new]


def test_what_a_run_reads_is_not_what_goes_first(one):
    cache, folder, shards = one
    folder.features([f"{4:064x}"])
    (going,) = cache.evictions(cache.limit - cache.entries()[0].bytes + 1)
    assert going.folders == (shards[1].name,)


def test_shards_of_several_trunks_go_in_the_order_of_their_use_and_are_said_by_trunk(one):
    cache, _, shards = one
    other = cache.folder(NAMES[2], {"what": "two"})
    new = other.add([f"{1:064x}"], [np.zeros((1, 500), "float32")]).folder
    os.utime(new, (1000.5, 1000.5))
    size = taken(shards[0])
    room = cache.limit - sum(entry.bytes for entry in cache.entries())
    (only,) = cache.evictions(room + 1)
    assert (only.about["what"], only.folders) == ("one", (shards[2].name,))
    first, second = cache.evictions(room + size + 1)
    assert (first, second.about["what"], second.folders) == (only, "two", (new.name,))
    first, second = cache.evictions(room + 2 * size)
    assert (first.folders, second.folders) == ((shards[2].name, shards[1].name), (new.name,))
    assert sum(entry.examples for entry in cache.entries()) == 9


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60), st.integers(0, 5)), min_size=1, max_size=8),
    st.integers(-20000, 80000),
    st.data(),
)
def test_what_goes_is_enough_no_more_than_it_takes_and_never_what_is_wanted(made, needed, data):
    """Any shards of any size and age: the oldest that may go do, and room for just what ``room`` says."""
    with tempfile.TemporaryDirectory() as name:
        cache = FeatureCache(Path(name), limit=60000)
        folders = [cache.folder(each) for each in NAMES]
        ages = {}
        for i, (trunk, width, age) in enumerate(made):
            shard = folders[trunk].add([f"{i:064x}"], [np.zeros((1, 100 * width), "float32")]).folder
            os.utime(shard, (1000 + age, 1000 + age))
            ages[shard] = 1000 + age
        keep = data.draw(st.lists(st.sampled_from([folder.path for folder in folders]), max_size=2))
        using = data.draw(st.lists(st.sampled_from(list(ages)), max_size=3))
        before = sum(entry.bytes for entry in cache.entries())
        most = cache.room(keep, using)
        going = cache.evictions(needed, keep, using)
        assert (going is None) == (needed > most)
        if going is None:
            return
        gone = {cache.root / each.name / folder for each in going for folder in each.folders}
        assert not gone & set(using)
        assert not {shard.parent for shard in gone} & set(keep)
        stay = set(ages) - gone - set(using) - {shard for shard in ages if shard.parent in keep}
        assert max((ages[shard] for shard in gone), default=0) <= min((ages[shard] for shard in stay), default=10**9)
        sizes = {path: taken(path) for path in (*ages, *(shard.parent for shard in ages))}
        assert cache.evict(going) == going
        after = sum(entry.bytes for entry in cache.entries())
        assert before - after == sum(each.bytes for each in going)
        assert after + needed <= cache.limit
        assert {shard for shard in ages if shard.exists()} == set(ages) - gone
        if going:
            last = max(gone, key=lambda shard: (ages[shard], shard.parent.name, shard.name))
            others = sum(sizes[shard] for shard in ages if shard.parent == last.parent)
            rest = 0 if last.parent.exists() else sizes[last.parent] - others
            assert after + sizes[last] + rest + needed > cache.limit, "without the last of them it was not enough"


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
    left = cache.root / hidden(Path("old")).name.replace(f".{os.getpid()}.", f".{ended.stdout.strip()}.")
    left.mkdir()
    assert len(cache.entries()) == 3
    cache.evict([])
    assert not left.exists()
