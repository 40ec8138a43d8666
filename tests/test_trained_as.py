"""How a run trained its network reaches the guidelines, and what an inspection says of departures."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import zoo
from zoo.progress import Progress
from zoo.run import Run
from zoo.trained_as import trained_as

from .networks import clusters, dense_net

QUICK = {"limit_per_class": 3, "epochs": 1, "progress": Progress(quiet=True)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained as the guidelines advise against."""
    out = tmp_path_factory.mktemp("runs") / "live"
    how = {"freeze": "block1", "batch_norm": "train", "optimizer": "sgd", "learning_rate": 0.02}
    return zoo.finetune("glyphs", "digits", out=out, **how, **QUICK)


def test_a_run_is_judged_by_how_its_last_stage_trained_it(run: Run):
    found = zoo.inspect(run.folder, "digits", sample=32)
    assert [one.rule for one in found.departures] == ["live batch norm", "optimizer"]
    live, momentum = found.departures
    assert live.what == "live batch normalization in a network that is partly frozen, at a learning rate of 0.02"
    assert live.layers == ("block2_bn1", "block2_bn2", "block3_bn1", "block3_bn2")
    assert momentum.what == "gradient descent without momentum"
    assert found.learning_rate == 0.01, "the rate of the step is the inspection's own"


def test_a_run_that_was_trained_by_default_keeps_to_them(tiny_run: Run):
    assert len(zoo.inspect(tiny_run.folder, "digits", sample=32).departures) == 0


def test_a_network_that_is_no_run_is_judged_at_the_rate_of_the_inspection():
    inputs = keras.Input((6,))
    low = keras.layers.Dense(8, use_bias=False, name="low", trainable=False)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="bn")(low(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    (live,) = zoo.inspect(model, clusters(40)[0], learning_rate=0.05).departures
    assert live.layers == ("bn",) and live.what.endswith("at a learning rate of 0.05")


@pytest.mark.parametrize(
    ("spec", "momentum", "rate"),
    [
        ({"name": "sgd", "learning_rate": 0.1}, 0.0, 0.1),
        (
            {"name": "sgd", "learning_rate": {"name": "cosine", "initial_learning_rate": 0.1}, "momentum": 0.8},
            0.8,
            None,
        ),
        ({"name": "sgd", "momentum": {"name": "one_cycle_momentum"}}, 0.9, 0.01),
    ],
)
def test_schedules_are_no_rates_and_a_scheduled_momentum_is_one(run: Run, spec, momentum, rate):
    stage = replace(run.recipe.stages[-1], optimizer=spec)
    other = Run(run.folder)
    other.__dict__["recipe"] = replace(run.recipe, stages=(stage,))
    found = trained_as(other, run.model)
    assert found.optimizer.momentum == momentum
    assert found.learning_rate == pytest.approx(rate) if rate else found.learning_rate is None


def test_what_cannot_be_told_any_more_is_said(run: Run):
    found = trained_as(run, dense_net())
    assert found.plan is None and found.note.startswith("what the run froze cannot be told any more: ")
    assert found.optimizer is not None


def test_departures_of_a_healthy_network_are_put_in_their_place(run: Run):
    said = "A departure need not be a fault, and signals do get through here: it is a place to have a reason for."
    found = zoo.inspect(run.folder, "digits", sample=32)
    assert found.verdict == "healthy" and said in str(found).splitlines()
    assert said not in str(zoo.inspect("glyphs", "digits", sample=32)), "it departs nowhere"
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(30, activation="sigmoid") for _ in range(12)]
    net = keras.Sequential([keras.Input((6,)), *hidden, keras.layers.Dense(3, activation="softmax")])
    sick = zoo.inspect(net, np.random.default_rng(0).normal(size=(40, 6)))
    assert len(sick.departures) and said not in str(sick), "there it may well be the fault"
