"""One file of features: what it holds, what its manifest finds, and what a full disk leaves."""

import errno
import hashlib
import json
import os
import random
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from zoo.errors import CacheError
from zoo.feature_folder import as_bytes
from zoo.feature_shard import DATA, MANIFEST, SCHEMA, merge_shards, read_shard, write_shard


def digests(count: int) -> np.ndarray:
    return as_bytes([hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)])


def columns(count: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(count, 3, 2)).astype("float32"), rng.normal(size=(count, 7)).astype("float32")]


def test_what_is_written_is_read_again_and_is_plain_hdf5(tmp_path):
    given = columns()
    shard = write_shard(tmp_path, digests(5), given)
    again = read_shard(shard.folder)
    assert again == shard
    assert again.holds()
    assert again.examples().tobytes() == digests(5).tobytes()
    for stored, array in zip(again.open(), given, strict=True):
        assert stored.tobytes() == array.tobytes()
    with h5py.File(shard.folder / DATA) as file:
        assert [*file] == ["crossing0", "crossing1", "examples"]
        assert all(file[name].chunks is None for name in file)
        np.testing.assert_array_equal(file["crossing1"], given[1])
        assert file["examples"][:].tobytes() == digests(5).tobytes()


@pytest.mark.parametrize(
    "column",
    [
        np.arange(3, dtype="int64"),
        np.array([True, False, True]),
        np.arange(6, dtype="float64").reshape(3, 2),
        np.arange(6).reshape(3, 2).astype("float16"),
        np.arange(6).reshape(3, 2).astype(ml_dtypes.bfloat16),
        np.arange(3).astype("complex64"),
        np.zeros((3, 0, 4), "float32"),
        np.asfortranarray(np.arange(12, dtype="float32").reshape(3, 4)),
        np.array([[np.nan, np.inf], [-np.inf, -0.0], [1e-45, 0.0]], "float32"),
    ],
    ids=lambda column: f"{column.dtype}-{column.shape}",
)
def test_every_type_and_shape_comes_back_as_it_was(tmp_path, column):
    read = read_shard(write_shard(tmp_path, digests(3), [column]).folder)
    assert read.holds()
    (stored,) = read.open()
    assert (stored.dtype, stored.shape) == (column.dtype, column.shape)
    assert stored.tobytes() == column.tobytes()


def test_two_images_of_the_same_features_are_the_same_bytes(tmp_path):
    a, b = (write_shard(tmp_path, digests(5), columns()) for _ in range(2))
    assert a.folder != b.folder
    assert a.sha256 == b.sha256


def test_every_flipped_bit_of_a_manifest_is_found(tmp_path):
    shard = write_shard(tmp_path, digests(5), columns())
    file = shard.folder / MANIFEST
    whole = file.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        assert read_shard(shard.folder) is None, f"bit {bit} of {whole!r}"
    file.write_bytes(whole)
    assert read_shard(shard.folder) == shard


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b + b"\0", lambda b: b"[" * 10**5])
@pytest.mark.parametrize("name", [DATA, MANIFEST])
def test_a_file_cut_short_or_made_longer_is_found(tmp_path, damage, name):
    shard = write_shard(tmp_path, digests(5), columns())
    file = shard.folder / name
    file.write_bytes(damage(file.read_bytes()))
    found = read_shard(shard.folder)
    assert found is None or not found.holds()


def test_flipped_bits_of_features_are_found(tmp_path):
    shard, chance = write_shard(tmp_path, digests(5), columns()), random.Random(0)
    file = shard.folder / DATA
    whole = file.read_bytes()
    for _ in range(200):
        flipped, bit = bytearray(whole), chance.randrange(8 * len(whole))
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        assert not shard.holds()
    file.unlink()
    assert not shard.holds()


def test_what_a_shard_holds_is_compared_without_its_values(tmp_path):
    """Every flipped bit of the examples' digests is found by reading them alone; one elsewhere is not looked for."""
    shard = write_shard(tmp_path, digests(5), columns())
    file = shard.folder / DATA
    whole = file.read_bytes()
    for bit in range(8 * shard.digests, 8 * (shard.digests + 5 * 32)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        with pytest.raises(ValueError, match="is not what was written"):
            shard.examples()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert shard.examples().tobytes() == digests(5).tobytes()
    assert not shard.holds()
    for other in (whole[:-1], whole + b"\0"):
        file.write_bytes(other)
        with pytest.raises(ValueError, match="is not what was written"):
            shard.examples()


def test_a_shard_keeps_no_more_than_one_file_open(tmp_path):
    shard = write_shard(tmp_path, digests(5), columns())
    before = len(os.listdir("/proc/self/fd"))
    mapped = shard.open()
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert len(mapped) == 2


def test_merged_shards_hold_what_each_held_and_their_difference(tmp_path):
    x, counts = np.linspace(1, 2, 35, dtype="float32").reshape(7, 5), np.arange(7)
    few = slice(0, 5), slice(3, 7)
    shards = [write_shard(tmp_path, digests(7)[some], [x[some], counts[some]], float16=True) for some in few]
    known, opened = [shard.examples() for shard in shards], [shard.open() for shard in shards]
    merged = merge_shards(tmp_path, shards, known, opened)
    assert read_shard(merged.folder) == merged
    assert merged.holds()
    assert merged.difference == max(shard.difference for shard in shards) > 0
    assert [(c.stored, c.given) for c in merged.columns] == [("float16", "float32"), ("int64", "int64")]
    assert merged.rows == 7, "what both held is there once"
    order = [digests(7).tolist().index(each) for each in merged.examples()]
    for found, column in zip(merged.open(), (x.astype("float16"), counts), strict=True):
        np.testing.assert_array_equal(found, column[order])


def test_a_manifest_that_is_json_but_no_manifest_is_damage(tmp_path):
    shard = write_shard(tmp_path, digests(5), columns())
    table = json.loads((shard.folder / MANIFEST).read_text())
    schema = {**table, "schema": SCHEMA + 1}
    for other in ([], {}, {**table, "rows": 6}, {**table, "more": 1}, {**table, "columns": 3}, schema):
        (shard.folder / MANIFEST).write_text(json.dumps(other) + "\n")
        assert read_shard(shard.folder) is None


def test_what_is_mapped_can_be_read_after_the_file_is_gone(tmp_path):
    shard = write_shard(tmp_path, digests(5), columns())
    mapped = shard.open()
    (shard.folder / DATA).unlink()
    np.testing.assert_array_equal(mapped[1], columns()[1])


def test_float16_stores_half_the_bytes_and_measures_the_difference(tmp_path):
    x = np.linspace(1, 2, 1001, dtype="float32").reshape(7, 143)
    counts = np.arange(7)
    shard = write_shard(tmp_path, digests(7), [x, counts], float16=True)
    assert [(c.stored, c.given) for c in shard.columns] == [("float16", "float32"), ("int64", "int64")]
    half, whole = shard.open()
    assert half.tobytes() == x.astype("float16").tobytes()
    assert whole.tobytes() == counts.tobytes()
    worst = np.abs(x - x.astype("float16").astype("float32")).max()
    assert shard.difference == pytest.approx(worst / x.mean(), rel=1e-6)
    assert 1e-4 < shard.difference < 1e-3
    assert write_shard(tmp_path, digests(7), [x]).difference == 0
    assert write_shard(tmp_path, digests(7), [np.full((7, 2), np.nan, "float32")], float16=True).difference == 0


def test_what_float16_cannot_hold_is_an_error_and_nothing_is_written(tmp_path):
    x = np.array([[1.0], [1e5], [np.inf]], "float32")
    with pytest.raises(CacheError) as error:
        write_shard(tmp_path, digests(3), [x], float16=True)
    assert str(error.value) == (
        "Features are too large for float16. Expected at most 65504; received 100000. Store them as float32."
    )
    assert not [*tmp_path.iterdir()]
    x[1] = 65504
    assert write_shard(tmp_path, digests(3), [x], float16=True).open()[0].tolist() == [[1.0], [65504.0], [np.inf]]


@pytest.mark.parametrize("call", ["write_bytes", "write_text", "mkdir", "rename"])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path, monkeypatch, call):
    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, call, full)
    with pytest.raises(CacheError) as error:
        write_shard(tmp_path, digests(5), columns())
    assert str(error.value) == (
        f"Features cannot be written to {tmp_path}: no space left on device. Received 0.0 MB to write. Make room, or "
        "set ZOO_HOME to another disk; what is there already stays usable. Or: --no-cache."
    )
    assert not [*tmp_path.iterdir()]
