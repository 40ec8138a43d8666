"""The tables of names that a recipe is checked by, beside what Keras and zoo.layers make."""

import inspect

import keras
import pytest

from zoo import momentum_cycle
from zoo.keras_names import AUGMENTATION_LAYERS, CLIPPING, OPTIMIZERS, SCHEDULE_CLASSES, SCHEDULES, SWITCHES
from zoo.layers import augmentation, mixing
from zoo.layers.by_name import parameters
from zoo.layers.optimizers import names
from zoo.layers.schedules import SHORT, schedule, schedules


def test_the_optimizers_are_keras_s():
    assert OPTIMIZERS.keys() == names().keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_has_keras_s_arguments(name):
    assert set(OPTIMIZERS[name]) == set(parameters(names()[name])) - {"name"}
    assert len(set(OPTIMIZERS[name])) == len(OPTIMIZERS[name])
    defaults = inspect.signature(names()[name].__init__).parameters
    switches = {key for key, one in defaults.items() if isinstance(one.default, bool)}
    assert switches <= set(SWITCHES)


def test_what_is_a_switch_is_an_argument_of_some():
    every = {key for keys in OPTIMIZERS.values() for key in keys}
    assert set(SWITCHES) <= every
    assert set(CLIPPING) <= every
    assert set(momentum_cycle.ARGUMENT) <= set(OPTIMIZERS)


def test_the_schedules_are_those_that_can_be_made():
    assert SCHEDULES.keys() == SHORT.keys()
    assert {long: short for short, long in SHORT.items()} == SCHEDULE_CLASSES
    assert set(SCHEDULE_CLASSES) == set(schedules())


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_the_arguments_of_its_class_and_those_of_a_warm_up(name):
    ours = set(SCHEDULES[name]) - set(parameters(schedules()[SHORT[name]]))
    rises = name in ("one_cycle", "one_cycle_momentum", "warm_up")
    expected = set() if rises else {"warmup_steps", "warmup_start"}
    expected |= {"cycles"} if name == "cosine_restarts" else set()
    assert ours == expected - set(parameters(schedules()[SHORT[name]]))
    assert set(parameters(schedules()[SHORT[name]])) - {"name"} <= set(SCHEDULES[name])


def test_a_warm_up_before_any_schedule_is_made():
    for name in SCHEDULES:
        if "warmup_start" in SCHEDULES[name]:
            values = {"values": [0.1, 0.01]} if name == "piecewise" else {"initial_learning_rate": 0.1}
            given = {"name": name, **values, "warmup_steps": 5, "warmup_start": 0.01}
            given |= {"decay_rate": 0.5} if "decay_rate" in SCHEDULES[name] else {}
            assert float(schedule(given, steps=100)(0)) == pytest.approx(0.01)


def test_the_layers_that_augment_are_those_that_are_made():
    random = {n for n in dir(keras.layers) if n.startswith("Random") or n in ("AugMix", "RandAugment")}
    assert set(AUGMENTATION_LAYERS) == random | {"FeatureNoise", "FeatureDropout", "MixUp", "CutMix"}
    assert augmentation([{"name": "FeatureNoise", "stddev": 0.1}], "vector")
    assert mixing([{"name": "MixUp", "alpha": 0.2}]) is not None
