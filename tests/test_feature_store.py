"""What crosses a run's boundaries: found or computed, in one pass or from below, and always the same bits."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo import engine
from zoo.boundary import Boundary
from zoo.caching import FeatureSettings
from zoo.enforcement import edge_of
from zoo.errors import DeviceError, RecipeError
from zoo.feature_cache import FeatureCache
from zoo.feature_folder import FeatureFolder
from zoo.feature_store import FeatureStore
from zoo.flattening import flat
from zoo.options import Options
from zoo.preparation import prepared
from zoo.progress import Progress
from zoo.side import Side
from zoo.stored_features import Stored
from zoo.trunk_rows import TrunkRows, trunk_rows

from .networks import live, small_convnet

layers = keras.layers


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)

    def __contains__(self, part: str) -> bool:
        return any(part in line for line in self.said)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (count, 8, 8, 1)).astype("float32")


def rows_of(x: np.ndarray, val: int = 0) -> TrunkRows:
    cut = len(x) - val
    parts = {"train": x[:cut], "val": x[cut:]}
    return trunk_rows({name: Side(engine.rows_of([part]), np.zeros((len(part), 1))) for name, part in parts.items()})


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return live(small_convnet(4), images(64, seed=9))


def edges(network: keras.Model, *uptos: str) -> tuple[keras.Model, list[Boundary]]:
    graph = flat(network)
    return graph, [edge_of(zoo.freeze(network, upto=upto), graph) for upto in uptos]


def bits(stored: Stored | None) -> list[bytes]:
    assert stored is not None
    return [array.tobytes() for array in stored.features.arrays()]


def got(
    network: keras.Model, upto: str, x: np.ndarray, later: Sequence[str] = (), **settings: Any
) -> tuple[Stored | None, Lines]:
    """What a new store gives, and what it says."""
    lines = Lines()
    graph, found = edges(network, upto, *later)
    with FeatureStore(FeatureSettings(**settings), progress=lines) as store:
        return asked_of(store, graph, found[0], rows_of(x), later=found[1:]), lines


def asked_of(
    store: FeatureStore, graph: keras.Model, edge: Boundary, rows: TrunkRows, later: Sequence[Boundary] = ()
) -> Stored | None:
    wanted = store.decide(graph, edge, lambda: rows)
    if not wanted.caching.once:
        store.progress.line(wanted.caching.why)
    return store.get(graph, wanted, lambda: rows, later=later)


def reference(network: keras.Model, upto: str, x: np.ndarray) -> np.ndarray:
    trunk, _ = zoo.split(network, zoo.freeze(network, upto=upto))
    return np.asarray(trunk(x, training=False))


def test_what_is_stored_is_what_the_trunk_gives(network, home):
    x = images(70)
    stored, lines = got(network, "block2", x)
    assert stored is not None
    np.testing.assert_allclose(stored.features.arrays()[0], reference(network, "block2", x), rtol=1e-4, atol=1e-4)
    assert "was run on 70 examples" in lines
    assert stored.facts["engine"] == "tensorflow"


def test_cold_warm_and_partly_warm_give_the_same_bits(network, home, monkeypatch, tmp_path):
    x = images(150)
    cold, _ = got(network, "block2", x)
    warm, lines = got(network, "block2", x)
    assert "all 150 examples are in the cache" in lines
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "other"))
    got(network, "block2", x[::3])
    partly, lines = got(network, "block2", x)
    assert "was run on 100 examples" in lines
    assert "50 were in the cache" in lines
    assert bits(cold) == bits(warm) == bits(partly)


def test_the_same_image_in_another_data_set_is_not_computed_again(network, home):
    x = images(60)
    got(network, "block2", x[:40])
    _, lines = got(network, "block2", np.concatenate([images(3, seed=5), x[::-1]]))
    assert "was run on 23 examples" in lines


def test_another_engine_precision_or_input_finds_nothing(network, home):
    x = images(20)
    got(network, "block2", x)
    for settings in ({"engine": "keras"}, {"dtype": "float16"}, {"threads": 2}):
        _, lines = got(network, "block2", x, **settings)
        assert "was run on 20 examples" in lines, settings
    graph, (edge,) = edges(network, "block2")
    lines = Lines()
    asked_of(FeatureStore(inputs="another decoder", progress=lines), graph, edge, rows_of(x))
    assert "was run on 20 examples" in lines


def test_a_weight_below_the_boundary_changes_the_key_and_one_above_does_not(home):
    network, x = live(small_convnet(4), images(64, seed=9)), images(20)
    got(network, "block2", x)
    kernel = network.get_layer("block3_conv1").kernel
    kernel.assign(kernel + 1.0)
    assert "all 20 examples are in the cache" in got(network, "block2", x)[1]
    statistic = network.get_layer("block1_bn1").moving_mean
    statistic.assign(statistic + 1e-6)
    assert "was run on 20 examples" in got(network, "block2", x)[1]


# Several boundaries


def test_one_pass_for_several_boundaries_gives_the_bits_of_each_alone(network, home, monkeypatch, tmp_path):
    x = images(8 * 64 + 5)
    upper, lines = got(network, "block2", x, later=["block1"])
    assert "the same pass computes what later stages need" in lines
    lower, lines = got(network, "block1", x)
    assert "are in the cache" in lines
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "other"))
    assert bits(upper) == bits(got(network, "block2", x)[0])
    assert bits(lower) == bits(got(network, "block1", x)[0])


def test_an_upper_boundary_is_computed_from_a_lower_one_with_the_same_bits(network, home, monkeypatch, tmp_path):
    x = images(8 * 64 + 5)
    got(network, "block1", x)
    upper, lines = got(network, "block2", x, later=["block1"])
    assert "computed from what is known up to" in lines
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "other"))
    assert bits(upper) == bits(got(network, "block2", x)[0])


def test_few_examples_are_not_worth_another_way(network, home):
    _, lines = got(network, "block2", images(70), later=["block1"])
    assert "same pass" not in lines
    assert "was run on 70 examples" in got(network, "block1", images(70))[1]


def test_where_both_do_not_fit_the_lower_one_is_computed_again(network, home):
    x = images(8 * 64)
    upper, lower = (np.prod(reference(network, upto, x[:1]).shape) * 4 * len(x) for upto in ("block2", "block1"))
    _, lines = got(network, "block2", x, later=["block1"], size=int(max(upper, lower) * 1.2))
    assert "computed in a later stage" in lines
    _, lines = got(network, "block1", x, size=int(max(upper, lower) * 1.2))
    assert "removed from the cache to make room" in lines
    assert f"was run on {len(x)} examples" in lines


def test_a_pass_that_gives_other_bits_is_not_taken(network, home, monkeypatch):
    monkeypatch.setattr("zoo.trunk_route.same_bits", lambda ours, theirs: False)
    _, lines = got(network, "block2", images(8 * 64), later=["block1"])
    assert "together with this it would not be the same" in lines
    assert len(FeatureCache(home / "features").entries()) == 1


def test_nothing_is_removed_for_a_pass_that_is_not_taken(network, home, monkeypatch):
    x, others = images(8 * 64), images(500, seed=7)
    got(network, "block3", others)
    upper, lower = (np.prod(reference(network, upto, x[:1]).shape) * 4 * len(x) for upto in ("block2", "block1"))
    held = FeatureCache(home / "features").entries()[0].bytes
    monkeypatch.setattr("zoo.trunk_route.same_bits", lambda ours, theirs: False)
    _, lines = got(network, "block2", x, later=["block1"], size=int(upper + lower + held / 2))
    assert "removed from the cache" not in lines
    assert "all 500 examples are in the cache" in got(network, "block3", others)[1]


def test_boundaries_that_other_examples_are_known_of_are_computed_in_their_own_stage_and_a_line_says_so(network, home):
    x = images(8 * 64)
    got(network, "block1", x[:10])
    _, lines = got(network, "block2", x, later=["block1"])
    assert "computed in a later stage: up to block2_pool" in lines
    assert "other examples than of this one are in the cache" in lines


def test_an_engine_that_cannot_be_built_now_is_replaced_by_keras(network, home, monkeypatch):
    got(network, "block2", images(20))

    def full(*args):
        what = "There is no room."
        raise DeviceError(what)

    monkeypatch.setattr("zoo.engine_choice.build", full)
    stored, lines = got(network, "block2", images(30))
    assert "tensorflow is not taken: There is no room" in lines
    assert stored is not None and stored.facts["engine"] == "keras"
    assert "was run on 30 examples" in lines, "another engine's features are not mixed in"


def test_damage_to_other_examples_features_costs_nothing_and_stops_nobody(network, home, monkeypatch):
    x = images(40)
    got(network, "block2", x[:20])
    got(network, "block2", x[20:])
    file = sorted(home.glob("features/*/*/features.h5"))
    first = got(network, "block2", x[:20])[0]
    for one in file:
        other = FeatureFolder(one.parent.parent).refresh()
        if one.parent not in other.shards_of(rows_of(x[:20]).digests):
            content = bytearray((one.parent / "manifest.json").read_bytes())
            content[len(content) // 2] ^= 1
            (one.parent / "manifest.json").write_bytes(bytes(content))

    def no(*args, **kwargs):
        raise OSError(errno.EROFS, "it may only be read")

    with monkeypatch.context() as patch:
        patch.setattr("zoo.feature_folder.locked", no)
        again, lines = got(network, "block2", x[:20])
        assert bits(again) == bits(first)
        assert "all 20 examples are in the cache" in lines and "damaged" not in lines
    _, lines = got(network, "block2", x[:20])
    assert "damaged shards of other examples that were removed: 1" in lines
    assert "was run on 20 examples" in got(network, "block2", x)[1]


# Where nothing can be kept


def test_features_beyond_the_limit_are_not_kept(network, home):
    stored, lines = got(network, "block2", images(20), size=1000)
    assert stored is None
    assert "its features take" in lines
    assert not (home / "features").exists()


def test_a_trunk_whose_examples_mind_their_neighbours_is_run_in_every_step(home):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(3, 3, name="block1_conv")(inputs)
    x = keras.ops.subtract(x, keras.ops.mean(x, axis=0, keepdims=True))
    x = layers.Flatten(name="block2_flat")(layers.Conv2D(3, 3, name="block2_conv")(x))
    model = keras.Model(inputs, layers.Dense(4, name="top")(x))
    graph = flat(model)
    edge = edge_of(zoo.freeze(model, train=["top"]), graph)
    lines = Lines()
    assert asked_of(FeatureStore(progress=lines), graph, edge, rows_of(images(200))) is None
    assert "changes with the others in its batch" in lines
    assert FeatureCache(home / "features").entries() == []


class Own(layers.Layer):
    """A layer whose code may change without its configuration."""

    def call(self, inputs):
        return inputs * 2.0


def test_code_of_the_users_own_is_kept_for_the_run_only(home):
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten(name="block1_flat")(Own(name="block1_own")(layers.Conv2D(3, 3, name="block1_conv")(inputs)))
    model = keras.Model(inputs, layers.Dense(4, name="top")(x))
    graph = flat(model)
    edge = edge_of(zoo.freeze(model, train=["top"]), graph)
    x = images(30)
    for _ in range(2):
        lines = Lines()
        with FeatureStore(progress=lines) as store:
            stored = asked_of(store, graph, edge, rows_of(x))
        assert "was run on 30 examples" in lines
        assert stored is not None
        expected = np.asarray(keras.Model(inputs, model.layers[-2].output)(x))
        np.testing.assert_allclose(stored.features.arrays()[0], expected, rtol=1e-4, atol=1e-3)
    assert list((home / "features").glob("*")) == []
    assert [path for path in (home / "features").glob(".*")] == []


def test_kept_for_the_run_leaves_nothing_behind(network, home):
    stored, _ = got(network, "block2", images(30), keep="run")
    assert stored is not None
    assert list((home / "features").iterdir()) == []


# What is read


def test_a_damaged_shard_is_computed_again(network, home):
    x = images(40)
    before = bits(got(network, "block2", x)[0])
    (data,) = (home / "features").rglob("features.h5")
    content = bytearray(data.read_bytes())
    content[-100] ^= 1
    data.write_bytes(bytes(content))
    stored, lines = got(network, "block2", x)
    assert "damaged shards that were removed: 1" in lines
    assert bits(stored) == before


def test_what_does_not_fit_the_memory_is_read_from_the_disk(network, home):
    x = images(40)
    held, _ = got(network, "block2", x)
    mapped, _ = got(network, "block2", x, memory=100)
    assert held is not None and mapped is not None
    some = np.array([7, 3, 3, 39])
    np.testing.assert_array_equal(held.read("train")(some), mapped.read("train")(some))


def test_sixteen_bits_are_said_with_what_they_cost(network, home):
    x = images(40)
    full, _ = got(network, "block2", x)
    half, lines = got(network, "block2", x, dtype="float16")
    assert "stored with 16 bits: off by at most" in lines
    assert full is not None and half is not None
    gap = np.abs(full.features.arrays()[0] - half.features.arrays()[0]).max()
    assert 0 < gap < 0.01 * np.abs(full.features.arrays()[0]).max()


def test_rows_of_several_sides_are_read_in_any_order():
    one, two = images(5), images(4, seed=1)
    rows = trunk_rows(
        {"train": Side(engine.rows_of([one]), np.zeros(5)), "val": Side(engine.rows_of([two]), np.zeros(4))}
    )
    whole = np.concatenate([one, two])
    wanted = np.array([8, 0, 4, 5, 2])
    np.testing.assert_array_equal(rows.read(wanted), whole[wanted])
    assert rows.parts == {"train": range(5), "val": range(5, 9)}
    assert len(set(rows.digests)) == 9


def test_the_name_of_an_entry_says_what_it_is_of(network, home):
    got(network, "block2", images(20))
    (entry,) = FeatureCache(Path(home) / "features").entries()
    assert entry.about["what"].startswith("convnet up to block")
    assert entry.about["engine"] == "tensorflow"


# What is said before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "is run once for 1797 examples, and the head trains on what it gives"),
        ({"cache": "run"}, "(for this run only, as asked)"),
        ({"cache": "none"}, "is run in every step: as asked"),
        ({"augment": "light"}, "is run in every step: the examples are augmented, and look different every time"),
        ({"augment": "light", "views": 3}, "1797 examples, 3 views of each that trains"),
        ({"engine": "keras"}, "engine keras: as asked"),
        ({"cache": "none", "engine": "keras"}, "engine changes nothing: in no stage frozen layers are run once"),
        ({"cache": "run", "cache_size": "5GB"}, "cache_size changes nothing: what is kept for the run only"),
        ({"augment": "light", "feature_dtype": "float16"}, "feature_dtype changes nothing"),
    ],
)
def test_a_dry_run_says_what_is_computed_once(options, expected):
    ready = prepared("glyphs", "digits", options=Options(freeze="all", **options))
    assert expected in "\n".join(ready.lines())


@pytest.mark.parametrize("options", [{}, {"augment": "mixup"}])
def test_views_of_what_has_none_are_refused(options):
    with pytest.raises(RecipeError, match="There are no views of these examples"):
        prepared("glyphs", "digits", options=Options(views=2, **options))
