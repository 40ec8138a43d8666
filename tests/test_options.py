"""Flags over recipes: flags win, they reach the right stage, and contradictions are refused."""

from dataclasses import fields, replace

import numpy as np
import pytest

from zoo.errors import RecipeError
from zoo.options import Options, scratch_stages, transfer_stages, with_options
from zoo.recipe import DataPart, ModelPart, Recipe, TopPart, parse_recipe, recipe_text
from zoo.recipe_stage import StagePart

EMPTY = Recipe(ModelPart("glyphs"), DataPart("rows.csv"))
ADAM = {"name": "adam", "learning_rate": 1e-3}


def message(recipe: Recipe, **flags: object) -> str:
    with pytest.raises(RecipeError) as caught:
        with_options(recipe, Options(**flags))
    return str(caught.value)


def test_without_flags_and_stages_the_defaults_are_put_in():
    assert with_options(EMPTY, Options()) == replace(EMPTY, stages=transfer_stages(None))
    scratch = replace(EMPTY, model=replace(EMPTY.model, from_scratch=True))
    assert with_options(scratch, Options()).stages == scratch_stages()


def test_without_flags_a_recipe_stays_as_it_is():
    recipe = replace(EMPTY, seed=3, stages=(StagePart("only", 4, ADAM, train=("top", "block3"), layer_decay=0.3),))
    assert with_options(recipe, Options()) == recipe


@pytest.mark.parametrize(
    ("part", "key", "before", "after"),
    [
        ("model", "cut", "a", "b"),
        ("data", "val", 0.3, 0.0),
        ("data", "test", 0.3, 0.0),
        ("data", "batch_size", 8, 16),
        ("data", "limit_per_class", 3, 5),
        ("data", "augment", "light", "none"),
        ("data", "class_weights", "balanced", "none"),
        ("data", "target", "labels", "classes"),
        ("data", "label_column", ("a",), ("b", "c")),
        ("data", "path_column", "a", "b"),
        ("data", "text_column", "a", "b"),
        ("data", "feature_columns", ("a",), ("b",)),
        ("data", "skip_bad", True, False),
        ("top", "hidden", (8,), (16, 4)),
        ("top", "hidden", (8,), ()),
        ("top", "activation", "elu", "relu"),
        ("top", "activation", "elu", {"name": "elu", "alpha": 0.5}),
        ("top", "dropout", 0.5, 0.0),
        ("top", "loss", "auto", "huber"),
        ("top", "label_smoothing", 0.1, 0.0),
        ("compute", "precision", "mixed_float16", "float32"),
        ("compute", "threads", 4, 0),
        ("compute", "device", "gpu", "cpu"),
    ],
)
def test_a_flag_wins_over_the_recipe(part, key, before, after):
    recipe = replace(EMPTY, **{part: replace(getattr(EMPTY, part), **{key: before})})
    assert getattr(getattr(with_options(recipe, Options()), part), key) == before
    changed = with_options(recipe, Options(**{key: after}))
    assert getattr(getattr(changed, part), key) == after
    assert replace(changed, stages=(), **{part: getattr(recipe, part)}) == recipe, "nothing else may change"


def test_the_seed_wins_over_the_recipe():
    assert with_options(replace(EMPTY, seed=3), Options(seed=0)).seed == 0


def test_every_option_changes_something():
    values = {
        "seed": 5,
        "cut": "x",
        "from_scratch": True,
        "val": 0.2,
        "test": 0.3,
        "limit_per_class": 4,
        "augment": "light",
        "batch_size": 8,
        "class_weights": "balanced",
        "target": "labels",
        "label_column": ("a",),
        "path_column": "a",
        "text_column": "a",
        "feature_columns": ("a",),
        "skip_bad": True,
        "hidden": (8,),
        "activation": "relu",
        "dropout": 0.1,
        "loss": "huber",
        "label_smoothing": 0.1,
        "views": 2,
        "engine": "keras",
        "trunk_precision": "bfloat16",
        "cache": "run",
        "cache_size": "5GB",
        "feature_dtype": "float16",
        "precision": "mixed_bfloat16",
        "threads": 1,
        "device": "cpu",
        "checkpoint_every": 5.0,
        "freeze": "block1",
        "head_epochs": 3,
        "head_learning_rate": 0.5,
        "epochs": 3,
        "optimizer": "sgd",
        "learning_rate": 0.5,
        "momentum": 0.5,
        "nesterov": True,
        "weight_decay": 0.5,
        "clipnorm": 1.0,
        "clipvalue": 1.0,
        "global_clipnorm": 1.0,
        "layer_decay": 0.25,
        "multipliers": {"block1": 0.5},
        "thaw": "by_block",
        "batch_norm": "train",
        "patience": 2,
        "schedule": "cosine",
        "l2_sp": 0.1,
        "weight_averaging": 0.5,
    }
    assert values.keys() == {f.name for f in fields(Options)}
    beside = {"views": {"augment": "light"}, **{key: {"optimizer": "sgd"} for key in ("momentum", "nesterov")}}
    for key, value in values.items():
        plain = with_options(EMPTY, Options(**beside.get(key, {})))
        assert with_options(EMPTY, Options(**{**beside.get(key, {}), key: value})) != plain, key


def test_the_command_has_a_flag_for_every_option():
    from zoo.commands.finetune import command

    assert {f.name for f in fields(Options)} <= {param.name for param in command.params}


def test_flags_of_the_head_reach_the_head_and_the_others_the_last_stage():
    flags = Options(
        head_epochs=2, head_learning_rate=0.5, epochs=3, learning_rate=0.25, layer_decay=0.1, batch_norm="train"
    )
    head, tune = with_options(EMPTY, flags).stages
    assert (head.epochs, head.optimizer, head.batch_norm) == (2, {"name": "adam", "learning_rate": 0.5}, "frozen")
    assert (tune.epochs, tune.optimizer) == (3, {"name": "adam", "learning_rate": 0.25})
    assert (tune.layer_decay, tune.batch_norm) == (0.1, "train")


def test_another_optimizer_by_name_takes_neither_rate_nor_arguments_of_the_one_before():
    before = {"name": "sgd", "learning_rate": 0.3, "momentum": 0.9, "nesterov": True}
    recipe = replace(EMPTY, stages=(StagePart("s", 1, before, freeze="none"),))
    assert with_options(recipe, Options(optimizer="rmsprop")).stages[0].optimizer == {"name": "rmsprop"}
    assert with_options(recipe, Options(optimizer="rmsprop", learning_rate=0.1)).stages[0].optimizer == {
        "name": "rmsprop",
        "learning_rate": 0.1,
    }
    assert with_options(recipe, Options(optimizer="SGD")).stages[0].optimizer == {"name": "SGD", "learning_rate": 0.3}
    changed = with_options(recipe, Options(momentum=0.5, nesterov=False, weight_decay=0.1))
    assert changed.stages[0].optimizer == {**before, "momentum": 0.5, "nesterov": False, "weight_decay": 0.1}


def test_an_optimizer_may_be_a_table():
    made = with_options(
        EMPTY, Options(optimizer={"name": "sgd", "learning_rate": {"name": "CosineDecay", "decay_steps": 9}})
    )
    assert made.stages[-1].optimizer == {"name": "sgd", "learning_rate": {"name": "CosineDecay", "decay_steps": 9}}


def test_clipping_and_patience_reach_every_stage():
    for stage in with_options(EMPTY, Options(global_clipnorm=1.0, patience=4)).stages:
        assert stage.optimizer["global_clipnorm"] == 1.0
        assert stage.early_stopping == {"monitor": "val_loss", "min_delta": 0.0, "patience": 4}


def test_a_flag_for_clipping_replaces_the_recipes_other_kind():
    stage = StagePart("s", 1, {**ADAM, "global_clipnorm": 1.0}, freeze="none")
    assert with_options(replace(EMPTY, stages=(stage,)), Options(clipvalue=0.5)).stages[0].optimizer == {
        **ADAM,
        "clipvalue": 0.5,
    }


def test_patience_keeps_what_the_recipe_watches():
    stopping = {"monitor": "val_accuracy", "patience": 9, "min_delta": 0.01}
    recipe = replace(EMPTY, stages=(StagePart("s", 1, ADAM, freeze="none", early_stopping=stopping),))
    assert with_options(recipe, Options(patience=2)).stages[0].early_stopping == {**stopping, "patience": 2}


def test_patience_is_for_the_stages_that_do_not_end_with_an_average():
    head, tune = with_options(EMPTY, Options(patience=2, weight_averaging=0.5)).stages
    assert (head.early_stopping["patience"], tune.early_stopping) == (2, None)
    for averaging in ({"weight_averaging": 0.5}, {"optimizer": "schedulefreeadamw"}):
        assert message(EMPTY, patience=2, freeze="all", **averaging) == (
            "No stage could stop early: each ends with an average of its weights, not with one epoch's. "
            "Received patience = 2. Leave out --patience, or what averages (weight_averaging, use_ema)."
        )


@pytest.mark.parametrize(("patience", "plateau"), [(9, 4), (5, 2), (3, 1), (2, 1), (None, 5)])
def test_performance_scheduling_is_the_less_patient_unless_it_says_so(patience, plateau):
    plain = StagePart("s", 1, ADAM, freeze="none")
    assert last_stage(plain, schedule="performance", patience=patience).reduce_on_plateau["patience"] == plateau
    own = {"name": "performance", "patience": 1}
    assert last_stage(plain, schedule=own, patience=patience).reduce_on_plateau["patience"] == 1


@pytest.mark.parametrize(("stopping", "patience", "plateau"), [(10, 4, 2), (10, 30, 15), (None, 4, 2), (10, None, 5)])
@pytest.mark.parametrize("written_out", [False, True])
def test_half_of_early_stoppings_patience_is_half_of_the_one_that_is_asked_for(
    stopping, patience, plateau, written_out
):
    """In a recipe that leaves it open, and in that of a finished run, which has it written out."""
    early = None if stopping is None else {"patience": stopping}
    stage = StagePart("s", 9, ADAM, freeze="none", early_stopping=early, reduce_on_plateau={"factor": 0.5})
    recipe = parse_recipe(recipe_text(replace(EMPTY, stages=(stage,))))
    if written_out:
        recipe = parse_recipe(recipe_text(with_options(recipe, Options())), "its own")
    made = with_options(recipe, Options(patience=patience)).stages[0]
    assert made.reduce_on_plateau["patience"] == plateau


def test_a_patience_that_performance_scheduling_says_stays():
    said = {"monitor": "val_loss", "factor": 0.1, "patience": 3, "min_delta": 0.0, "cooldown": 0, "min_lr": 0.0}
    stopping = {"monitor": "val_loss", "patience": 10, "min_delta": 0.0}
    stage = StagePart("s", 1, ADAM, freeze="none", early_stopping=stopping, reduce_on_plateau=said)
    for patience in (4, 30):
        made = with_options(replace(EMPTY, stages=(stage,)), Options(patience=patience)).stages[0]
        assert made.reduce_on_plateau["patience"] == 3


@pytest.mark.parametrize("empty", [(), []])
def test_no_augmentation_is_none_however_it_is_said(empty):
    assert with_options(EMPTY, Options(augment=empty)).data.augment == "none"
    assert with_options(replace(EMPTY, data=DataPart("digits", augment=empty)), Options()).data.augment == "none"


@pytest.mark.parametrize(
    ("freeze", "names"), [("all", ["head"]), ("none", ["head", "fine-tune"]), ("block1", ["head", "fine-tune"])]
)
def test_freeze_says_how_much_is_frozen_throughout(freeze, names):
    made = with_options(EMPTY, Options(freeze=freeze)).stages
    assert [stage.name for stage in made] == names
    assert made[0].train == ("top",)
    if len(made) > 1:
        assert (made[1].freeze, made[1].train) == (freeze, None)


def test_freeze_replaces_the_recipes_list_of_blocks():
    recipe = replace(EMPTY, stages=(StagePart("s", 1, ADAM, train=("top", "block3")),))
    stage = with_options(recipe, Options(freeze="block1")).stages[0]
    assert (stage.freeze, stage.train) == ("block1", None)


def test_freeze_is_refused_where_the_recipe_trains_the_top_alone():
    recipe = replace(EMPTY, stages=transfer_stages("all"))
    assert message(recipe, freeze="block1") == (
        "The recipe's last stage 'head' trains the top alone: everything below is frozen. Received freeze = 'block1'. "
        "Use another recipe, or leave the recipe out."
    )
    assert with_options(recipe, Options(freeze="all")) == recipe


def test_layer_decay_replaces_the_recipes_multipliers():
    recipe = replace(EMPTY, stages=(StagePart("s", 1, ADAM, train=("top",), multipliers={"top": 0.5}),))
    stage = with_options(recipe, Options(layer_decay=0.1)).stages[0]
    assert (stage.layer_decay, stage.multipliers) == (0.1, None)


def test_multipliers_replace_the_layer_decay_of_the_default_stage():
    tune = with_options(EMPTY, Options(multipliers={"top": 0.5})).stages[-1]
    assert (tune.layer_decay, tune.multipliers) == (None, {"top": 0.5})
    assert "either layer_decay or multipliers" in message(EMPTY, multipliers={"top": 0.5}, layer_decay=0.5)


def test_random_weights_are_not_frozen():
    assert message(EMPTY, from_scratch=True, freeze="block1") == (
        "A network from random weights has nothing worth freezing. Received from_scratch with freeze = 'block1'. "
        "Leave one of them out."
    )
    assert with_options(EMPTY, Options(from_scratch=True, freeze="none")).stages == scratch_stages()
    scratch = replace(EMPTY, model=ModelPart("glyphs", from_scratch=True))
    assert "nothing worth freezing" in message(replace(scratch, stages=(StagePart("s", 1, ADAM, freeze="block1"),)))


def test_the_same_recipe_from_scratch_freezes_nothing():
    recipe = replace(EMPTY, stages=transfer_stages(None))
    made = with_options(recipe, Options(from_scratch=True, epochs=3))
    assert made.model.from_scratch
    assert made.stages == (replace(scratch_stages()[0], epochs=3),)


def test_stages_that_the_recipe_writes_for_random_weights_stay():
    stage = StagePart("mine", 3, ADAM, freeze="none", batch_norm="train")
    recipe = replace(EMPTY, model=ModelPart("glyphs", from_scratch=True), stages=(stage,))
    assert with_options(recipe, Options(from_scratch=True)).stages == (stage,)


@pytest.mark.parametrize("key", ["head_epochs", "head_learning_rate"])
def test_flags_of_the_head_are_refused_where_there_is_none(key):
    said = f"'{key}' is for the stage 'head', which this recipe does not have. Use 'epochs' and 'learning_rate'."
    assert message(EMPTY, **{key: 1}, from_scratch=True) == said
    assert message(replace(EMPTY, stages=(StagePart("s", 1, ADAM, freeze="none"),)), **{key: 1}) == said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"dropout": 1.0}, "the options: 'top.dropout' has the wrong value. Expected 0 to below 1; received 1.0."),
        ({"seed": -1}, "the options: 'seed' has the wrong value. Expected 0 to 2**63 - 1; received -1."),
        (
            {"epochs": 0},
            "the options: 'stage[1].epochs' (the stage 'fine-tune') has the wrong value. "
            "Expected 1 or more; received 0.",
        ),
        (
            {"hidden": (0,)},
            "the options: 'top.hidden' has the wrong value. Expected widths of 1 or more; received [0].",
        ),
        ({"hidden": 64}, "the options: 'top.hidden' has the wrong value. Expected a list; received 64."),
        (
            {"layer_decay": 2.0},
            "the options: 'stage[1].layer_decay' (the stage 'fine-tune') has the wrong value. "
            "Expected above 0, at most 1",
        ),
        ({"batch_norm": "live"}, "the options: 'stage[1].batch_norm' (the stage 'fine-tune') has the wrong value."),
        ({"test": "rest"}, "the options: 'data.test' has the wrong value. Expected a share, where no limit_per_class"),
        (
            {"learning_rate": -0.1},
            "the options: 'stage[1].optimizer.learning_rate' (the stage 'fine-tune') has the wrong value. "
            "Expected a finite number, 0 or more; received -0.1.",
        ),
        (
            {"head_learning_rate": float("nan")},
            "the options: 'stage[0].optimizer.learning_rate' (the stage 'head') has the wrong value.",
        ),
        (
            {"weight_decay": -1.0},
            "the options: 'stage[1].optimizer.weight_decay' (the stage 'fine-tune') has the wrong value.",
        ),
        ({"clipnorm": -1.0}, "the options: 'stage[0].optimizer.clipnorm' (the stage 'head') has the wrong value."),
        ({"learning_rate": object()}, "An option has a value that a recipe cannot hold: "),
    ],
)
def test_a_flag_out_of_range_is_refused(flags, said):
    assert message(EMPTY, **flags).startswith(said)


def test_numbers_of_numpy_are_numbers():
    flags = Options(
        learning_rate=np.float64(0.5), epochs=np.int64(3), hidden=(np.int64(8),), class_weights={"a": np.float32(2)}
    )
    made = with_options(EMPTY, flags)
    assert made.stages[-1].optimizer["learning_rate"] == 0.5
    assert (made.stages[-1].epochs, made.top, made.data.class_weights) == (3, TopPart((8,)), {"a": 2.0})


def last_stage(before: StagePart, **flags: object) -> StagePart:
    return with_options(replace(EMPTY, stages=(before,)), Options(**flags)).stages[0]


def test_strengths_and_shares_may_be_tables_or_numbers():
    plain = StagePart("s", 1, ADAM, freeze="none")
    assert last_stage(plain, l2_sp=0.1).l2_sp == {"alpha": 0.1, "beta": 0.0}
    assert last_stage(plain, l2_sp={"alpha": 0.1, "beta": 0.01}).l2_sp == {"alpha": 0.1, "beta": 0.01}
    assert last_stage(plain, weight_averaging=0.5).weight_averaging == {"start": 0.5, "every": 1}
