"""Schedules over a stage: what was said of rate, warm-up and momentum is used or refused, in either spelling."""

from dataclasses import replace

import pytest

from zoo.layers import OneCycleMomentum, schedule
from zoo.layers.momentum_schedule import momentum_argument
from zoo.layers.optimizers import names
from zoo.momentum_cycle import _HIGHEST, _LOWEST, argument_of
from zoo.options import Options, with_options
from zoo.recipe_stage import StagePart

from .test_options import ADAM, EMPTY, last_stage, message

SGD = {"name": "sgd"}
POWER = {"name": "power"}
FALLING = {"name": "one_cycle_momentum"}
CYCLE = {"name": "one_cycle", "max_learning_rate": 0.1}
PLATEAU = {"monitor": "val_loss", "factor": 0.1, "patience": 5, "min_delta": 0.0, "cooldown": 0, "min_lr": 0.0}


@pytest.mark.parametrize(
    ("optimizer", "flags", "expected"),
    [
        (ADAM, {"schedule": "cosine"}, {"learning_rate": {"name": "cosine", "initial_learning_rate": 1e-3}}),
        (ADAM, {"schedule": "power", "learning_rate": 0.5}, {"learning_rate": {**POWER, "initial_learning_rate": 0.5}}),
        ({**SGD, "learning_rate": 0.1}, {"schedule": "one_cycle"}, {"learning_rate": CYCLE, "momentum": FALLING}),
        (
            {**ADAM, "learning_rate": CYCLE, "beta_1": FALLING},
            {"schedule": "power"},
            {"learning_rate": {**POWER, "initial_learning_rate": 0.1}},
        ),
        (
            {**SGD, "learning_rate": CYCLE, "momentum": FALLING},
            {"learning_rate": 0.2},
            {"learning_rate": 0.2, "momentum": 0.95},
        ),
        (
            {**SGD, "learning_rate": CYCLE, "momentum": 0.9},
            {"schedule": "constant"},
            {"learning_rate": 0.1, "momentum": 0.9},
        ),
        (ADAM, {"schedule": POWER}, {"learning_rate": {**POWER, "initial_learning_rate": 1e-3}}),
        (ADAM, {"learning_rate": POWER}, {"learning_rate": {**POWER, "initial_learning_rate": 1e-3}}),
        (ADAM, {"schedule": CYCLE}, {"learning_rate": CYCLE, "beta_1": FALLING}),
        (
            {**SGD, "learning_rate": 0.1},
            {"schedule": {"name": "one_cycle"}},
            {"learning_rate": CYCLE, "momentum": FALLING},
        ),
        (
            {**SGD, "learning_rate": CYCLE, "momentum": FALLING},
            {"schedule": {"name": "CosineDecay", "decay_steps": 9}},
            {
                "learning_rate": {"name": "CosineDecay", "decay_steps": 9, "initial_learning_rate": 0.1},
                "momentum": 0.95,
            },
        ),
        (ADAM, {"schedule": {"name": "constant"}, "learning_rate": 0.5}, {"learning_rate": 0.5}),
        (
            ADAM,
            {"schedule": {"name": "warm_up", "steps": 9}, "learning_rate": 0.5},
            {"learning_rate": {"name": "warm_up", "steps": 9, "after": 0.5}},
        ),
        (
            ADAM,
            {"schedule": {"name": "warm_up", "steps": 9, "after": {"name": "power"}}},
            {"learning_rate": {"name": "warm_up", "steps": 9, "after": {**POWER, "initial_learning_rate": 1e-3}}},
        ),
    ],
)
def test_a_schedule_takes_the_rate_as_its_highest(optimizer, flags, expected):
    stage = last_stage(StagePart("s", 1, optimizer, freeze="none"), **flags)
    assert stage.optimizer == {"name": optimizer["name"], **expected}
    assert stage.reduce_on_plateau is None


WARM = {"warmup_steps": 20, "warmup_start": 0.01}
COSINE = {"name": "cosine", "initial_learning_rate": 0.1}


@pytest.mark.parametrize(
    ("before", "flags", "after"),
    [
        ({**COSINE, **WARM}, {"schedule": "cosine"}, {**COSINE, **WARM}),
        ({**COSINE, **WARM}, {"schedule": {"name": "cosine"}}, {**COSINE, **WARM}),
        ({**COSINE, **WARM}, {"schedule": "power"}, {**COSINE, **WARM, "name": "power"}),
        (
            {**COSINE, **WARM},
            {"schedule": "cosine", "learning_rate": 0.5},
            {**COSINE, **WARM, "initial_learning_rate": 0.5},
        ),
        ({**COSINE, **WARM}, {"schedule": {**COSINE, "warmup_steps": 5}}, {**COSINE, **WARM, "warmup_steps": 5}),
        ({**COSINE, **WARM}, {"schedule": "one_cycle"}, CYCLE),
        ({**COSINE, **WARM}, {"schedule": "constant"}, 0.1),
        (
            {"name": "warm_up", "steps": 20, "start": 0.01, "after": COSINE},
            {"schedule": "power"},
            {**COSINE, **WARM, "name": "power"},
        ),
        (
            {"name": "warm_up", "steps": 20, "after": 0.1},
            {"schedule": "power"},
            {**COSINE, "warmup_steps": 20, "name": "power"},
        ),
        (
            {"name": "CosineDecay", "initial_learning_rate": 0.01, "warmup_target": 0.1, "warmup_steps": 20},
            {"schedule": "power"},
            {**COSINE, **WARM, "name": "power"},
        ),
        (
            {"name": "CosineDecay", "initial_learning_rate": 0.01, "warmup_target": 0.1, "warmup_steps": 20},
            {"schedule": "cosine", "learning_rate": 0.5},
            {"name": "CosineDecay", "initial_learning_rate": 0.01, "warmup_target": 0.5, "warmup_steps": 20},
        ),
        ({"name": "piecewise", "values": [0.1, 0.01]}, {"schedule": "cosine"}, COSINE),
        ({**CYCLE, "pct_start": 0.2}, {"schedule": "one_cycle"}, {**CYCLE, "pct_start": 0.2}),
        ({**COSINE, "alpha": 0.1}, {"schedule": "power"}, {**COSINE, "name": "power"}),
    ],
)
def test_what_the_recipe_says_of_its_schedule_stays_where_it_fits(before, flags, after):
    stage = last_stage(StagePart("s", 1, {**ADAM, "learning_rate": before}, freeze="none"), **flags)
    assert stage.optimizer["learning_rate"] == after
    if isinstance(after, dict):
        schedule(after, steps=100)


LOW = {**COSINE, "alpha": 0.1}
RISING = {"name": "warm_up", "steps": 20, "start": 0.01, "after": LOW}
KERAS = {"name": "CosineDecay", "initial_learning_rate": 0.01, "warmup_target": 0.1, "warmup_steps": 20, "alpha": 0.1}
RESTARTS = {"name": "cosine_restarts", "initial_learning_rate": 0.1, "t_mul": 1.0, "cycles": 4}
STEPWISE = {"name": "piecewise", "values": [0.1, 0.01], "boundaries": [5]}


@pytest.mark.parametrize(
    ("before", "flags", "after"),
    [
        (LOW, {"schedule": {"name": "cosine", "warmup_steps": 5}}, {**LOW, "warmup_steps": 5}),
        (LOW, {"learning_rate": {"name": "cosine", "warmup_steps": 5}}, {**LOW, "warmup_steps": 5}),
        (
            LOW,
            {"schedule": {"name": "cosine", "alpha": 0.2}, "learning_rate": 0.5},
            {**COSINE, "initial_learning_rate": 0.5, "alpha": 0.2},
        ),
        ({**LOW, **WARM}, {"schedule": {"name": "cosine", "warmup_steps": 0}}, {**LOW, "warmup_steps": 0}),
        (RISING, {"schedule": {"name": "warm_up", "steps": 8}}, {**RISING, "steps": 8}),
        (
            RISING,
            {"schedule": {"name": "warm_up", "steps": 8}, "learning_rate": 0.5},
            {**RISING, "steps": 8, "after": {**LOW, "initial_learning_rate": 0.5}},
        ),
        (
            RISING,
            {"schedule": {"name": "warm_up", "after": {"name": "cosine", "alpha": 0.2}}},
            {**RISING, "after": {**LOW, "alpha": 0.2}},
        ),
        (RISING, {"schedule": {"name": "warm_up", "after": 0.5}}, {**RISING, "after": 0.5}),
        (RISING, {"schedule": {"name": "cosine", "alpha": 0.2}}, {**LOW, **WARM, "alpha": 0.2}),
        (KERAS, {"schedule": {"name": "cosine", "alpha": 0.2}}, {**KERAS, "alpha": 0.2}),
        (
            KERAS,
            {"schedule": {"name": "cosine", "warmup_start": 0.02}},
            {**LOW, **WARM, "warmup_start": 0.02, "name": "CosineDecay"},
        ),
        (
            KERAS,
            {"schedule": {"name": "cosine", "initial_learning_rate": 0.5}},
            {**LOW, **WARM, "initial_learning_rate": 0.5, "name": "CosineDecay"},
        ),
        (
            {**LOW, **WARM},
            {"schedule": {"name": "cosine", "warmup_target": 0.5}},
            {**KERAS, "name": "cosine", "warmup_target": 0.5},
        ),
        (RESTARTS, {"schedule": {"name": "cosine_restarts", "t_mul": 2.0}}, {**RESTARTS, "t_mul": 2.0}),
        (
            RESTARTS,
            {"schedule": {"name": "cosine_restarts", "first_decay_steps": 9}},
            {"name": "cosine_restarts", "initial_learning_rate": 0.1, "t_mul": 1.0, "first_decay_steps": 9},
        ),
        (STEPWISE, {"schedule": {"name": "piecewise", "values": [0.2, 0.1]}}, {**STEPWISE, "values": [0.2, 0.1]}),
        (STEPWISE, {"schedule": {"name": "piecewise", "boundaries": [7]}}, {**STEPWISE, "boundaries": [7]}),
        (
            STEPWISE,
            {"schedule": {"name": "piecewise", "values": [0.3, 0.2, 0.1]}},
            {"name": "piecewise", "values": [0.3, 0.2, 0.1]},
        ),
        (
            {**CYCLE, "pct_start": 0.2},
            {"schedule": {"name": "one_cycle", "div_factor": 9.0}},
            {**CYCLE, "pct_start": 0.2, "div_factor": 9.0},
        ),
    ],
)
def test_a_table_of_the_recipe_s_own_schedule_changes_what_it_says_and_nothing_else(before, flags, after):
    stage = last_stage(StagePart("s", 1, {**ADAM, "learning_rate": before}, freeze="none"), **flags)
    assert stage.optimizer["learning_rate"] == after
    schedule(after, steps=100)


@pytest.mark.parametrize("second", ["constant", "performance", "cosine", "power", {"name": "cosine", "alpha": 0.1}])
def test_two_schedules_are_refused(second):
    name = second if isinstance(second, str) else second["name"]
    assert message(EMPTY, learning_rate=COSINE, schedule=second) == (
        f"Two schedules are said: learning_rate = {COSINE}, and the schedule '{name}'. Leave one of them out."
    )


def test_a_warm_up_may_lead_to_the_schedule_that_is_said_as_the_rate():
    plain = StagePart("s", 1, ADAM, freeze="none")
    made = last_stage(plain, learning_rate={"name": "cosine"}, schedule={"name": "warm_up", "steps": 9})
    low = {"name": "cosine", "initial_learning_rate": 1e-3}
    assert made.optimizer["learning_rate"] == {"name": "warm_up", "steps": 9, "after": low}
    both = {"learning_rate": COSINE, "schedule": {"name": "warm_up", "steps": 9, "after": 0.1}}
    assert message(EMPTY, **both).startswith("Two schedules are said:")


def test_a_rate_beside_values_that_the_recipe_says_is_refused():
    stage = StagePart("s", 1, {**ADAM, "learning_rate": STEPWISE}, freeze="none")
    said = message(replace(EMPTY, stages=(stage,)), schedule={"name": "piecewise"}, learning_rate=0.5)
    assert said.startswith("The learning rate is said twice: learning_rate = 0.5, and the schedule 'piecewise' has")


@pytest.mark.parametrize("flags", [{"schedule": "cosine"}, {"momentum": 0.8}, {"learning_rate": 0.2}, {"epochs": 3}])
def test_a_recipe_and_the_same_with_its_defaults_written_out_are_edited_alike(flags):
    raw = replace(EMPTY, stages=(StagePart("s", 1, {**SGD, "learning_rate": CYCLE}, freeze="none"),))
    written = with_options(raw, Options())
    assert with_options(raw, Options(**flags)) == with_options(written, Options(**flags))


@pytest.mark.parametrize(
    ("optimizer", "flags", "momentum"),
    [
        ({**SGD, "momentum": 0.9}, {"schedule": "one_cycle"}, {**FALLING, "max_momentum": 0.9, "base_momentum": 0.8}),
        (SGD, {"schedule": "one_cycle", "momentum": 0.8}, {**FALLING, "max_momentum": 0.8, "base_momentum": 0.7}),
        (SGD, {"schedule": "one_cycle", "momentum": 0.05}, {**FALLING, "max_momentum": 0.05, "base_momentum": 0.0}),
        (SGD, {"schedule": "one_cycle", "momentum": 0.0}, 0.0),
        ({**SGD, "momentum": FALLING}, {"schedule": "one_cycle"}, FALLING),
        (
            {**SGD, "learning_rate": CYCLE, "momentum": {**FALLING, "max_momentum": 0.9}},
            {"momentum": 0.8},
            {**FALLING, "max_momentum": 0.8, "base_momentum": 0.75},
        ),
        ({**SGD, "learning_rate": CYCLE, "momentum": {**FALLING, "max_momentum": 0.9}}, {"schedule": "cosine"}, 0.9),
        ({**SGD, "learning_rate": CYCLE, "momentum": FALLING}, {"momentum": 0.8, "schedule": "cosine"}, 0.8),
        ({**SGD, "momentum": {"name": "piecewise"}}, {"schedule": "cosine"}, {"name": "piecewise"}),
    ],
)
def test_the_momentum_that_was_said_is_the_highest_of_the_cycle_and_stays_after_it(optimizer, flags, momentum):
    stage = last_stage(StagePart("s", 1, {"learning_rate": 0.1, **optimizer}, freeze="none"), **flags)
    assert stage.optimizer["momentum"] == momentum


@pytest.mark.parametrize("argument", ["learning_rate", "schedule"])
def test_an_adam_of_its_own_cycles_from_its_own_beta_1(argument):
    own = {"name": "adam", "learning_rate": 0.1, "beta_1": 0.8}
    made = last_stage(StagePart("s", 1, SGD, freeze="none"), optimizer=own, **{argument: CYCLE}).optimizer
    assert made == {
        "name": "adam",
        "learning_rate": CYCLE,
        "beta_1": {**FALLING, "max_momentum": 0.8, "base_momentum": 0.7},
    }


def test_a_recipe_whose_rate_is_one_cycle_moves_the_momentum_unless_it_says_a_number():
    unsaid = {**SGD, "learning_rate": CYCLE}
    assert last_stage(StagePart("s", 1, unsaid, freeze="none")).optimizer == {**unsaid, "momentum": FALLING}
    said = {**unsaid, "momentum": 0.9}
    assert last_stage(StagePart("s", 1, said, freeze="none")).optimizer == said
    without = {"name": "adagrad", "learning_rate": CYCLE}
    assert last_stage(StagePart("s", 1, without, freeze="none")).optimizer == without


def test_another_rate_for_the_head_ends_its_cycle_too():
    head = StagePart("head", 1, {**SGD, "learning_rate": CYCLE, "momentum": FALLING}, train=("top",))
    tune = StagePart("fine-tune", 1, ADAM, freeze="none")
    made = with_options(replace(EMPTY, stages=(head, tune)), Options(head_learning_rate=0.3)).stages[0]
    assert made.optimizer == {**SGD, "learning_rate": 0.3, "momentum": 0.95}


@pytest.mark.parametrize("table", [COSINE, CYCLE, {"name": "piecewise", "values": [0.1, 0.01]}])
def test_a_rate_that_contradicts_the_schedule_s_own_is_refused(table):
    said = message(EMPTY, schedule=table, learning_rate=0.5)
    what = f"The learning rate is said twice: learning_rate = 0.5, and the schedule '{table['name']}' has its own."
    assert said.startswith(what)
    assert said.endswith("Leave one of them out.")
    assert with_options(EMPTY, Options(schedule=table, learning_rate=0.1))


def test_performance_scheduling_may_be_a_table():
    stage = last_stage(StagePart("s", 1, ADAM, freeze="none"), schedule={"name": "performance", "factor": 0.5})
    assert (stage.optimizer, stage.reduce_on_plateau) == (ADAM, {**PLATEAU, "factor": 0.5})
    assert "nothing but its number" in message(EMPTY, schedule={"name": "constant", "factor": 0.5})


@pytest.mark.parametrize("key", ["epochs", "learning_rate"])
def test_flags_of_the_head_and_of_the_last_stage_are_refused_where_they_are_one(key):
    said = message(EMPTY, freeze="all", **{key: 2, f"head_{key}": 3})
    assert said == (
        f"'head_{key}' and '{key}' are both for the stage 'head', the only one. Received 3 and 2. "
        "Leave one of them out."
    )


def test_the_momenta_that_options_know_are_those_that_layers_can_schedule():
    assert {name: argument_of({"name": name}) for name in names()} == {
        name: momentum_argument(made) for name, made in names().items()
    }


def test_a_cycle_that_says_nothing_has_the_momenta_of_its_class():
    made = OneCycleMomentum(10)
    assert (made.max_momentum, made.base_momentum) == (_HIGHEST, _LOWEST)


def test_performance_scheduling_keeps_the_number_and_the_recipe_s_own_settings():
    plain = StagePart("s", 1, ADAM, freeze="none")
    stage = last_stage(plain, schedule="performance")
    assert (stage.optimizer, stage.reduce_on_plateau) == (ADAM, PLATEAU)
    own = replace(plain, reduce_on_plateau={**PLATEAU, "factor": 0.5})
    assert last_stage(own, schedule="performance").reduce_on_plateau["factor"] == 0.5
    assert last_stage(own, learning_rate=0.5).reduce_on_plateau["factor"] == 0.5
    assert last_stage(own, schedule="cosine").reduce_on_plateau is None


def test_a_schedule_without_a_rate_to_start_from_is_refused():
    assert "needs a learning rate to start from" in message(EMPTY, optimizer="sgd", schedule="cosine")
    assert "Did you mean 'cosine'" in message(EMPTY, schedule="cosin")
