"""Folders of images."""

import os

import numpy as np
import pytest

from tests.data.odd_files import picture
from zoo.data import InputForm, open_data, split
from zoo.errors import DataError

FORM = InputForm("image", (1, 2, 1))


def folder(root, *names):
    """Make small pictures, each of its own content; a name that ends in / is an empty folder."""
    for level, name in enumerate(names):
        (root / name).mkdir(parents=True) if name.endswith("/") else picture(root / name, level)
    return root


def listed(data):
    return [data.name_of(i) for i in range(len(data))]


def test_class_folders_are_classes_in_the_order_of_code_points(tmp_path):
    data = open_data(folder(tmp_path, "b/1.png", "a/2.png", "Z/3.png", "a/1.png"))
    assert data.kind == "image" and data.classes == ("Z", "a", "b") and data.sides is None
    assert listed(data) == ["Z/3.png", "a/1.png", "a/2.png", "b/1.png"]
    assert data.target.values.tolist() == [0, 1, 1, 2]
    assert data.native_shape() == (1, 2, 1)
    assert data.batch([0, 3], FORM)[..., 0].tolist() == [[[2, 0]], [[0, 0]]]
    assert data.batch([0, 3], InputForm("vector", (2,))).tolist() == [[2, 0], [0, 0]]


def test_folders_below_a_class_are_part_of_it(tmp_path):
    data = open_data(folder(tmp_path, "a/1.png", "a/deep/er/2.png", "b/3.png", "b/test/4.png"))
    assert listed(data) == ["a/1.png", "a/deep/er/2.png", "b/3.png", "b/test/4.png"]
    assert data.target.values.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_train_val_and_test_are_sides(tmp_path, val):
    names = ["train/a/1.png", "train/b/2.png", f"{val}/a/3.png", "test/b/4.png"]
    data = open_data(folder(tmp_path, *names))
    assert data.classes == ("a", "b")
    assert dict(zip(listed(data), data.sides, strict=True)) == dict(
        zip(names, ["train", "train", "val", "test"], strict=True)
    )
    sides = split(data, seed=0)
    assert [listed(data)[i] for i in sides.val] == [names[2]] and [listed(data)[i] for i in sides.test] == [names[3]]


def test_a_test_side_alone_may_be_opened(tmp_path):
    data = open_data(folder(tmp_path, "test/a/1.png", "test/b/2.png"))
    assert data.classes == ("a", "b") and data.sides == ("test", "test")


def test_a_class_may_be_called_train_where_others_are_beside_it(tmp_path):
    data = open_data(folder(tmp_path, "train/1.png", "train/2.png", "bus/1.png", "bus/2.png"))
    assert data.classes == ("bus", "train")
    assert data.notes == ("The folder 'train' is taken as a class: there are others beside it.",)


def test_sides_without_classes_are_unlabelled(tmp_path):
    data = open_data(folder(tmp_path, "train/1.png", "test/2.png"))
    assert data.target.kind == "none"
    assert dict(zip(listed(data), data.sides, strict=True)) == {"train/1.png": "train", "test/2.png": "test"}


def test_a_flat_folder_is_unlabelled(tmp_path):
    data = open_data(folder(tmp_path, "2.png", "1.png"))
    assert data.target.kind == "none" and data.classes == () and listed(data) == ["1.png", "2.png"]
    assert data.notes == ("The images are unlabelled: they are in no class folders.",)


def test_a_folder_with_classes_may_be_opened_without_them(tmp_path):
    data = open_data(folder(tmp_path, "a/1.png", "2.png"), target="none")
    assert data.target.kind == "none" and listed(data) == ["2.png", "a/1.png"]


def test_class_names_in_two_unicode_forms_are_one(tmp_path):
    data = open_data(folder(tmp_path, "cafe\u0301/1.png", "caf\u00e9/2.png", "te\u0301/3.png", "te\u0301/4.png"))
    assert data.classes == ("caf\u00e9", "t\u00e9")
    assert data.notes == ("Folders whose names differ only in their Unicode form are taken as one class.",)


def test_names_that_cannot_be_decoded_can_still_be_printed(tmp_path):
    folder(tmp_path, "b/1.png", "b/2.png")
    strange = os.fsencode(tmp_path) + b"/a\xff"
    os.mkdir(strange)
    for name in (b"/1.png", b"/2.png"):
        with open(strange + name, "wb") as file:
            file.write((tmp_path / "b/1.png").read_bytes())
    data = open_data(tmp_path)
    assert data.classes == ("a\ufffd", "b") and listed(data)[0] == "a\ufffd/1.png"
    assert data.whole_digest


def test_links_to_files_are_followed_and_loops_end(tmp_path):
    folder(tmp_path / "data", "a/1.png", "b/2.png", "b/4.png")
    folder(tmp_path / "elsewhere", "3.png")
    (tmp_path / "data/a/link.png").symlink_to(tmp_path / "elsewhere/3.png")
    (tmp_path / "data/a/loop").symlink_to(tmp_path / "data")
    data = open_data(tmp_path / "data")
    assert "a/link.png" in listed(data)
    assert any("leads back to a folder that it is in: not followed." in note for note in data.notes)


def test_a_broken_link_is_a_bad_file(tmp_path):
    folder(tmp_path, "1.png")
    (tmp_path / "2.png").symlink_to(tmp_path / "none.png")
    with pytest.raises(DataError, match=r"2\.png: no such file or directory"):
        open_data(tmp_path)


def test_a_pipe_with_an_images_name_does_not_hang(tmp_path):
    folder(tmp_path, "1.png")
    os.mkfifo(tmp_path / "2.png")
    os.mkfifo(tmp_path / "3")
    with pytest.raises(DataError, match=r"2\.png: it is not a regular file"):
        open_data(tmp_path)


def test_digests_are_of_the_files_bytes_and_do_not_depend_on_names(tmp_path):
    one = open_data(folder(tmp_path / "one", "a/1.png", "b/2.png"))
    two = open_data(folder(tmp_path / "two", "a/x.png", "b/y/z.png"))
    import hashlib

    assert one.digest(0) == hashlib.sha256((tmp_path / "one/a/1.png").read_bytes()).hexdigest()
    assert one.digests == two.digests and one.whole_digest == two.whole_digest


def test_a_file_that_changes_while_the_data_is_open_is_noticed(tmp_path):
    data = open_data(folder(tmp_path, "1.png", "2.png"))
    picture(tmp_path / "1.png", 99)
    with pytest.raises(DataError, match=r"has changed since the data set was opened\. Open the data set again\."):
        data.batch([0], FORM)
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"could be read when the data set was opened, and no more: no such file"):
        data.batch([1], FORM)


def test_images_of_several_sizes_have_no_native_shape(tmp_path):
    from PIL import Image

    folder(tmp_path, "1.png")
    Image.new("RGB", (5, 4)).save(tmp_path / "2.png")
    data = open_data(tmp_path)
    assert data.native_shape() is None
    assert data.batch([0, 1], InputForm("image", (3, 3, 3))).shape == (2, 3, 3, 3)
    with pytest.raises(DataError, match="Received images of several sizes"):
        data.batch([0], InputForm("vector", (2,)))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a/1.png", "b/", "c/"], "The class 'b', 'c' of '{}' is empty: its folder holds no readable image."),
        (["a/1.png", "b/.2.png"], "The class 'b' of '{}' is empty"),
        (["train/a/1.png", "train/b/", "test/a/2.png"], "The class 'b' of '{}' is empty"),
        (["train/a/1.png", "test/b/2.png"], "The label 'b' is in test of '{}', but not in train."),
        (["train/a/1.png", "val/b/2.png"], "The label 'b' is in val of '{}', but not in train."),
        (["a/", "b/"], "The folder '{}' holds no images. Expected images, or a folder of images for each class."),
        (
            ["train/a/1.png", "val/a/1.png", "c/1.png"],
            "The folder '{}' has other folders beside train, val. Received c.",
        ),
        (["val/a/1.png", "valid/a/2.png"], "The folder '{}' has 2 folders for val. Received val, valid."),
        (["train/a/1.png", "test/1.png"], "holds images without class folders, unlike the other sides."),
    ],
)
def test_a_folder_that_cannot_be_used_is_explained(tmp_path, names, text):
    with pytest.raises(DataError) as caught:
        open_data(folder(tmp_path, *names))
    assert text.format(tmp_path) in str(caught.value)


def test_a_class_that_skipping_empties_is_named(tmp_path):
    folder(tmp_path, "a/1.png", "b/")
    (tmp_path / "b/2.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"The class 'b' of .* is empty: its folder holds no readable image"):
        open_data(tmp_path, skip_bad=True)


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["a/1.png", "b/2.png", "b/3.png"], "Class 'a' has one example: it can be trained on but neither validated"),
        (["a/1.png", "a/2.png", "b/2.png", "b/3.png", "x.png"], "1 image beside the class folders is in no class and"),
        (["data/a/1.png", "data/b/2.png"], "All images are one class, 'data'. If its folders are classes, open '"),
        (["train/a/1.png", "train/a/2.png", "val/"], "The folder 'val' is empty."),
        (["train/a/1.png", "train/a/2.png", "val/a/"], "In val, the class 'a' has no images."),
    ],
)
def test_what_may_surprise_is_noted(tmp_path, names, note):
    assert any(found.startswith(note) for found in open_data(folder(tmp_path, *names)).notes)


@pytest.mark.parametrize("target", ["labels", "numbers"])
def test_folders_have_no_other_targets(tmp_path, target):
    with pytest.raises(DataError, match=f"cannot have {target} as its target. Expected classes, named by folders"):
        open_data(folder(tmp_path, "a/1.png"), target=target)
    with pytest.raises(DataError, match="has no class folders"):
        open_data(folder(tmp_path / "flat", "1.png"), target="classes")


def test_batches_are_the_same_however_they_are_drawn(tmp_path):
    data = open_data(folder(tmp_path, *(f"{i}.png" for i in range(30))))
    form = InputForm("image", (3, 5, 3), "lanczos")
    whole = data.batch(np.arange(30), form)
    single = np.stack([open_data(tmp_path).batch([i], form)[0] for i in range(0, 30, 10)])
    np.testing.assert_array_equal(whole[::10], single)
    np.testing.assert_array_equal(data.batch([7, 3], form), whole[[7, 3]])
