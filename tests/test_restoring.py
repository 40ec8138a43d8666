"""Restoring some of a model's variables by name, from every format, into every kind of model."""

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.networks import NETWORKS, gap, images, live, values
from zoo.errors import WeightsError
from zoo.formats.safetensors import write_tensors
from zoo.restoring import Restored, load_weights
from zoo.variable_names import places

layers = keras.layers


def network(top: str = "top", seed: int = 0, width: int = 5) -> keras.Model:
    """Three hidden layers, one of them normalized, and a top, all of them alive."""
    keras.utils.set_random_seed(seed)
    inputs = x = keras.Input((6,))
    for i in (1, 2, 3):
        x = layers.Dense(width, activation="tanh", bias_initializer="normal", name=f"hidden{i}")(x)
    x = layers.BatchNormalization(name="norm", beta_initializer="normal", gamma_initializer="normal")(x)
    return live(keras.Model(inputs, layers.Dense(3, bias_initializer="normal", name=top)(x)), vectors())


def vectors() -> np.ndarray:
    return images(16, (6,)) / 255


def named(model: keras.Model) -> dict[str, np.ndarray]:
    return {place.name: place.variable.numpy() for place in places(model)}


def npz(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    np.savez(folder / "w.npz", **arrays)  # type: ignore[arg-type]
    return folder / "w.npz"


def as_npz(folder: Path, model: keras.Model) -> Path:
    return npz(folder, named(model))


def as_safetensors(folder: Path, model: keras.Model) -> Path:
    write_tensors(folder / "w.safetensors", named(model))
    return folder / "w.safetensors"


def as_keras(folder: Path, model: keras.Model) -> Path:
    model.save(folder / "w.keras")
    return folder / "w.keras"


def as_h5(folder: Path, model: keras.Model) -> Path:
    model.save_weights(folder / "w.weights.h5")
    return folder / "w.weights.h5"


def as_older_h5(folder: Path, model: keras.Model) -> Path:
    model.save(folder / "w.h5")
    return folder / "w.h5"


def as_checkpoint(folder: Path, model: keras.Model) -> Path:
    return Path(tf.train.Checkpoint(model=model).save(str(folder / "objects" / "w")))


def as_variables(folder: Path, model: keras.Model) -> Path:
    held = [tf.Variable(value, name=name) for name, value in named(model).items()]
    return Path(tf.train.Checkpoint(held=held).save(str(folder / "variables" / "w")))


def as_tensorflow_1(folder: Path, model: keras.Model) -> Path:
    arrays = named(model)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in arrays.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        return Path(tf.compat.v1.train.Saver().save(session, str(folder / "one" / "w.ckpt"), global_step=7))


FORMS: dict[str, Callable[[Path, keras.Model], Path]] = {
    "npz": as_npz,
    "safetensors": as_safetensors,
    "keras": as_keras,
    "weights.h5": as_h5,
    "h5": as_older_h5,
    "checkpoint": as_checkpoint,
    "variables": as_variables,
    "tensorflow 1": as_tensorflow_1,
}
NUMBERED = ("keras", "weights.h5")


def said(*arguments: object, **options: object) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(*arguments, **options)  # type: ignore[arg-type]
    return str(caught.value)


def same(one: keras.Model, other: keras.Model) -> bool:
    return [v.numpy().tobytes() for v in one.weights] == [v.numpy().tobytes() for v in other.weights]


def unmoved(model: keras.Model, *arguments: object, **options: object) -> str:
    """What a refusal says; not one variable has moved."""
    before = values(model)
    text = said(model, *arguments, **options)
    assert values(model) == before
    return text


# Every format


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_lists_and_the_same_bytes(form, tmp_path):
    source, model = network("old_top", seed=1), network(seed=2)
    source.compile("adam", "mse")
    source.fit(vectors(), np.zeros((16, 3)), verbose=0)
    before = named(model)
    file = FORMS[form](tmp_path, source)
    done = load_weights(
        model, file, include=["hidden[12]/.*", "norm/.*"], rename={"hidden3": "h", r"hidden(\d)": r"hidden\1"}
    )
    norm = [f"norm/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    assert done.restored == ("hidden1/kernel", "hidden1/bias", "hidden2/kernel", "hidden2/bias", *norm)
    assert done.fresh == ("hidden3/kernel", "hidden3/bias", "top/kernel", "top/bias")
    leaves = ("0", "1") if form in NUMBERED else ("kernel", "bias")
    assert sorted(done.unused) == sorted(f"{layer}/{leaf}" for layer in ("hidden3", "old_top") for leaf in leaves)
    for name, value in named(model).items():
        given = named(source) if name in done.restored else before
        assert value.tobytes() == given[name].tobytes(), name
        assert value.tobytes() != (before if name in done.restored else named(source)).get(name, np.zeros(0)).tobytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_restored_whole_though_its_paths_have_changed(name, form, tmp_path):
    build, inputs = NETWORKS[name]
    source = build()
    file = FORMS[form](tmp_path, source)
    source.save(tmp_path / "copy.keras")
    model = keras.saving.load_model(tmp_path / "copy.keras")
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    assert gap(source(inputs(), training=False), model(inputs(), training=False)) > 0.01
    done = load_weights(model, file)
    assert done.unused == done.fresh == ()
    assert gap(source(inputs(), training=False), model(inputs(), training=False)) == 0


def test_a_checkpoint_is_found_by_its_prefix_its_index_and_its_folder(tmp_path):
    source = network(seed=1)
    prefix = as_tensorflow_1(tmp_path, source)
    for file in (prefix, str(prefix), f"{prefix}.index", prefix.parent):
        model = network(seed=2)
        assert len(load_weights(model, file).restored) == 12
        assert same(model, source)


# Every kind of model


def towers(seed: int = 0) -> keras.Model:
    """Two backbones whose layers have the same names."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    outs = []
    for name in ("left", "right"):
        inner = keras.Input((6,))
        x = layers.Dense(4, activation="tanh", bias_initializer="normal", name="hidden1")(inner)
        outs.append(keras.Model(inner, layers.Dense(4, activation="tanh", name="hidden2")(x), name=name)(inputs))
    return keras.Model(inputs, layers.Dense(3, name="top")(layers.Concatenate(name="join")(outs)), name="towers")


@pytest.mark.parametrize("form", [form for form in FORMS if form != "checkpoint"])
def test_two_backbones_with_the_same_inner_names_are_told_apart(form, tmp_path):
    source, model = towers(1), towers(2)
    before = named(model)
    done = load_weights(model, FORMS[form](tmp_path, source), include="left/.*")
    assert done.restored == tuple(f"left/hidden{i}/{leaf}" for i in (1, 2) for leaf in ("kernel", "bias"))
    for name, value in named(model).items():
        np.testing.assert_array_equal(value, (named(source) if name in done.restored else before)[name])


def test_one_backbone_s_weights_go_where_include_or_rename_says(tmp_path):
    source = towers(1).get_layer("left")
    file = as_npz(tmp_path, source)
    model = towers(2)
    assert unmoved(model, file) == (
        f"'hidden1/kernel' in {file} could be any of several variables of the network. "
        "Expected one; received left/hidden1/kernel, right/hidden1/kernel. Say which with include, or with rename."
    )
    for options in ({"include": "right/.*"}, {"rename": {r"(hidden\d)": r"right/\1"}}):
        model = towers(2)
        done = load_weights(model, file, **options)
        assert done.restored == tuple(f"right/{name}" for name in named(source))
        assert gap(source(vectors()), model.get_layer("right")(vectors())) == 0


def test_a_backbone_inside_takes_the_weights_of_one_alone_and_gives_them(tmp_path):
    build = NETWORKS["nested"][0]
    whole, other = build(), build()
    alone = other.get_layer("backbone")
    for variable in alone.weights:
        variable.assign(variable + 1)
    assert load_weights(whole, as_h5(tmp_path, alone)).restored == tuple(f"backbone/{name}" for name in named(alone))
    assert same(whole.get_layer("backbone"), alone)
    file = as_h5(tmp_path, whole)
    for variable in alone.weights:
        variable.assign(variable + 1)
    done = load_weights(alone, file)
    assert done.restored == tuple(named(alone)) and done.unused == ("stem/0", "stem/1", "top/0", "top/1")
    assert same(whole.get_layer("backbone"), alone)
    alone = keras.Model(alone.inputs, alone.outputs, name="alone")
    assert "Nothing in" in unmoved(alone, file)
    assert load_weights(alone, file, rename={"backbone": ""}).fresh == ()


class Own(keras.Model):
    """Layers in attributes, lists and dictionaries, most of them without names, and a variable of the model's own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.encoder = layers.Dense(4, bias_initializer="normal")
        self.first = layers.Dense(4, bias_initializer="normal", name="hidden1")
        self.blocks = [layers.Dense(4), layers.BatchNormalization(), layers.Dense(4, name="last"), [layers.Dense(4)]]
        self.table = {"a": layers.Dense(4), "b": layers.Dense(4)}
        self.zoom = layers.Dense(4)
        self.attention = layers.MultiHeadAttention(2, 2)
        self.scale = self.add_weight(shape=(4,), initializer="normal")

    def call(self, inputs):
        x = self.first(self.encoder(inputs))
        for layer in (*self.blocks[:3], *self.blocks[3], *self.table.values(), self.zoom):
            x = layer(x)
        return self.attention(x[:, None], x[:, None])[:, 0] * self.scale


def own(seed: int) -> Own:
    keras.utils.set_random_seed(seed)
    model = Own(name="own")
    model(vectors())
    return model


def test_a_subclassed_model_s_layers_are_called_by_their_names_or_the_attributes_that_hold_them():
    assert {name.rpartition("/")[0] for name in named(own(0))} == {
        "",
        "encoder",
        "hidden1",
        "blocks/0",
        "blocks/1",
        "last",
        "blocks/3/0",
        "table/a",
        "table/b",
        "zoom",
        *(f"attention/{part}" for part in ("query", "key", "value", "attention_output")),
    }


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("h5", "checkpoint")])
def test_a_subclassed_model_is_restored_though_keras_s_names_have_counted_on(form, tmp_path):
    source, model = own(1), own(2)
    assert source.encoder.name != model.encoder.name
    done = load_weights(model, FORMS[form](tmp_path, source))
    assert done.unused == done.fresh == ()
    assert gap(source(vectors()), model(vectors())) == 0


def test_a_checkpoint_of_a_subclassed_model_holds_no_lists_and_says_so(tmp_path):
    source, model = own(1), own(2)
    done = load_weights(model, as_checkpoint(tmp_path, source))
    assert done.unused == ()
    assert {name.split("/")[0] for name in done.restored} == {"encoder", "hidden1", "zoom", "attention", "scale"}
    assert {name.split("/")[0] for name in done.fresh} == {"blocks", "last", "table"}
    for name in done.restored:
        np.testing.assert_array_equal(named(model)[name], named(source)[name])


def test_a_private_attribute_is_found_in_a_checkpoint_and_in_keras_s_files(tmp_path):
    class Private(keras.Model):
        def __init__(self):
            super().__init__()
            self._low, self._high = layers.Dense(6), layers.Dense(6)

        def call(self, inputs):
            return self._high(self._low(inputs))

    for form in ("checkpoint", "weights.h5"):
        source, model = Private(), Private()
        assert gap(source(vectors()), model(vectors())) > 0.1
        done = load_weights(model, FORMS[form](tmp_path, source))
        assert done.fresh == () and "_low/kernel" in done.restored
        assert gap(source(vectors()), model(vectors())) == 0


def test_names_in_the_file_may_begin_with_the_model_s_own_name(tmp_path):
    source = own(1)
    model = own(2)
    file = npz(tmp_path, {f"own/{name}": value for name, value in named(source).items()})
    assert load_weights(model, file).fresh == ()
    assert gap(source(vectors()), model(vectors())) == 0


def test_a_shared_layer_is_restored_once(tmp_path):
    model = NETWORKS["shared"][0]()
    done = load_weights(model, as_h5(tmp_path, NETWORKS["shared"][0]()))
    assert [name for name in done.restored if "twice" in name] == ["twice/kernel", "twice/bias"]


def test_a_frozen_model_is_restored_in_the_same_order(tmp_path):
    source, model = network(seed=1), network(seed=2)
    source.trainable = False
    load_weights(model, as_h5(tmp_path, source))
    assert same(model, source)


def test_an_adapted_normalization_works_with_what_was_restored(tmp_path):
    def build(mean: float) -> keras.Model:
        inputs = keras.Input((6,))
        norm = layers.Normalization(name="normalization")
        norm.adapt(vectors() + mean)
        return keras.Model(inputs, norm(inputs))

    source, model = build(3), build(5)
    assert load_weights(model, as_npz(tmp_path, source)).fresh == ()
    assert gap(source(vectors()), model(vectors())) == 0


def test_states_of_generators_and_optimizers_are_neither_restored_nor_listed(tmp_path):
    inputs = keras.Input((6,))
    x = layers.Dropout(0.5, seed=3, name="drop")(layers.Dense(4, name="low")(inputs))
    model = keras.Model(inputs, x)
    model.compile("adam", "mse")
    model.fit(vectors(), np.zeros((16, 4)), verbose=0)
    state = next(v for v in model.variables if v.name == "seed_generator_state")
    arrays = {v.path: v.numpy() for v in model.variables}
    moved = state.numpy() + 1
    state.assign(moved)
    for file in (
        npz(tmp_path, arrays),
        as_keras(tmp_path, model),
        as_older_h5(tmp_path, model),
        as_checkpoint(tmp_path, model),
    ):
        assert load_weights(model, file) == Restored(("low/kernel", "low/bias"), (), ())
        np.testing.assert_array_equal(state.numpy(), moved)


# include and rename


def test_without_include_the_model_keeps_what_the_file_lacks(tmp_path):
    model = network()
    done = load_weights(model, npz(tmp_path, {"hidden1/kernel": np.ones((6, 5))}))
    assert done.restored == ("hidden1/kernel",) and len(done.fresh) == 11


def test_what_include_asks_for_must_be_there(tmp_path):
    file = npz(tmp_path, {"hidden1/kernel": np.ones((6, 5)), "x": np.ones(1)})
    assert unmoved(network(), file, include="hidden[12]/.*") == (
        f"{file} does not have all that include asks for: hidden1/bias, hidden2/bias, hidden2/kernel. "
        "Expected 4 variables; received 1; the file has hidden1/kernel, x. "
        "Narrow include, or say with rename what the file calls them."
    )


def test_an_empty_match_is_refused(tmp_path):
    file = npz(tmp_path, {"layer/kernel": np.ones((6, 5))})
    assert unmoved(network(), file, include="hidden1/.*") == (
        f"Nothing in {file} matches the network. Expected such names as hidden1/bias, hidden1/kernel; "
        "received layer/kernel. Say with rename what the file calls the layers."
    )
    assert "received no tensors" in unmoved(network(), npz(tmp_path, {}))


def test_a_pattern_that_matches_nothing_is_refused_with_close_names(tmp_path):
    file = as_npz(tmp_path, network())
    assert unmoved(network(), file, include=["top/.*", "hiden1/kernel"]) == (
        "The pattern 'hiden1/kernel' matches no variable of the network. Expected a regular expression for a whole "
        "name. Did you mean 'hidden1/kernel' or 'hidden3/kernel' or 'hidden2/kernel'?"
    )
    assert "The pattern 'hidden1' matches no variable" in unmoved(network(), file, include="hidden1")
    assert unmoved(network(), file, include=[]) == (
        "No pattern says what to restore. Leave include out to restore all that the file has."
    )


def test_what_is_no_regular_expression_is_refused(tmp_path):
    file = as_npz(tmp_path, network())
    assert unmoved(network(), file, include="hidden[1") == (
        "'hidden[1' in include is not a regular expression: unterminated character set at position 6. "
        "Write a backslash before a sign that is meant as it stands."
    )
    assert "'a(' in rename is not a regular expression" in unmoved(network(), file, rename={"a(": "b"})
    assert unmoved(network(), file, rename={"hidden1": r"\2"}) == (
        r"'\2' in rename cannot take the place of 'hidden1': invalid group reference 2 at position 1. "
        r"Its groups are those of the expression before it: \1 is the first."
    )


def test_a_renaming_takes_the_shortest_beginning_and_the_first_that_matches(tmp_path):
    kernel, bias = np.full((6, 5), 2.0), np.full(5, 3.0)
    file = npz(tmp_path, {"net.h1.weights": kernel, "net.h1.b": bias, "net.h2.b": bias + 1, "net.top.b": bias})
    model = network()
    done = load_weights(
        model,
        file,
        rename={r"net\.h(\d)\.weights": r"hidden\1/kernel", r"net\.h(\d)\.b": r"hidden\1/bias"},
    )
    assert done.restored == ("hidden1/kernel", "hidden1/bias", "hidden2/bias") and done.unused == ("net.top.b",)
    assert named(model)["hidden2/bias"][0] == 4
    done = load_weights(model, npz(tmp_path, {"h1.kernel": kernel, "h1x/bias": bias}), rename={"h1.*": "hidden1"})
    assert done.restored == ("hidden1/kernel", "hidden1/bias")
    file = npz(tmp_path, {"a/bias": bias, "b/bias": bias + 5})
    assert load_weights(model, file, rename={"a": "hidden1", "[ab]": "hidden2"}).unused == ()
    assert named(model)["hidden1/bias"][0] == 3 and named(model)["hidden2/bias"][0] == 8


def test_a_renaming_may_exchange_two_layers(tmp_path):
    source, model = network(seed=1), network(seed=2)
    load_weights(model, as_keras(tmp_path, source), rename={"hidden2": "hidden3", "hidden3": "hidden2"})
    np.testing.assert_array_equal(named(model)["hidden2/kernel"], named(source)["hidden3/kernel"])
    np.testing.assert_array_equal(named(model)["hidden3/kernel"], named(source)["hidden2/kernel"])


def test_a_renaming_that_is_never_used_is_refused(tmp_path):
    file = as_npz(tmp_path, network())
    assert unmoved(network(), file, rename={"hiden1": "x"}) == (
        f"Nothing in {file} is renamed by 'hiden1'. Expected the beginning of a name that no earlier one takes. "
        "Did you mean 'hidden1' or 'hidden3' or 'hidden2'?"
    )
    assert "is renamed by 'hidden1'" in unmoved(network(), file, rename={r"hidden\d": "x", "hidden1": "y"})
    assert "is renamed by 'hidden'" in unmoved(network(), file, rename={"hidden": "x"})


# What does not fit


@pytest.mark.parametrize("form", FORMS)
def test_wrong_shapes_are_refused_all_of_them(form, tmp_path):
    file = FORMS[form](tmp_path, network(width=4))
    k, b = ("0", "1") if form in NUMBERED else ("kernel", "bias")
    text = unmoved(network(), file, include="(hidden1|top)/.*")
    assert text.startswith(f"The shapes in {file} do not fit.\n")
    for line in (
        f"'hidden1/kernel' has (6, 5); 'hidden1/{k}' in the file has (6, 4)",
        f"'hidden1/bias' has (5,); 'hidden1/{b}' in the file has (4,)",
        f"'top/kernel' has (5, 3); 'top/{k}' in the file has (4, 3)",
    ):
        assert f"\n  {line}" in text
    assert "'top/bias'" not in text
    assert text.endswith("Leave those variables out with include, or build the layers as they were.")


def test_two_tensors_for_one_variable_are_refused(tmp_path):
    file = npz(tmp_path, {"hidden1/bias": np.ones(5), "h1/bias": np.ones(5)})
    assert unmoved(network(), file, rename={"h1": "hidden1"}) == (
        f"Two tensors in {file} are for the variable 'hidden1/bias'. Expected one; "
        "received 'hidden1/bias' and 'h1/bias'. Say with rename which one it is."
    )
    assert load_weights(network(), file, rename={"hidden1": "old", "h1": "hidden1"}).unused == ("hidden1/bias",)


@pytest.mark.parametrize("form", NUMBERED)
def test_numbered_variables_are_refused_where_their_count_differs(form, tmp_path):
    """Without an offset the third of a batch normalization is another one: its shape would fit."""
    inputs = keras.Input((6,))
    file = FORMS[form](tmp_path, keras.Model(inputs, layers.BatchNormalization(name="norm", scale=False)(inputs)))
    model = keras.Model(inputs, layers.BatchNormalization(name="norm")(inputs))
    assert unmoved(model, file) == (
        f"The layer 'norm' has another number of variables in {file}, where they are numbered, not named. "
        "Expected 4; received 3. Build the layer as it was saved, or save the weights by name."
    )
    model = keras.Model(inputs, layers.BatchNormalization(name="norm")(inputs))
    renames = {"norm/0": "norm/beta", "norm/1": "norm/moving_mean", "norm/2": "norm/moving_variance"}
    assert load_weights(model, file, rename=renames).fresh == ("norm/gamma",)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones(5, "complex64"), "Expected numbers; received complex64."),
        (np.array(list("abcde")), "Expected numbers; received str"),
        (np.array([b"a"] * 5), "Expected numbers; received bytes"),
        (np.array([2**24 + 1] * 5), ": its int64 numbers do not survive as float32."),
        (np.array([1e300] * 5), ": its float64 numbers do not survive as float32."),
    ],
)
def test_what_is_no_number_or_would_change_is_refused(array, reason, tmp_path):
    file = npz(tmp_path, {"hidden1/bias": array})
    text = unmoved(network(), file)
    assert text.startswith(f"'hidden1/bias' in {file} cannot be given to 'hidden1/bias'") and reason in text


def test_a_last_tensor_that_does_not_fit_keeps_the_first_from_being_given(tmp_path):
    arrays = {**named(network(seed=1)), "top/bias": np.array([2**24 + 1] * 3)}
    assert "do not survive" in unmoved(network(seed=2), npz(tmp_path, arrays))


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16", "int32", "bool"])
def test_other_types_are_converted(dtype, tmp_path):
    array = np.array([0, 1, 1, 0, 1]).astype(np.dtype(dtype))
    for file in (npz(tmp_path, {"hidden1/bias": array}), tmp_path / "w.safetensors"):
        write_tensors(tmp_path / "w.safetensors", {"hidden1/bias": array})
        model = network()
        load_weights(model, file)
        np.testing.assert_array_equal(named(model)["hidden1/bias"], array.astype("float32"))


@pytest.mark.parametrize("form", ["keras", "weights.h5", "checkpoint", "safetensors"])
def test_bfloat16_variables_give_and_take(form, tmp_path):
    def build(seed: int, dtype: str) -> keras.Model:
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((6,))
        return keras.Model(inputs, layers.Dense(3, name="low", dtype=dtype)(inputs))

    source = build(1, "bfloat16")
    file = FORMS[form](tmp_path, source)
    for model in (build(2, "bfloat16"), build(2, "float32")):
        load_weights(model, file)
        np.testing.assert_array_equal(named(model)["low/kernel"].astype("float32"), named(source)["low/kernel"])


# Files that are none


def test_a_missing_file_and_an_unknown_kind_are_refused(tmp_path):
    as_npz(tmp_path, network())
    assert (
        unmoved(network(), tmp_path / "v.npz") == f"There are no weights at {tmp_path / 'v.npz'}. Did you mean 'w.npz'?"
    )
    assert (
        unmoved(network(), tmp_path / "no" / "v") == f"There are no weights at {tmp_path / 'no' / 'v'}. Check the path."
    )
    (tmp_path / "w.pth").write_bytes(b"PK")
    assert unmoved(network(), tmp_path / "w.pth") == (
        f"{tmp_path / 'w.pth'} is no kind of weights that is read. Expected a .keras, .h5, .safetensors or .npz file, "
        "or a TensorFlow checkpoint's prefix; received the ending '.pth'."
    )
    assert f"The folder {tmp_path} holds no checkpoint." in unmoved(network(), tmp_path)


@pytest.mark.parametrize("ending", ["keras", "h5", "weights.h5", "safetensors", "npz", "index"])
def test_an_empty_file_and_any_other_bytes_are_refused(ending, tmp_path):
    file = tmp_path / f"w.{ending}"
    file.write_bytes(b"")
    assert unmoved(network(), file) == f"{file} is empty. Save or copy it again."
    for content in (b"PK\x03\x04 and nothing else", b"\x89HDF\r\n\x1a\n" + b"\0" * 99, bytes(range(256)) * 9):
        file.write_bytes(content)
        assert str(file) in unmoved(network(), file)


@pytest.mark.parametrize("form", ["npz", "safetensors", "keras", "weights.h5", "h5"])
def test_a_file_that_is_cut_off_is_refused(form, tmp_path):
    file = FORMS[form](tmp_path, network(seed=1))
    whole = file.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        file.write_bytes(whole[: int(len(whole) * share)])
        assert str(file) in unmoved(network(seed=2), file)


def test_a_network_without_variables_and_what_is_no_network_are_refused(tmp_path):
    file = as_npz(tmp_path, network())
    assert said(keras.Sequential([layers.Dense(2)], name="s"), file) == (
        "The network 's' has no variables. Build it first: give it an Input, or call it once."
    )
    assert said(3, file) == "This is not a network. Expected a keras.Model; received int."


# The list


def test_the_list_is_printed_with_counts_and_cut_where_it_is_long():
    text = str(Restored(tuple(f"a{i}" for i in range(14)), ("x",), ("b", "c")))
    assert text == (
        "14 restored: a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11 and 2 more\n"
        "1 unused in the file: x\n2 left as they were: b, c"
    )


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_layers_that_keras_has_numbered_otherwise_are_not_shifted(tmp_path, ending: str):
    """`dense_1` is the second layer in the file and the first in the model, and the shapes fit."""

    def stack(*names: str) -> keras.Model:
        kinds = [keras.layers.Dense(4, name=name) for name in names]
        return keras.Sequential([keras.Input((4,)), *kinds])

    file = tmp_path / f"net{ending}"
    saved = stack("dense", "dense_1")
    saved.save(file) if ending == ".keras" else saved.save_weights(file)
    model = stack("dense_1", "dense_2")
    before = [v.numpy() for v in model.weights]
    with pytest.raises(WeightsError, match=r"Keras has numbered the layers itself.*dense_1, dense_2.*dense, dense_1"):
        load_weights(model, file)
    for value, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(value, old)
    told = load_weights(model, file, rename={"dense_1": "dense_2", "dense": "dense_1"})
    assert len(told.restored) == 4
    np.testing.assert_array_equal(model.layers[0].kernel, saved.layers[0].kernel)
    more = load_weights(stack("dense", "dense_1", "dense_2"), file)
    assert len(more.restored) == 4, "a longer network is none that was shifted"
