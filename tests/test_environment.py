"""What the bits of a result depend on beside recipe, network and data."""

import hashlib
import importlib.metadata
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from zoo import environment
from zoo.environment import code_digest, differences, installed, record_digest, versions
from zoo.processor import FEATURES, flags, processor_caches, processor_features, processors

RECORD = """a/__init__.py,sha256=AAAA,10
a/kernel.so,sha256=BBBB,99
a/__pycache__/__init__.cpython-311.pyc,,
../../../bin/a,sha256=CCCC,200
a-1.0.dist-info/INSTALLER,sha256=DDDD,4
a-1.0.dist-info/RECORD,,
"""


@pytest.fixture
def asked_anew(monkeypatch: pytest.MonkeyPatch):
    installed.cache_clear()
    yield
    installed.cache_clear()


def test_a_replaced_file_gives_another_digest_where_the_record_says_so():
    assert record_digest(RECORD) != record_digest(RECORD.replace("BBBB", "EEEE"))
    assert record_digest(RECORD) != record_digest(RECORD.replace("a/kernel.so,sha256=BBBB,99\n", ""))


@pytest.mark.parametrize("place", ["CCCC", "DDDD", "311"])
def test_where_and_by_whom_it_was_installed_does_not_count(place: str):
    assert record_digest(RECORD) == record_digest(RECORD.replace(place, "xxx"))


def test_the_order_of_a_record_and_its_line_ends_do_not_count():
    lines = RECORD.splitlines()
    assert record_digest(RECORD) == record_digest("\r\n".join(reversed(lines)))


def test_another_version_on_the_path_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_anew):
    before = versions()["h5py"], installed()["h5py"]
    info = tmp_path / "h5py-9.9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: h5py\nVersion: 9.9.9\n")
    (info / "RECORD").write_text(RECORD)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    installed.cache_clear()
    assert versions()["h5py"] == "9.9.9" != before[0]
    assert installed()["h5py"] == record_digest(RECORD) != before[1]


def test_every_package_that_is_installed_has_a_version_and_a_digest():
    found = versions()
    assert {"python", "keras", "tensorflow", "numpy", "h5py", "transfer-zoo"} <= set(found)
    assert {*found} - {"python"} == {*installed()}
    assert all(len(digest) == 64 for digest in installed().values())


def test_the_record_that_is_hashed_is_that_of_the_files_on_the_disk():
    """The digest of a file in ``RECORD`` is the file's."""
    [line] = [row for row in record_of("keras").splitlines() if row.startswith("keras/__init__.py,")]
    import keras

    found = hashlib.sha256(Path(keras.__file__).read_bytes()).digest()
    assert line.split(",")[1] == "sha256=" + urlsafe_b64encode(found).rstrip(b"=").decode()
    assert record_digest(record_of("keras")) == installed()["keras"]


def record_of(name: str) -> str:
    return importlib.metadata.distribution(name).read_text("RECORD") or ""


def test_zoo_is_known_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert installed()["transfer-zoo"] == code_digest()
    (tmp_path / "layers").mkdir()
    (tmp_path / "environment.py").write_text("one = 1\n")
    (tmp_path / "layers" / "__init__.py").write_text("")
    specs = {name: type("Spec", (), {"origin": str(tmp_path / file)}) for name, file in PLACES.items()}
    monkeypatch.setattr("importlib.util.find_spec", specs.__getitem__)
    first = code_digest.__wrapped__()
    (tmp_path / "environment.py").write_text("one = 2\n")
    assert code_digest.__wrapped__() != first


def test_zoos_digest_is_the_same_where_its_folders_lie_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In a checkout layers/ and models/ lie beside the package, installed inside it."""
    found = []
    for name, inside in (("wheel", "zoo/layers"), ("checkout", "layers")):
        root = tmp_path / name
        (root / "zoo").mkdir(parents=True)
        (root / inside).mkdir()
        (root / "zoo" / "__init__.py").write_text("here\n")
        (root / inside / "__init__.py").write_text("there\n")
        places = {"zoo": "zoo/__init__.py", "zoo.layers": f"{inside}/__init__.py", "zoo.models": f"{inside}/none.py"}
        specs = {key: type("Spec", (), {"origin": str(root / file)}) for key, file in places.items()}
        specs["zoo.models"].origin = str(root / "nowhere" / "__init__.py")
        monkeypatch.setattr("importlib.util.find_spec", specs.__getitem__)
        found.append(code_digest.__wrapped__())
    assert found[0] == found[1]


PLACES = {"zoo": "__init__.py", "zoo.layers": "layers/__init__.py", "zoo.models": "models/__init__.py"}


def test_differences_are_named_by_their_place():
    before = {"versions": {"keras": "3.14"}, "compute": {"processor": {"features": ["avx2", "fma"]}, "threads": 2}}
    now = {"versions": {"keras": "3.15", "jax": "0.7"}, "compute": {"processor": {"features": []}, "threads": 2}}
    assert differences(before, now) == [
        "versions.keras: 3.14 before, 3.15 now",
        "versions.jax: none before, 0.7 now",
        "compute.processor.features: avx2, fma before, none now",
    ]
    assert differences(before, before) == []
    assert environment.shown("ab" * 32) == "abababababab"


def test_what_the_system_tells_of_the_processor():
    assert set(processor_features()) <= set(FEATURES)
    assert processors() >= 1
    assert all(len(cache.split()) == 3 for cache in processor_caches())


def test_only_flags_that_are_set_are_recorded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert "TF_ENABLE_ONEDNN_OPTS" not in flags()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert flags()["TF_ENABLE_ONEDNN_OPTS"] == "0"
