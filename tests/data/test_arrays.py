"""Arrays in memory and in .npz files."""

import io
import zipfile

import numpy as np
import pytest

from zoo.data import ArrayData, InputForm, open_data
from zoo.errors import DataError

X = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
NAN = float("nan")


@pytest.mark.parametrize(
    ("x", "kind", "shape"),
    [
        (X, "image", (4, 4, 1)),
        (X[..., None], "image", (4, 4, 1)),
        (np.zeros((2, 4, 5, 3), np.uint8), "image", (4, 5, 3)),
        (np.zeros((2, 4, 5, 4), np.uint8), "image", (4, 5, 3)),
        (np.zeros((2, 7)), "vector", (7,)),
        (np.zeros(2), "vector", (1,)),
        (np.zeros((2, 4, 5, 2)), "array", (4, 5, 2)),
        (np.array(["a", "b"]), "text", ()),
        (np.array([b"a", b"b"]), "text", ()),
    ],
)
def test_the_kind_is_found_from_the_rank(x, kind, shape):
    data = ArrayData(x)
    assert (data.kind, data.native_shape(), data.target.kind) == (kind, shape, "none")
    assert data.target.values.shape == (len(x), 0)


def test_a_batch_in_the_native_form_is_the_stored_values():
    data = ArrayData(X)
    batch = data.batch([2, 0, 2], InputForm("image", (4, 4, 1)))
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch[..., 0], X[[2, 0, 2]])
    np.testing.assert_array_equal(data.batch([1], InputForm("vector", (16,))), X[1].reshape(1, 16))


def test_arrays_are_resampled_as_files_are(tmp_path):
    from PIL import Image

    colour = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(colour).save(tmp_path / "a.png")
    form = InputForm("image", (4, 5, 1), "bicubic", "crop")
    np.testing.assert_array_equal(ArrayData(colour[None]).batch([0], form), open_data(tmp_path).batch([0], form))


def test_texts_come_out_as_strings():
    batch = ArrayData(np.array(["eins", "zwölf"])).batch([1], InputForm("text", ()))
    assert batch.dtype == object and batch.tolist() == ["zwölf"]


@pytest.mark.parametrize(
    ("x", "expected", "note"),
    [
        (np.array([[[0, 257], [32768, 65535]]], np.uint16), [[0, 1], [32768 / 257, 255]], "16-bit images: 0 to 65535"),
        (np.array([[[False, True]]]), [[0, 255]], "True and False are taken as 255 and 0."),
        (
            np.array([[[0.0, 0.5]]]),
            [[0, 0.5]],
            "The images' values end at 0.5; 0 to 255 is expected. They are taken as",
        ),
        (np.array([[[0.0, 99.5]]]), [[0, 99.5]], None),
        (np.array([[[0, 255]]], np.int64), [[0, 255]], None),
    ],
)
def test_image_values_of_every_type(x, expected, note):
    data = ArrayData(x)
    height, width = x.shape[1:3]
    batch = data.batch([0], InputForm("image", (height, width, 1)))
    np.testing.assert_allclose(batch[0, ..., 0], expected, atol=1e-4)
    assert (data.notes[0].startswith(note) and len(data.notes) == 1) if note else data.notes == ()


def test_opacity_is_laid_over_white():
    x = np.array([[[[0, 0, 0, 51]]]], np.uint8)
    assert ArrayData(x).batch([0], InputForm("image", (1, 1, 3))).ravel().tolist() == [204, 204, 204]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.array([[[0, 256]]]), "The images x are out of range. Expected 0 to 255; received 0 to 256. Rescale them."),
        (np.array([[[-1.0, 1.0]]]), "received -1 to 1"),
        (np.zeros((0, 4)), "The examples x are empty. Expected at least one example; received shape (0, 4)."),
        (np.array([{}, {}]), "The examples x are neither numbers nor strings. Received object."),
        (
            np.array([[1.0], [NAN], [NAN]]),
            "2 examples hold NaN, infinity or what float32 cannot hold; the first is row 1.",
        ),
        (np.array([[1.0], [1e300]]), "1 example holds NaN, infinity or what float32 cannot hold; the first is row 1."),
        (np.array([["a", "b"]]), "The texts x have more than one dimension."),
        (np.array([b"\xff"]), "The texts x are bytes that are not UTF-8."),
    ],
)
def test_examples_that_cannot_be_used_are_explained(x, text):
    with pytest.raises(DataError) as caught:
        ArrayData(x)
    assert text in str(caught.value)


def test_a_form_of_another_size_is_refused():
    with pytest.raises(
        DataError, match=r"cannot take the form that the network wants: vector \(5,\)\. Received vector"
    ):
        ArrayData(np.zeros((2, 4))).batch([0], InputForm("vector", (5,)))
    with pytest.raises(DataError, match="Received text"):
        ArrayData(np.array(["a"])).batch([0], InputForm("vector", (1,)))


def test_the_digest_is_of_the_content_alone():
    data = ArrayData(X, [0, 1, 0])
    assert data.digests == ArrayData(X[..., None].copy(), [1, 1, 0]).digests
    assert data.digests[1] == ArrayData(np.asfortranarray(X)[1:]).digests[0]
    assert ArrayData(X.astype(">i4")).digests == ArrayData(X.astype("<i4")).digests
    assert len(set(data.digests)) == 3 and len(data.digests[0]) == 64
    assert data.whole_digest != ArrayData(X, [1, 1, 0]).whole_digest
    assert data.whole_digest == ArrayData(X[[2, 0, 1]], [0, 0, 1]).whole_digest


@pytest.mark.parametrize(
    ("y", "asked", "kind", "names", "values"),
    [
        ([10, 2, 10], "auto", "classes", ("2", "10"), [1, 0, 1]),
        ([-1, 1, 1], "auto", "classes", ("-1", "1"), [0, 1, 1]),
        ([True, False, True], "auto", "classes", ("0", "1"), [1, 0, 1]),
        (["b", "a", "b"], "auto", "classes", ("a", "b"), [1, 0, 1]),
        ([[1], [0], [1]], "auto", "classes", ("0", "1"), [1, 0, 1]),
        ([1.0, 0.0, 1.0], "classes", "classes", ("0", "1"), [1, 0, 1]),
        ([[0, 1], [1, 0], [0, 1]], "classes", "classes", ("0", "1"), [1, 0, 1]),
        ([[0, 1], [1, 1], [0, 0]], "auto", "labels", ("0", "1"), [[0, 1], [1, 1], [0, 0]]),
        ([1, 0, 1], "labels", "labels", ("0",), [[1], [0], [1]]),
        ([1.5, 2, 3], "auto", "numbers", ("0",), [[1.5], [2], [3]]),
        ([1, 2, 3], "numbers", "numbers", ("0",), [[1], [2], [3]]),
        ([[1, 2], [3, 4], [5, 6]], "auto", "numbers", ("0", "1"), [[1, 2], [3, 4], [5, 6]]),
        ([1, 2, 3], "none", "none", (), [[], [], []]),
    ],
)
def test_targets_are_found_or_said(y, asked, kind, names, values):
    target = ArrayData(X, np.array(y), target=asked).target
    assert (target.kind, target.names, target.values.tolist()) == (kind, names, values)
    assert target.values.dtype == (np.int64 if kind == "classes" else np.float32)
    assert target.size == len(names)


def test_names_may_be_given():
    target = ArrayData(X, np.array([2, 0, 2]), classes=["a", "b", "c"]).target
    assert target.names == ("a", "b", "c") and target.values.tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("y", "options", "text"),
    [
        ([1, 2], {}, "x and y are of different lengths. Expected 3 targets, one for each example; received 2."),
        ([1.0, NAN, 2.0], {}, "The target of row 1 is not a number. Received nan."),
        ([1.5, 2, 3], {"target": "classes"}, "cannot be read as classes: they look like numbers. Expected one whole"),
        ([1, 2, 3], {"target": "labels"}, "cannot be read as labels: they look like classes. Expected a 0/1 column"),
        (["a", "b", "c"], {"target": "numbers"}, "Say target='classes', or change the targets."),
        ([1, 2, 3], {"target": "clases"}, "There is no kind of target 'clases'."),
        ([1, 2, 3], {"target": "clases"}, "Did you mean 'classes' or 'labels'?"),
        (
            [0, 1, 3],
            {"classes": ["a", "b"]},
            "A target lies outside the classes given. Expected 0 to 1; received 0 to 3.",
        ),
        (
            ["a", "b", "dgo"],
            {"classes": ["a", "b", "dog"]},
            "'dgo' is not among the classes given. Did you mean 'dog'?",
        ),
        ([[0.5, 1]] * 3, {"classes": ["a"]}, "Expected 2 names, one for each column; received 1."),
        ([["a", "b"]] * 3, {}, "strings in two dimensions"),
        (np.zeros((3, 2, 2)), {}, "of a form that cannot be learned"),
        ([1.0, 2.0, 1e300], {}, "A target is too large for float32."),
        (None, {"target": "classes"}, "The target 'classes' was asked for, but the data has no targets."),
    ],
)
def test_targets_that_cannot_be_used_are_explained(y, options, text):
    with pytest.raises(DataError) as caught:
        ArrayData(X, None if y is None else np.array(y), **options)
    assert text in str(caught.value)


def test_one_hot_rows_and_many_whole_numbers_are_mentioned():
    assert "say target='classes'" in ArrayData(X, np.eye(3)).notes[0]
    many = ArrayData(np.zeros((300, 2)), np.arange(300))
    assert many.notes == ("300 different whole numbers are taken as classes; say target='numbers' for regression.",)
    lone = ArrayData(X, np.array([0, 1, 1]))
    assert lone.notes == ("Class '0' has one example: it can be trained on but neither validated nor tested.",)


def saved(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_an_npz_is_read_with_or_without_targets_and_names(tmp_path):
    path = saved(tmp_path / "a.npz", x=X, y=np.array([1, 0, 1]), classes=np.array(["no", "yes"]))
    data = open_data(path)
    assert (len(data), data.classes, data.source) == (3, ("no", "yes"), str(path))
    np.testing.assert_array_equal(data.batch([1], InputForm("image", (4, 4, 1)))[0, ..., 0], X[1])
    assert open_data(saved(tmp_path / "b.npz", x=X)).target.kind == "none"


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        (
            {"images": X, "labels": X},
            "does not have the arrays that are read. Expected x, and optionally y and classes;",
        ),
        ({"images": X}, "received images. Save it with numpy.savez(path, x=..., y=...)."),
        ({"x": np.array([{}, []], object)}, "'x' holds Python objects, which are not read: they could run any code."),
        ({"x": X, "y": [1, 2]}, "x and y are of different lengths."),
        ({"x": np.zeros((0, 4, 4))}, "The examples x are empty."),
        ({"x": np.array([[1.0, NAN]])}, "1 example holds NaN"),
    ],
)
def test_an_npz_that_cannot_be_used_is_explained_and_named(tmp_path, arrays, text):
    path = saved(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError) as caught:
        open_data(path)
    assert text in str(caught.value) and str(caught.value).startswith(f"'{path}'")


def member(shape, body=b"", dtype="|u1"):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": dtype, "fortran_order": False, "shape": shape})
    return head.getvalue() + body


@pytest.mark.parametrize("shape", [(10**12,), (2, 2)])
def test_a_header_that_claims_more_than_is_stored_is_refused_before_memory_is_asked_for(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", member(shape, b"abc"))
    with pytest.raises(DataError, match="'x' is damaged: its header claims more or less than is stored"):
        open_data(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"no zip at all"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as an"):
        open_data(tmp_path / "a.npz")


def test_an_npz_cut_short_or_altered_is_refused(tmp_path):
    path = saved(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (9, 9, 9), np.uint8))
    content = bytearray(path.read_bytes())
    content[400] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as an"):
        open_data(path)
