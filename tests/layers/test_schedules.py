"""Schedules against tables worked out by hand, in plain Keras's own steps, and saved and loaded."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.networks import clusters, dense_net
from tests.test_train import job, one_hot, stage, train
from zoo import freeze
from zoo.errors import RecipeError
from zoo.layers import (
    OneCycle,
    OneCycleMomentum,
    PowerDecay,
    WarmUp,
    by_variable,
    optimizer,
    reduce_on_plateau,
    schedule,
)
from zoo.layers.schedules import SHORT, schedules

ops: Any = keras.ops
Table = dict[int, float]
RESTARTS = {"name": "cosine_restarts", "initial_learning_rate": 0.1}
CYCLE = {"name": "one_cycle", "max_learning_rate": 1.0, "pct_start": 0.25}
FALL = (1 - np.cos(np.pi / 4)) / 2  # 0.1464466: an eighth of a cosine's period has passed

#: Each with its values at some steps. The arithmetic stands beside them.
TABLES: dict[str, tuple[dict[str, Any], int | None, Table]] = {
    "piecewise": (
        {"name": "piecewise", "boundaries": [2, 5], "values": [0.1, 0.01, 0.001]},
        None,
        {0: 0.1, 2: 0.1, 3: 0.01, 5: 0.01, 6: 0.001, 100: 0.001},  # a boundary is the last step of its part
    ),
    "piecewise in equal parts": (
        {"name": "piecewise", "values": [0.1, 0.01, 0.001]},
        9,
        {0: 0.1, 2: 0.1, 3: 0.01, 5: 0.01, 6: 0.001, 8: 0.001},  # three steps each
    ),
    "exponential": (
        {"name": "exponential", "initial_learning_rate": 0.1},
        50,
        {0: 0.1, 25: 0.1 / np.sqrt(10), 50: 0.01, 100: 0.001},  # a tenth in 50 steps
    ),
    "exponential from a whole number": (
        {"name": "exponential", "initial_learning_rate": 1},  # of which Keras alone makes 1, 0, 0, ...
        50,
        {0: 1.0, 50: 0.1, 100: 0.01},
    ),
    "power 1": (
        {"name": "power", "initial_learning_rate": 0.1, "decay_steps": 20},
        None,
        {0: 0.1, 20: 0.1 / 2, 60: 0.1 / 4, 180: 0.1 / 10},
    ),
    "power 2": (
        {"name": "power", "initial_learning_rate": 0.1, "power": 2},
        20,
        {0: 0.1, 20: 0.1 / 4, 60: 0.1 / 16, 180: 0.1 / 100},
    ),
    "power 1/2": (
        {"name": "power", "initial_learning_rate": 0.1, "decay_steps": 20, "power": 0.5},
        None,
        {0: 0.1, 60: 0.1 / 2, 300: 0.1 / 4},  # 1 + 300 / 20 = 16, whose root is 4
    ),
    "inverse time": (
        {"name": "inverse_time", "initial_learning_rate": 0.1, "decay_rate": 3},
        20,
        {0: 0.1, 20: 0.1 / 4, 60: 0.1 / 10},  # 1 + 3 t / 20
    ),
    "polynomial": (
        {"name": "polynomial", "initial_learning_rate": 1, "end_learning_rate": 0, "power": 2},
        10,
        {0: 1.0, 5: 0.25, 9: 0.01, 10: 0.0, 20: 0.0},  # (1 - t / 10)^2
    ),
    "cosine": (
        {"name": "cosine", "initial_learning_rate": 0.1},
        8,
        {0: 0.1, 2: 0.1 * (1 - FALL), 4: 0.05, 6: 0.1 * FALL, 8: 0.0, 9: 0.0},
    ),
    "cosine with warm-up": (
        {"name": "cosine", "initial_learning_rate": 0.1, "warmup_steps": 4},
        12,  # of which 8 fall
        {0: 0.0, 1: 0.025, 3: 0.075, 4: 0.1, 6: 0.1 * (1 - FALL), 8: 0.05, 12: 0.0},
    ),
    "cosine with Keras's own warm-up": (
        {
            "name": "CosineDecay",
            "initial_learning_rate": 0.02,
            "warmup_target": 0.1,
            "warmup_steps": 4,
            "alpha": 0.1,
        },
        12,
        {0: 0.02, 1: 0.04, 4: 0.1, 8: 0.1 * (0.9 * 0.5 + 0.1), 12: 0.01},
    ),
    "restarts with warm-up": (
        {**RESTARTS, "first_decay_steps": 4, "t_mul": 2, "m_mul": 0.5, "warmup_steps": 2},
        None,
        # rise, 2 steps; from 0.1, 4 steps; from 0.05, 8 steps; from 0.025
        {0: 0.0, 1: 0.05, 2: 0.1, 4: 0.05, 6: 0.05, 10: 0.025, 14: 0.025},
    ),
    "restarts that fill the steps": (
        RESTARTS,
        21,  # 3 + 6 + 12
        {0: 0.1, 3: 0.1, 6: 0.05, 9: 0.1, 15: 0.05, 20: 0.05 * (1 - np.cos(np.pi / 12))},
    ),
    "two equal cycles": (
        {**RESTARTS, "t_mul": 1, "cycles": 2, "warmup_steps": 2, "warmup_start": 0.02},
        18,  # 2 + 8 + 8
        {0: 0.02, 1: 0.06, 2: 0.1, 6: 0.05, 10: 0.1, 14: 0.05},
    ),
    "one cycle": (
        CYCLE,
        20,  # up to step 0.25 * 20 - 1 = 4, from 1 / 25; down to step 19, to 1 / 25 / 10,000 = 4e-6
        {
            0: 0.04,
            1: 0.04 + 0.96 * FALL,
            2: 0.52,
            4: 1.0,
            9: 0.75 + 0.25 * 4e-6,  # a third of the way down: (1 - cos 60) / 2 is a quarter
            14: 0.25 + 0.75 * 4e-6,
            19: 4e-6,
            25: 4e-6,
        },
    ),
    "one cycle in straight lines": (
        {**CYCLE, "anneal": "linear", "div_factor": 10, "final_div_factor": 100},
        20,  # from 0.1 by 1 in 4 steps, down to 0.001 in 15
        {0: 0.1, 1: 0.325, 2: 0.55, 4: 1.0, 9: 1 - 0.999 / 3, 19: 0.001},
    ),
    "one cycle in three phases": (
        {**CYCLE, "pct_start": 1 / 3, "three_phase": True},
        21,  # up to step 7 - 1 = 6, down to step 14 - 2 = 12, further down to step 20
        {0: 0.04, 3: 0.52, 6: 1.0, 9: 0.52, 12: 0.04, 16: (0.04 + 4e-6) / 2, 20: 4e-6},
    ),
    "its momentum": (
        {"name": "one_cycle_momentum", "pct_start": 0.25},
        20,
        {0: 0.95, 2: 0.9, 4: 0.85, 9: 0.875, 14: 0.925, 19: 0.95, 25: 0.95},
    ),
    "its momentum in three phases": (
        {"name": "one_cycle_momentum", "pct_start": 1 / 3, "three_phase": True, "base_momentum": 0.8},
        21,
        {0: 0.95, 3: 0.875, 6: 0.8, 9: 0.875, 12: 0.95, 16: 0.95, 20: 0.95},
    ),
    "warm-up to a constant": (
        {"name": "warm_up", "after": 0.1, "steps": 4, "start": 0.02},
        None,
        {0: 0.02, 1: 0.04, 3: 0.08, 4: 0.1, 99: 0.1},
    ),
    "warm-up to a schedule": (
        {"name": "warm_up", "after": {"name": "exponential", "initial_learning_rate": 0.1}, "steps": 10},
        60,  # of which 50 fall
        {0: 0.0, 5: 0.05, 10: 0.1, 60: 0.01},
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_schedule_has_the_values_of_its_formula(case: str):
    spec, steps, table = TABLES[case]
    made = schedule(spec, steps)
    for step, value in table.items():
        for given in (step, np.int64(step), keras.ops.convert_to_tensor(step)):
            assert float(made(given)) == pytest.approx(value, rel=1e-5, abs=1e-8), f"step {step}"


@pytest.mark.parametrize("case", TABLES)
def test_a_schedule_is_the_same_after_its_configuration(case: str):
    made = schedule(*TABLES[case][:2])
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(made))
    assert type(again) is type(made) and again.get_config() == made.get_config()
    assert [float(again(step)) for step in range(25)] == [float(made(step)) for step in range(25)]


@pytest.mark.parametrize("case", [case for case in TABLES if "momentum" not in case])
def test_a_compiled_step_follows_it(case: str):
    """On a loss whose gradient is 1, the weight falls by the sum of the rates."""
    made = schedule(*TABLES[case][:2])
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(made), loss=lambda y, found: found)
    x = np.ones((1, 1), "float32")
    for _ in range(25):
        model.train_on_batch(x, x)
    assert -float(model.get_weights()[0][0, 0]) == pytest.approx(sum(float(made(step)) for step in range(25)), rel=1e-5)


def test_every_short_name_is_of_a_schedule_and_every_schedule_of_keras_has_one():
    assert set(SHORT.values()) == set(schedules())
    assert issubclass(schedules()["CosineDecayRestarts"], keras.optimizers.schedules.LearningRateSchedule)


def test_where_keras_has_it_it_is_keras_own():
    """So that a compiled model loads without zoo."""
    made = schedule({"name": "cosine", "initial_learning_rate": 0.1, "warmup_steps": 4}, 12)
    assert type(made) is keras.optimizers.schedules.CosineDecay
    assert type(schedule({**RESTARTS}, 12)) is keras.optimizers.schedules.CosineDecayRestarts


@pytest.mark.parametrize(("longer", "last"), [(1, 1 / 3), (2, 4 / 7), (3, 9 / 13)])
def test_cycles_end_with_training_whatever_its_length(longer: int, last: float):
    """Neither a restart just before the end nor a last cycle cut short: either would leave a high rate."""
    for steps in range(4, 40):
        made = schedule({**RESTARTS, "t_mul": longer}, steps)
        lasts = last * steps  # of 1, longer and longer^2 parts
        assert float(made(steps - 1)) == pytest.approx(0.05 * (1 + np.cos(np.pi * (1 - 1 / lasts))), rel=1e-3), steps


def test_the_table_that_was_given_is_left_as_it_is():
    spec = {"name": "cosine", "initial_learning_rate": 1, "warmup_steps": 4}
    schedule(spec, 12)
    assert spec == {"name": "cosine", "initial_learning_rate": 1, "warmup_steps": 4}


def test_the_smallest_rate_of_one_cycle_keeps_its_digits():
    """It is the value itself, not what 32 bits leave of a difference from the highest."""
    rate = OneCycle(0.1, 100, final_div_factor=1e6)
    assert float(rate(99)) == pytest.approx(4e-9, rel=1e-6)


def test_the_momentum_of_a_cycle_turns_with_its_rate():
    rate = OneCycle(1.0, 40, pct_start=0.4, anneal="linear", three_phase=True)
    momentum = rate.momentum(0.8, 0.9)
    assert isinstance(momentum, OneCycleMomentum)
    rates, momenta = [[float(of(step)) for step in range(40)] for of in (rate, momentum)]
    assert np.argmax(rates) == np.argmin(momenta) == 15
    np.testing.assert_allclose(np.interp(rates[:30], [0.04, 1.0], [0.9, 0.8]), momenta[:30], atol=1e-6)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": "cosin"}, r"There is no learning-rate schedule 'cosin'\. Did you mean 'cosine'"),
    ({}, r"There is no learning-rate schedule 'None'"),
    (
        {"name": "power", "initial_learning_rate": 0.1, "decay": 3},
        r"'power' has no argument 'decay'\. Did you mean 'decay_steps'",
    ),
    ({"name": "cosine", "initial_learning_rate": 0.1}, r"'cosine' needs a value for 'decay_steps'\. Received initial"),
    ({"name": "cosine", "decay_steps": 9}, r"'cosine' needs a value for 'initial_learning_rate'\."),
    # Keras's warm-up would lead to nothing, and all steps be taken at a rate of 0.
    ({"name": "cosine", "decay_steps": 9, "warmup_steps": 3}, r"'cosine' needs a value for 'initial_learning_rate'\."),
    ({"name": "cosine"}, r"needs a value for 'initial_learning_rate'\. Received none\."),
    (
        {"name": "power", "initial_learning_rate": 0.1, "decay_steps": 0},
        r"'power' cannot be made with decay_steps = 0\.",
    ),
    ({"name": "warm_up", "after": 0.1, "steps": 0}, r"with steps = 0\. Expected a number above 0; received 0\."),
    (
        {"name": "warm_up", "after": "0.1", "steps": 3},
        r"cannot rise to after = '0\.1'\. Expected a number, 0 or more, or",
    ),
    ({"name": "warm_up", "after": None, "steps": 3}, r"cannot rise to after = None\."),
    ({"name": "warm_up", "after": 0.0, "steps": 3}, r"'warm_up' is 0 from the first step to the last: nothing would"),
    (
        {**CYCLE, "steps": 3},
        r"a phase would take no step\. Expected pct_start below 1, and more than 1 / steps; received steps=3",
    ),
    ({**CYCLE, "steps": 20, "pct_start": 1.0}, r"Expected pct_start below 1"),
    ({**CYCLE, "steps": 20, "pct_start": 0.6, "three_phase": True}, r"Expected pct_start below a half"),
    ({**CYCLE, "steps": 20, "anneal": "sine"}, r"cannot anneal by 'sine'\. Expected cos \| linear; received 'sine'\."),
    ({**CYCLE, "steps": 20, "div_factor": 0.0}, r"with div_factor = 0\.0\. Expected a number above 0; received 0\.0\."),
    ({**CYCLE, "steps": "20"}, r"'one_cycle' cannot be made with steps = '20'\."),
    ({**CYCLE, "steps": 20, "three_phase": "no"}, r"with three_phase = 'no'\. Expected true or false; received 'no'\."),
    ({**CYCLE, "steps": 20, "warmup_steps": 3}, r"'one_cycle' takes no 'warmup_steps': it rises by itself\. Its"),
    (
        {"name": "one_cycle_momentum", "steps": 20, "max_momentum": 1.0},
        r"two numbers from 0 to below 1, the lower one first\. Received base_momentum=0\.85, max_momentum=1\.0\.",
    ),
    (
        {**RESTARTS, "first_decay_steps": 4, "warmup_steps": 0.5},
        r"'cosine_restarts' cannot be made with warmup_steps = 0\.5\. Expected a whole number of steps, 0 or more",
    ),
    ({**RESTARTS, "first_decay_steps": 4, "warmup_start": 0.01}, r"cannot warm up from 0\.01 in 0 steps\."),
    (
        {**RESTARTS, "cycles": 2},
        r"cannot make 2 cycles of its steps\. Give a whole number of 'cycles' and no 'first_decay",
    ),
    ({**RESTARTS, "cycles": 2, "first_decay_steps": 9}, r"cannot make 2 cycles"),
    ({**RESTARTS, "first_decay_steps": 4, "warmup_start": "a", "warmup_steps": 3}, r"with warmup_start = 'a'\."),
    ({**RESTARTS, "t_mul": "2"}, r"with t_mul = '2'\. Expected a number above 0; received '2'\."),
    ({**RESTARTS, "t_mul": 0}, r"with t_mul = 0\."),
    # Its cycles are over after 8 steps, and Keras computes the logarithm of a number below 0.
    ({**RESTARTS, "first_decay_steps": 4, "t_mul": 0.5}, r"gives no learning rate\. .*received nan at step "),
    ({"name": "piecewise", "boundaries": [1], "values": [0.1]}, r"'piecewise' refuses its arguments: .*boundaries"),
    (
        {"name": "piecewise", "boundaries": [5, 2], "values": [0.1, 0.01, 0.001]},
        r"with boundaries = \[5, 2\]\. Expected steps, each after the one before",
    ),
    ({"name": "piecewise", "boundaries": 5, "values": [0.1, 0.01]}, r"with boundaries = 5\."),
    ({"name": "piecewise", "boundaries": [5], "values": [0.1, -0.1]}, r"with values = \[0\.1, -0\.1\]\."),
    ({"name": "piecewise", "boundaries": [5], "values": [0.1, None]}, r"with values = \[0\.1, None\]\."),
    ({"name": "piecewise", "boundaries": [5], "values": [0.0, 0]}, r"is 0 from the first step to the last"),
    *(
        ({"name": "exponential", "decay_steps": 9, "initial_learning_rate": rate}, rf"= {shown}\. Expected a number, 0")
        for rate, shown in (("0.1", "'0\\.1'"), (None, "None"), (-0.1, "-0\\.1"), (float("nan"), "nan"), (True, "True"))
    ),
    ({"name": "exponential", "initial_learning_rate": 0.1, "decay_steps": 9, "decay_rate": -1}, r"decay_rate = -1\."),
    ({"name": "polynomial", "initial_learning_rate": 0.1, "decay_steps": 9, "cycle": 1}, r"cycle = 1\. Expected true"),
    (
        "cosine",
        r"A schedule is made of a table, for a whole number of steps\. Expected .*; received 'cosine', steps=None",
    ),
    (None, r"made of a table.*received None"),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED)
def test_what_makes_no_schedule_is_refused(spec: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=message):
        schedule(spec)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "9", True])
def test_a_schedule_lasts_a_whole_number_of_steps(steps: Any):
    with pytest.raises(RecipeError, match=rf"for a whole number of steps\..*steps={steps!r}"):
        schedule({"name": "power", "initial_learning_rate": 0.1}, steps)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PowerDecay(0.1, 0),
            r"Expected decay_steps above 0, power 0 or more; received decay_steps=0, power=1\.0",
        ),
        (lambda: PowerDecay(0.1, float("nan")), r"received decay_steps=nan"),
        (lambda: WarmUp(0.1, 0), r"Expected steps above 0, start 0 or more; received steps=0, start=0\.0\."),
        (
            lambda: OneCycle(1.0, 20, div_factor=0.0),
            r"made of numbers above 0\. Received max_learning_rate=1\.0, div_f",
        ),
        (lambda: OneCycle(float("nan"), 20), r"Received max_learning_rate=nan"),
    ],
)
def test_the_classes_refuse_what_makes_no_schedule_too(make: Any, message: str):
    with pytest.raises(RecipeError, match=message):
        make()


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (
            "0.1",
            r"'sgd' cannot learn at the rate '0\.1'\. Expected a number, 0 or more, or a schedule; received '0\.1'\.",
        ),
        (None, r"at the rate None\."),
        (True, r"at the rate True\."),
        (-0.1, r"at the rate -0\.1\."),
        (float("nan"), r"at the rate nan\."),
        ([0.1], r"at the rate \[0\.1\]\."),
        (
            {"name": "one_cycle_momentum"},
            r"cannot learn at a momentum: one_cycle_momentum is none of the .*\"one_cycle\"",
        ),
        (OneCycleMomentum(20), r"cannot learn at a momentum"),
        ({"name": "warm_up", "after": {"name": "one_cycle_momentum"}, "steps": 4}, r"cannot learn at a momentum"),
        (
            keras.optimizers.schedules.ExponentialDecay(0.1, 5, -1.0),
            r"ExponentialDecay gives no learning rate\..*nan at",
        ),
        (
            keras.optimizers.schedules.PolynomialDecay(0.1, 40, -0.1),
            r"PolynomialDecay gives .*received -0\.025 at step 25",
        ),
        (keras.optimizers.schedules.CosineDecay(0.0, 20), r"CosineDecay is 0 from the first step to the last"),
    ],
)
def test_a_rate_that_is_none_is_refused(rate: Any, message: str):
    with pytest.raises(RecipeError, match=message):
        optimizer("sgd", steps=40, learning_rate=rate)


def test_a_whole_number_is_a_rate_and_so_is_what_can_be_called():
    assert float(optimizer("sgd", learning_rate=1).learning_rate) == 1.0
    assert float(optimizer("sgd", learning_rate=np.float32(0.5)).learning_rate) == 0.5
    assert float(optimizer("sgd", learning_rate=0.0).learning_rate) == 0.0, "to measure without learning"
    assert optimizer("sgd", learning_rate=lambda: 0.25).learning_rate == 0.25


class Noam(keras.optimizers.schedules.LearningRateSchedule):
    """A user's own, which is only defined for the step that an optimizer hands it."""

    def __call__(self, step: Any) -> Any:
        return 0.1 * ops.minimum(step**-0.5, step * 0.01)


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """A user's own, which reads the type of its step."""

    def __call__(self, step: Any) -> Any:
        assert keras.backend.is_int_dtype(step.dtype)
        return 0.1 / (ops.cast(step, "float32") + 1.0)


@pytest.mark.parametrize("own", [Noam(), Falling(), WarmUp(Falling(), 3)], ids=["Noam", "Falling", "after a warm-up"])
def test_a_users_own_schedule_is_handed_the_step_as_training_hands_it(own: Any):
    net = dense_net()
    net.compile(optimizer("sgd", learning_rate=own, steps=4), "categorical_crossentropy")
    x, labels = clusters(32)
    net.fit(x, one_hot(labels, 3), batch_size=8, verbose=0)
    assert int(net.optimizer.iterations) == 4


def test_a_users_own_schedule_that_gives_no_rate_is_refused():
    class Below(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return ops.cast(2 - step, "float32")

    with pytest.raises(RecipeError, match=r"The schedule Below gives no learning rate.* received -1 at step 3"):
        optimizer("sgd", learning_rate=Below(), steps=4)


def test_a_compiled_network_goes_on_from_its_file_where_it_was(tmp_path: Path):
    """Twelve steps in one go, and six and six with a save and a load between them: the same bytes."""
    rates: dict[str, Any] = {
        "power": PowerDecay(0.1, 5, 2.0),
        "warm_up": WarmUp(keras.optimizers.schedules.CosineDecayRestarts(0.1, 4), 3),
        "one_cycle": OneCycle(0.1, 12),
    }
    x, labels = clusters(16)
    for name, rate in rates.items():
        model = dense_net()
        model.compile(keras.optimizers.SGD(rate, momentum=0.9), "categorical_crossentropy")
        for _ in range(6):
            model.train_on_batch(x, one_hot(labels, 3))
        model.save(tmp_path / f"{name}.keras")
        again = keras.models.load_model(tmp_path / f"{name}.keras")
        for one in (model, again):
            for _ in range(6):
                one.train_on_batch(x, one_hot(labels, 3))
        for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


# Performance scheduling


@pytest.mark.parametrize("scaled", [False, True])
def test_performance_scheduling_lowers_every_blocks_rate(scaled: bool):
    """Two epochs without a better loss, and the next step is half as long, under multipliers and loss scaling."""
    model = dense_net()
    x, labels = clusters(16)
    made = by_variable(optimizer("sgd", learning_rate=0.1), [0.5, 0.5, 1, 1, 1, 1])
    model.compile(keras.optimizers.LossScaleOptimizer(made) if scaled else made, "categorical_crossentropy")
    start = model.get_weights()
    callback = reduce_on_plateau({"factor": 0.5, "patience": 2})
    callback.set_model(model)
    callback.on_train_begin()
    moves = []
    for epoch, loss in enumerate([1.0, 0.9, 0.9, 0.9, 0.9]):
        model.set_weights(start)
        model.train_on_batch(x, one_hot(labels, 3))
        moves.append([now - then for now, then in zip(model.get_weights(), start, strict=True)])
        callback.on_epoch_end(epoch, {"val_loss": loss})
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)
    for epoch, share in ((1, 1.0), (3, 1.0), (4, 0.5)):
        for move, first in zip(moves[epoch], moves[0], strict=True):
            assert np.abs(first).max() > 1e-4
            np.testing.assert_allclose(move, share * first, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_performance_scheduling_works_in_zoos_own_loop(monitor: str):
    """A figure that improves by less than is asked for lets the rate fall; what a metric is better at is known."""
    x, labels = clusters(64)
    callback = reduce_on_plateau({"monitor": monitor, "factor": 0.1, "patience": 1, "min_delta": 10, "min_lr": 1e-3})
    model = dense_net()
    plan = freeze(model, multipliers={"low1": 0.5})
    what = job(x, one_hot(labels, 3), val=16, callbacks=[callback])
    result = train(model, plan, what, stage(4, learning_rate=0.1))
    assert [row["learning_rate"] for row in result.history] == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert callback.monitor_op is (keras.ops.less if monitor == "val_loss" else keras.ops.greater)


def test_the_same_loop_keeps_the_rate_while_the_figure_improves():
    x, labels = clusters(64)
    callback = reduce_on_plateau({"monitor": "loss", "patience": 1})
    model = dense_net()
    result = train(model, freeze(model), job(x, one_hot(labels, 3), callbacks=[callback]), stage(3))
    assert [row["learning_rate"] for row in result.history] == pytest.approx([0.1] * 3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"factor": 1.0}, r"with factor = 1\.0\. Expected a number above 0 and below 1; received 1\.0\."),
        ({"factor": 0}, r"with factor = 0\. "),
        ({"patience": 0}, r"with patience = 0\. Expected a whole number of epochs, 1 or more"),
        ({"patience": 2.5}, r"with patience = 2\.5\."),
        ({"monitor": 3}, r"Expected the name of a figure, such as val_loss; received 3\."),
        ({"mode": "minimum"}, r"Expected auto \| min \| max; received 'minimum'"),
        ({"min_lr": -1e-3}, r"with min_lr = -0\.001\. Expected a number, 0 or more"),
        ({"min_delta": float("nan")}, r"with min_delta = nan\."),
        ({"cooldown": True}, r"with cooldown = True\."),
        ({"factr": 0.5}, r"Performance scheduling has no argument 'factr'\. Did you mean 'factor'"),
    ],
)
def test_performance_scheduling_refuses_what_makes_no_sense(spec: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=message):
        reduce_on_plateau(spec)


@pytest.mark.parametrize("rate", [{"name": "power"}, PowerDecay(0.1, 10)])
def test_performance_scheduling_and_a_schedule_are_refused_together(rate: Any):
    with pytest.raises(RecipeError, match=r"cannot be used together: each would set the rate\. Leave one of them out"):
        reduce_on_plateau({}, learning_rate=rate)
    assert reduce_on_plateau({}, learning_rate=0.1).monitor == "val_loss"
