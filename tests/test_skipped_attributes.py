"""What Keras skips when it saves a network is worked out once."""

import zipfile
from pathlib import Path

import keras
from keras.src.saving.saving_lib import get_attr_skipset

from zoo.skipped_attributes import KINDS, remember_what_is_skipped

from .networks import nested


def weights_of(model: keras.Model, file: Path) -> bytes:
    model.save(file)
    return zipfile.ZipFile(file).read("model.weights.h5")


def test_it_is_kept_and_the_same_again():
    keras.backend.clear_session()
    before = {kind: set(get_attr_skipset(kind)) for kind in KINDS}
    remember_what_is_skipped()
    for kind in KINDS:
        assert get_attr_skipset(kind) is get_attr_skipset(kind)
        assert get_attr_skipset(kind) == before[kind]


def test_what_is_saved_is_the_same(tmp_path):
    keras.backend.clear_session()
    model = nested()
    before = weights_of(model, tmp_path / "before.keras")
    remember_what_is_skipped()
    assert weights_of(model, tmp_path / "after.keras") == before
