"""Presets and lists of Keras's own random layers."""

import keras
import numpy as np
import pytest

from zoo.errors import RecipeError
from zoo.layers import PRESETS, augmentation
from zoo.recipe import AUGMENTATIONS


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 1)).astype("float32")


def test_presets_are_those_of_recipes():
    assert tuple(PRESETS) == AUGMENTATIONS
    assert augmentation("none") == []


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_presets_change_training_images_only_and_keep_to_their_range(preset: str, x: np.ndarray):
    changed = x
    for layer in augmentation(preset):
        changed = layer(changed, training=True)
    assert changed.shape == x.shape
    assert np.abs(changed - x).mean() > 1
    assert np.asarray(changed).min() >= -1e-3
    assert np.asarray(changed).max() <= 255 + 1e-3
    same = x
    for layer in augmentation(preset):
        same = layer(same, training=False)
    np.testing.assert_array_equal(same, x)


def test_no_preset_flips():
    assert not [t["name"] for tables in PRESETS.values() for t in tables if "Flip" in t["name"]]


def test_lists_of_keras_layers():
    made = augmentation([{"name": "RandomFlip", "mode": "horizontal"}, {"name": "RandomZoom", "height_factor": 0.3}])
    assert isinstance(made[0], keras.layers.RandomFlip)
    assert made[1].height_factor == 0.3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ligth", r"There is no augmentation 'ligth'\..*light"),
        ([{"name": "RandomFlp"}], r"zoo does not augment with a layer 'RandomFlp'\..* Did you mean 'RandomFlip'"),
        (
            [{"name": "GaussianNoise", "stddev": 3.0}],
            r"'GaussianNoise'\. Expected one of these layers of Keras, which work on raw pixels: AugMix, RandAugment, "
            r"RandomBrightness, .*RandomZoom\.$",
        ),
        ([{"name": "RandomFlip", "modus": "horizontal"}], r"'RandomFlip' has no argument 'modus'\..*mode"),
        ([{"name": "RandomFlip", "mode": "sideways"}], r"no such mode. Expected .*vertical; received sideways"),
        ([{"name": "RandomRotation"}], "'RandomRotation' refuses its arguments"),
    ],
)
def test_what_keras_has_not_is_refused(spec, message: str):
    with pytest.raises(RecipeError, match=message):
        augmentation(spec)
