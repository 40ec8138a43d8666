"""Broken recipes: each is refused before anything is loaded, with file, key, and what would be right."""

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.errors import RecipeError
from zoo.recipe import parse_recipe

from .test_recipe import edited, message

HEAD = "schema = 1\n"
DATA = '[model]\nname = "glyphs"\n[data]\npath = "digits"\n'
STAGE = '[[stage]]\nname = "head"\ntrain = ["top"]\nepochs = 2\noptimizer = { name = "adam" }\n'

#: Edits of a whole recipe: the key that is set, its value, the key that the message names, and what it says to do.
EDITS = [
    ("schema", 2, "schema", "Use the zoo that wrote it, or a newer one."),
    ("schema", "1", "schema", "Expected a whole number; received '1'"),
    ("sed", 1, "sed", "Did you mean 'seed'"),
    ("seed", 1.0, "seed", "Expected a whole number; received 1.0"),
    ("seed", -3, "seed", "Expected 0 to 2**63 - 1; received -3"),
    ("Seed", 1, "Seed", "Did you mean 'seed'"),
    ("epochs", 3, "epochs", "Known: compute, data, model, schema, seed, stage, top."),
    ("modell", {"name": "glyphs"}, "modell", "Did you mean 'model'"),
    ("training", {}, "training", "Known: "),
    ("stages", [], "stages", "Did you mean 'stage'"),
    ("model", None, "model", "Add it: model = ..."),
    ("model", [], "model", "Expected a table; received []"),
    ("model.name", None, "model.name", "Add it: name = ..."),
    ("model.name", 3, "model.name", "Expected a string; received 3"),
    ("model.cut", True, "model.cut", "Expected a string; received True"),
    ("model.from_scratch", "yes", "model.from_scratch", "Expected true or false; received 'yes'"),
    ("model.args", {"filters": [8]}, "model.args", "A pretrained network's arguments are its card's."),
    ("model.weights", "imagenet", "model.weights", "Known: args, cut, from_scratch, name."),
    ("model.fromscratch", True, "model.fromscratch", "Did you mean 'from_scratch'"),
    ("data", None, "data", "Add it: data = ..."),
    ("data.path", None, "data.path", "Add it: path = ..."),
    ("data.path", ["digits"], "data.path", "Expected a string; received ['digits']"),
    ("data.paht", "digits", "data.paht", "Did you mean 'path'"),
    ("data.val", "0.1", "data.val", "Expected a number; received '0.1'"),
    ("data.val", 0.8, "data.val", "below 1 together with test; received 0.8"),
    ("data.val", 1.5, "data.val", "Expected 0 or more, and below 1 together with test"),
    ("data.validation", 0.1, "data.validation", "Known: augment, batch_size"),
    ("data.test", "remaining", "data.test", 'Expected a share from 0 to below 1, or "rest"'),
    ("data.test", -0.2, "data.test", 'Expected a share from 0 to below 1, or "rest"; received -0.2'),
    ("data.limit_per_class", 2.5, "data.limit_per_class", "Expected a whole number; received 2.5"),
    ("data.limit_per_class", -1, "data.limit_per_class", "Expected 1 or more; received -1"),
    ("data.limit", 10, "data.limit", "Known: augment, batch_size"),
    ("data.augment", "heavy", "data.augment", "none | light | standard | strong"),
    ("data.augment", True, "data.augment", "none | light | standard | strong"),
    ("data.augment", [{"name": "RandomFlipp"}], "data.augment", "Did you mean 'RandomFlip'"),
    ("data.augment", [{"factor": 0.1}], "data.augment", "or a list of layers"),
    ("data.views", 3, "data.views", "nothing augments the examples"),
    ("data.views", -1, "data.views", "Expected 0 or more; received -1"),
    ("data.batch_size", "32", "data.batch_size", "Expected a whole number; received '32'"),
    ("data.batchsize", 32, "data.batchsize", "Did you mean 'batch_size'"),
    ("data.class_weights", "auto", "data.class_weights", "Expected none | balanced, or a table"),
    ("data.class_weights", [1.0, 2.0], "data.class_weights", "a table of class = weight, 0 or more"),
    ("data.target", "class", "data.target", "Did you mean 'classes'"),
    ("data.target", "numbers", "data.limit_per_class", "Leave the limit out."),
    ("data.label_column", "y", "data.label_column", "Expected a list; received 'y'"),
    ("data.label_column", ["y"], "data.label_column", "Leave it out: it belongs to a .csv."),
    ("data.path_column", "file", "data.path_column", "Leave it out: it belongs to a .csv."),
    ("data.text_column", ["text"], "data.text_column", "Expected a string"),
    ("data.feature_columns", [1, 2], "data.feature_columns", "Expected a list of strings; received [1, 2]"),
    ("data.skip_bad", "true", "data.skip_bad", "Expected true or false; received 'true'"),
    ("top.hiden", [8], "top.hiden", "Did you mean 'hidden'"),
    ("top.hidden", 64, "top.hidden", "Expected a list; received 64"),
    ("top.hidden", ["64"], "top.hidden", "Expected a list of whole numbers"),
    ("top.hidden", [64, 0], "top.hidden", "Expected widths of 1 or more; received [64, 0]"),
    ("top.activation", ["elu"], "top.activation", 'a table such as { name = "elu", alpha = 0.5 }'),
    ("top.dropout", -0.1, "top.dropout", "Expected 0 to below 1; received -0.1"),
    ("top.dropout", "half", "top.dropout", "Expected a number; received 'half'"),
    ("top.loss", "crossentropy", "top.loss", "Did you mean 'binary_crossentropy' or 'categorical_crossentropy'"),
    ("top.loss", "huber", "data.limit_per_class", "Leave the limit out."),
    ("top.label_smoothing", 2, "top.label_smoothing", "Expected 0 to below 1; received 2"),
    ("compute.engine", "jax", "compute.engine", "auto | keras | tensorflow | openvino"),
    ("compute.engine", "tensorflo", "compute.engine", "Did you mean 'tensorflow'"),
    ("compute.trunk_precision", "float16", "compute.trunk_precision", "float32 | bfloat16"),
    ("compute.cache", "memory", "compute.cache", "disk | run | none"),
    ("compute.cache_size", "20 gigabytes", "compute.cache_size", "Expected a size, such as 20 GB"),
    ("compute.cache_size", 20, "compute.cache_size", "Expected a string; received 20"),
    ("compute.feature_dtype", "int8", "compute.feature_dtype", "float32 | float16"),
    ("compute.precision", "bfloat16", "compute.precision", "Did you mean 'mixed_bfloat16'"),
    ("compute.threads", 1.5, "compute.threads", "Expected a whole number; received 1.5"),
    ("compute.device", "cuda", "compute.device", "Expected auto, cpu, gpu or gpu:N; received 'cuda'"),
    ("compute.device", "gpu:first", "compute.device", "Expected auto, cpu, gpu or gpu:N"),
    ("compute.checkpoint_every", -1, "compute.checkpoint_every", "Expected seconds, 0 or more; received -1"),
    ("compute.threds", 2, "compute.threds", "Did you mean 'threads'"),
]

#: The same of stages: the key within the first stage (trained on the top) or the second, with its stage.
STAGE_EDITS = [
    (0, "epochs", None, "epochs", "Add it: epochs = ..."),
    (0, "epochs", 2.0, "epochs", "Expected a whole number; received 2.0"),
    (0, "epoch", 3, "epoch", "Did you mean 'epochs'"),
    (0, "learning_rate", 0.1, "learning_rate", "Known: "),
    (0, "train", "top", "train", "Expected a list; received 'top'"),
    (0, "train", [], "train", "Expected one block or more, each once; received []"),
    (0, "train", ["top", "top"], "train", "Expected one block or more, each once"),
    (0, "train", [1], "train", "Expected a list of strings; received [1]"),
    (0, "freeze", "all", "train", "Expected either train (the blocks that learn) or freeze"),
    (0, "freeze", 2, "freeze", "Expected a string; received 2"),
    (0, "thaw", "by_block", "thaw", "Let more blocks learn, or leave thaw out."),
    (0, "thaw", "by_blocks", "thaw", "Did you mean 'by_block'"),
    (0, "layer_decay", 0, "layer_decay", "Expected above 0, at most 1; received 0"),
    (0, "layerdecay", 0.5, "layerdecay", "Did you mean 'layer_decay'"),
    (0, "multipliers", {"top": -1.0}, "multipliers", "a table of block = multiplier, 0 or more"),
    (0, "multipliers", 0.5, "multipliers", "Expected a table; received 0.5"),
    (0, "batch_norm", "freeze", "batch_norm", "Did you mean 'frozen'"),
    (0, "batch_norm", {"block1": "adapted"}, "batch_norm", "Did you mean 'adapt'"),
    (0, "early_stopping", True, "early_stopping", "Expected a table; received True"),
    (0, "early_stopping", {"patience": 0}, "early_stopping.patience", "Expected 1 or more; received 0"),
    (0, "early_stopping", {"patience": "5"}, "early_stopping.patience", "Expected a whole number"),
    (0, "early_stopping", {"pacience": 5}, "early_stopping.pacience", "Did you mean 'patience'"),
    (0, "early_stopping", {"monitor": "val_acc"}, "early_stopping.monitor", "Did you mean 'val_accuracy'"),
    (0, "early_stopping", {"monitor": "val_los"}, "early_stopping.monitor", "Did you mean 'val_loss'"),
    (0, "early_stopping", {"min_delta": "small"}, "early_stopping.min_delta", "Expected a number"),
    (0, "reduce_on_plateau", {"factor": 2.0}, "reduce_on_plateau.factor", "Expected above 0 and below 1"),
    (0, "reduce_on_plateau", {"monitor": "f1"}, "reduce_on_plateau.monitor", "loss | accuracy"),
    (0, "reduce_on_plateau", {"cooldown": 0.5}, "reduce_on_plateau.cooldown", "Expected a whole number"),
    (0, "l2_sp", "strong", "l2_sp", "Expected a strength, 0 or more, or { alpha = 0.01, beta = 0.001 }"),
    (0, "l2_sp", {"gamma": 0.1}, "l2_sp", "{ alpha = 0.01, beta = 0.001 }"),
    (0, "weight_averaging", {"start": 1.0}, "weight_averaging.start", "Expected a share of the epochs"),
    (0, "weight_averaging", {"stat": 0.5}, "weight_averaging.stat", "Did you mean 'start'"),
    (1, "weight_averaging", {}, "early_stopping", "Leave one of them out."),
    (1, "reduce_on_plateau", {"patience": 5}, "reduce_on_plateau.patience", "lower the patience of reduce_on_plateau"),
    (2, "reduce_on_plateau", {}, "reduce_on_plateau", "Give learning_rate a number, or leave reduce_on_plateau out."),
    (2, "early_stopping", {}, "early_stopping", "Leave one of them out."),
    (1, "multipliers", {"top": 1.0}, "multipliers", "Expected either layer_decay or multipliers"),
    (0, "optimizer", None, "optimizer", "Add it: optimizer = ..."),
    (0, "optimizer", {}, "optimizer", 'Expected { name = "adam", learning_rate = 1e-3 }; received {}'),
    (0, "optimizer", {"name": "adan"}, "optimizer.name", "Did you mean 'adam'"),
    (0, "optimizer", {"name": "SGDM"}, "optimizer.name", "Did you mean 'sgd'"),
    (0, "optimizer", {"name": "adam", "lr": 0.1}, "optimizer.lr", "Known: amsgrad, beta_1"),
    (0, "optimizer", {"name": "adam", "learning_rat": 0.1}, "optimizer.learning_rat", "Did you mean 'learning_rate'"),
    (0, "optimizer", {"name": "adam", "momentum": 0.9}, "optimizer.momentum", "--optimizer sgd"),
    (0, "optimizer", {"name": "rmsprop", "nesterov": True}, "optimizer.nesterov", "--optimizer sgd, --optimizer muon"),
    (0, "optimizer", {"name": "sgd", "nesterov": 1}, "optimizer.nesterov", "Expected true or false; received 1"),
    (0, "optimizer", {"name": "sgd", "momentum": "high"}, "optimizer.momentum", "Expected a number"),
    (0, "optimizer", {"name": "sgd", "momentum": -0.9}, "optimizer.momentum", "a finite number, 0 or more"),
    (0, "optimizer", {"name": "sgd", "learning_rate": "0.1"}, "optimizer.learning_rate", "or a schedule: a table"),
    (
        0,
        "optimizer",
        {"name": "sgd", "weight_decay": {"name": "cosine"}},
        "optimizer.weight_decay",
        "Give it a number.",
    ),
    (0, "optimizer", {"name": "sgd", "clipnorm": 0.0}, "optimizer.clipnorm", "a finite number above 0"),
    (0, "optimizer", {"name": "sgd", "clipnorm": 1, "clipvalue": 1}, "optimizer.clipvalue", "Leave one of them out."),
    (
        0,
        "optimizer",
        {"name": "muon", "exclude_layers": "top"},
        "optimizer.exclude_layers",
        "a list of regular expressions",
    ),
    (0, "optimizer", {"name": "muon", "exclude_layers": ["("]}, "optimizer.exclude_layers", "regular expressions"),
    (0, "optimizer", {"name": "muon", "exclude_layers": [1]}, "optimizer.exclude_layers", "regular expressions"),
]

_SCHEDULES = [
    ({}, "optimizer.learning_rate", 'a schedule with its name, such as { name = "cosine" }'),
    ({"name": 3}, "optimizer.learning_rate", "a schedule with its name"),
    ({"name": "cosin"}, "optimizer.learning_rate.name", "Did you mean 'cosine'"),
    ({"name": "CosineDecai"}, "optimizer.learning_rate.name", "Did you mean 'CosineDecay'"),
    ({"name": "cosine", "decay": 9}, "optimizer.learning_rate.decay", "Did you mean 'decay_steps'"),
    ({"name": "one_cycle", "warmup_steps": 9}, "optimizer.learning_rate.warmup_steps", "steps"),
    ({"name": "one_cycle_momentum"}, "optimizer.learning_rate.name", "Use one_cycle."),
    ({"name": "power", "initial_learning_rate": -1}, "optimizer.learning_rate.initial_learning_rate", "0 or more"),
    ({"name": "warm_up", "after": {"name": "fast"}}, "optimizer.learning_rate.after.name", "There is no learning-rate"),
]
STAGE_EDITS += [(0, "optimizer", {"name": "sgd", "learning_rate": rate}, key, says) for rate, key, says in _SCHEDULES]
STAGE_EDITS += [
    (0, "optimizer", {"name": "sgd", "momentum": {"name": "one_cicle"}}, "optimizer.momentum.name", "'one_cycle'"),
    (0, "optimizer", {"name": "adam", "beta_2": {"name": "cosine"}}, "optimizer.beta_2", "Give it a number."),
]

#: Whole texts, for tables that contradict one another.
TEXTS = [
    ("schema = 1\nseed = = 3\n", "", "Mend the line that it names."),
    (DATA, "schema", "Add it: schema = 1"),
    (HEAD + "[data]\npath = 'digits'\n", "model", "Add it: model = ..."),
    (HEAD + DATA + STAGE + STAGE, "stage", "Expected stages of different names"),
    (HEAD + DATA + "[stage]\nname = 'head'\n", "stage", "Expected a list"),
    (HEAD + DATA + "test = 'rest'\n", "data.test", "a share, where no limit_per_class says what is labelled"),
    (HEAD + DATA + "augment = 'mixup'\nviews = 2\n", "data.views", "Leave views out."),
    (HEAD + DATA + "augment = [{ name = 'CutMix' }]\nviews = 2\n", "data.views", "Leave views out."),
    (
        HEAD + DATA.replace("digits", "a.csv") + "path_column = 'a'\ntext_column = 'b'\n",
        "data.text_column",
        "one of path_column, text_column, feature_columns",
    ),
    (
        HEAD + DATA.replace("digits", "a.csv") + "label_column = ['a']\nfeature_columns = ['a', 'b']\n",
        "data.feature_columns",
        "Give it as one of them.",
    ),
    (
        HEAD + DATA.replace("digits", "a.npz") + "label_column = ['a']\n",
        "data.label_column",
        "Leave it out: it belongs to a .csv.",
    ),
    (
        HEAD + DATA.replace("digits", "characters:examples=9") + "feature_columns = ['a']\n",
        "data.feature_columns",
        "Leave it out: it belongs to a .csv.",
    ),
    (HEAD + DATA + "target = 'classes'\n[top]\nloss = 'huber'\n", "top.loss", "Expected categorical_crossentropy"),
    (
        HEAD + DATA + "target = 'numbers'\n[top]\nlabel_smoothing = 0.1\n",
        "top.label_smoothing",
        "Leave it out.",
    ),
    (
        HEAD + DATA + "class_weights = 'balanced'\n[top]\nloss = 'binary_crossentropy'\n",
        "data.class_weights",
        "Leave one of them out.",
    ),
]
_SCRATCH = HEAD + DATA.replace("[data]", "from_scratch = true\n[data]")
_WHOLE_STAGE = STAGE.replace('train = ["top"]', 'freeze = "none"')
TEXTS += [
    (_SCRATCH + STAGE.replace('train = ["top"]', 'freeze = "block1"'), "stage[0].freeze", "Leave one of them out."),
    (_SCRATCH + _WHOLE_STAGE + 'thaw = "by_block"\n', "stage[0].thaw", "Leave one of them out."),
    (_SCRATCH + _WHOLE_STAGE + "l2_sp = 0.1\n", "stage[0].l2_sp", "Leave one out."),
    (
        HEAD + DATA + STAGE.replace('train = ["top"]', 'freeze = "all"') + 'thaw = "by_block"\n',
        "stage[0].thaw",
        "Let more blocks learn, or leave thaw out.",
    ),
    (
        HEAD + DATA + STAGE.replace('"adam"', '"adam", use_ema = true') + "weight_averaging = {}\n",
        "stage[0].weight_averaging",
        "Leave one of them out.",
    ),
    (
        HEAD + DATA + STAGE.replace('"adam"', '"schedulefreeadamw"') + "early_stopping = {}\n",
        "stage[0].early_stopping",
        "Leave one of them out.",
    ),
    (
        HEAD + DATA + "target = 'numbers'\n" + STAGE + 'early_stopping = { monitor = "val_accuracy" }\n',
        "stage[0].early_stopping.monitor",
        "Expected loss | mae | val_loss | val_mae",
    ),
]

STAGE_NAMES = ("head", "fine-tune", "average")


def broken() -> list[tuple[str, str, str]]:
    """Every broken recipe: its text, the key that is named (with its stage), and what the message says to do."""
    found = [(edited(key, value), f"'{named}'", says) for key, value, named, says in EDITS]
    for place, key, value, named, says in STAGE_EDITS:
        shown = f"'stage[{place}].{named}' (the stage '{STAGE_NAMES[place]}')"
        found.append((edited(f"stage[{place}].{key}", value), shown, says))
    for text, key, says in TEXTS:
        beside = " (the stage 'head')" if key.startswith("stage[") else ""
        found.append((text, f"'{key}'{beside}" if key else "line 2", says))
    return found


BROKEN = broken()


def test_there_are_many():
    assert len({text for text, *_ in BROKEN}) >= 150


@pytest.mark.parametrize(("text", "key", "says"), BROKEN, ids=[f"{i}-{key}" for i, (_, key, _) in enumerate(BROKEN)])
def test_a_broken_recipe_is_refused_with_file_key_and_what_helps(text, key, says):
    said = message(text)
    assert said.startswith("r.toml")
    if "schema = 2" not in text:
        assert key in said
    assert says in said


def test_what_they_are_made_from_is_whole():
    assert parse_recipe(edited("seed", 1)).stages
    assert parse_recipe(HEAD + DATA + STAGE).stages


def test_none_of_them_loads_a_framework():
    code = """
import sys
from tests.test_broken_recipes import BROKEN
from zoo.errors import RecipeError
from zoo.recipe import parse_recipe
refused = 0
for text, *_ in BROKEN:
    try:
        parse_recipe(text)
    except RecipeError:
        refused += 1
print(refused, *({"tensorflow", "keras", "numpy"} & set(sys.modules)))
"""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == f"{len(BROKEN)}\n", done.stderr


def test_a_recipe_that_is_broken_is_refused_by_the_command_before_a_framework_is_loaded(tmp_path):
    (tmp_path / "r.toml").write_text(HEAD + DATA + STAGE.replace("adam", "adan"), encoding="utf-8")
    code = """
import sys
import zoo.commands
try:
    zoo.commands.main()
except SystemExit as done:
    print(done.code, *({"tensorflow", "keras"} & set(sys.modules)))
"""
    for verb in (["run", "r.toml"], ["finetune", "--recipe", "r.toml"]):
        command = [sys.executable, "-c", code, *verb, "--out", "out"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "1\n"
        assert done.stderr == (
            "Error: r.toml: 'stage[0].optimizer.name' (the stage 'head'): Keras has no optimizer 'adan'. "
            "Did you mean 'adam' or 'nadam' or 'adamw'?\n"
        )


def test_a_message_is_not_asserted_by_accident():
    with pytest.raises(RecipeError) as caught:
        parse_recipe(HEAD + DATA + "sead = 3\n", "mine.toml")
    assert str(caught.value).startswith("mine.toml: unknown key 'data.sead'. ")
