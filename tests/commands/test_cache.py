"""``zoo cache``"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo.feature_cache import FeatureCache
from zoo.feature_folder import shards_in
from zoo.feature_shard import DATA

ROOT = Path(__file__).parents[2]
ABOUT = {"what": "glyphs up to block2", "engine": "keras", "precision": "float32", "dtype": "float32"}


@pytest.fixture
def cache(home) -> FeatureCache:
    cache = FeatureCache(home / "features")
    for i, name in enumerate(("a1" * 32, "b2" * 32)):
        folder = cache.folder(name, ABOUT if i else {})
        folder.add([f"{n:064x}" for n in range(1200)], [np.zeros((1200, 4), "float32")])
        folder.touch()
        os.utime(folder.path / "used", (1.6e9 + i, 1.6e9 + i))
    return cache


def damage(cache: FeatureCache, name: str) -> str:
    (shard,) = shards_in(cache.root / (name * 16))
    data = bytearray((shard / DATA).read_bytes())
    data[2000] ^= 16
    (shard / DATA).write_bytes(data)
    return shard.name


def test_the_list_is_a_table(call, cache):
    result = call("cache", "list")
    assert (result.exit_code, result.stderr) == (0, "")
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["name", "what", "how", "examples", "size", "used"]
    assert first.startswith("b2b2b2b2b2b2  glyphs up to block2  keras float32     1,200  6")
    assert second.startswith("a1a1a1a1a1a1  ?                    ?                 1,200  6")
    assert " kB  2020-09-13 " in first


def test_the_list_is_json(call, cache):
    rows = json.loads(call("cache", "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["b2" * 16, "a1" * 16]
    first = {key: value for key, value in rows[0].items() if key != "bytes"}
    about = ABOUT
    assert first == {
        "name": "b2" * 16,
        "about": about,
        "examples": 1200,
        "shards": 1,
        "used": 1.6e9 + 1,
        "damaged": None,
    }


def test_an_empty_cache_is_no_error(call, home):
    result = call("cache", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the cache is empty\n")
    assert call("cache", "list", "--json").stdout == "[]\n"
    assert call("cache", "verify").stdout == "0 of 0 shards are what was written\n"
    assert call("cache", "remove", "--all").stdout == "removed the features of 0 trunks, 0 kB\n"
    assert not home.exists()


def test_verify_names_what_is_damaged_and_its_exit_code_is_1(call, cache):
    result = call("cache", "verify")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "2 of 2 shards are what was written\n", "")
    shard = damage(cache, "a1")
    result = call("cache", "verify")
    assert (result.exit_code, result.stdout) == (1, "1 of 2 shards are what was written\n")
    assert result.stderr == (
        f"Error: Damaged: {'a1' * 16}/{shard}. The next run that needs them computes them again.\n"
    )
    assert call("cache", "verify", "b2").exit_code == 0
    assert call("cache", "verify", "a").exit_code == 1
    result = call("cache", "verify", "--json")
    assert result.exit_code == 1
    assert [row["damaged"] for row in json.loads(result.stdout)] == [[], [shard]]


def test_remove_by_the_beginning_of_a_name_or_all(call, cache):
    size = cache.entries()[1].bytes
    result = call("cache", "remove", "a1", "a1a1")
    assert (result.exit_code, result.stdout) == (0, f"removed the features of 1 trunk, {size / 1e3:.0f} kB\n")
    assert [entry.name for entry in cache.entries()] == ["b2" * 16]
    assert call("cache", "remove", "--all").stdout.startswith("removed the features of 1 trunk, ")
    assert [*cache.root.iterdir()] == []


def test_a_name_that_is_none_is_an_error_and_nothing_is_removed(call, cache):
    result = call("cache", "remove", "a1", "c3")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: The cache has no features named 'c3'. Known: {'a1' * 16}, {'b2' * 16}.\n"
    assert len(cache.entries()) == 2


@pytest.mark.parametrize("arguments", [("remove",), ("remove", "--all", "a1"), ("list", "--nope"), ("forget",)])
def test_wrong_usage_is_exit_code_2(call, cache, arguments):
    result = call("cache", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(cache.entries()) == 2
    assert "Usage: zoo cache" in result.stderr


def test_debug_stands_after_the_inner_verb_too(call, home):
    result = call("cache", "remove", "a1", "--debug")
    assert type(result.exception).__name__ == "CacheError"


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("verify",), ("remove", "--all"), ("--help",)])
def test_no_framework_is_loaded(cache, arguments):
    code = (
        "import sys, zoo.commands\n"
        "try:\n    zoo.commands.main()\nexcept SystemExit as done:\n    assert done.code == 0, done.code\n"
        "loaded = {'tensorflow', 'keras', 'h5py', 'matplotlib', 'PIL'} & set(sys.modules)\nassert not loaded, loaded"
    )
    command = [sys.executable, "-c", code, "cache", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
