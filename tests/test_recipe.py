"""Recipes: strict in what they take, every default written out, and the same after being written and read."""

import re
from copy import deepcopy
from dataclasses import replace

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from zoo import recipe as recipes
from zoo import trunk_options
from zoo.errors import RecipeError
from zoo.keras_names import (
    AUGMENTATION_LAYERS,
    CLIPPING,
    OPTIMIZERS,
    SCHEDULE_CLASSES,
    SCHEDULES,
    SWITCHES,
)
from zoo.recipe import ComputePart, DataPart, ModelPart, Recipe, TopPart, parse_recipe, read_recipe, recipe_text
from zoo.recipe_stage import BATCH_NORM, THAWS, StagePart

WHOLE = {
    "schema": 1,
    "seed": 7,
    "model": {"name": "glyphs", "cut": "features"},
    "data": {"path": "digits", "val": 0.1, "test": 0.2, "limit_per_class": 10, "augment": "none", "batch_size": 32},
    "top": {"hidden": [64], "activation": "elu", "dropout": 0.3},
    "compute": {"engine": "auto", "precision": "float32", "threads": 2},
    "stage": [
        {"name": "head", "train": ["top"], "epochs": 20, "optimizer": {"name": "adam", "learning_rate": 0.01}},
        {
            "name": "fine-tune",
            "train": ["top", "block3"],
            "epochs": 10,
            "layer_decay": 0.5,
            "batch_norm": {"block3": "fixed_statistics"},
            "optimizer": {"name": "sgd", "momentum": 0.9},
            "early_stopping": {"monitor": "val_loss", "patience": 5},
            "reduce_on_plateau": {"factor": 0.5, "patience": 2},
            "l2_sp": 0.01,
        },
        {
            "name": "average",
            "freeze": "block1",
            "epochs": 8,
            "optimizer": {"name": "sgd", "learning_rate": {"name": "cosine", "initial_learning_rate": 0.1}},
            "l2_sp": {"alpha": 0.01, "beta": 0.001},
            "weight_averaging": {"start": 0.5},
        },
    ],
}


def edited(key: str, value: object) -> str:
    """The whole recipe with one key changed; ``None`` takes it out, ``stage[1].x`` is a key of the second stage."""
    data = deepcopy(WHOLE)
    *outer, last = key.split(".")
    table = data
    for name in outer:
        found = re.fullmatch(r"(\w+)\[(\d)\]", name)
        table = table[found[1]][int(found[2])] if found else table[name]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return tomli_w.dumps(data)


def message(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.toml")
    return str(caught.value)


def test_a_whole_recipe_is_read():
    recipe = parse_recipe(tomli_w.dumps(WHOLE))
    assert (recipe.seed, recipe.model, recipe.top) == (7, ModelPart("glyphs", "features"), TopPart((64,), "elu", 0.3))
    assert recipe.data.limit_per_class == 10
    assert [stage.name for stage in recipe.stages] == ["head", "fine-tune", "average"]
    assert recipe.stages[1].early_stopping == {"monitor": "val_loss", "patience": 5, "min_delta": 0.0}
    assert recipe.stages[1].batch_norm == {"block3": "fixed_statistics"}
    plateau = {"monitor": "val_loss", "factor": 0.5, "patience": 2, "min_delta": 0.0, "cooldown": 0, "min_lr": 0.0}
    assert recipe.stages[1].reduce_on_plateau == plateau
    assert [stage.l2_sp for stage in recipe.stages[1:]] == [
        {"alpha": 0.01, "beta": 0.0},
        {"alpha": 0.01, "beta": 0.001},
    ]
    assert recipe.stages[2].weight_averaging == {"start": 0.5, "every": 1}


def shown(key: str) -> str:
    """A key as errors show it: one of a stage with the stage's name."""
    found = re.match(r"stage\[(\d)\]\.", key)
    return f"'{key}' (the stage '{WHOLE['stage'][int(found[1])]['name']}')" if found else f"'{key}'"


def test_what_is_not_written_has_a_default():
    recipe = parse_recipe('schema = 1\n[model]\nname = "glyphs"\n[data]\npath = "digits"')
    assert recipe == Recipe(ModelPart("glyphs"), DataPart("digits"))


@pytest.mark.parametrize(
    "key", ["model", "data", "model.name", "data.path", "stage[0].name", "stage[0].epochs", "stage[1].optimizer"]
)
def test_a_missing_key_is_named_with_the_file(key):
    said = message(edited(key, None))
    unnamed = f"'{key}'" if key == "stage[0].name" else shown(key)
    assert said.startswith(f"r.toml: the key {unnamed} is missing. Expected ")
    assert said.endswith(f"Add it: {key.split('.')[-1]} = ...")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("sead", "seed"),
        ("modle", "model"),
        ("stages", "stage"),
        ("model.cutt", "cut"),
        ("data.vall", "val"),
        ("data.limit_pro_class", "limit_per_class"),
        ("data.batchsize", "batch_size"),
        ("top.widths", None),
        ("top.hiden", "hidden"),
        ("compute.thread", "threads"),
        ("stage[0].epoch", "epochs"),
        ("stage[1].layerdecay", "layer_decay"),
        ("stage[1].early_stopping.patiense", "patience"),
        ("stage[1].reduce_on_plateau.facter", "factor"),
        ("stage[2].weight_averaging.starts", "start"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key, near):
    said = message(edited(key, 1))
    assert said.startswith(f"r.toml: unknown key {shown(key)}.")
    assert (f"Did you mean '{near}'" if near else "Known: activation, dropout, hidden, label_smoothing, loss.") in said


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, "0 to 2**63 - 1; received -1"),
        ("seed", 2**63, "0 to 2**63 - 1"),
        ("seed", "7", "a whole number; received '7'"),
        ("seed", True, "a whole number; received True"),
        ("model", "glyphs", "a table; received 'glyphs'"),
        ("model.from_scratch", 1, "true or false; received 1"),
        ("model.args", {"filters": [8]}, "from_scratch = true beside it"),
        ("data.val", 1.0, "0 or more, and below 1 together with test; received 1.0"),
        ("data.val", 0.9, "0 or more, and below 1 together with test; received 0.9"),
        ("data.val", -0.1, "0 or more"),
        ("data.val", float("nan"), "0 or more"),
        ("data.test", 1, 'a share from 0 to below 1, or "rest"; received 1'),
        ("data.test", "all", "a share from 0 to below 1, or \"rest\"; received 'all'"),
        ("data.test", True, 'a share from 0 to below 1, or "rest"; received True'),
        ("data.limit_per_class", 0, "1 or more; received 0"),
        ("data.batch_size", 0, "1 or more; received 0"),
        ("data.augment", "ligth", "Did you mean 'light'?"),
        ("data.augment", [{"factor": 0.1}], "a list of layers"),
        ("data.class_weights", "balance", "none | balanced, or a table"),
        (
            "data.class_weights",
            {"a": -1},
            "none | balanced, or a table of class = weight, 0 or more; received {'a': -1}",
        ),
        ("data.class_weights", {"a": True}, "none | balanced, or a table"),
        ("data.class_weights", {"a": float("inf")}, "none | balanced, or a table"),
        ("data.label_column", "y", "a list; received 'y'"),
        ("top.activation", 3, "a name, or a table such as"),
        ("top.activation", {"alpha": 0.5}, "a name, or a table such as"),
        ("top.hidden", [0], "widths of 1 or more; received [0]"),
        ("top.hidden", [1.5], "a list of whole numbers; received [1.5]"),
        ("top.dropout", 1.0, "0 to below 1; received 1.0"),
        ("top.dropout", float("nan"), "0 to below 1; received nan"),
        ("top.label_smoothing", 1.0, "0 to below 1"),
        ("compute.threads", -1, "0 to 1024; received -1"),
        ("compute.threads", 3_000_000_000, "0 to 1024; received 3000000000"),
        ("compute.device", "tpu", "auto, cpu, gpu or gpu:N; received 'tpu'"),
        ("compute.cache_size", "plenty", "a size, such as 20 GB; received 'plenty'"),
        ("stage", [1], "tables, each headed [[stage]]"),
        ("stage[0].epochs", 0, "1 or more; received 0"),
        ("stage[0].optimizer", {"learning_rate": 0.1}, '{ name = "adam", learning_rate = 1e-3 }'),
        ("stage[0].optimizer", "adam", "a table; received 'adam'"),
        ("stage[0].optimizer.learning_rate", -0.1, "a finite number, 0 or more; received -0.1"),
        ("stage[0].optimizer.learning_rate", float("nan"), "a finite number, 0 or more; received nan"),
        ("stage[0].optimizer.learning_rate", float("inf"), "a finite number, 0 or more; received inf"),
        (
            "stage[0].optimizer.learning_rate",
            {"name": "CosineDecay", "initial_learning_rate": -1.0},
            "a finite number, 0 or more; received -1.0",
        ),
        ("stage[0].optimizer.weight_decay", -0.1, "a finite number, 0 or more; received -0.1"),
        ("stage[1].optimizer.momentum", -0.1, "a finite number, 0 or more; received -0.1"),
        ("stage[0].optimizer.clipnorm", 0, "a finite number above 0; received 0"),
        ("stage[0].optimizer.clipvalue", -1.0, "a finite number above 0; received -1.0"),
        ("stage[0].optimizer.global_clipnorm", float("inf"), "a finite number above 0; received inf"),
        ("stage[0].optimizer.epsilon", float("nan"), "a finite number; received nan"),
        ("stage[0].name", "../up", "it is part of a file's name; received '../up'"),
        ("stage[0].name", "", "it is part of a file's name"),
        ("stage[0].name", "fine-tune", "stages of different names"),
        ("stage[0].train", None, "either train (the blocks that learn) or freeze (the highest frozen block)"),
        ("stage[0].freeze", "block1", "either train (the blocks that learn) or freeze (the highest frozen block)"),
        ("stage[1].layer_decay", 0.0, "above 0, at most 1; received 0.0"),
        ("stage[1].layer_decay", 1.5, "above 0, at most 1"),
        ("stage[1].multipliers", {"block3": 0.3}, "either layer_decay or multipliers"),
        ("stage[0].multipliers", {"top": "fast"}, "a table of block = multiplier, 0 or more; received {'top': 'fast'}"),
        ("stage[0].multipliers", {"top": -0.5}, "a table of block = multiplier, 0 or more"),
        ("stage[1].batch_norm", "fixed", "frozen | fixed_statistics | adapt | train, or a table of block = mode"),
        ("stage[1].batch_norm", {"block3": "frosen"}, "Did you mean 'frozen'?"),
        ("stage[1].batch_norm", {"block3": 3}, "frozen | fixed_statistics | adapt | train"),
        ("stage[1].early_stopping", {"patience": 0}, "1 or more; received 0"),
        ("stage[1].reduce_on_plateau", {"factor": 1.0}, "above 0 and below 1; received 1.0"),
        ("stage[1].reduce_on_plateau", {"patience": 0}, "1 or more; received 0"),
        ("stage[1].reduce_on_plateau", {"min_lr": -1.0}, "a finite number, 0 or more; received -1.0"),
        ("stage[1].l2_sp", -0.1, "a strength, 0 or more, or { alpha = 0.01, beta = 0.001 }"),
        ("stage[1].l2_sp", {"beta": 0.1}, "a strength, 0 or more"),
        ("stage[1].l2_sp", {"alpha": 0.1, "gamma": 0.1}, "a strength, 0 or more"),
        ("stage[2].weight_averaging", {"start": 1.0}, "a share of the epochs, 0 to below 1; received 1.0"),
        ("stage[2].weight_averaging", {"every": 0}, "a number of epochs, 1 or more; received 0"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(key, value, expected):
    said = message(edited(key, value))
    stage = r" \(the stage '[^']*'\)" if re.match(r"stage\[.\]\.", key) and value != "fine-tune" else ""
    assert re.match(rf"r\.toml: '[\w.\[\]]+'{stage} has the wrong value\. Expected ", said)
    assert expected in said


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("data.target", "class", "auto | classes | labels | numbers; received 'class'. Did you mean 'classes'?"),
        ("top.loss", "mse", "mean_squared_error"),
        ("compute.precision", "float16", "Did you mean 'mixed_bfloat16'"),
        ("compute.engine", "fast", "auto | keras | tensorflow | openvino; received 'fast'"),
    ],
)
def test_a_word_that_is_not_a_choice_shows_the_choices(key, value, expected):
    said = message(edited(key, value))
    if key == "compute.precision":
        expected = "float32 | mixed_bfloat16 | mixed_float16"
    assert said.startswith(f"r.toml: '{key}' is not one that zoo knows. Expected ")
    assert expected in said


def test_the_rest_can_be_the_test_only_where_something_says_what_is_labelled():
    assert parse_recipe(edited("data.test", "rest")).data.test == "rest"
    text = edited("data.test", "rest").replace("limit_per_class = 10\n", "")
    assert "a share, where no limit_per_class says what is labelled; received 'rest'" in message(text)


def test_a_validation_share_of_the_labelled_may_be_large_where_the_test_is_the_rest():
    text = edited("data.test", "rest").replace("val = 0.1", "val = 0.9")
    assert parse_recipe(text).data.val == 0.9


def test_a_list_of_keras_layers_is_an_augmentation():
    layers = [{"name": "RandomFlip", "mode": "horizontal"}, {"name": "RandomRotation", "factor": 0.1}]
    assert parse_recipe(edited("data.augment", layers)).data.augment == tuple(layers)


def test_another_schema_is_refused():
    assert message(edited("schema", 9)).startswith(
        "r.toml: the 'schema' is not one that this zoo knows. Expected schema = 1;"
    )


def test_a_recipe_is_read_from_a_path_with_any_ending(tmp_path, monkeypatch):
    for name in ("r.toml", "plain"):
        (tmp_path / name).write_text(tomli_w.dumps(WHOLE), encoding="utf-8")
        assert read_recipe(tmp_path / name).seed == 7
        assert read_recipe(str(tmp_path / name)).seed == 7
    monkeypatch.chdir(tmp_path)
    assert read_recipe("plain").seed == 7


def test_of_a_run_folder_its_recipe_is_read(tmp_path):
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(WHOLE), encoding="utf-8")
    assert read_recipe(tmp_path).seed == read_recipe(str(tmp_path)).seed == 7
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"^There is no file .*empty.recipe\.toml\. Check the path\.$"):
        read_recipe(tmp_path / "empty")


@pytest.mark.parametrize(
    ("key", "without"), [("stage[0].multipliers", None), ("stage[0].batch_norm", None), ("data.class_weights", "none")]
)
def test_a_table_that_says_nothing_is_as_good_as_none(key, without):
    assert parse_recipe(edited(key, {})) == parse_recipe(edited(key, without) if without else tomli_w.dumps(WHOLE))


def test_a_shipped_recipe_is_found_by_name_and_its_neighbours_are_suggested(tmp_path, monkeypatch):
    file = tmp_path / "glyphs.toml"
    file.write_text(tomli_w.dumps(WHOLE), encoding="utf-8")
    monkeypatch.setattr(recipes, "shipped_recipes", lambda: {"glyphs": file})
    assert read_recipe("glyphs").seed == 7
    with pytest.raises(RecipeError) as caught:
        read_recipe("glyfs")
    assert str(caught.value) == (
        "There is no recipe 'glyfs'. Expected a path to a .toml file, or a shipped name. Did you mean 'glyphs'?"
    )


def test_a_missing_recipe_file_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match=r"^There is no file .*none\.toml\. Check the path\.$"):
        read_recipe(tmp_path / "none.toml")


def test_every_shipped_recipe_is_read():
    for file in recipes.shipped_recipes().values():
        assert read_recipe(file).stages


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
shares = st.floats(0, 0.49)
weights = st.dictionaries(texts, st.floats(0, 1e6), min_size=1, max_size=3)
arguments = st.dictionaries(
    texts, st.booleans() | st.integers(0, 2**40) | st.floats(allow_nan=False, allow_infinity=False) | texts, max_size=3
)
optional = st.none() | texts


@st.composite
def schedules(draw):
    """A schedule of a rate, with some of its arguments."""
    name = draw(st.sampled_from([name for name in SCHEDULES if name not in ("one_cycle_momentum", "warm_up")]))
    given = draw(st.lists(st.sampled_from(SCHEDULES[name]), unique=True, max_size=3))
    longer = draw(st.sampled_from([name, *(long for long, short in SCHEDULE_CLASSES.items() if short == name)]))
    return {"name": longer, **{key: draw(st.floats(0, 9)) for key in given}}


@st.composite
def optimizers(draw):
    """An optimizer in any case, with some of its arguments."""
    name = draw(st.sampled_from([*OPTIMIZERS]))
    given = draw(st.lists(st.sampled_from(OPTIMIZERS[name]), unique=True, max_size=4))
    given = [key for key in given if key not in (*CLIPPING[1:], "use_ema", "exclude_layers")]
    values = {key: draw(st.booleans() if key in SWITCHES else st.floats(0.125, 9)) for key in given}
    if draw(st.booleans()):
        values["learning_rate"] = draw(schedules())
    return {"name": draw(st.sampled_from([name, name.upper(), name.title()])), **values}


monitors = st.sampled_from(["loss", "val_loss"])
stopping = st.fixed_dictionaries({"monitor": monitors, "patience": st.integers(1, 99), "min_delta": st.floats(0, 1)})
modes = st.sampled_from(BATCH_NORM)


plateaus = st.fixed_dictionaries(
    {
        "monitor": monitors,
        "factor": st.floats(0.01, 0.99),
        "patience": st.integers(1, 99),
        "min_delta": st.floats(0, 1),
        "cooldown": st.integers(0, 9),
        "min_lr": st.floats(0, 1),
    }
)
averaging = st.fixed_dictionaries({"start": st.floats(0, 0.99), "every": st.integers(1, 9)})


@st.composite
def stages(draw):
    learning = draw(st.lists(names, min_size=1, max_size=3, unique=True).map(tuple) | st.none())
    freeze = None if learning else draw(texts)
    optimizer = draw(optimizers())
    ends = draw(st.sampled_from(("", "stopping", "plateau", "averaging")))  # they exclude one another
    constant = not isinstance(optimizer.get("learning_rate"), dict)
    averages = optimizer["name"].lower() == "schedulefreeadamw"
    rates = draw(st.sampled_from(("none", "decay", "multipliers")))
    return StagePart(
        name=draw(names),
        epochs=draw(st.integers(1, 1000)),
        optimizer=optimizer,
        train=learning,
        freeze=freeze,
        thaw=draw(st.sampled_from(THAWS)) if freeze != "all" and len(learning or "..") > 1 else "at_once",
        layer_decay=draw(st.floats(0, 1, exclude_min=True)) if rates == "decay" else None,
        multipliers=draw(weights) if rates == "multipliers" else None,
        batch_norm=draw(modes | st.dictionaries(texts, modes, min_size=1, max_size=2)),
        early_stopping=draw(stopping) if ends == "stopping" and not averages else None,
        reduce_on_plateau=draw(plateaus) if ends == "plateau" and constant else None,
        l2_sp=draw(st.none() | st.fixed_dictionaries({"alpha": st.floats(0, 1), "beta": st.floats(0, 1)})),
        weight_averaging=draw(averaging) if ends == "averaging" and not averages else None,
    )


@st.composite
def data_parts(draw):
    limit = draw(st.none() | st.integers(1, 10**6))
    named = st.sampled_from(AUGMENTATION_LAYERS)
    layers = st.lists(st.builds(lambda rest, name: {**rest, "name": name}, arguments, named), min_size=1, max_size=2)
    kind = draw(st.sampled_from(("path_column", "text_column", "feature_columns", "")))
    columns = {"feature_columns": draw(st.lists(texts, max_size=2).map(tuple))} if kind == "feature_columns" else {}
    columns |= {kind: draw(optional)} if kind in ("path_column", "text_column") else {}
    taken = [name for value in columns.values() for name in ((value,) if isinstance(value, str) else value or ())]
    augment = draw(st.sampled_from(recipes.AUGMENTATIONS) | layers.map(tuple))
    alone = isinstance(augment, str) and augment not in ("none", "mixup", "cutmix")
    return DataPart(
        path=draw(texts.filter(lambda path: not path.endswith(".npz"))),
        val=draw(shares),
        test=draw(shares if limit is None else shares | st.just("rest")),
        limit_per_class=limit,
        augment=augment,
        batch_size=draw(st.integers(1, 10**6)),
        class_weights=draw(st.sampled_from(("none", "balanced")) | weights),
        label_column=draw(st.lists(texts, max_size=2).map(lambda some: tuple(n for n in some if n not in taken))),
        skip_bad=draw(st.booleans()),
        views=draw(st.integers(0, 9)) if alone else 0,
        **columns,
    )


@st.composite
def whole(draw):
    """A recipe that contradicts itself nowhere."""
    data = draw(data_parts())
    classes = data.class_weights != "none" or data.limit_per_class is not None
    data = replace(data, target=draw(st.sampled_from(("auto", "classes") if classes else recipes.TARGETS)))
    loss = {"auto": ("auto",), "classes": ("auto", "categorical_crossentropy"), "labels": ("binary_crossentropy",)}
    loss = draw(st.sampled_from(loss.get(data.target, ("auto", "huber"))))
    activation = draw(texts | st.fixed_dictionaries({"name": texts, "alpha": st.floats(0, 1)}))
    smoothing = 0.0 if data.target == "numbers" else draw(shares)
    some = st.lists(stages(), max_size=2, unique_by=lambda stage: stage.name).map(tuple)
    scratch = draw(st.booleans())
    made = draw(some)
    if scratch:
        made = tuple(
            replace(one, thaw="at_once", l2_sp=None, **({} if one.train else {"freeze": "none"})) for one in made
        )
    return Recipe(
        model=ModelPart(draw(texts), draw(optional), scratch, draw(arguments) if scratch else {}),
        data=data,
        seed=draw(st.integers(0, 2**63 - 1)),
        top=TopPart(
            draw(st.lists(st.integers(1, 10**6), max_size=3).map(tuple)), activation, draw(shares), loss, smoothing
        ),
        compute=ComputePart(
            draw(st.sampled_from(trunk_options.ENGINES)),
            draw(st.sampled_from(trunk_options.TRUNK_PRECISIONS)),
            draw(st.sampled_from(trunk_options.CACHES)),
            draw(st.sampled_from((None, "20 GB", "1.5MB"))),
            draw(st.sampled_from(trunk_options.FEATURE_DTYPES)),
            draw(st.sampled_from(recipes.PRECISIONS)),
            draw(st.integers(0, 99)),
            draw(st.sampled_from(("auto", "cpu", "gpu", "gpu:1"))),
            draw(st.none() | st.floats(0, 1e6)),
        ),
        stages=made,
    )


@given(whole())
def test_a_recipe_is_the_same_after_being_written_and_read(recipe):
    assert parse_recipe(recipe_text(recipe)) == recipe


def test_every_default_is_written_out():
    text = recipe_text(
        Recipe(ModelPart("glyphs"), DataPart("digits"), stages=(StagePart("s", 1, {"name": "sgd"}, freeze="none"),))
    )
    for line in (
        "seed = 0",
        "from_scratch = false",
        "val = 0.1",
        "test = 0.2",
        'augment = "none"',
        'loss = "auto"',
        'precision = "float32"',
        'batch_norm = "frozen"',
        "skip_bad = false",
    ):
        assert f"{line}\n" in text
    assert "cut" not in text


def test_a_part_left_empty_means_its_default():
    recipe = replace(Recipe(ModelPart("glyphs"), DataPart("digits")), top=TopPart())
    assert parse_recipe(recipe_text(recipe)) == recipe


@pytest.mark.parametrize(
    ("said", "key", "meant"),
    [
        ('[data]\npath = "digits"\ntest = "rest"\nlimt_per_class = 10', "data.limt_per_class", "limit_per_class"),
        ('[data]\npath = "digits"\nviews = 4\nagument = "light"', "data.agument", "augment"),
        ('[[stage]]\nname = "head"\ntrian = ["top"]', "stage[0].trian", "train"),
        ('[data]\npath = "digits"\n[topp]\nhidden = [8]', "topp", "top"),
    ],
)
def test_a_misspelled_key_is_said_before_what_its_absence_leads_to(said: str, key: str, meant: str):
    data = "" if "[data]" in said else '[data]\npath = "digits"\n'
    text = f'schema = 1\n[model]\nname = "glyphs"\n{data}{said}\n'
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.toml")
    assert f"unknown key '{key}'" in str(caught.value) and f"Did you mean '{meant}'" in str(caught.value)
