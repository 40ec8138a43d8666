import subprocess
import sys

import numpy as np
import pytest

from zoo.data.builtin import characters, fonts
from zoo.errors import DataError


@pytest.fixture(scope="module")
def rendered():
    return characters.load(1200, seed=3)


def test_shape_and_bounds(rendered):
    x, y, classes = rendered
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1200, 8, 8, 1), np.uint8, (1200,), np.int64)
    assert classes == tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    assert (x.min(), x.max()) == (0, 255)
    assert x.reshape(1200, -1).max(axis=1).min() > 25, "an example without ink"


def test_an_example_depends_on_seed_and_index_alone(rendered):
    x, y, _ = rendered
    for examples in (1, 61, 497):
        few, labels, _ = characters.load(examples, seed=3)
        np.testing.assert_array_equal(few, x[:examples])
        np.testing.assert_array_equal(labels, y[:examples])


def test_other_seed_other_characters(rendered):
    x, y, _ = rendered
    other, labels, _ = characters.load(1200, seed=4)
    assert (labels == y).mean() < 0.1
    assert (other == x).all(axis=(1, 2, 3)).mean() < 0.01


def test_no_two_examples_are_the_same(rendered):
    x, _, _ = rendered
    assert len(np.unique(x.reshape(1200, -1), axis=0)) > 1190


def test_every_round_of_62_holds_each_class_once(rendered):
    _, y, _ = rendered
    rounds = y[: 62 * 19].reshape(19, 62)
    assert (np.sort(rounds, axis=1) == np.arange(62)).all()
    assert not (rounds[0] == rounds[1]).all()


@pytest.mark.parametrize("size", [4, 13, 28])
def test_other_sizes(size):
    x, _, _ = characters.load(70, seed=3, size=size)
    assert x.shape == (70, size, size, 1)
    assert 30 < x.mean() < 150


def test_ink_fills_the_image(rendered):
    x, _, _ = rendered
    rows, columns = (x[..., 0] > 0).any(axis=2), (x[..., 0] > 0).any(axis=1)
    longer = np.maximum(rows.sum(axis=1), columns.sum(axis=1))
    assert longer.min() >= 6
    assert (longer == 8).mean() > 0.8


@pytest.mark.parametrize("font", fonts.FONTS)
def test_each_font_draws_all_62_classes(font):
    glyphs = fonts.bitmaps(font)
    assert glyphs.any(axis=(1, 2)).all()
    assert not glyphs[:, [0, -1]].any() and not glyphs[:, :, [0, -1]].any(), "a glyph is cut off"
    unlike = {k: sum((glyphs[k] == glyphs[other]).all() for other in range(62)) - 1 for k in range(62)}
    assert max(unlike.values()) <= 1, "a box in place of missing glyphs"


def test_distance_is_euclidean():
    masks = np.random.default_rng(0).random((3, fonts.SIDE, fonts.SIDE)) < 0.01
    measured = fonts.distances(masks)
    places = np.stack(np.mgrid[: fonts.SIDE, : fonts.SIDE], axis=-1)
    for mask, found in zip(masks, measured, strict=True):
        inked = places[mask]
        expected = np.sqrt(((places[:, :, None] - inked) ** 2).sum(axis=-1)).min(axis=2)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_thinned_bar_is_its_centre_line():
    bar = np.zeros((1, fonts.SIDE, fonts.SIDE), bool)
    bar[0, 20:27, 10:50] = True
    line = fonts.thin(bar)
    assert (line[0].sum(axis=0) <= 1).all()
    assert line[0, 23, 14:46].all()


def test_one_font_alone():
    x, _, _ = characters.load(62, fonts=["cmr10"])
    other, _, _ = characters.load(62, fonts=["DejaVuSans-Bold"])
    assert not np.array_equal(x, other)


def test_plotting_stays_unloaded():
    code = "import sys; from zoo.data.builtin import characters; characters.load(1, fonts=['cmr10']); "
    code += "print([m for m in ('matplotlib.pyplot', 'scipy', 'tensorflow', 'keras') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"examples": 0},
            "Characters cannot be rendered with this `examples`. Expected a whole number, 1 or more; received 0.",
        ),
        (
            {"seed": -1},
            "Characters cannot be rendered with this `seed`. Expected a whole number, 0 or more; received -1.",
        ),
        (
            {"size": 8.0},
            "Characters cannot be rendered with this `size`. Expected a whole number, 4 or more; received 8.0.",
        ),
        (
            {"fonts": ["DejaVuSanz"]},
            "Characters are not rendered from this font. Received 'DejaVuSanz'. Did you mean 'DejaVuSans' or",
        ),
        (
            {"fonts": []},
            "Characters need at least one font. Expected a list of names; received [].",
        ),
    ],
)
def test_what_cannot_be_rendered_says_why(args, message):
    with pytest.raises(DataError) as caught:
        characters.load(**args)
    assert str(caught.value).startswith(message)


def test_missing_font_file_is_named(monkeypatch, tmp_path):
    import matplotlib

    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(DataError) as caught:
        fonts.bitmaps("cmr10")
    path = tmp_path / "fonts" / "ttf" / "cmr10.ttf"
    assert str(caught.value) == (
        f"Matplotlib's font cmr10.ttf is missing. Expected {path}. "
        "Install matplotlib anew: pip install --force-reinstall matplotlib."
    )
