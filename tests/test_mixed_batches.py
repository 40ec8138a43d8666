"""MixUp, CutMix and augmented vectors in the loop: after the layers, with their targets, from the seed alone."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.data import open_data
from zoo.epochs import Job
from zoo.errors import RecipeError
from zoo.layers import mixing
from zoo.layers.mixing import mixed
from zoo.options import Options
from zoo.preparation import prepared
from zoo.seeds import derive
from zoo.stage_network import StageNetwork

from .networks import clusters, dense_net, quadrants, small_convnet
from .test_train import job, one_hot, stage, train

layers = keras.layers
CUTMIX = ({"name": "CutMix", "alpha": 1.0},)
MIXUP = ({"name": "MixUp", "alpha": 1.0},)


class Seen(layers.Layer):
    """Keeps what comes through while training."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.batches: list[np.ndarray] = []

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            self.batches.append(np.asarray(inputs))
        return inputs


def pictures(**changes: Any) -> Job:
    x, labels = quadrants(48)
    return job(x.astype("float32"), one_hot(labels, 4), **changes)


def trained(what: Job, upto: str | None = None, rate: float = 0.1, epochs: int = 2) -> Any:
    model = small_convnet(4)
    return train(model, zoo.freeze(model, upto=upto), what, stage(epochs, learning_rate=rate))


@pytest.mark.parametrize("spec", [CUTMIX, MIXUP])
@pytest.mark.parametrize("upto", [None, "block2"])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_the_loss_is_that_of_both_parts(spec: Any, upto: str | None, precision: str):
    """One batch, a rate of 0: the loss is lambda times that on one target and 1 - lambda times that on the other."""
    what = pictures(batch_size=48, augment=spec, precision=precision)
    model = small_convnet(4)
    loss = train(model, zoo.freeze(model, upto=upto), what, stage(1, learning_rate=0.0)).history[0]["loss"]
    order = np.asarray(zoo.epochs.batches(48, 48, 7, 0, 0)[0])
    x, y = what.train.read(order), what.train.targets[order]
    mix = mixing(spec).draw(48, (8, 8, 1), derive(7, "mix", 0, 0, 0))
    inputs = mix.keep * x + (1 - mix.keep) * x[mix.partner]
    out = np.asarray(model(inputs.astype("float32"), training=False), "float64")
    by_hand = -np.log(out) * (mix.share[:, None] * y + (1 - mix.share)[:, None] * y[mix.partner])
    assert loss == pytest.approx(by_hand.sum(axis=1).mean(), rel=1e-4 if precision == "float32" else 2e-2)
    unmixed = {"inputs": -np.log(np.asarray(model(x, training=False))) * y, "targets": -np.log(out) * y}
    for left_out, parts in unmixed.items():
        assert abs(loss - parts.sum(axis=1).mean()) > 1e-3 * loss, f"unmixed {left_out} would not be told apart"


def test_examples_mix_after_the_layers():
    """A layer between would move what the targets count."""
    shift = layers.Rescaling(1.0, 5.0)
    network = StageNetwork([shift], None, keras.Sequential([layers.Rescaling(1.0)]), "float32", mixes=True)
    x = np.arange(4.0, dtype="float32").reshape(4, 1)
    mix = mixing(MIXUP, "vector").draw(4, (1,), 3)
    found = network(StageNetwork.to_be_mixed(x, mix), training=True)
    np.testing.assert_allclose(found, mixed(x + 5, mix.partner.astype("int32"), mix.keep), rtol=1e-6)
    np.testing.assert_array_equal(network(x, training=False), x + 5)


def test_mixing_follows_from_the_seed_alone():
    runs = [trained(pictures(augment=CUTMIX, seed=seed)) for seed in (7, 7, 8)]
    assert runs[0].digest == runs[1].digest != runs[2].digest
    losses = [row["loss"] for row in trained(pictures(augment=CUTMIX, batch_size=48), rate=0.0).history]
    assert losses[0] != losses[1], "every epoch mixes anew"


def test_the_validation_side_is_not_mixed():
    plain, mixed_up = (trained(pictures(val=16, augment=spec), rate=0.0, epochs=1) for spec in ("none", CUTMIX))
    assert plain.history[0]["val_loss"] == mixed_up.history[0]["val_loss"]
    assert plain.history[0]["loss"] != mixed_up.history[0]["loss"]


def test_class_weights_mix_too():
    weights = np.linspace(0.5, 2.0, 48).astype("float32")
    what = pictures(batch_size=48, augment=MIXUP)
    what = replace(what, train=replace(what.train, weights=weights))
    even = trained(pictures(batch_size=48, augment=MIXUP), rate=0.0, epochs=1).history[0]["loss"]
    assert trained(what, rate=0.0, epochs=1).history[0]["loss"] != pytest.approx(even, rel=1e-3)


@pytest.mark.parametrize("preset", ["noise", "feature_dropout"])
def test_vectors_are_augmented_in_their_own_units(preset: str):
    x, labels = clusters(64)
    scale = np.array([1, 10, 100, 1e-3, 1, 0], "float32")
    x = x * scale + 7
    seen = Seen(name="seen")
    model = keras.Sequential([keras.Input((6,)), seen, *dense_net().layers[1:]])
    moments = x.mean(axis=0), x.std(axis=0)
    what = job(x, one_hot(labels, 3), batch_size=64, augment=preset, kind="vector", moments=moments)
    with eagerly():
        train(model, zoo.freeze(model), what, stage(1, learning_rate=0.0))
    order = np.asarray(zoo.epochs.batches(64, 64, 7, 0, 0)[0])
    moved = np.concatenate(seen.batches)[-64:] - x[order]
    if preset == "noise":
        np.testing.assert_allclose(moved.std(axis=0), 0.1 * moments[1], rtol=0.35, atol=1e-9)
    else:
        left_out = moved != 0
        assert 0.05 < left_out[:, :5].mean() < 0.16
        filled = np.broadcast_to(moments[0], moved.shape)[left_out]
        np.testing.assert_allclose((moved + x[order])[left_out], filled, rtol=1e-5)


class eagerly:
    """Steps run one by one, so that a layer sees numbers."""

    def __enter__(self) -> None:
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)

    def __exit__(self, *reason: object) -> None:
        import tensorflow as tf

        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        ("noise", "There is no augmentation 'noise' for images: it is for vectors"),
        (({"name": "MixUp", "alpha": 0.0},), "MixUp cannot use its `alpha`"),
        (({"name": "CutMix", "beta": 1.0},), "CutMix has no argument 'beta'"),
        (({"name": "FeatureNoise", "stddev": 0.1},), "zoo does not augment with a layer 'FeatureNoise'"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(augment: Any, said: str):
    with pytest.raises(RecipeError, match=said):
        prepared("glyphs", "digits", options=Options(augment=augment, limit_per_class=5))


def test_a_run_on_vectors_with_noise(tmp_path):
    x, labels = clusters(120)
    run = zoo.finetune("dnn", (x * 50, labels), from_scratch=True, augment="noise", epochs=15, out=tmp_path / "run")
    assert run.metrics["test"]["accuracy"] > 0.6
    assert all(not type(layer).__name__.startswith("Feature") for layer in run.model.layers)


def test_a_run_with_cutmix_says_that_the_trunk_is_computed_every_epoch(tmp_path):
    ready = prepared("glyphs", open_data("digits"), options=Options(augment="cutmix", limit_per_class=5))
    for said in (
        "run in every step: the examples are augmented",
        "examples are mixed in pairs while training",
    ):
        assert any(said in line for line in ready.lines())
