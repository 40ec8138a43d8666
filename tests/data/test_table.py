"""CSV files of images, numbers and texts."""

import numpy as np
import pytest

from tests.data.odd_files import picture
from zoo.data import InputForm, TakenColumns, open_data
from zoo.errors import DataError


def table(tmp_path, text, *, name="t.csv", encoding="utf-8"):
    for level in range(4):
        picture(tmp_path / "pics" / f"{level}.png", level)
    (tmp_path / name).write_bytes(text.encode(encoding))
    return tmp_path / name


def test_a_path_column_makes_images(tmp_path):
    data = open_data(table(tmp_path, "file,label\npics/1.png,cat\npics/0.png,dog\npics/2.png,cat\n"))
    assert (data.kind, data.classes, data.target.values.tolist()) == ("image", ("cat", "dog"), [0, 1, 0])
    assert [data.name_of(i) for i in range(3)] == ["pics/1.png", "pics/0.png", "pics/2.png"]
    assert data.batch([0, 1], InputForm("image", (1, 2, 1)))[:, 0, 0, 0].tolist() == [1, 0]
    assert data.notes[0] == "Columns: 'file' as image paths; the target is 'label'."


def test_paths_without_an_images_extension_are_found_if_they_exist(tmp_path):
    path = table(tmp_path, "where,what\npics/a,cat\npics/b,dog\n")
    picture(tmp_path / "pics" / "a")
    picture(tmp_path / "pics" / "b", 1)
    assert open_data(path).kind == "image"


def test_numeric_features(tmp_path):
    data = open_data(table(tmp_path, "a,b,kind\n1,2.5,x\n3,-4e2,y\n5,6,x\n"))
    assert (data.kind, data.classes, data.native_shape()) == ("vector", ("x", "y"), (2,))
    batch = data.batch([1, 0], InputForm("vector", (2,)))
    assert batch.dtype == np.float32 and batch.tolist() == [[3, -400], [1, 2.5]]
    assert data.name_of(0) == "row 2"


def test_texts(tmp_path):
    data = open_data(table(tmp_path, 'text,label\n"well, well",good\nüble Sache,bad\nso so,good\n'))
    assert (data.kind, data.classes) == ("text", ("bad", "good"))
    assert data.batch([0, 1], InputForm("text", ())).tolist() == ["well, well", "üble Sache"]
    free = open_data(table(tmp_path, "stars,words\n1,this was not good\n5,what a good film\n"), label_column="stars")
    assert (free.kind, free.classes) == ("text", ("1", "5"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("file\npics/0.png\npics/1.png\n", "image"),
        ("text\none and two\nthree\n", "text"),
        ("words\neins\nzwei\n", "text"),
        ("id,text\n1,this is one\n2,that is two\n", "text"),
    ],
)
def test_unlabelled_tables(tmp_path, text, kind):
    data = open_data(table(tmp_path, text))
    assert (data.kind, data.target.kind, len(data)) == (kind, "none", 2)


def test_all_numbers_are_features_where_no_target_is_wanted(tmp_path):
    path = table(tmp_path, "a,b\n1,2\n3,4\n")
    assert open_data(path, target="none").native_shape() == (2,)
    assert open_data(path).native_shape() == (1,)
    labelled = open_data(table(tmp_path, "a,b,label\n1,2,0\n3,4,1\n"), target="none")
    assert labelled.native_shape() == (2,) and labelled.notes[1] == "Columns not used: 'label'."


@pytest.mark.parametrize(
    ("text", "options", "taken"),
    [
        ("a,b,price\n1,2,3.5\n3,4,4.5\n", {}, TakenColumns(("price",), feature_columns=("a", "b"))),
        ("a,b,price\n1,2,3.5\n3,4,4.5\n", {"target": "none"}, TakenColumns((), feature_columns=("a", "b", "price"))),
        ("y,file\nu,pics/0.png\nv,pics/1.png\n", {}, TakenColumns(("y",), path_column="file")),
        ("text,tone\nall is well,u\nno it is not,v\n", {}, TakenColumns(("tone",), text_column="text")),
        ("a,h,w\n1,2.5,3\n4,5,6\n", {"label_column": ["w", "h"]}, TakenColumns(("w", "h"), feature_columns=("a",))),
    ],
)
def test_the_columns_taken_are_told_and_asking_for_them_gives_the_same(tmp_path, text, options, taken):
    path = table(tmp_path, text)
    data = open_data(path, **options)
    assert data.columns == taken
    again = open_data(path, target=data.target.kind, **{k: v or None for k, v in vars(taken).items()})
    assert (again.whole_digest, again.columns, again.kind) == (data.whole_digest, taken, data.kind)
    assert open_data("digits").columns is None


def test_where_no_target_is_wanted_several_columns_may_be_named_like_one(tmp_path):
    path = table(tmp_path, "a,label,class\n1,2,3\n4,5,6\n")
    assert open_data(path, target="none").columns == TakenColumns(feature_columns=("a",))
    assert open_data(path, target="none", feature_columns=["a"]).native_shape() == (1,)


@pytest.mark.parametrize("name", ["t.CSV", "t.tsv", "t.TSV"])
def test_a_table_is_known_by_its_ending_whatever_its_case(tmp_path, name):
    assert open_data(table(tmp_path, "a\tlabel\n1\tx\n2\ty\n", name=name)).classes == ("x", "y")


@pytest.mark.parametrize("name", ["Label", "class", "TARGET", "y"])
def test_a_column_named_like_a_target_is_it_wherever_it_stands(tmp_path, name):
    data = open_data(table(tmp_path, f"{name},a,b\n1,2,3\n0,4,5\n1,6,7\n"))
    assert data.target.values.tolist() == [1, 0, 1] and data.native_shape() == (2,)


@pytest.mark.parametrize(
    ("cells", "options", "kind", "names", "values"),
    [
        (["10", "9", "10"], {}, "classes", ("9", "10"), [1, 0, 1]),
        (["007", "7", "7"], {}, "classes", ("007", "7"), [0, 1, 1]),
        (["e\u0301", "\u00e9", "f"], {}, "classes", ("f", "\u00e9"), [1, 1, 0]),
        (["1.5", "2", "3"], {}, "numbers", ("y",), [[1.5], [2], [3]]),
        (["1", "2", "3"], {"target": "numbers"}, "numbers", ("y",), [[1], [2], [3]]),
        (["1.0", "2.0", "1.0"], {"target": "classes"}, "classes", ("1", "2"), [0, 1, 0]),
        (["a|b", "b", "c | a"], {}, "labels", ("a", "b", "c"), [[1, 1, 0], [0, 1, 0], [1, 0, 1]]),
        (["a;b", "b", "a"], {}, "labels", ("a", "b"), [[1, 1], [0, 1], [1, 0]]),
        (["a|b", "", "a"], {"target": "labels"}, "labels", ("a", "b"), [[1, 1], [0, 0], [1, 0]]),
        (["a", "b", "a"], {"target": "labels"}, "labels", ("a", "b"), [[1, 0], [0, 1], [1, 0]]),
        (["a|b", "b", "a"], {"target": "classes"}, "classes", ("a", "a|b", "b"), [1, 2, 0]),
        (["0", "1", "1"], {"target": "labels"}, "labels", ("y",), [[0], [1], [1]]),
    ],
)
def test_targets_are_found_or_said(tmp_path, cells, options, kind, names, values):
    rows = "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
    target = open_data(table(tmp_path, f"a,y\n{rows}"), **options).target
    assert (target.kind, target.names, target.values.tolist()) == (kind, names, values)


def test_several_columns_are_labels_or_numbers(tmp_path):
    path = table(tmp_path, "file,red,big\npics/0.png,0,1\npics/1.png,1,1\npics/2.png,0,0\n")
    data = open_data(path, label_column=["red", "big"])
    assert (data.target.kind, data.classes) == ("labels", ("red", "big"))
    assert data.target.values.tolist() == [[0, 1], [1, 1], [0, 0]]
    path = table(tmp_path, "a,h,w\n1,2.5,3\n4,5,6\n")
    data = open_data(path, label_column=["h", "w"])
    assert (data.target.kind, data.classes, data.native_shape()) == ("numbers", ("h", "w"), (1,))


def test_columns_may_be_said(tmp_path):
    path = table(tmp_path, "a,b,c,label\n1,2,x,0\n3,4,y,1\n")
    data = open_data(path, feature_columns=["b"])
    assert data.batch([0, 1], InputForm("vector", (1,))).tolist() == [[2], [4]] and data.classes == ("0", "1")
    assert data.notes[:2] == (
        "Columns: 'b' as numeric features; the target is 'label'.",
        "Columns not used: 'a', 'c'.",
    )
    assert open_data(path, text_column="c").kind == "text"
    assert open_data(path, feature_columns=["a"], label_column="c").classes == ("x", "y")
    images = table(tmp_path, "one,two,label\npics/0.png,pics/1.png,0\npics/2.png,pics/3.png,1\n")
    assert open_data(images, path_column="two").name_of(0) == "pics/1.png"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_and_byte_order_marks(tmp_path, delimiter, encoding, newline):
    rows = [["größe", "label"], ["1", "a,b"], ["2", "c"]]
    text = newline.join(delimiter.join(f'"{cell}"' for cell in row) for row in [*rows, []])
    data = open_data(table(tmp_path, text, encoding=encoding))
    assert data.classes == ("a,b", "c") and data.notes[0].startswith("Columns: 'größe' as")


def test_several_labels_beside_commas_do_not_change_the_delimiter(tmp_path):
    assert open_data(table(tmp_path, "a,label\n1,x;y;z\n2,x\n")).classes == ("x", "y", "z")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n3\n", {}, "Row 3 is of another length than the header. Expected 2 cells; received 1."),
        (
            "a,b\n\n1,2,3\n",
            {},
            "Row 3 is of another length than the header. Expected 2 cells; received 3. Write quotes",
        ),
        ("a,b\n1,x\n,y\n", {}, "Row 3 has no number in the column 'a'. Received ''. Fill it in, or remove the row."),
        (
            "a,b\n1,x\nNA,y\n",
            {},
            "Row 3 has no number in the column 'a'. Received 'NA'. Fill it in, or remove the row.",
        ),
        ("a,b\n1,x\ninf,y\n", {}, "Row 3 has no number in the column 'a'. Received 'inf'. Mend the cell"),
        ("a,b\n1,x\n2,\n", {}, "Row 3 has no value in the column 'b'. Fill it in, or remove the row."),
        ("a,b\n1,2\n3,\n", {}, "Row 3 has no number in the column 'b'."),
        ("text,label\nwell well,a\n,b\n", {}, "Row 3 has no value in the column 'text'."),
        ("a,a\n1,2\n", {}, "Two columns are named 'a'. Expected names that differ. Rename one of them in the header."),
        (",a,b\n0,1,2\n", {}, "Column 1 has no name. Expected a header with a name for each column. Name it; if it is"),
        ("1,2,3\n4,5,6\n", {}, "The first row is all numbers: the table seems to have no header. Received 1, 2, 3."),
        ("", {}, "The table has no rows. Expected a header, and a row for each example."),
        ("a,b\n", {}, "The table has no rows."),
        ('a,b\n"1,2\n', {}, "cannot be read as CSV. Received unexpected end of data"),
        ("a\0b,c\n1,2\n", {}, "Line 1 holds a NUL byte: this is no text file."),
        ("name,a,label\nbo,1,x\nmo,2,y\n", {}, "It is not clear what the column 'name' is for: it holds no numbers."),
        (
            "a,label,class\n1,2,3\n",
            {},
            "Several columns are named like a target: label, class. Expected one. Say which",
        ),
        ("label\n1\n", {}, "No column is left for the input. Received columns label."),
        ("size,label\n1,x\n", {"label_column": "lable"}, "There is no column 'lable'. Did you mean 'label'?"),
        ("size,label\n1,x\n", {"feature_columns": ["siz"]}, "There is no column 'siz'. Did you mean 'size'?"),
        (
            "a,b\n1,x\n",
            {"feature_columns": ["b"]},
            "Row 2 has no number in the column 'b'. Received 'x'. Mend the cell",
        ),
        ("a,b\n1,x\n", {"text_column": "b", "label_column": "b"}, "The column 'b' was given as input and as target."),
        ("a,b\n1,x\n", {"text_column": "b", "path_column": "a"}, "A table is of one kind, but columns were given for"),
        ("a,b\n1,x\n2,y\n", {"target": "numbers"}, "The targets cannot be read as numbers: they look like classes."),
        ("a,b|c\n1,x|y\n2,\n", {}, "Row 3 has no value in the column 'b|c'."),
        ("a,b\n1,x|y\n2,\n", {}, "or remove the row; --target labels takes an empty cell as no label."),
    ],
)
def test_a_table_that_is_not_in_order_is_explained_with_file_and_row(tmp_path, text, options, message):
    path = table(tmp_path, text)
    with pytest.raises(DataError) as caught:
        open_data(path, **options)
    assert message in str(caught.value) and str(caught.value).startswith(f"'{path}': ")


def test_a_table_in_another_encoding_is_refused(tmp_path):
    path = table(tmp_path, "a,b\n1,x\n2,größe\n", encoding="latin-1")
    with pytest.raises(DataError, match=r"Line 3 is not UTF-8\. Received byte 0xf6\. Save it as UTF-8\."):
        open_data(path)


def test_missing_and_bad_images_are_listed_or_skipped(tmp_path):
    path = table(tmp_path, "file,label\npics/0.png,b\npics/none.png,b\npics/1.png,a\npics/zero.jpg,a\n")
    (tmp_path / "pics" / "zero.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        open_data(path)
    assert "\n  pics/none.png: no such file or directory\n  pics/zero.jpg: the file is empty\n" in str(caught.value)
    data = open_data(path, skip_bad=True)
    assert [data.name_of(i) for i in range(len(data))] == ["pics/0.png", "pics/1.png"]
    assert data.target.values.tolist() == [1, 0] and len(data.skipped) == 2


def test_an_image_named_twice_counts_twice(tmp_path):
    data = open_data(table(tmp_path, "file,label\npics/0.png,a\npics/0.png,b\npics/1.png,a\npics/2.png,b\n"))
    assert len(data) == 4 and data.digest(0) == data.digest(1)
