"""The text fonts that matplotlib installs, as distances from which strokes of any width can be drawn."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.errors import DataError

CLASSES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

# Matplotlib's symbol and extension fonts are left out: they lack letters, or have other signs in their places.
FONTS = (
    *("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSans-Bold", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Oblique", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta"),
    *("STIXGeneral:sans", "STIXGeneral:mono"),
    *("cmr10", "cmb10", "cmti10", "cmss10", "cmtt10", "cmmi10"),
)

# Unicode's mathematical alphabets inside STIXGeneral: where their digits, capitals and small letters begin.
_ALPHABETS = {"sans": (0x1D7E2, 0x1D5A0, 0x1D5BA), "mono": (0x1D7F6, 0x1D670, 0x1D68A)}

EM = 40  # a glyph's font size in its base bitmap
SIDE = 60  # that bitmap's height and width


@lru_cache(maxsize=4)
def distance_fields(fonts: tuple[str, ...]) -> np.ndarray:
    """Distances in base pixels, float32 ``(2, fonts, 62, SIDE, SIDE)``.

    The first half is the distance to the outline, negative inside; the second the distance to the centre line.
    """
    masks = np.stack([bitmaps(font) for font in fonts]).reshape(-1, SIDE, SIDE)
    lines = thin(masks)
    outlines = distances(masks) - distances(~masks)
    centre = distances(lines)
    return np.stack([outlines, centre]).reshape(2, len(fonts), 62, SIDE, SIDE)


def bitmaps(font: str) -> np.ndarray:
    """A font's 62 glyphs, bool ``(62, SIDE, SIDE)``, each in the middle of its bitmap."""
    import matplotlib  # here, for its data folder alone: it is slow to import

    name, _, alphabet = font.partition(":")
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
    if not path.is_file():
        what = f"Matplotlib's font {path.name} is missing."
        fix = "Install matplotlib anew: pip install --force-reinstall matplotlib."
        raise DataError(what, expected=str(path), fix=fix)
    face = ImageFont.truetype(str(path), EM, layout_engine=ImageFont.Layout.BASIC)
    signs = CLASSES
    if alphabet:
        starts = _ALPHABETS[alphabet]
        signs = [chr(start + k) for start, count in zip(starts, (10, 26, 26), strict=True) for k in range(count)]
    masks = np.empty((62, SIDE, SIDE), bool)
    for k, sign in enumerate(signs):
        picture = Image.new("L", (SIDE, SIDE))
        left, top, right, bottom = face.getbbox(sign)
        corner = ((SIDE - left - right) / 2, (SIDE - top - bottom) / 2)
        ImageDraw.Draw(picture).text(corner, sign, fill=255, font=face)
        masks[k] = np.asarray(picture) >= 128
    return masks


def distances(masks: np.ndarray) -> np.ndarray:
    """The Euclidean distance of each pixel to the nearest one of its mask, float32, the same shape.

    Separable (P. Felzenszwalb, D. Huttenlocher, 2012): first along columns, then the least over each row.
    """
    far = np.float32(SIDE)
    down = np.where(masks, np.float32(0), far)
    for k in range(1, SIDE):
        np.minimum(down[:, k], down[:, k - 1] + 1, out=down[:, k])
    for k in range(SIDE - 2, -1, -1):
        np.minimum(down[:, k], down[:, k + 1] + 1, out=down[:, k])
    squares = down**2
    best = np.full_like(squares, far**2)
    for offset in range(-SIDE + 1, SIDE):
        to = slice(max(0, -offset), SIDE - max(0, offset))
        of = slice(max(0, offset), SIDE - max(0, -offset))
        np.minimum(best[:, :, to], squares[:, :, of] + np.float32(offset**2), out=best[:, :, to])
    return np.sqrt(best)


def thin(masks: np.ndarray) -> np.ndarray:
    """The masks thinned to lines of one pixel (T. Zhang, C. Suen, 1984, A Fast Parallel Algorithm for Thinning)."""
    removable = _removable()
    line = masks.astype(np.uint8)
    active = np.arange(len(line))
    while len(active):
        changed = np.zeros(len(active), bool)
        for table in removable:
            part = line[active]
            gone = (part == 1) & table[_neighbours(part)]
            line[active] = part & ~gone
            changed |= gone.any(axis=(1, 2))
        active = active[changed]
    return line.astype(bool)


def _neighbours(part: np.ndarray) -> np.ndarray:
    """Each pixel's eight neighbours as bits, clockwise from the one above."""
    padded = np.pad(part, ((0, 0), (1, 1), (1, 1)))
    code = np.zeros_like(part)
    for bit, (r, c) in enumerate(((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))):
        code |= padded[:, r : r + SIDE, c : c + SIDE] << np.uint8(bit)
    return code


def _removable() -> tuple[np.ndarray, np.ndarray]:
    """Whether a pixel with these neighbours goes, in each of Zhang and Suen's two passes."""
    first, second = np.zeros(256, bool), np.zeros(256, bool)
    for code in range(256):
        p = [code >> bit & 1 for bit in range(8)]  # p[0] above, p[2] right, p[4] below, p[6] left
        turns = sum(p[k] == 0 and p[(k + 1) % 8] == 1 for k in range(8))
        if 2 <= sum(p) <= 6 and turns == 1:
            first[code] = not (p[0] and p[2] and p[4]) and not (p[2] and p[4] and p[6])
            second[code] = not (p[0] and p[2] and p[6]) and not (p[0] and p[4] and p[6])
    return first, second
