"""Seeded views: pure functions of seed, content, number and augmentation; what the layers give for one example."""

import hashlib
import random

import keras
import numpy as np
import pytest

from zoo.errors import RecipeError
from zoo.graph import is_seed_state
from zoo.layers import augmentation, mixing
from zoo.read_ahead import read_ahead
from zoo.seeds import derive
from zoo.views import Views, view_of, views_refusal

COUNT, VIEWS = 5, 3
RNG = np.random.default_rng(3)
IMAGES = RNG.uniform(0, 255, (COUNT, 12, 10, 3)).astype("float32")
VECTORS = RNG.normal([5.0, -40.0, 0.3, 0.0], [1.0, 20.0, 0.1, 3.0], (COUNT, 4)).astype("float32")
MOMENTS = VECTORS.astype("float64").mean(axis=0), VECTORS.astype("float64").std(axis=0)

CASES = {
    "light": ("light", "image", IMAGES),
    "standard": ("standard", "image", IMAGES),
    "strong": ("strong", "image", IMAGES),
    "flips": ([{"name": "RandomFlip", "mode": "horizontal"}], "image", IMAGES),
    "noise": ("noise", "vector", VECTORS),
    "feature_dropout": ([{"name": "FeatureDropout", "rate": 0.4}], "vector", VECTORS),
}


def known(x: np.ndarray) -> list[str]:
    return [hashlib.sha256(row.tobytes()).hexdigest() for row in x]


def layers_of(case: str) -> list:
    spec, kind, _ = CASES[case]
    return augmentation(spec, kind, moments=MOMENTS if kind == "vector" else None)


def views_of(case: str, seed: int = 7, count: int = VIEWS) -> Views:
    return Views(layers_of(case), [case, *MOMENTS], seed, count)


def by_the_layers(layers: list, x: np.ndarray, example: str, view: int, seed: int = 7) -> np.ndarray:
    """What a batch of one becomes when the layers are called by themselves, as a network calls them in training."""
    states = [v for layer in layers for v in layer.variables if is_seed_state(v)]
    for i, state in enumerate(states):
        state.assign(np.array([derive(seed, "view", example, view, f"augment{i}"), 0]))
    y = x[None]
    for layer in layers:
        y = layer(y, training=True)
    return np.asarray(keras.ops.convert_to_numpy(y))[0]


@pytest.fixture(scope="module", params=CASES)
def made(request):
    """The views of a case, row after row, and how to read more."""
    x = CASES[request.param][2]
    read = views_of(request.param).reader(lambda indices: x[indices], known(x))
    return request.param, x, read, read(np.arange(VIEWS * COUNT))


def test_views_are_what_the_layers_give_for_each_example_alone(made):
    case, x, _, rows = made
    layers = layers_of(case)
    expected = [by_the_layers(layers, x[i], known(x)[i], v) for v in range(VIEWS) for i in range(COUNT)]
    np.testing.assert_array_equal(rows, np.array(expected))
    assert rows.dtype == x.dtype and rows.shape == (VIEWS * COUNT, *x.shape[1:])


def test_views_differ_from_one_another_and_from_the_plain_example(made):
    case, x, _, rows = made
    rows = rows.reshape(VIEWS, COUNT, -1)
    flat = x.reshape(COUNT, -1)
    different = [len({row.tobytes() for row in [flat[i], *rows[:, i]]}) for i in range(COUNT)]
    if case in ("flips", "feature_dropout"):  # few outcomes: some views are alike, and some are the plain example
        assert max(different) > 1
        assert np.mean((rows != flat[None]).any(axis=2)) > 0.3
    else:
        assert different == [VIEWS + 1] * COUNT


def test_a_view_is_the_same_between_any_neighbours(made):
    _, _, read, rows = made
    everything = np.arange(VIEWS * COUNT)
    shuffled = np.random.default_rng(0).permutation(everything)
    for some in (everything[::-1], shuffled, shuffled[:4], np.array([9, 2, 9, 9]), np.array([6]), everything[3:10]):
        np.testing.assert_array_equal(read(some), rows[some])


def test_another_process_with_the_examples_in_other_places_gives_the_same_views(made):
    """A fresh set of layers stands for it; two examples went, one was added, one was moved."""
    case, x, _, rows = made
    kept = [4, 0, 2]
    x2 = np.concatenate([x[kept[:1]], x[:1] * 0.5, x[kept[1:]]])
    again = views_of(case).reader(lambda indices: x2[indices], known(x2))(np.arange(VIEWS * 4)).reshape(VIEWS, 4, -1)
    np.testing.assert_array_equal(again[:, [0, 2, 3]], rows.reshape(VIEWS, COUNT, -1)[:, kept])


def test_views_are_read_in_a_thread_too(made):
    _, _, read, rows = made
    batches = [np.arange(4), np.arange(4, 15)]
    np.testing.assert_array_equal(np.concatenate([*read_ahead(read, batches)]), rows)


def test_digests_follow_the_content_and_not_the_place():
    examples = known(IMAGES)
    whole = views_of("light").digests(examples)
    assert len(set(whole)) == len(whole) == VIEWS * COUNT
    assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in whole)
    moved = views_of("light").digests([examples[3], "ab" * 32, examples[0]])
    assert moved[0::3] == whole[3::COUNT] and moved[2::3] == whole[0::COUNT]
    assert set(moved[1::3]).isdisjoint(whole)
    assert views_of("light", count=1).digests(examples) == whole[:COUNT]  # more views later: these stay


@pytest.mark.parametrize("other", ["seed", "what", "moments", "layers", "keras", "backend", "form"])
def test_digests_change_with_all_that_a_view_depends_on(other, monkeypatch):
    examples, what = known(VECTORS), {"spec": "noise", "moments": MOMENTS}
    seed, layers = 7, layers_of("noise")
    before = Views(layers, what, seed, 2).digests(examples)
    assert Views(layers_of("noise"), {"moments": MOMENTS, "spec": "noise"}, seed, 2).digests(examples) == before
    if other == "seed":
        seed = 8
    elif other == "what":
        what = what | {"spec": "feature_dropout"}
    elif other == "moments":
        what = what | {"moments": (MOMENTS[0], np.nextafter(MOMENTS[1], 99))}
    elif other == "layers":
        layers = [type(layers[0])(0.1, dtype="mixed_bfloat16")]
    elif other == "form":
        monkeypatch.setattr("zoo.views.FORM", 99)
    else:
        changed = {"keras": "3.99.0"} if other == "keras" else {keras.backend.backend(): "9.9"}
        monkeypatch.setattr("zoo.views.versions", lambda names: dict.fromkeys(names, "1") | changed)
    assert set(Views(layers, what, seed, 2).digests(examples)).isdisjoint(before)


def test_what_is_no_plain_data_is_refused_instead_of_hashed():
    with pytest.raises(TypeError, match="object is no plain data: it cannot be hashed"):
        Views(layers_of("noise"), object(), 0, 1).digests(["ab"])


def test_another_seed_gives_other_views():
    one, other = (
        views_of("noise", seed).reader(lambda indices: VECTORS[indices], known(VECTORS))(np.arange(COUNT))
        for seed in (7, 8)
    )
    assert (one != other).all()


def test_every_state_draws_by_itself():
    """Two layers alike would do the same thing twice if they shared a draw."""
    twice = [*layers_of("noise"), *layers_of("noise")]
    noise = Views(twice, "twice", 7, 1).reader(lambda i: VECTORS[i], known(VECTORS))(np.arange(COUNT)) - VECTORS
    once = views_of("noise").reader(lambda i: VECTORS[i], known(VECTORS))(np.arange(COUNT)) - VECTORS
    assert np.isclose(noise, 2 * once, rtol=0.01).mean() < 0.5


def test_the_states_of_the_layers_stay_as_they_are():
    layers = layers_of("standard")
    states = [v for layer in layers for v in layer.variables if is_seed_state(v)]
    before = [np.asarray(keras.ops.convert_to_numpy(v)).tolist() for v in states]
    Views(layers, "standard", 7, 2).reader(lambda i: IMAGES[i], known(IMAGES))(np.arange(2 * COUNT))
    assert [np.asarray(keras.ops.convert_to_numpy(v)).tolist() for v in states] == before


def test_an_example_is_read_once_for_all_its_views():
    asked = []

    def read(indices: np.ndarray) -> np.ndarray:
        asked.append(indices.tolist())
        return VECTORS[indices]

    reader = views_of("noise").reader(read, known(VECTORS))
    reader(np.array([1 + COUNT, 4, 1, 1 + 2 * COUNT]))
    assert asked == [[1, 4]]
    assert reader(np.zeros(0, int)).shape == (0, 4)


def test_the_type_stays_that_of_the_inputs():
    x = VECTORS.astype("float64")
    assert views_of("noise").reader(lambda i: x[i], known(x))(np.arange(4)).dtype == "float64"


@pytest.mark.parametrize("row", [-1, VIEWS * COUNT])
def test_rows_that_are_not_there_are_not_made_up(row):
    read = views_of("noise").reader(lambda i: VECTORS[i], known(VECTORS))
    with pytest.raises(IndexError, match="there are 3 views of 5 examples"):
        read(np.array([0, row]))


def test_whole_numbers_are_refused_since_they_would_be_rounded():
    x = IMAGES.astype("uint8")
    with pytest.raises(RecipeError) as raised:
        views_of("light").reader(lambda i: x[i], known(x))(np.arange(2))
    text = "Views are made of floating-point inputs: others would be rounded, example by example."
    assert str(raised.value) == f"{text} Expected float32; received uint8."


@pytest.mark.parametrize("count", [0, -2, 2.0, None])
def test_the_number_of_views_is_one_or_more(count):
    with pytest.raises(RecipeError) as raised:
        Views(layers_of("light"), "light", 0, count)
    text = "There is no such number of views. Expected a whole number, 1 or more; received"
    assert str(raised.value) == f"{text} {count!r}."


class Learning(keras.layers.Layer):
    """Counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = self.add_weight(shape=(), trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return inputs


class Elsewhere(keras.layers.Layer):
    """Random by a generator that is none of its own."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def call(self, inputs):
        return inputs + self.draw()


def test_what_has_no_views_says_why():
    assert views_refusal(layers_of("strong"), mixes=False) is None
    assert views_refusal(layers_of("noise"), mixes=False) is None
    assert views_refusal([keras.layers.Rescaling(2.0), *layers_of("light")], mixes=False) is None
    mixes = mixing("cutmix") is not None
    mixed = "MixUp and CutMix mix an example with others of its batch, so it has no views of its own"
    assert views_refusal(augmentation("cutmix"), mixes) == views_refusal([], mixes) == mixed
    assert views_refusal([], mixes=False) == "nothing augments the examples, so all views of one would be the same"
    theirs = "the layer 'aug' (AugMix) chooses its operations by Python's generator, which no seed sets"
    assert views_refusal([keras.layers.AugMix(name="aug")], mixes=False) == theirs
    norm = keras.layers.BatchNormalization(name="norm")
    own = "the layer 'norm' (BatchNormalization) does something else in training, and keeps no seed that can be set"
    assert views_refusal([*layers_of("light"), norm], mixes=False) == own
    with pytest.raises(RecipeError) as raised:
        Views([norm], "norm", 0, 2)
    assert str(raised.value) == f"There are no views of these examples: {own}. Train without views."


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Elsewhere(lambda: keras.random.normal(())), "draws from a generator that is not its own, or learns"),
        (Learning(), "draws from a generator that is not its own, or learns"),
        (Elsewhere(random.random), "one of them draws elsewhere"),
        (Elsewhere(np.random.default_rng(0).random), "one of them draws elsewhere"),
    ],
    ids=["the global generator", "learning", "Python's generator", "NumPy's generator"],
)
def test_a_layer_that_draws_elsewhere_is_found_before_anything_is_read(layer, reason):
    read = Views([*layers_of("noise"), layer], "own", 0, 2).reader(lambda i: VECTORS[i], known(VECTORS))
    with pytest.raises(
        RecipeError, match=rf"^There are no views of these examples: .*{reason}.* Train without views\.$"
    ):
        read(np.arange(3))


def test_epochs_take_view_after_view():
    assert [view_of(epoch, 4) for epoch in range(9)] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert [view_of(epoch, 1) for epoch in range(3)] == [0, 0, 0]
