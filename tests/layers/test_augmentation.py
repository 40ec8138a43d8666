"""Presets and lists of random layers, for images and for vectors."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.errors import RecipeError
from zoo.layers import PRESETS, VECTOR_PRESETS, FeatureDropout, FeatureNoise, augmentation, mixing, split_spec
from zoo.recipe import AUGMENTATIONS


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 1)).astype("float32")


def augmented(preset: str, x: np.ndarray, training: bool = True) -> np.ndarray:
    for layer in augmentation(preset):
        x = layer(x, training=training)
    return np.asarray(x)


def test_presets_of_recipes_are_presets_here():
    assert set(AUGMENTATIONS) == {*PRESETS, *VECTOR_PRESETS}
    assert augmentation("none") == augmentation("none", "vector") == augmentation("none", "text") == []
    assert augmentation(()) == augmentation([], "vector") == augmentation([], "text") == []


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_presets_change_training_images_only_and_keep_to_their_range(preset: str, x: np.ndarray):
    changed = augmented(preset, x)
    assert changed.shape == x.shape
    assert np.abs(changed - x).mean() > 1
    assert changed.min() >= -1e-3
    assert changed.max() <= 255 + 1e-3
    np.testing.assert_array_equal(augmented(preset, x, training=False), x)


def test_no_preset_flips():
    assert not [t["name"] for tables in PRESETS.values() for t in tables if "Flip" in t["name"]]


def upright(layers: list[keras.layers.Layer], count: int = 300) -> np.ndarray:
    """For each of some images whether its rows still run down and its columns to the right.

    One channel holds each pixel's column, one its row: their slopes in the changed image say how it lies.
    """
    ramp = np.broadcast_to(60 + 4 * np.arange(32, dtype="float32"), (32, 32))
    x = np.repeat(np.stack([ramp, ramp.T, ramp], axis=-1)[None], count, axis=0)
    for layer in layers:
        x = layer(x, training=True)
    inside = np.asarray(x)[:, 8:24, 8:24]
    right, down = np.diff(inside[..., 0], axis=2), np.diff(inside[..., 1], axis=1)
    return (np.median(right, axis=(1, 2)) > 0) & (np.median(down, axis=(1, 2)) > 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_mirrors_an_image_or_turns_it_upside_down(preset: str):
    """A flipped digit or letter is another one, or none; so is a 6 on its head."""
    assert upright(augmentation(preset)).all()


@pytest.mark.parametrize("table", [{"mode": "horizontal"}, {"mode": "vertical"}], ids=str)
def test_flips_that_are_asked_for_are_seen(table: dict[str, str]):
    assert 0.3 < upright(augmentation([{"name": "RandomFlip", **table}])).mean() < 0.7


def test_lists_of_keras_layers():
    made = augmentation([{"name": "RandomFlip", "mode": "horizontal"}, {"name": "RandomZoom", "height_factor": 0.3}])
    assert isinstance(made[0], keras.layers.RandomFlip)
    assert made[1].height_factor == 0.3


def test_what_mixes_is_told_from_what_changes_examples_alone():
    spec = [{"name": "RandomRotation", "factor": 0.1}, {"name": "CutMix"}, {"name": "MixUp", "alpha": 0.4}]
    assert split_spec(spec) == ([spec[0]], spec[1:])
    assert [type(layer).__name__ for layer in augmentation(spec)] == ["RandomRotation"]
    assert [len(augmentation(name)) for name in ("standard", "mixup", "cutmix")] == [5, 5, 5]
    assert split_spec("mixup", "vector") == ([], [{"name": "MixUp", "alpha": 0.2}])
    assert mixing("none") is mixing("standard") is mixing("noise", "vector") is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ligth", r"There is no augmentation 'ligth'\..*light"),
        ("noise", r"There is no augmentation 'noise' for images: it is for vectors\. Known: cutmix, light"),
        ([{"name": "RandomFlp"}], r"zoo does not augment with a layer 'RandomFlp'\..* Did you mean 'RandomFlip'"),
        ([{"name": "Mixup"}], r"zoo does not augment with a layer 'Mixup'\..* Did you mean .*'MixUp'"),
        (
            [{"name": "GaussianNoise", "stddev": 3.0}],
            r"'GaussianNoise'\. Expected one of these layers of Keras, which work on raw pixels: AugMix, RandAugment, "
            r"RandomBrightness, .*RandomZoom; or MixUp, CutMix\.$",
        ),
        ([{"name": "RandomFlip", "modus": "horizontal"}], r"'RandomFlip' has no argument 'modus'\..*mode"),
        ([{"name": "RandomFlip", "mode": "sideways"}], r"no such mode. Expected .*vertical; received sideways"),
        ([{"name": "RandomRotation"}], "'RandomRotation' refuses its arguments"),
    ],
)
def test_what_keras_has_not_is_refused(spec, message: str):
    with pytest.raises(RecipeError, match=message):
        augmentation(spec)


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("light", "vector", r"There is no augmentation 'light' for vectors: it is for images\. Known: feature_dropout"),
        (
            "light",
            "text",
            r"Augmentation needs images or vectors\. Expected augment = \"none\"; received 'light' on text",
        ),
        ([{"name": "RandomFlip"}], "vector", r"not augment vectors with 'RandomFlip'\. Expected FeatureNoise \|"),
        ([{"name": "CutMix"}], "vector", r"'CutMix'\. Expected FeatureNoise \| FeatureDropout \| MixUp\."),
        ([{"name": "FeatureNoise", "std": 1.0}], "vector", r"'FeatureNoise' has no argument 'std'.*stddev"),
        ([{"name": "FeatureDropout", "fill": [0.0]}], "vector", r"'FeatureDropout' has no argument 'fill'"),
        ([{"name": "FeatureNoise", "stddev": -1.0}], "vector", r"`stddev`\. Expected a number, 0 or more; received -1"),
        ([{"name": "FeatureDropout", "rate": 1.0}], "vector", r"`rate`\. Expected 0 to below 1; received 1\.0"),
        ([{"name": "FeatureDropout"}], "vector", "'FeatureDropout' refuses its arguments.*rate"),
    ],
)
def test_what_does_not_fit_the_kind_is_refused(spec, kind: str, message: str):
    with pytest.raises(RecipeError, match=message):
        augmentation(spec, kind)


@pytest.fixture
def vectors() -> np.ndarray:
    """Three features of very different scales, the last constant."""
    drawn = np.random.default_rng(0).normal(size=(20_000, 3)) * [1e-3, 500.0, 0.0] + [1.0, -2000.0, 7.0]
    return drawn.astype("float32")


def test_noise_is_a_share_of_each_features_spread(vectors: np.ndarray):
    moments = (vectors.mean(axis=0), vectors.std(axis=0))
    (noise,) = augmentation([{"name": "FeatureNoise", "stddev": 0.2}], "vector", moments=moments)
    moved = np.asarray(noise(vectors, training=True)) - vectors
    np.testing.assert_allclose(moved[:, :2].std(axis=0) / vectors[:, :2].std(axis=0), 0.2, rtol=0.02)
    assert np.abs(moved[:, :2].mean(axis=0) / vectors[:, :2].std(axis=0)).max() < 0.01
    assert (moved[:, 2] == 0).all()
    np.testing.assert_array_equal(noise(vectors, training=False), vectors)


def test_noise_on_standardized_features_is_that_of_keras():
    x = np.zeros((8, 4), "float32")
    ours, theirs = FeatureNoise(0.3, seed=5), keras.layers.GaussianNoise(0.3, seed=5)
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=1e-6)


def test_features_are_left_out_by_themselves_and_the_rest_stays_as_measured(vectors: np.ndarray):
    mean = vectors.mean(axis=0)
    (dropping,) = augmentation([{"name": "FeatureDropout", "rate": 0.3}], "vector", moments=(mean, mean))
    y = np.asarray(dropping(vectors, training=True))
    out = y != vectors
    np.testing.assert_array_equal(y[~out], vectors[~out])
    np.testing.assert_allclose(y[out], np.broadcast_to(mean, y.shape)[out], rtol=1e-6)
    np.testing.assert_allclose(out[:, :2].mean(axis=0), 0.3, atol=0.01)
    assert abs((out[:, 0] & out[:, 1]).mean() - 0.09) < 0.01, "features are not left out independently"
    np.testing.assert_array_equal(dropping(vectors, training=False), vectors)


def test_standardized_features_are_left_out_as_zeros():
    y = np.asarray(FeatureDropout(0.5, seed=1)(np.ones((100, 4)), training=True))
    assert set(y.ravel().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("made", [lambda: FeatureNoise(0.0, [1.0, 2.0]), lambda: FeatureDropout(0.0, [1.0, 2.0])])
def test_vectors_of_unknown_width_are_taken_and_of_another_width_refused(made):
    assert made()(keras.Input((None,))).shape == (None, None)
    with pytest.raises(RecipeError, match=r"does not fit its input\. Expected 3 features; received 2"):
        made()(keras.Input((3,)))


@pytest.mark.parametrize("made", [lambda: FeatureNoise(0.1, [1.0, 2.0], 3), lambda: FeatureDropout(0.2, [1.0, 2.0], 3)])
def test_saved_layers_draw_the_same(made, tmp_path):
    model = keras.Sequential([keras.Input((2,)), made()])
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    x = np.ones((16, 2), "float32")
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    np.testing.assert_array_equal(loaded(x, training=True), model(x, training=True))


@pytest.mark.parametrize(
    ("values", "received"),
    [
        ([[1.0, 2.0]], "shape (1, 2)"),
        (3.0, "shape ()"),
        ([1.0, np.nan, 2.0], "nan for feature 1"),
        ([1.0, 2.0, -np.inf], "-inf for feature 2"),
        (["wide", 1.0], "['wide', 1.0]"),
        ([[1.0], [1.0, 2.0]], "[[1.0], [1.0, 2.0]]"),
    ],
    ids=str,
)
@pytest.mark.parametrize(("layer", "name"), [(FeatureNoise, "spread"), (FeatureDropout, "fill")])
def test_wrong_moments_are_refused(layer: Any, name: str, values: Any, received: str):
    with pytest.raises(RecipeError) as caught:
        layer(0.1, values)
    wanted = (
        f"{layer.__name__} cannot use its `{name}`. Expected one finite number for each feature; received {received}."
    )
    assert str(caught.value) == wanted


@pytest.mark.parametrize(("layer", "name"), [(FeatureNoise, "spread"), (FeatureDropout, "fill")])
def test_moments_of_other_features_are_refused(layer: Any, name: str):
    with pytest.raises(RecipeError, match=rf"`{name}` does not fit its input\. Expected 3 features; received 2\."):
        layer(0.1, [1.0, 2.0])(keras.Input((3,)))


@pytest.mark.parametrize("layer", [FeatureNoise, FeatureDropout])
def test_numbers_of_numpy_are_numbers(layer: Any):
    made = layer(np.float32(0.25), np.array([1, 2]))
    again = layer.from_config(json.loads(json.dumps(made.get_config())))
    assert again.get_config() == made.get_config()


def columns_of(section: str) -> list[list[str]]:
    """The cells of the first table of a section of the page."""
    text = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text(encoding="utf-8")
    lines = text.split(f"\n## {section}\n")[1].split("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows if "---" not in row]


def test_the_page_lists_the_presets_for_images_as_they_are():
    head, *rows = columns_of("Presets for images")
    told: dict[str, list[dict[str, object]]] = {"none": []}
    for column, preset in enumerate(head[2:], 2):
        tables: dict[str, dict[str, object]] = {}
        layer = ""
        for row in rows:
            layer = row[0] or layer
            value = tuple(float(part) for part in row[column].split(" to ")) if row[column] else ()
            for argument in row[1].split(", ") if value else ():
                tables.setdefault(layer, {"name": layer})[argument] = value[0] if len(value) == 1 else value
        told[preset] = list(tables.values())
    black = ("fill_mode", "fill_value")
    assert told == {
        name: [{k: v for k, v in table.items() if k not in black} for table in tables]
        for name, tables in PRESETS.items()
    }
    fills = {
        (t["name"], t.get("fill_mode"), t["fill_value"]) for ts in PRESETS.values() for t in ts if "fill_value" in t
    }
    moving = ("RandomTranslation", "RandomRotation", "RandomZoom", "RandomShear")
    assert fills == {*((name, "constant", 0.0) for name in moving), ("RandomErasing", None, 0.0)}


def test_the_page_lists_the_presets_for_vectors_as_they_are():
    told: dict[str, tuple[dict[str, object], ...]] = {"none": ()}
    for preset, what in columns_of("Vectors")[1:]:
        layer, argument, value = what.replace(",", "").split()
        told[preset] = ({"name": layer, argument: float(value)},)
    assert told == VECTOR_PRESETS
