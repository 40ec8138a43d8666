"""Opening a folder checks each JPEG at an eighth of its size: that must find whatever decoding all of it finds."""

import io

import numpy as np
import pytest
from PIL import Image

from zoo.data.decoding import UnreadableImage, check_and_tell, decode

RNG = np.random.default_rng(0)
FORMS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "whole colours": {"subsampling": 0, "quality": 95},
    "restarts": {"restart_marker_blocks": 5},
    "coarse": {"optimize": True, "quality": 30},
}


def jpeg(size: tuple[int, int], mode: str, orientation: int, **how: object) -> bytes:
    pixels = RNG.integers(0, 256, (size[1], size[0], 3), np.uint8)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", exif=exif, **how)
    return file.getvalue()


def damaged(content: bytes) -> bytes:
    changed = bytearray(content)
    place = int(RNG.integers(len(changed)))
    match RNG.integers(4):
        case 0:
            return bytes(changed[:place])
        case 1:
            del changed[place : place + int(RNG.integers(1, 40))]
        case 2:
            changed[place : place + 20] = RNG.bytes(20)
        case _:
            for at in RNG.integers(0, len(changed), RNG.choice([1, 2, 50])):
                changed[at] ^= 1 << RNG.integers(8)
    return bytes(changed)


def said_by_decoding(content: bytes) -> tuple[int, ...] | str:
    try:
        return decode(content).shape
    except UnreadableImage as reason:
        return str(reason)


def said_by_checking(content: bytes) -> tuple[int, ...] | str:
    try:
        return check_and_tell(content)[0]
    except UnreadableImage as reason:
        return str(reason)


@pytest.mark.parametrize("size", [(70, 51), (8, 8), (5, 3), (1, 33)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_shape_is_that_of_the_upright_pixels(size, mode):
    for orientation in range(1, 9):
        content = jpeg(size, mode, orientation)
        assert check_and_tell(content)[0] == decode(content).shape


@pytest.mark.parametrize("how", FORMS.values(), ids=FORMS.keys())
def test_a_damaged_file_is_refused_or_taken_as_decoding_does_with_the_same_words(how):
    refused = 0
    for i in range(240):
        content = damaged(jpeg((70, 51), ("RGB", "L", "CMYK")[i % 3], i % 8 + 1, **how))
        said = said_by_decoding(content)
        assert said_by_checking(content) == said
        refused += isinstance(said, str)
    assert 40 < refused < 220
