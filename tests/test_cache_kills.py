"""Extractions that are killed, run out of disk, or whose files are altered: a small number of each; many are slow."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def counted(*options: str) -> dict[str, dict[str, int]]:
    """The counts of the trials; on a file system in memory, where there is one: a kill is the same there."""
    memory = Path("/dev/shm")
    where = {"TMPDIR": str(memory)} if memory.is_dir() and os.access(memory, os.W_OK) else {}
    command = [sys.executable, "-m", "benchmarks.cache_kills", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **where})
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def check(counts: dict[str, Any], kills: int, fills: int, flips: int) -> None:
    wrong = ("leftovers_that_stayed", "leftovers_after_the_error", "computed_again_though_stored")
    for kind, table in counts.items():
        assert table["identical"] == table["trials"] > 0, (kind, table)
        assert not any(table.get(what) for what in wrong), (kind, table)
    assert counts["kills"]["trials"] == kills
    assert counts["kills"]["damaged_shards"] == 0, "a kill leaves no shard that is not whole"
    assert counts["kills"]["resumed_in_the_middle"] > kills / 2
    assert counts["fills"]["trials"] == counts["fills"]["said_clearly"] == fills
    assert counts["fills"]["damaged_shards"] == 0
    assert counts["fills"]["resumed_in_the_middle"] > 0
    assert counts["flips"]["found"] == counts["flips"]["shards_computed_again"] == flips
    assert counts["flips"]["in_a_manifest"] == -(-flips // 5)


def test_some_kills_full_disks_and_flipped_bits():
    check(counted("--kills", "12", "--fills", "3", "--flips", "25"), 12, 3, 25)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_300_kills_a_kill_at_every_call_every_5_percent_of_a_disk_and_1000_flipped_bits():
    counts = counted("--kills", "300", "--points", "--fills", "19", "--flips", "1000")
    check(counts, 300, 19, 1000)
    assert counts["points"]["trials"] > 20
