"""Opening whatever the user names."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import zoo.data
from tests.data.odd_files import picture
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
        ("digits:seed=1", "the built-in data 'digits' has no argument 'seed'. Known: classes."),
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


def test_arrays_may_stand_in_a_list_or_alone():
    x, y = np.zeros((3, 2)), np.array([0, 1, 1])
    assert open_data([x, y]).target.values.tolist() == [0, 1, 1]
    assert open_data([x, None]).target.kind == "none"
    assert (open_data(x).target.kind, len(open_data(x))) == ("none", 3)


@pytest.mark.parametrize("source", [{"x": 1}, 5, None, ["a.png", "b.png"], [np.zeros((2, 2))] * 3, b"digits"])
def test_what_is_no_kind_of_data_is_told_the_kinds(source):
    with pytest.raises(DataError) as caught:
        open_data(source)
    assert str(caught.value) == (
        "This is not a kind of data that can be read. Expected a path, a built-in name, arrays (x, y), an array x "
        f"alone, or an open data set; received a {type(source).__name__}. Give the arrays as (x, y)."
    )


def test_a_pair_of_uneven_rows_is_explained():
    with pytest.raises(DataError, match=r"\(x, y\) cannot be made into arrays\. Expected examples all of one shape"):
        open_data(([[1], [1, 2]], [0, 1]))


def test_an_open_data_set_is_not_opened_in_another_way():
    data = ArrayData(np.zeros((2, 3)), np.array([0, 1]))
    assert open_data(data, target="classes") is data
    with pytest.raises(DataError) as caught:
        open_data(data, target="numbers")
    assert str(caught.value) == (
        "target='numbers' was given for a data set that is open already. Received 'arrays', whose target is of the "
        "kind 'classes'. Say target where it is opened."
    )
    with pytest.raises(
        DataError, match=r"skip_bad=True was given .* left nothing out\. Say skip_bad where it is opened"
    ):
        open_data(data, skip_bad=True)


def test_an_open_data_set_that_left_files_out_takes_skip_bad(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    data = open_data(tmp_path, skip_bad=True)
    assert open_data(data, skip_bad=True) is data


def test_named_classes_are_not_taken_as_numbers():
    with pytest.raises(DataError) as caught:
        open_data("digits", target="numbers")
    assert str(caught.value) == (
        "The targets are 10 classes, so they cannot be taken as numbers. Received classes named 0, 1, 2, 3, 4. "
        "Leave target='numbers' out, or give the data without names for its classes."
    )


def test_a_missing_file_is_told_near_names_only(tmp_path):
    for name in ("one.png", "two.png", "holiday.png"):
        picture(tmp_path / name)
    with pytest.raises(DataError) as caught:
        open_data(tmp_path / "holidays.png")
    assert str(caught.value).endswith("holidays.png'. Did you mean 'holiday.png'?")
    with pytest.raises(DataError) as caught:
        open_data(tmp_path / "xyzzy")
    assert str(caught.value) == f"There is no file or folder '{tmp_path / 'xyzzy'}'."


@pytest.mark.parametrize(("source", "total"), [("pics", 5), ("t.csv", 2)])
def test_step_is_told_of_every_file_that_is_read(tmp_path, source, total):
    for i in range(5):
        picture(tmp_path / "pics" / f"{i}.png", i)
    (tmp_path / "t.csv").write_text("file\npics/3.png\npics/4.png\n")
    told = []
    open_data(tmp_path / source, step=lambda *how_far: told.append(how_far))
    assert told == [(done, total) for done in range(1, total + 1)]
