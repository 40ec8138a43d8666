"""From a card to a plain Keras model."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from zoo import finetune, load
from zoo.card import Card, WeightsFile, card_text
from zoo.errors import CardError, WeightsError
from zoo.formats.safetensors import save_weights
from zoo.input_form import InputForm
from zoo.network import build, drawn_anew
from zoo.progress import Progress
from zoo.sources.path import digest_of

VECTOR = Card(
    "dense", "v1", "dnn", "classification", "s", InputForm("vector", (4,)), args={"widths": [3]}, labels=("a", "b")
)


def arrays(network: keras.Model) -> list[np.ndarray]:
    return [v.numpy() for v in network.weights]


def same(one: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


@pytest.fixture
def stored(tmp_path) -> Card:
    """A card whose weights are those of seed 1."""
    file = tmp_path / "w.safetensors"
    save_weights(build(VECTOR, seed=1), file)
    card = replace(VECTOR, weights=WeightsFile(file.name, digest_of(file), file.stat().st_size), folder=tmp_path)
    (tmp_path / "card.toml").write_text(card_text(card), encoding="utf-8")
    return card


def said(call, *arguments, error=WeightsError, **keywords) -> str:
    with pytest.raises(error) as caught:
        call(*arguments, **keywords)
    return str(caught.value)


def test_a_card_with_weights_gives_a_plain_model_with_them(stored):
    network = load(stored)
    assert type(network).__module__.startswith("keras.")
    assert same(network, build(VECTOR, seed=1))
    assert not network.compiled
    assert same(load(str(stored.folder)), network)
    assert same(load(Path(str(stored.folder)) / "card.toml"), network)


def test_a_run_gives_the_model_that_plain_keras_loads(tiny_run):
    network = load(tiny_run.folder)
    assert network.output_shape == (None, 10)
    assert same(network, keras.models.load_model(tiny_run.folder / "model.keras"))


def test_altered_weights_are_refused(stored):
    file = stored.weights_path
    altered = bytearray(file.read_bytes())
    altered[-1] ^= 1
    file.write_bytes(altered)
    assert said(load, stored) == (
        f"The weights of 'dense.v1' are not the ones that its card names: {file}. "
        f"Expected SHA-256 {stored.weights.sha256}; received {digest_of(file)}. Restore the file."
    )


def test_missing_weights_are_refused(stored):
    stored.weights_path.unlink()
    assert said(load, stored) == (
        f"The weights of 'dense.v1' are missing: {stored.weights_path}. Install zoo again, or add the network again."
    )


def test_weights_of_another_network_are_refused(stored):
    other = replace(stored, args={"widths": [5]})
    assert "do not fit: " in said(load, other)
    deeper = said(load, replace(stored, args={"widths": [3, 3]}))
    assert "missing (-), 0 left over (+)\n  - " in deeper


def test_an_architecture_has_nothing_to_load():
    assert said(load, "dnn", error=CardError).startswith("'dnn' is an architecture without weights.")


def test_a_file_that_keras_cannot_load_is_refused(tmp_path):
    file = tmp_path / "odd.keras"
    layer = {"class_name": "InputLayer", "config": {"batch_shape": [None, 4]}}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "config.json", json.dumps({"class_name": "Mine", "module": "keras", "config": {"layers": [layer]}})
        )
        archive.writestr("metadata.json", "{}")
    message = said(load, file)
    assert message.startswith(f"Keras cannot load {file}: ")
    assert message.endswith("Is it whole? If keras loads it with other arguments, give that model to zoo.finetune.")


SAVED = """
import keras

register = keras.saving.register_keras_serializable(package="mine")

@register
class Gate(keras.layers.Layer):
    def call(self, x):
        return x

@register
def bent(x):
    return x

class Plain(keras.layers.Layer):
    def call(self, x):
        return x
"""


def test_classes_that_nothing_registered_are_named_with_what_to_do(tmp_path):
    """Saved in another process, as a user's script does; Keras's own classes and functions are not named."""
    file = tmp_path / "own.keras"
    script = f"""{SAVED}
x = keras.Input((3,))
y = keras.layers.Dense(2, activation=bent, kernel_regularizer="l2")(Plain()(Gate()(x)))
y = keras.ops.relu(keras.layers.Dense(2, activation="gelu")(y)) + 1
keras.Model(x, y).save({str(file)!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert said(load, file) == (
        f"{file} holds classes that nothing has registered with Keras here: mine>Gate, Plain, mine>bent. "
        "The file is whole. In Python, import the module that registers them before zoo loads it, or say: "
        "with keras.saving.custom_object_scope({'mine>Gate': Gate}): ..."
    )
    known: dict = {}
    exec(SAVED.replace("@register", ""), known)
    given = {"mine>Gate": known["Gate"], "Plain": known["Plain"], "mine>bent": known["bent"]}
    with keras.saving.custom_object_scope(given):
        assert load(file).output_shape == (None, 2)


def test_a_class_that_another_version_of_zoo_had_is_named(tmp_path):
    file = tmp_path / "later.keras"
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 4]}}
    later = {"module": "zoo.layers", "class_name": "Later", "config": {}, "registered_name": "zoo>Later"}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": [first, later]}}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
    assert said(load, file).endswith(
        ": zoo>Later. This version of zoo has no zoo>Later; the run's recipe.lock names the version that saved it."
    )


def test_a_run_with_a_layer_of_ours_is_read_in_a_new_process(tmp_path):
    """Nothing there has imported the layers before: RReLU has to be registered by whoever loads."""
    out = tmp_path / "run"
    options = {"hidden": [8], "activation": "rrelu", "limit_per_class": 3, "epochs": 1, "head_epochs": 1}
    finetune("glyphs", "digits", out=out, **options, progress=Progress(quiet=True))
    calls = (["evaluate", out, "digits", "--json"], ["predict", out, "characters:examples=5"])
    for call in calls:
        done = subprocess.run([sys.executable, "-m", "zoo", *map(str, call)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    script = f"import zoo; print(zoo.load({str(out)!r}).output_shape, zoo.Run({str(out)!r}).model.output_shape)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "(None, 10) (None, 10)\n", done.stderr


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    assert same(build(VECTOR, seed=3), build(VECTOR, seed=3))
    assert not same(build(VECTOR, seed=3), build(VECTOR, seed=4))


def test_labels_give_the_outputs_unless_something_else_is_said():
    assert build(VECTOR, seed=0).output_shape == (None, 2)
    assert build(VECTOR, seed=0, outputs=7).output_shape == (None, 7)
    assert build(replace(VECTOR, labels=()), seed=0).layers[-1].name == "features"


def test_arguments_win_over_the_cards():
    assert build(VECTOR, seed=0, widths=[9]).layers[-1].kernel.shape == (9, 2)


def test_what_cannot_be_built_is_refused():
    assert said(build, replace(VECTOR, builder="dnnn"), seed=0, error=CardError) == (
        "The card of 'dense.v1' names a builder that zoo does not have. "
        "Expected convnet | dnn | keras; received 'dnnn'."
    )
    assert said(build, replace(VECTOR, input=None), seed=0, error=CardError) == (
        "'dense.v1' takes its input's shape from the data. Say which data: zoo finetune MODEL DATA."
    )
    assert said(build, replace(VECTOR, input=InputForm("text", ())), seed=0, error=CardError).startswith(
        "'dnn' takes numbers, not texts."
    )
    message = said(build, replace(VECTOR, args={"widht": [3]}), seed=0, error=CardError)
    assert message.startswith("The builder 'dnn' cannot be called with the card's arguments: ")
    assert "'widht'" in message
    assert message.endswith("Mend [args] in the card, or [model.args] in the recipe.")


def test_a_wrong_value_for_a_builder_is_refused():
    for args in ({"widths": ["a"]}, {"widths": 3.5}, {"activation": "nope"}, {"initializer": "nope"}, {"dropout": 2.0}):
        with pytest.raises(CardError):
            build(replace(VECTOR, args=args), seed=0)


def layered() -> keras.Model:
    x = keras.Input((6, 6, 1))
    y = keras.layers.Conv2D(4, 3, name="conv")(x)
    y = keras.layers.BatchNormalization()(y)
    inner = keras.Sequential([keras.Input((4, 4, 4)), keras.layers.Flatten(), keras.layers.Dense(5, name="inner")])
    one = keras.initializers.GlorotUniform(seed=1)
    y = keras.layers.Dense(5, kernel_initializer=one, name="a")(inner(y))
    y = keras.layers.Dense(5, kernel_initializer=keras.initializers.GlorotUniform(seed=1), name="b")(y)
    return keras.Model(x, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(y)))


def test_drawn_anew_is_the_same_architecture_with_other_weights():
    network = layered()
    before = arrays(network)
    fresh = drawn_anew(network, 7)
    assert [v.shape for v in fresh.weights] == [v.shape for v in network.weights]
    for old, new in zip(network.weights, fresh.weights, strict=True):
        if old.path.endswith("kernel"):
            assert not np.array_equal(old.numpy(), new.numpy()), old.path
    for old, variable in zip(before, network.weights, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_drawn_anew_follows_from_the_seed():
    network = layered()
    assert same(drawn_anew(network, 7), drawn_anew(network, 7))
    assert not same(drawn_anew(network, 7), drawn_anew(network, 8))


def test_layers_that_had_one_seed_are_drawn_apart():
    fresh = drawn_anew(layered(), 7)
    assert not np.array_equal(fresh.get_layer("a").kernel.numpy(), fresh.get_layer("b").kernel.numpy())


@pytest.mark.parametrize("inside", [False, True], ids=["flat", "inside a model"])
def test_drawn_anew_keeps_an_adapted_normalization(inside):
    norm = keras.layers.Normalization(name="norm")
    norm.adapt(np.random.default_rng(0).normal(50, 9, (100, 4)))
    x = keras.Input((4,))
    below = keras.Sequential([keras.Input((4,)), norm], name="below") if inside else norm
    network = keras.Model(x, keras.layers.Dense(3, name="dense")(below(x)))
    fresh = drawn_anew(network, 7)
    kept = fresh.get_layer("below").get_layer("norm") if inside else fresh.get_layer("norm")
    np.testing.assert_array_equal(kept.mean, norm.mean)
    np.testing.assert_array_equal(kept(np.full((1, 4), 50.0)), norm(np.full((1, 4), 50.0)))
    assert not np.array_equal(fresh.get_layer("dense").kernel, network.get_layer("dense").kernel)


def test_drawn_anew_keeps_a_vocabulary(tmp_path):
    words = keras.layers.TextVectorization(max_tokens=9, output_sequence_length=3, name="words")
    words.adapt(["red green", "green blue"])
    x = keras.Input((), dtype="string")
    embedded = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 4, name="embed")(words(x)))
    keras.Model(x, keras.layers.Dense(2)(embedded)).save(tmp_path / "words.keras")
    network = load(tmp_path / "words.keras")
    fresh = drawn_anew(network, 7)
    assert fresh.get_layer("words").get_vocabulary() == words.get_vocabulary()
    fresh.predict(np.array(["green red"], dtype=object), verbose=0)
    assert not np.array_equal(fresh.get_layer("embed").embeddings, network.get_layer("embed").embeddings)


def test_drawn_anew_forgets_what_training_moves_frozen_or_not():
    x = keras.Input((4,))
    norm = keras.layers.BatchNormalization(center=False, scale=False, name="norm")
    network = keras.Model(x, keras.layers.Dense(3, name="dense")(norm(x)))
    network(np.full((8, 4), 100.0), training=True)
    network.trainable = False
    fresh = drawn_anew(network, 7)
    assert norm.moving_mean.numpy().any()
    assert not fresh.get_layer("norm").moving_mean.numpy().any()
    assert not np.array_equal(fresh.get_layer("dense").kernel, network.get_layer("dense").kernel)


def test_a_keras_file_takes_no_arguments(tmp_path):
    layered().save(tmp_path / "net.keras")
    from zoo.registry import find

    assert said(build, find(tmp_path / "net.keras"), seed=0, widths=[9], error=CardError) == (
        "'net' is a Keras file: its architecture is fixed, and takes no arguments. "
        "Received {'widths': [9]}. Leave [model.args] out."
    )


def test_a_layer_that_cannot_be_rebuilt_is_refused():
    class Mine(keras.layers.Layer):
        def __init__(self, needed):
            super().__init__()
            self.needed = needed

        def call(self, x):
            return x

    x = keras.Input((3,))
    network = keras.Model(x, Mine(3)(x), name="own")
    message = said(drawn_anew, network, 0)
    assert message.startswith("The network 'own' cannot be rebuilt from its configuration: ")
    assert message.endswith("Train it from scratch in Keras.")


def test_glyphs_takes_raw_pixels_and_knows_its_classes():
    network = load("glyphs")
    assert (network.input_shape, network.output_shape) == ((None, 8, 8, 1), (None, 62))
    assert network.get_layer("features") is not None
    assert np.allclose(network(np.full((2, 8, 8, 1), 255.0)).numpy().sum(axis=1), 1, atol=1e-5)
