"""Keys set from outside a recipe: by address, before it is checked, with errors that name the address."""

import pytest

import zoo
from zoo.errors import RecipeError
from zoo.settings import read_setting, with_settings

HEAD = 'schema = 1\n[model]\nname = "glyphs"\n[data]\npath = "digits"\n'
STAGES = """
[[stage]]
name = "head"
train = ["top"]
epochs = 20
optimizer = { name = "adam", learning_rate = 0.01 }

[[stage]]
name = "fine.tune 2"
freeze = "half"
epochs = 10
optimizer = { name = "sgd" }
early_stopping = { patience = 3 }
"""


@pytest.fixture
def recipe(tmp_path):
    """A recipe with two stages, and one without."""
    (tmp_path / "r.toml").write_text(HEAD + STAGES, encoding="utf-8")
    (tmp_path / "plain.toml").write_text(HEAD, encoding="utf-8")
    return tmp_path / "r.toml"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=3", "seed", 3),
        (" seed = 3 ", "seed", 3),
        ("data.val=1e-1", "data.val", 0.1),
        ("data.skip_bad=true", "data.skip_bad", True),
        ("model.name=runs/first", "model.name", "runs/first"),
        ("model.name='a b'", "model.name", "a b"),
        ('data.path="3"', "data.path", "3"),
        ("data.path=characters:examples=9,seed=0", "data.path", "characters:examples=9,seed=0"),
        ("data.test=rest", "data.test", "rest"),
        ("top.hidden=[64, 32]", "top.hidden", [64, 32]),
        ("data.class_weights={ a = 2.0 }", "data.class_weights", {"a": 2.0}),
        ("compute.cache_size=20 GB", "compute.cache_size", "20 GB"),
        ("data.path=2024-01-02", "data.path", "2024-01-02"),
        ('model.cut=""', "model.cut", ""),
        ("data.path=a\nseed = 4", "data.path", "a\nseed = 4"),
        ("seed=3\nval = 4", "seed", "3\nval = 4"),
    ],
)
def test_a_value_is_toml_and_a_word_is_a_string(text, key, value):
    assert read_setting(text) == (key, value)


@pytest.mark.parametrize("text", ["seed", "=3", "seed=", "", "="])
def test_what_is_no_setting_is_refused(text):
    with pytest.raises(RecipeError) as caught:
        read_setting(text)
    assert f"--set {text}: this is not KEY=VALUE. Expected a key and its value, such as seed=3." in str(caught.value)


@pytest.mark.parametrize("value", ["[64", "{ a = 1", '"open', "'open"])
def test_a_list_that_the_shell_took_apart_is_refused(value):
    with pytest.raises(RecipeError, match=r"^--set top\.hidden: the value is not TOML: .*Quote the whole for"):
        read_setting(f"top.hidden={value}")


def test_keys_are_set_before_the_recipe_is_checked(recipe):
    settings = {
        "seed": 3,
        "data.limit_per_class": 5,
        "top.hidden": (64,),
        "stage.head.epochs": 5,
        "stage.1.epochs": 7,
        'stage."fine.tune 2".early_stopping.patience': 9,
        "stage.head.optimizer.learning_rate": 0.1,
        "compute.threads": 2,
    }
    made = zoo.read_recipe(recipe, set=settings)
    head, tune = made.stages
    assert (made.seed, made.data.limit_per_class, made.top.hidden, made.compute.threads) == (3, 5, (64,), 2)
    assert (head.epochs, head.optimizer) == (5, {"name": "adam", "learning_rate": 0.1})
    assert (tune.epochs, tune.early_stopping["patience"]) == (7, 9)
    assert made == zoo.read_recipe(recipe, set=dict(reversed(settings.items())))


def test_nothing_set_is_the_recipe_itself(recipe):
    assert zoo.read_recipe(recipe, set={}) == zoo.read_recipe(recipe)


def test_what_is_set_is_not_changed():
    data = {"schema": 1, "data": {"path": "digits"}, "stage": [{"name": "s", "epochs": 1}]}
    made = with_settings(data, {"stage.s.epochs": 2, "data.val": 0.3}, "r")
    assert data == {"schema": 1, "data": {"path": "digits"}, "stage": [{"name": "s", "epochs": 1}]}
    assert (made["stage"][0]["epochs"], made["data"]["val"]) == (2, 0.3)


def test_numbers_of_numpy_are_numbers(recipe):
    import numpy as np

    made = zoo.read_recipe(recipe, set={"seed": np.int64(3), "top.hidden": [np.int32(8)], "data.val": np.float32(0.25)})
    assert (made.seed, made.top.hidden, made.data.val) == (3, (8,), 0.25)


def test_a_recipe_without_stages_has_the_default_ones_where_one_of_theirs_is_set(recipe):
    plain = recipe.with_name("plain.toml")
    assert zoo.read_recipe(plain, set={"seed": 1}).stages == ()
    assert [stage.epochs for stage in zoo.read_recipe(plain, set={"stage.head.epochs": 5}).stages] == [5, 30]
    scratch = zoo.read_recipe(plain, set={"model.from_scratch": True, "stage.scratch.epochs": 5}).stages
    assert [(stage.name, stage.epochs) for stage in scratch] == [("scratch", 5)]


def test_all_stages_can_be_set_at_once(recipe):
    one = {"name": "only", "freeze": "all", "epochs": 1, "optimizer": {"name": "adam"}}
    assert [stage.name for stage in zoo.read_recipe(recipe, set={"stage": [one]}).stages] == ["only"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("limit_per_class", "a recipe has no key 'limit_per_class'. Did you mean 'data.limit_per_class'?"),
        ("data.limit_per_clas", "a recipe has no key 'data.limit_per_clas'. Did you mean 'data.limit_per_class'"),
        ("model.val", "a recipe has no key 'model.val'. Did you mean 'data.val'?"),
        ("sead", "a recipe has no key 'sead'. Did you mean 'seed'"),
        ("seed.x", "a recipe has no key 'seed.x'."),
        ("stages.head.epochs", "a recipe has no key 'stages.head.epochs'."),
        ("stage.head.epocs", "a recipe has no key 'stage.head.epocs'. Did you mean 'stage.head.epochs'"),
        ("stage.hed.epochs", "there is no stage 'hed'. Expected a name, or a number below 2. Did you mean 'head'?"),
        ("stage.2.epochs", "there is no stage '2'. Expected a name, or a number below 2."),
        ("stage.head", "a recipe has no key 'stage.head'."),
        ("stage.head.epochs.x", "'epochs' is no table. Received epochs = 20. Set epochs itself."),
        ("data..val", "this is no key of a recipe. Expected names with dots between them, such as data.val."),
        ("", "this is no key of a recipe."),
        (".", "this is no key of a recipe."),
        ('stage."head.epochs', "this is no key of a recipe."),
    ],
)
def test_an_address_that_is_none_is_named_with_the_nearest(recipe, address, says):
    with pytest.raises(RecipeError) as caught:
        zoo.read_recipe(recipe, set={address: 3})
    assert str(caught.value).startswith(f"{recipe}, with {address} set: {says}")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"seed": "x"}, "seed set: 'seed' has the wrong value. Expected a whole number; received 'x'."),
        ({"data.val": 2.0}, "data.val set: 'data.val' has the wrong value. Expected 0 or more"),
        (
            {"seed": 3, "stage.head.epochs": 0},
            "seed, stage.head.epochs set: 'stage[0].epochs' (the stage 'head') has the wrong value. Expected 1 or more",
        ),
        (
            {"stage.head.optimizer.name": "adan"},
            "stage.head.optimizer.name set: 'stage[0].optimizer.name' (the stage 'head'): Keras has no optimizer",
        ),
        ({"stage.head.freeze": "all"}, "stage.head.freeze set: 'stage[0].train' (the stage 'head') has the wrong"),
        (
            {"model.from_scratch": True},
            "model.from_scratch set: 'stage[1].freeze' (the stage 'fine.tune 2'): A ",
        ),
    ],
)
def test_a_value_that_is_wrong_is_named_with_what_was_set(recipe, settings, says):
    with pytest.raises(RecipeError) as caught:
        zoo.read_recipe(recipe, set=settings)
    assert str(caught.value).startswith(f"{recipe}, with {says}")
