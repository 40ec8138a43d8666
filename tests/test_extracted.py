"""``zoo.extract``: a network's lower layers on a data set, kept, and shared with fine-tuning."""

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import DataError, SurgeryError
from zoo.feature_cache import FeatureCache

from .networks import images, live, small_convnet
from .test_feature_store import Lines

layers = keras.layers


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    return images(60), np.arange(60) % 4


def test_the_features_are_what_the_layer_gives_in_the_order_of_the_examples(home, data):
    network = live(small_convnet(4))
    found = zoo.extract(network, data, cut="block2_pool")
    expected = np.asarray(zoo.drop_above(network, "block2_pool")(data[0].astype("float32")))
    np.testing.assert_allclose(found.x, expected, rtol=1e-4, atol=1e-4)
    assert found.y.tolist() == data[1].tolist()
    assert len(found) == len(found.names) == 60


def test_the_second_time_nothing_is_computed(home, data):
    network, lines = live(small_convnet(4)), Lines()
    once = zoo.extract(network, data)
    again = zoo.extract(network, data, progress=lines)
    assert "all 60 examples are in the cache" in lines
    assert once.x.tobytes() == again.x.tobytes()


def test_fine_tuning_finds_what_was_extracted(home, tmp_path):
    zoo.extract("glyphs", "digits")
    lines = Lines()
    zoo.finetune("glyphs", "digits", out=tmp_path / "r", limit_per_class=2, freeze="all", head_epochs=1, progress=lines)
    assert "examples are in the cache" in lines
    assert len(FeatureCache(home / "features").entries()) == 1


def test_batches_train_any_keras_model(home, data):
    found = zoo.extract(live(small_convnet(4)), data)
    head = keras.Sequential([keras.Input(found.x.shape[1:]), layers.Dense(4, activation="softmax")])
    head.compile("adam", "sparse_categorical_crossentropy")
    batches = found.dataset(16, seed=3)
    assert [len(batch[1]) for batch in batches] == [16, 16, 16, 12]
    assert len(head.fit(batches, epochs=2, verbose=0, shuffle=False).history["loss"]) == 2


@pytest.mark.parametrize("cache", ["run", "none"])
def test_nothing_is_kept_where_that_is_asked(home, data, cache):
    found = zoo.extract(live(small_convnet(4)), data, cache=cache, memory=10)
    assert not list((home / "features").glob("*"))
    assert found.x.shape[0] == 60, "what was mapped is read on"


def test_a_cut_that_gives_several_tensors_gives_several_arrays(home, data):
    inputs = keras.Input((8, 8, 1))
    both = keras.layers.LSTM(3, return_state=True, name="several")
    x = both(layers.Reshape((8, 8))(layers.Rescaling(1 / 255)(inputs)))
    model = keras.Model(inputs, layers.Dense(4, name="top")(x[0]))
    found = zoo.extract(model, data, cut="several")
    assert [part.shape for part in found.x] == [(60, 3)] * 3


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"engine": "tensorflw"}, "Did you mean 'tensorflow'"),
        ({"precision": "float16"}, "float32 | bfloat16"),
        ({"dtype": "int8"}, "float32 | float16"),
        ({"cache": "memory"}, "disk | run | none"),
        ({"cache_size": "much"}, "such as 20GB"),
    ],
)
def test_a_word_that_is_none_is_refused(data, wrong, expected):
    with pytest.raises(DataError) as error:
        zoo.extract(small_convnet(4), data, **wrong)
    assert expected in str(error.value)


def test_a_cut_that_is_none_is_refused(data):
    with pytest.raises(SurgeryError, match="has no layer 'block2_pol'"):
        zoo.extract(small_convnet(4), data, cut="block2_pol")


def test_data_that_do_not_fit_are_refused(data):
    with pytest.raises(DataError, match="do not fit together"):
        zoo.extract(small_convnet(4), (np.zeros((5, 7)), np.arange(5) % 2))
