"""MixUp and CutMix: shares counted by hand, losses worked out part by part."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import DataError, RecipeError
from zoo.layers import mixed, mixing

MIXUP, CUTMIX = [{"name": "MixUp", "alpha": 0.7}], [{"name": "CutMix", "alpha": 1.0}]


def numbered(count: int, height: int, width: int) -> np.ndarray:
    """Images that are their own number everywhere, so that each pixel tells where it is from."""
    return np.broadcast_to(np.arange(count, dtype="float32").reshape(-1, 1, 1, 1), (count, height, width, 2)).copy()


@given(st.integers(0, 2**31 - 1), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
def test_cutmix_targets_count_the_pixels(seed: int, count: int, height: int, width: int):
    x, y, _ = mixing(CUTMIX)(numbered(count, height, width), np.eye(count), seed=seed)
    for example in range(count):
        values, pixels = np.unique(x[example, ..., 0], return_counts=True)
        assert set(values) <= set(range(count)), "a pixel of nobody"
        for value in range(count):
            expected = pixels[values == value].sum() / (height * width)
            assert y[example, value] == pytest.approx(expected, abs=1e-6)


def test_cutmix_pastes_one_rectangle_of_the_images_proportions():
    found = 0
    for seed in range(40):
        mix = mixing(CUTMIX).draw(4, (20, 40, 3), seed)
        assert mix.keep.shape == (4, 20, 40, 1)
        for keep in mix.keep[..., 0]:
            rows, columns = np.where(keep == 0)
            if not len(rows):
                continue
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert (keep == 0).sum() == height * width, "not a rectangle"
            whole = 0 < rows.min() and rows.max() < 19 and 0 < columns.min() and columns.max() < 39
            if whole:
                found += 1
                assert abs(width - 2 * height) <= 2
    assert found > 20


def test_a_cutmix_rectangle_has_its_share_of_the_area():
    """A huge alpha makes every ratio 1/2: sides of sqrt(1/2), 70 of 100 rows and 28 of 40 columns where none is cut."""
    keep = mixing([{"name": "CutMix", "alpha": 1e6}]).draw(200, (100, 40, 1), seed=0).keep[..., 0]
    rows, columns = (keep == 0).any(axis=2).sum(axis=1), (keep == 0).any(axis=1).sum(axis=1)
    assert rows.max() == 70
    assert columns.max() == 28
    assert (rows < 70).any()
    assert (columns < 28).any()


def test_cutmix_rectangles_lie_everywhere_and_are_cut_at_the_borders():
    """Centres are uniform: each pixel is a corner's neighbour sometimes, and the share is never that of a moved one."""
    keep = np.concatenate([mixing(CUTMIX).draw(50, (8, 8, 1), seed).keep[..., 0] for seed in range(40)])
    pasted = (keep == 0).mean(axis=0)
    assert pasted.min() > 0.1
    assert pasted[3:5, 3:5].mean() > pasted[0, 0], "inside lie more rectangles than in the corner"
    assert np.abs(pasted - pasted[::-1, ::-1]).max() < 0.1


def test_mixup_shares_are_of_the_beta_distribution():
    """Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1))."""
    for alpha in (0.2, 1.0, 5.0):
        mix = mixing([{"name": "MixUp", "alpha": alpha}])
        share = np.concatenate([mix.draw(500, (2, 2, 1), seed).share for seed in range(80)])
        assert share.mean() == pytest.approx(0.5, abs=0.01)
        assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


@given(st.integers(0, 2**31 - 1), st.integers(1, 8))
def test_mixup_blends_inputs_and_targets_alike(seed: int, count: int):
    """Each image is its own number, so that a blend of images is the blend of the targets that are numbers."""
    x, y, weights = mixing(MIXUP)(numbered(count, 3, 3), np.arange(count, dtype="float32"), seed=seed)
    np.testing.assert_allclose(x[:, 0, 0, 0], y, atol=1e-4)
    assert np.ptp(x, axis=(1, 2, 3)).max() < 1e-6
    assert weights is None


def test_mixup_of_vectors():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    mix = mixing("mixup", "vector").draw(6, (3,), seed=1)
    by_hand = [mix.share[i] * x[i] + (1 - mix.share[i]) * x[mix.partner[i]] for i in range(6)]
    np.testing.assert_allclose(mix.inputs(x), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spec", [MIXUP, CUTMIX], ids=["mixup", "cutmix"])
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "binary_crossentropy"])
def test_the_loss_is_that_of_both_parts_each_with_its_own_weight(spec, loss: str):
    """By hand: share times the own weight times the loss on the own target, and the rest on the partner's."""
    rng = np.random.default_rng(0)
    own, weights = np.eye(4)[rng.integers(0, 4, 12)], rng.uniform(0.1, 3, 12)
    if loss == "binary_crossentropy":
        own = rng.integers(0, 2, (12, 4)).astype("float64")  # several labels at once
    outputs = rng.dirichlet(np.ones(4), 12)
    mix = mixing(spec).draw(12, (8, 8, 1), seed=3)
    y, w = mix.targets(own, weights)
    per_example = keras.losses.get(loss)
    own_loss = np.asarray(per_example(own, outputs)) * weights
    other_loss = np.asarray(per_example(own[mix.partner], outputs)) * weights[mix.partner]
    expected = mix.share * own_loss + (1 - mix.share) * other_loss
    assert not np.allclose(expected, own_loss)
    np.testing.assert_allclose(np.asarray(per_example(y, outputs)) * w, expected, rtol=1e-5)


def test_examples_without_weight_add_nothing():
    mix = mixing(MIXUP).draw(8, (4, 4, 1), seed=0)
    y, w = mix.targets(np.eye(8), np.zeros(8))
    assert np.isfinite(y).all()
    assert (w == 0).all()


def test_class_numbers_become_columns():
    mix = mixing(MIXUP).draw(5, (4, 4, 1), seed=0)
    labels = np.array([2, 0, 1, 1, 2])
    np.testing.assert_array_equal(mix.targets(labels, classes=3)[0], mix.targets(np.eye(3)[labels])[0])


def test_a_batch_follows_from_its_seed():
    x, y = numbered(16, 6, 6), np.eye(16)
    mix = mixing([*MIXUP, *CUTMIX])
    one, again, other = (mix(x, y, seed=seed)[0] for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    fresh = mixing([*MIXUP, *CUTMIX])
    np.testing.assert_array_equal(fresh(x, y, seed=4)[0], one)


def test_of_several_ways_each_batch_takes_one():
    mix = mixing([*MIXUP, *CUTMIX])
    shapes = [mix.draw(3, (6, 6, 1), seed).keep.shape for seed in range(100)]
    assert set(shapes) == {(3, 1, 1, 1), (3, 6, 6, 1)}
    assert 30 < shapes.count((3, 1, 1, 1)) < 70


def test_inputs_can_be_mixed_inside_a_compiled_network():
    """After the augmentation, which is in the network; the targets outside it."""
    x = numbered(5, 4, 4).astype("uint8")
    mix = mixing(CUTMIX).draw(5, (4, 4, 2), seed=1)

    class Inside(keras.Model):
        def call(self, inputs):
            return mixed(*inputs)

    np.testing.assert_array_equal(Inside().predict([x, mix.partner, mix.keep], verbose=0), mix.inputs(x))
    assert mix.inputs(x).dtype == "float32"


def test_a_single_example_stays_itself():
    x, y, _ = mixing("cutmix")(numbered(1, 5, 5) + 3, np.eye(1), seed=2)
    np.testing.assert_array_equal(x, numbered(1, 5, 5) + 3)
    np.testing.assert_array_equal(y, np.eye(1))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([{"name": "MixUp", "alpha": 0}], r"MixUp cannot use its `alpha`\. Expected a number above 0; received 0\."),
        ([{"name": "CutMix", "alfa": 1.0}], r"CutMix has no argument 'alfa'\. Did you mean 'alpha'"),
        ("mixupp", r"There is no augmentation 'mixupp'\. Did you mean 'mixup'"),
    ],
)
def test_what_cannot_mix_is_refused(spec, message: str):
    with pytest.raises(RecipeError, match=message):
        mixing(spec)


def test_targets_that_cannot_be_mixed_are_refused():
    mix = mixing("mixup").draw(2, (4, 4, 1), seed=0)
    with pytest.raises(DataError, match=r"Class numbers cannot be mixed: .*classes=10"):
        mix.targets(np.array([0, 1]))
    with pytest.raises(DataError, match=r"cannot be mixed\. Expected one number.*received float64, shape \(2, 3, 3\)"):
        mix.targets(np.zeros((2, 3, 3)))
    with pytest.raises(DataError, match="received <U1, shape"):
        mix.targets(np.array(["a", "b"]))
