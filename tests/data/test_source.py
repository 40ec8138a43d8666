"""Opening whatever the user names."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import zoo.data
from zoo.data import ArrayData, open_data
from zoo.errors import DataError


def fake(monkeypatch, name):
    calls = []

    def load(**arguments):
        calls.append(arguments)
        return np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 1]), ("zero", "one")

    monkeypatch.setitem(sys.modules, f"zoo.data.builtin.{name}", SimpleNamespace(load=load))
    return calls


def test_built_in_data_takes_arguments_after_a_colon(monkeypatch):
    calls = fake(monkeypatch, "characters")
    data = open_data("characters:examples=20000, seed=3,size=8")
    assert calls == [{"examples": 20000, "seed": 3, "size": 8}]
    assert (data.classes, data.source) == (("zero", "one"), "characters:examples=20000, seed=3,size=8")
    open_data("characters")
    assert calls[1] == {}


def test_the_real_digits_are_there():
    data = open_data("digits")
    assert (len(data), data.native_shape(), data.target.size) == (1797, (8, 8, 1), 10)


def test_a_built_in_name_wins_over_a_file_unless_written_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("digits.npz", x=np.zeros((2, 3)))
    (tmp_path / "digits").mkdir()
    assert len(open_data("digits")) == 1797
    with pytest.raises(DataError, match="The folder 'digits' holds no images"):
        open_data("./digits")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("characters:exmples=3", "the built-in data 'characters' has no argument 'exmples'. Did you mean 'examples'?"),
        ("characters:seed=x", "the argument seed is not of its type. Expected a whole number; received 'x'."),
        ("digits:seed=1", "the built-in data 'digits' has no argument 'seed'. It takes none: write 'digits'."),
        ("digist", "There is no file or folder 'digist'. Did you mean 'digits'?"),
        ("nowhere/at/all", "There is no file or folder 'nowhere/at/all'. Nor is there a folder 'nowhere/at'."),
        ("phtos", "There is no file or folder 'phtos'. Did you mean 'photos'?"),
        ("a.doc", "'a.doc' is not a kind of data that can be read. Expected a folder, a .csv, an .npz, or a built-in"),
        ("a.doc", "received a file with the extension '.doc'."),
        ("bare", "received a file without extension."),
        ("a.gif", "received one GIF image; zoo predict takes single files."),
    ],
)
def test_a_source_that_is_not_there_or_not_known_is_explained(tmp_path, monkeypatch, source, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name, content in {"a.doc": b"words", "a.gif": b"GIF89a", "bare": b""}.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_data(source)
    assert text in str(caught.value)


def test_a_data_set_is_returned_as_it_is_and_a_pair_is_wrapped():
    data = ArrayData(np.zeros((2, 3)))
    assert open_data(data) is data
    assert open_data((np.zeros((2, 3)), None)).target.kind == "none"
    assert open_data((np.zeros((2, 3)), [0, 1]), target="numbers").target.kind == "numbers"
    with pytest.raises(DataError, match=r"Expected \(x, y\); y may be None; received 3 items"):
        open_data((1, 2, 3))


@pytest.mark.parametrize("source", ["digits", (np.zeros((2, 3)), None), ArrayData(np.zeros((2, 3)))])
def test_columns_belong_to_tables(source):
    with pytest.raises(DataError, match=r"label_column='y' was given for .*, which has no columns"):
        open_data(source, label_column="y")


def test_an_unknown_target_is_refused_before_anything_is_read():
    with pytest.raises(DataError, match="There is no kind of target 'klasses'"):
        open_data("nowhere", target="klasses")


def test_the_public_names_are_these_and_bring_neither_tensorflow_nor_keras():
    assert set(zoo.data.__all__) <= set(dir(zoo.data))
    code = "import sys, zoo.data; print(sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
