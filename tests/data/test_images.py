"""Bringing decoded pixels to the form that a network takes."""

import threading
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile

from zoo.data import DECODER, InputForm, read_image
from zoo.data.decoded import Decoded
from zoo.data.decoding import decode, image_format, over_white, strict_pillow
from zoo.data.images import fit_image
from zoo.errors import DataError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 7, 3), np.uint8)


def form(*shape, **options):
    return InputForm("image", shape, **options)


def test_pixels_of_the_right_size_come_through_unchanged():
    for fit in ("stretch", "crop", "pad"):
        out = fit_image(COLOUR, form(9, 7, 3, fit=fit, resample="lanczos"))
        np.testing.assert_array_equal(out, COLOUR)
        assert out.dtype == np.float32


def test_colour_becomes_grey_by_the_luma_and_grey_becomes_rgb_by_repetition():
    grey = fit_image(COLOUR, form(9, 7, 1))
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[..., 0], luma, atol=0.51)
    np.testing.assert_array_equal(grey, np.rint(grey))
    np.testing.assert_allclose(fit_image(COLOUR.astype(np.float32), form(9, 7, 1))[..., 0], luma, atol=1e-3)
    np.testing.assert_array_equal(fit_image(grey, form(9, 7, 3)), np.repeat(grey, 3, axis=2))


def test_halving_with_a_box_is_the_mean_of_each_square():
    pixels = RNG.integers(0, 256, (8, 6, 3), np.uint8)
    means = pixels.reshape(4, 2, 3, 2, 3).astype(np.float64).mean(axis=(1, 3))
    np.testing.assert_allclose(fit_image(pixels, form(4, 3, 3, resample="box")), means, atol=1e-3)


def test_shrinking_is_antialiased():
    stripes = np.tile(np.array([[0], [255]], np.uint8), (16, 32))[..., None]
    for resample in ("bilinear", "bicubic", "lanczos", "box"):
        inner = fit_image(stripes, form(8, 8, 1, resample=resample))[1:-1]
        np.testing.assert_allclose(inner, 127.5, atol=6)
    assert set(np.unique(fit_image(stripes, form(8, 8, 1, resample="nearest")))) <= {0, 255}


def test_sixteen_bits_are_not_cut_to_eight_on_the_way():
    pixels = np.full((4, 4, 1), 100.25, np.float32)
    np.testing.assert_allclose(fit_image(pixels, form(3, 5, 1)), 100.25, atol=1e-4)


def test_overshoot_is_cut():
    edge = np.zeros((8, 8, 1), np.uint8)
    edge[:, 4:] = 255
    out = fit_image(edge, form(32, 32, 1, resample="lanczos"))
    assert out.min() == 0 and out.max() == 255


def test_crop_takes_the_centre_and_pad_adds_black():
    wide = np.zeros((2, 6, 1), np.uint8)
    wide[:, 2:4] = 200
    np.testing.assert_array_equal(fit_image(wide, form(2, 2, 1, fit="crop")), np.full((2, 2, 1), 200))
    white = np.full((2, 4, 1), 255, np.uint8)
    padded = fit_image(white, form(4, 4, 1, fit="pad"))[..., 0]
    np.testing.assert_array_equal(padded, [[0] * 4, [255] * 4, [255] * 4, [0] * 4])
    thin = fit_image(np.full((1, 100, 1), 255, np.uint8), form(4, 4, 1, fit="pad"))
    assert thin.sum() == 4 * 255


def test_a_crop_without_a_change_of_scale_moves_no_value():
    odd = RNG.integers(0, 256, (5, 8, 1), np.uint8)
    np.testing.assert_array_equal(fit_image(odd, form(5, 5, 1, fit="crop")), odd[:, 1:6])


@pytest.mark.parametrize("wanted", [InputForm("vector", (4,)), form(4, 4), form(4, 4, 2), form(0, 4, 1)])
def test_a_form_that_images_cannot_take_is_refused(wanted):
    with pytest.raises(DataError, match="is not one that images can take"):
        fit_image(COLOUR, wanted)


def test_transparency_is_laid_over_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    np.testing.assert_array_equal(over_white(rgba), [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]])
    floats = over_white(np.array([[[0.0, 127.5]]]))
    assert floats.dtype == np.float32 and floats[0, 0, 0] == 127.5


def test_a_missing_file_and_a_folder_are_explained(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read: no such file or directory\. Expected a JPEG"):
        read_image(tmp_path / "none.jpg", form(4, 4, 1))
    with pytest.raises(DataError, match="it is not a regular file"):
        read_image(tmp_path, form(4, 4, 1))


def test_the_decoder_is_named():
    assert DECODER.startswith("pillow-") and "+zoo-" in DECODER


def test_a_text_that_begins_like_a_bitmap_is_none():
    assert image_format(b"BM is how this text begins, and more of it") is None
    assert image_format(b"") is None


def test_the_strict_mode_ends_where_it_began_even_in_threads():
    before, filters = ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    threads = [threading.Thread(target=lambda: [_enter() for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ImageFile.LOAD_TRUNCATED_IMAGES is before and list(warnings.filters) == filters


def _enter():
    with strict_pillow(), strict_pillow():
        pass


def test_what_is_kept_changes_no_value_and_stays_in_the_budget():
    made = []

    def make(index, wanted):
        made.append(index)
        return np.full(wanted.shape, index + (0.5 if index % 2 else 0), np.float32)

    decoded = Decoded(make, budget=4 * 16 + 16)  # a float image and a uint8 one
    wanted = form(4, 4, 1)
    first = decoded.batch([1, 2, 3, 2], wanted)
    assert first[:, 0, 0, 0].tolist() == [1.5, 2, 3.5, 2] and sorted(made) == [1, 2, 3]
    np.testing.assert_array_equal(decoded.batch([1, 2, 3, 2], wanted), first)
    assert sorted(made) == [1, 2, 3, 3]
    decoded.batch([1], form(2, 2, 1))
    assert made[-1] == 1
    assert decoded.batch([], wanted).shape == (0, 4, 4, 1)


def test_warnings_of_pillow_do_not_reach_the_user(tmp_path):
    image = Image.new("P", (2, 2))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "p.png", transparency=b"\x80\xff")
    assert decode((tmp_path / "p.png").read_bytes())[0, 0].tolist() == [255, 127, 127]
