"""Characters rendered from the text fonts that matplotlib installs: any number of them, a pure function of a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.errors import DataError, close_matches

from .fonts import CLASSES, EM, FONTS, SIDE, distance_fields

_CHUNK = 496  # examples rendered at once: 8 rounds of the 62 classes
_KNOTS = 5  # the elastic distortion's control points a side
_PEN = 0.6  # the share of examples drawn along the centre line
_ANGLE, _SHEAR, _STRETCH = 0.3, 0.5, 0.3  # the largest rotation (radians), shear, and logarithm of the stretching
_BEND = 0.4  # the largest shift of a control point, in halves of the font size
_UNEVEN = 1.6  # the largest unevenness of a stroke's half width, in base pixels
_PEN_REACH, _OUTLINE_REACH = (1.2, 4.0), (-0.6, 2.0)  # how far ink reaches from line and outline, in base pixels
_MARGIN = 0.2  # the largest empty share around the ink
_BLUR = 0.5  # the largest standard deviation of the blur, in final pixels
_DRAWS = 16 + 3 * _KNOTS**2 + 1  # uniform numbers that one example uses, a multiple of 4


def load(
    examples: int = 20_000, seed: int = 0, size: int = 8, fonts: Sequence[str] = FONTS
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Characters in random hands: white ink on black, 62 classes in equal numbers.

    Each example is a glyph of a random font, drawn either as its outline or along its centre line with a pen, then
    sheared, rotated, stretched, bent (a cubic B-spline of random control points), thickened or thinned unevenly, cut
    to its ink's bounding box, blurred, and counted down to ``size`` x ``size``. Example ``i`` depends on ``seed``,
    ``size``, ``fonts`` and ``i`` alone: more examples change none of the first ones.

    Args:
        examples: How many.
        seed: 0 or more.
        size: Height and width, at least 4.
        fonts: Names from ``FONTS``.

    Returns:
        ``x``, uint8 ``(examples, size, size, 1)``, 0 to 255; ``y``, int64 ``(examples,)``; the names of the 62
        classes: digits, capitals, small letters.

    Raises:
        DataError: An argument cannot be used, or matplotlib's fonts are not where it says.

    Reference:
        The fonts are DejaVu, STIX and Computer Modern, as matplotlib ships them. P. Simard et al. (2003), Best
        Practices for Convolutional Neural Networks Applied to Visual Document Analysis, section 2.

    Example:
        >>> x, y, classes = load(124, seed=1)
        >>> x.shape, sorted(y.tolist()) == sorted(list(range(62)) * 2)
        ((124, 8, 8, 1), True)
    """
    _check(examples, seed, size, fonts)
    fields = distance_fields(tuple(fonts))
    x = np.empty((examples, size, size, 1), np.uint8)
    y = np.empty(examples, np.int64)
    for start in range(0, examples, _CHUNK):
        count = min(_CHUNK, examples - start)
        labels, draws = _draw(seed, start)
        x[start : start + count, :, :, 0] = _render(fields, labels, draws, size)[:count]
        y[start : start + count] = labels[:count]
    return x, y, CLASSES


def _check(examples: int, seed: int, size: int, fonts: Sequence[str]) -> None:
    for name, value, least in (("examples", examples, 1), ("seed", seed, 0), ("size", size, 4)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            what = f"Characters cannot be rendered with this `{name}`."
            raise DataError(what, expected=f"a whole number, {least} or more", received=repr(value))
    if isinstance(fonts, str) or not fonts:
        what = "Characters need at least one font."
        raise DataError(what, expected="a list of names", received=repr(fonts), fix=close_matches(str(fonts), FONTS))
    for font in fonts:
        if font not in FONTS:
            what = "Characters are not rendered from this font."
            raise DataError(what, received=repr(font), fix=close_matches(str(font), FONTS))


def _draw(seed: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels, and all random numbers, of the examples from ``start`` on: Philox, counted by the example.

    Always a whole chunk, so that no number depends on how many examples are asked for.
    """
    numbers = np.random.Philox(key=[seed, 1]).advance(start * _DRAWS // 4)
    draws = np.random.Generator(numbers).random((_CHUNK, _DRAWS))
    order = np.random.Philox(key=[seed, 2]).advance(start // 62 * 16)
    labels = np.random.Generator(order).random((_CHUNK // 62, 64))[:, :62].argsort(axis=1, kind="stable")
    return labels.reshape(-1), draws


@dataclass(frozen=True)
class _Hands:
    """How each of ``n`` examples is written."""

    glyphs: np.ndarray  # (n,): which distance field
    linear: np.ndarray  # (n, 2, 2): from the page to the glyph; row 0 down, row 1 across
    bend: np.ndarray  # (n, 2, knots, knots): the control points' shifts, down and across
    uneven: np.ndarray  # (n, knots, knots): what is taken from the reach, in base pixels
    reach: np.ndarray  # (n,): how far from the line, or the outline, the ink reaches, in base pixels

    def distance(self, fields: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """From the ink's edge, negative inside, at places on the page: bent, mapped to the glyph, bilinear."""
        down, across = _spline(rows), _spline(columns).transpose(0, 2, 1)
        shift = down[:, None] @ self.bend @ across[:, None]
        page_row, page_column = rows[:, :, None] + shift[:, 0], columns[:, None, :] + shift[:, 1]
        row, column = (
            np.clip((a * page_row + b * page_column) * (EM / 2) + (SIDE - 1) / 2, 0, SIDE - 1.001)
            for a, b in self.linear.transpose(1, 2, 0)[..., None, None]
        )
        at = (self.glyphs[:, None, None] * SIDE + row.astype(np.int32)) * SIDE + column.astype(np.int32)
        row, column = row - np.floor(row), column - np.floor(column)
        flat = fields.reshape(-1)
        upper = flat[at] * (1 - column) + flat[at + 1] * column
        lower = flat[at + SIDE] * (1 - column) + flat[at + SIDE + 1] * column
        return upper * (1 - row) + lower * row + down @ self.uneven @ across - self.reach[:, None, None]


def _hands(u: Iterator[np.ndarray], knots: np.ndarray, labels: np.ndarray, fonts: int) -> _Hands:
    pen = next(u) < _PEN
    glyphs = (pen * fonts + (next(u) * fonts).astype(np.int64)) * 62 + labels
    angle, shear = _between(next(u), -_ANGLE, _ANGLE), _between(next(u), -_SHEAR, _SHEAR)
    stretch = np.exp(_between(next(u), -_STRETCH, _STRETCH))
    cos, sin = np.cos(angle), np.sin(angle)
    down = np.stack([stretch * cos, -stretch * sin], axis=1)
    across = np.stack([(sin + shear * cos) / stretch, (cos - shear * sin) / stretch], axis=1)
    strength = _between(next(u), 0.0, _BEND)[:, None, None, None]
    reach = np.where(pen, _between(next(u), *_PEN_REACH), _between(next(u), *_OUTLINE_REACH))
    uneven = knots[:, 2] * _between(next(u), 0.0, _UNEVEN)[:, None, None]
    return _Hands(glyphs, np.stack([down, across], axis=1), knots[:, :2] * strength, uneven, reach)


def _render(fields: np.ndarray, labels: np.ndarray, draws: np.ndarray, size: int) -> np.ndarray:
    """One chunk of examples, uint8 ``(_CHUNK, size, size)``."""
    u = iter(draws[:, :16].T.astype(np.float32))
    knots = draws[:, 16 : 16 + 3 * _KNOTS**2].astype(np.float32).reshape(-1, 3, _KNOTS, _KNOTS) * 2 - 1
    hands = _hands(u, knots, labels, fields.shape[1])
    # First roughly, to find the ink's bounding box; then the box alone.
    wide = np.broadcast_to(np.linspace(-1.5, 1.5, 40, dtype=np.float32), (len(labels), 40))
    ink = hands.distance(fields, wide, wide) < 0.3
    (top, bottom), (left, right) = _extent(ink.max(axis=2), wide), _extent(ink.max(axis=1), wide)
    keep = next(u)  # 0 fills the square, 1 keeps the aspect ratio
    margin = _between(next(u), 0.0, _MARGIN)
    side = np.maximum(bottom - top, right - left)
    height, width = (
        (1 + margin) * np.maximum(e, side / 4) ** (1 - keep) * side**keep for e in (bottom - top, right - left)
    )
    row = (top + bottom) / 2 + margin * side * (next(u) - 0.5)
    column = (left + right) / 2 + margin * side * (next(u) - 0.5)
    fine = size * (4 if size <= 12 else 2)
    steps = (np.arange(fine, dtype=np.float32) + 0.5) / fine - 0.5
    edge = hands.distance(fields, row[:, None] + height[:, None] * steps, column[:, None] + width[:, None] * steps)
    softness = _between(next(u), 0.2, 2.0)[:, None, None]
    ink = np.clip(0.5 - edge / softness, 0, 1)
    count = _blur_and_count(_between(next(u), 0.0, _BLUR) * fine / size, fine, size)
    return np.round(255 * np.clip(count @ ink @ count.transpose(0, 2, 1), 0, 1)).astype(np.uint8)


def _between(u: np.ndarray, low: float, high: float) -> np.ndarray:
    return (low + (high - low) * u).astype(np.float32)


def _extent(some: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last place where there is ink, half a step outside."""
    half = (places[0, 1] - places[0, 0]) / 2
    first, last = some.argmax(axis=1), some.shape[1] - 1 - some[:, ::-1].argmax(axis=1)
    return places[0, first] - half, places[0, last] + half


def _spline(places: np.ndarray) -> np.ndarray:
    """The cubic B-spline weights of the control points at each place, shape ``(n, places, _KNOTS)``."""
    knots = np.linspace(-1.5, 1.5, _KNOTS, dtype=np.float32)
    t = np.abs(places[:, :, None] - knots) / (knots[1] - knots[0])
    near, far = 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6
    return np.where(t < 1, near, far)


def _blur_and_count(sigma: np.ndarray, fine: int, size: int) -> np.ndarray:
    """For each example the matrix that blurs (Gaussian) and averages blocks in one go, ``(n, size, fine)``."""
    places = np.arange(fine, dtype=np.float32)
    spread = np.maximum(sigma, 0.05)[:, None, None]
    gauss = np.exp(-(((places[:, None] - places) / spread) ** 2) / 2)
    gauss /= gauss.sum(axis=1, keepdims=True)
    return gauss.reshape(len(sigma), size, fine // size, fine).mean(axis=2)
