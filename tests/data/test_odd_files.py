"""One of each odd file: what comes out, pixel by pixel, or what the error says."""

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.data import odd_files
from zoo.data import DECODER, open_data
from zoo.data.decoding import decode
from zoo.data.images import InputForm, read_image
from zoo.errors import DataError

GOOD = {odd.name: odd for odd in odd_files.good_files()}
REASONS = {
    "zero-byte.jpg": "the file is empty",
    "text.jpg": "its bytes are not those of an image",
    "cut-short.jpg": "damaged or cut short",
    "cut-short.png": "damaged or cut short",
    "cut-short.bmp": "damaged or cut short",
    "cut-short.gif": "damaged or cut short",
    "cut-short.webp": "damaged or cut short",
    "corrupt.png": "damaged or cut short",
    "header-only.jpg": "damaged or cut short",
    "bomb.png": "it announces 60000 x 60000 pixels, over the limit of 64 million",
    "thin-bomb.png": "it announces 8000 x 7000 pixels in 71 bytes, over 10000 pixels a byte",
    "scan.tif": "TIFF is not accepted",
    "really-a-tiff.jpg": "TIFF is not accepted",
    "phone.heic": "HEIC is not accepted",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_gives_exactly_its_pixels(name):
    pixels = decode(GOOD[name].content)
    assert pixels.shape == GOOD[name].pixels.shape
    np.testing.assert_allclose(pixels, GOOD[name].pixels, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", GOOD)
def test_reading_for_prediction_is_the_same_as_reading_for_training(tmp_path, name):
    odd_files.picture(tmp_path / "a" / "other.png")
    (tmp_path / "a" / name).write_bytes(GOOD[name].content)
    data = open_data(tmp_path)
    index = [data.name_of(i) for i in range(len(data))].index(f"a/{name}")
    form = InputForm("image", (5, 3, 3), "bicubic", "pad")
    np.testing.assert_array_equal(data.batch([index], form)[0], read_image(GOOD[name].content, form))


@pytest.mark.parametrize("odd", odd_files.bad_files(), ids=lambda odd: odd.name)
def test_a_bad_file_is_refused_with_its_reason(tmp_path, odd):
    (tmp_path / odd.name).write_bytes(odd.content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        open_data(tmp_path)
    assert f"\n  {odd.name}: " in str(caught.value)
    assert REASONS[odd.name] in str(caught.value)
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / odd.name, InputForm("image", (4, 4, 3)))
    assert REASONS[odd.name] in str(caught.value)


def test_a_bomb_is_refused_without_being_decoded(monkeypatch):
    def explode(self):
        raise AssertionError

    monkeypatch.setattr(ImageFile.ImageFile, "load", explode)
    for odd in odd_files.bad_files():
        if "bomb" in odd.name:
            with pytest.raises(DataError, match="it announces"):
                decode(odd.content)


def test_truncated_files_are_refused_even_where_pillow_was_told_to_complete_them(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    bad = {odd.name: odd for odd in odd_files.bad_files()}
    with pytest.raises(DataError, match="truncated"):
        decode(bad["cut-short.jpg"].content)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_all_bad_files_are_listed_together_and_may_be_skipped(tmp_path):
    files = odd_files.make_odd_files(tmp_path / "cat")
    odd_files.picture(tmp_path / "dog" / "1.png")
    with pytest.raises(DataError) as caught:
        open_data(tmp_path)
    for odd in odd_files.bad_files():
        assert f"\n  cat/{odd.name}: " in str(caught.value)
    assert str(caught.value).startswith(f"'{tmp_path}': 14 files of 40 cannot be read:")
    assert str(caught.value).endswith("or leave them out with --skip-bad (skip_bad=True).")

    data = open_data(tmp_path, skip_bad=True)
    assert {file.path for file in data.skipped} == {f"cat/{odd.name}" for odd in odd_files.bad_files()}
    assert len(data) == len(odd_files.good_files()) + 1
    assert any("14 files that cannot be read are left out: cat/" in note for note in data.notes)
    assert len(files) == len(odd_files.good_files()) + 14 + len(odd_files.ignored_files())


def test_more_than_twenty_bad_files_are_counted(tmp_path):
    for number in range(25):
        (tmp_path / f"{number:02}.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        open_data(tmp_path)
    text = str(caught.value)
    assert "25 files of 25 cannot be read" in text and text.count("the file is empty") == 20 and "and 5 more" in text
    with pytest.raises(DataError, match="Repair or remove them"):
        open_data(tmp_path, skip_bad=True)


@pytest.mark.parametrize("odd", odd_files.ignored_files(), ids=lambda odd: odd.name)
def test_a_file_that_is_no_image_is_ignored_and_noted_unless_hidden(tmp_path, odd):
    odd_files.picture(tmp_path / "a" / "1.png")
    odd_files.picture(tmp_path / "a" / "2.png", 1)
    (tmp_path / "a" / odd.name).write_bytes(odd.content)
    data = open_data(tmp_path)
    assert len(data) == 2
    assert data.notes == (
        ("In 'a', 1 file that is no image is ignored: notes.txt.",) if odd.name == "notes.txt" else ()
    )


def test_the_page_about_odd_files_is_true():
    written = odd_files.PAGE.read_text(encoding="utf-8")
    if DECODER not in written:
        pytest.skip("the page was made with another Pillow, whose own words may differ")
    assert written == odd_files.page(), "run: python -m tests.data.odd_files"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    # EXIF 2.3, tag 0x0112: which visual side the stored row 0 and column 0 are
    stored = {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.T,  # left, top
        6: upright[:, ::-1].T,  # right, top
        7: upright[::-1, ::-1].T,  # right, bottom
        8: upright[::-1].T,  # left, bottom
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    content = odd_files.encoded(image, "PNG", exif=odd_files.oriented(orientation))
    np.testing.assert_array_equal(decode(content)[..., 0], upright)


@pytest.mark.parametrize("name", GOOD)
def test_damage_anywhere_gives_pixels_or_our_error_and_nothing_else(name):
    rng = np.random.default_rng(0)
    for _ in range(15):
        content = bytearray(GOOD[name].content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        try:
            pixels = decode(bytes(content[: rng.integers(len(content) // 2, len(content) + 1)]))
        except DataError:
            continue
        assert pixels.ndim == 3 and pixels.shape[2] in (1, 3) and pixels.min() >= 0 and pixels.max() <= 255
