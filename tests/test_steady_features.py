"""The same features, to the last bit, whatever was in the cache, in any order: over random networks."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from zoo.engine_choice import choose, decide
from zoo.engines.interface import Setup
from zoo.extraction import Sink, fill
from zoo.feature_folder import FeatureFolder

from .networks import images, live
from .programs import Drawn
from .random_networks import networks

layers = keras.layers
COUNT = 70
SETUP = Setup(batch=64, threads=2)
EXAMPLES = np.array([b"%032d" % number for number in range(COUNT)], "S32")

# A model inside cannot know that what it will be called with is masked.
pytestmark = pytest.mark.filterwarnings("ignore:Layer '.*' .* was passed an input with a mask attached")


class Cache:
    """Features of a network as a run gets them: an engine is chosen, and what is missing is computed."""

    def __init__(self, network: keras.Model, x: Any, folder: Path, wanted: str):
        self.network, self.x, self.wanted = network, x, wanted
        self.path = folder

    def read(self, indices: np.ndarray) -> Any:
        return keras.tree.map_structure(lambda array: array[indices], self.x)

    def get(self, name: str, asked: np.ndarray) -> list[np.ndarray]:
        decision = decide(self.network, self.wanted, len(asked), SETUP)
        first = self.read(asked[np.resize(np.arange(len(asked)), SETUP.batch)])
        running = choose(self.network, decision, first, min(len(asked), SETUP.batch), SETUP).engine
        folder = FeatureFolder(self.path / f"{name} {running.setup.batch} {running.name}")
        sink = Sink(folder, tuple(range(len(self.network.outputs))))
        fill([sink], EXAMPLES[asked], running.run, lambda i: self.read(asked[i]), running.setup.batch)
        found = folder.features(EXAMPLES[asked]).arrays()
        running.close()
        return [np.array(part) for part in found]


def over(check: Callable[..., None], drawn: st.SearchStrategy[Any], count: int) -> None:
    how = settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    how(given(st.data(), drawn)(check))()


def check(data: Any, network: keras.Model, x: Any, folder: Path) -> None:
    """From nothing in one run; and in two or three, of any sizes and in any order."""
    cache = Cache(network, x, folder, data.draw(st.sampled_from(["auto", "auto", "keras"])))
    everything = np.arange(COUNT)
    cold = cache.get("cold", everything)
    order = np.array(data.draw(st.permutations(range(COUNT))))
    some = data.draw(st.sampled_from([1, 2, 3, 6, 33, 64, 65]))
    for asked in (order[:some], order[: data.draw(st.integers(some, COUNT))], order):
        warm = cache.get("warm", asked)
        for ours, theirs in zip(warm, cold, strict=True):
            np.testing.assert_array_equal(ours.view("u1"), theirs[asked].view("u1"))


@st.composite
def pooled(draw: Any) -> keras.Model:
    """Convolutions with any number of channels, and means over all positions."""
    seed, before = draw(st.integers(0, 2**16)), random.getstate()
    keras.utils.set_random_seed(seed)
    try:
        return _pooled(draw)
    finally:
        random.setstate(before)  # hypothesis wants it back as it was


def _pooled(draw: Any) -> keras.Model:
    channels = st.integers(3, 40).filter(lambda count: count % 8)
    inputs = keras.Input((16, 16, 3))
    x, ends = inputs, []
    for _ in range(draw(st.integers(1, 3))):
        x = layers.Conv2D(draw(channels), 3, strides=draw(st.integers(1, 2)), padding="same", activation="relu")(x)
        x = draw(st.sampled_from([layers.BatchNormalization, layers.ReLU, lambda: layers.DepthwiseConv2D(3)]))()(x)
        ends.append(layers.GlobalAveragePooling2D()(x))
        if min(x.shape[1:3]) < 6:
            break
    end = layers.Concatenate()(ends) if len(ends) > 1 else ends[0]
    if draw(st.booleans()):
        end = layers.Dense(draw(channels), activation="tanh")(end)
    return live(keras.Model(inputs, [end, ends[0]][: draw(st.integers(1, 2))]), images(16, (16, 16, 3)) / 255)


def test_means_over_any_number_of_channels_are_the_same_in_any_order(tmp_path_factory: pytest.TempPathFactory):
    x = images(COUNT, (16, 16, 3)) / 255

    def one(data: Any, network: keras.Model) -> None:
        check(data, network, x, tmp_path_factory.mktemp("cache"))

    over(one, pooled(), 12)


def test_random_networks_give_the_same_features_in_any_order(tmp_path_factory: pytest.TempPathFactory):
    rng = np.random.default_rng(0)

    def more(array: np.ndarray) -> np.ndarray:
        rows = array[np.arange(COUNT) % len(array)]
        return rows if rows.dtype.kind == "i" else rows + rng.normal(0, 0.1, rows.shape).astype("float32")

    def one(data: Any, drawn: Drawn) -> None:
        check(data, drawn.model, keras.tree.map_structure(more, drawn.x), tmp_path_factory.mktemp("cache"))

    over(one, networks(), 6)
