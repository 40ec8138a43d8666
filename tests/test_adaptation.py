"""Batch-norm statistics re-estimated on new data: equal to those of the whole set at once."""

import keras
import numpy as np
import pytest

import zoo
from zoo import adaptation, engine
from zoo.adaptation import adapt
from zoo.copying import clone
from zoo.enforcement import adapting
from zoo.errors import PlanError
from zoo.flattening import flat

from .networks import NETWORKS, SKIPPING_BLOCKS, images, live, small_convnet

layers = keras.layers


def norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]


def statistics(model: keras.Model) -> list[np.ndarray]:
    return [v.numpy() for norm in norms(model) for v in (norm.moving_mean, norm.moving_variance)]


def at_once(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    """Keras's own: the statistics of the whole set as a single batch in training mode."""
    copy = clone(model)
    return statistics(live(copy, x))


def masked_norms() -> keras.Model:
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True, name="embed")(inputs)
    x = layers.BatchNormalization(name="low_bn")(x)
    x = layers.BatchNormalization(name="high_bn")(layers.Dense(3, activation="tanh", name="dense")(x))
    return keras.Model(inputs, layers.Dense(2, name="top")(layers.GlobalAveragePooling1D(name="pool")(x)))


def vectors() -> keras.Model:
    inputs = keras.Input((6,))
    x = layers.BatchNormalization(name="low_bn")(layers.Dense(4, name="low")(inputs))
    return keras.Model(inputs, layers.Dense(2, name="top")(layers.BatchNormalization(name="high_bn")(x)))


def channels_first() -> keras.Model:
    inputs = keras.Input((3, 4, 5))
    x = layers.BatchNormalization(axis=1, name="bn")(inputs)
    return keras.Model(inputs, layers.Dense(2, name="top")(layers.Flatten(name="flat")(x)))


def attending() -> keras.Model:
    """Attention sees only the masks that its inputs carry."""
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True, name="embed")(inputs)
    x = layers.BatchNormalization(name="low_bn")(x)
    x = layers.MultiHeadAttention(1, 2, name="attention")(x, x)
    x = layers.BatchNormalization(name="high_bn")(layers.Dense(3, name="dense")(x))
    return keras.Model(inputs, layers.Dense(2, name="top")(layers.GlobalAveragePooling1D(name="pool")(x)))


def dictionary() -> keras.Model:
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((3,), name="b")}
    x = layers.Concatenate(name="join")([layers.BatchNormalization(name="low_bn")(inputs["a"]), inputs["b"]])
    x = layers.BatchNormalization(name="high_bn")(layers.Dense(4, name="dense")(x))
    return keras.Model(inputs, layers.Dense(2, name="top")(x))


CASES = {
    "attention": (attending, lambda: np.random.default_rng(0).integers(0, 10, (150, 5)).astype("int32")),
    "convnet": (small_convnet, lambda: images(150, seed=3)),
    "skipping": (NETWORKS["skipping"][0], lambda: images(150, seed=3)),
    "nested": (NETWORKS["nested"][0], lambda: images(150, seed=3)),
    "masked": (masked_norms, lambda: np.random.default_rng(0).integers(0, 10, (150, 5)).astype("int32")),
    "vectors": (vectors, lambda: images(150, (6,), seed=3) + 1000),
    "channels first": (channels_first, lambda: images(150, (3, 4, 5), seed=3)),
}


@pytest.mark.parametrize("budget", [1024**3, 0], ids=["kept in memory", "computed again"])
@pytest.mark.parametrize("case", CASES)
def test_the_statistics_are_those_of_the_whole_set_at_once(case: str, budget: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(adaptation, "BUDGET", budget)
    build, inputs = CASES[case]
    model, x = build(), inputs()
    expected, before = at_once(model, x), statistics(model)
    graph = flat(model)
    adapt(graph, [norm.name for norm in norms(graph)], engine.rows_of([x]), len(x))
    for found, wanted, old in zip(statistics(graph), expected, before, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5 * (1 + np.abs(wanted).max()))
        assert np.abs(wanted - old).max() > 0, "the data is new"


def test_a_network_that_takes_a_dictionary_adapts():
    model = dictionary()
    x = {"a": images(80, (4,), seed=1), "b": images(80, (3,), seed=2)}
    expected = at_once(model, x)
    adapt(model, ["low_bn", "high_bn"], lambda indices: {k: v[indices] for k, v in x.items()}, 80)
    for found, wanted in zip(statistics(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4)


def test_a_moving_average_would_not_do():
    """What Keras's own training mode gives batch by batch is another thing: the test above can fail."""
    model, x = small_convnet(), images(150, seed=3)
    expected, copy = at_once(model, x), clone(model)
    for start in range(0, 150, 50):
        copy(x[start : start + 50], training=True)
    gaps = [np.abs(a - b).max() / (1e-3 + np.abs(b).max()) for a, b in zip(statistics(copy), expected, strict=True)]
    assert max(gaps) > 0.01


def test_only_the_layers_that_are_named_change():
    model, x = small_convnet(), images(80, seed=3)
    before = {norm.name: norm.moving_mean.numpy() for norm in norms(model)}
    plan = zoo.freeze(model, upto="block2", batch_norm={"block2": "adapt"})
    names = adapting(plan, flat(model))
    assert names == ["block2_bn1", "block2_bn2"]
    adapt(flat(model), names, engine.rows_of([x]), len(x))
    assert {norm.name for norm in norms(model) if np.any(norm.moving_mean.numpy() != before[norm.name])} == set(names)


def test_nothing_is_computed_twice_where_it_fits_into_memory(monkeypatch: pytest.MonkeyPatch):
    """Every layer is run once an example, through all passes together."""
    x = images(40)
    seen: list[list[str]] = []
    plain = engine.batches

    def noting(network, *args, **kwargs):
        seen.append([op.name for op in network.layers])
        return plain(network, *args, **kwargs)

    monkeypatch.setattr("zoo.adaptation.engine.batches", noting)
    model = small_convnet()
    adapt(model, [norm.name for norm in norms(model)], engine.rows_of([x]), len(x))
    ran = [name for names in seen for name in names if "conv" in name]
    assert len(seen) == 6 and len(ran) == len(set(ran)) == 6


def test_a_layer_called_at_two_depths_is_refused():
    inputs = keras.Input((4,))
    norm = layers.BatchNormalization(name="norm")
    x = layers.Dense(4, name="between")(norm(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="top")(norm(x)))
    with pytest.raises(PlanError, match=r"statistics of 'norm' cannot be re-estimated: it is called several times"):
        adapt(model, ["norm"], engine.rows_of([images(8, (4,))]), 8)


def test_a_layer_called_twice_at_one_depth_pools_both():
    inputs = keras.Input((4,))
    norm = layers.BatchNormalization(name="norm")
    model = keras.Model(inputs, layers.Dense(2, name="top")(norm(inputs) + norm(inputs * 3.0)))
    x = images(60, (4,))
    adapt(model, ["norm"], engine.rows_of([x]), len(x))
    both = np.concatenate([x, 3 * x])
    np.testing.assert_allclose(norm.moving_mean, both.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, both.var(axis=0), rtol=1e-4)


def test_which_blocks_adapt():
    model = NETWORKS["skipping"][0]()
    inputs = {"blocks_of": SKIPPING_BLOCKS}
    whole = zoo.freeze(model, upto="block2", batch_norm="adapt", **inputs)
    assert [row.batch_norm for row in whole.rows] == ["adapt", None, None, None]
    net = small_convnet()
    assert [r.batch_norm for r in zoo.freeze(net, upto="block1", batch_norm="adapt").rows] == ["adapt"] * 3 + [None]
    some = zoo.freeze(net, upto="block2", batch_norm={"block2": "adapt", "block3": "train"})
    assert [row.batch_norm for row in some.rows] == ["frozen", "adapt", "train", None]
