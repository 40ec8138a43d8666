"""Performance scheduling within a stage, and settings that exclude each other."""

import io
from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pytest

import zoo
from zoo.errors import RecipeError
from zoo.progress import Progress
from zoo.recipe import DataPart, ModelPart, Recipe
from zoo.recipe_stage import StagePart

from .networks import clusters, dense_net
from .test_train import job, one_hot, stage, train

PLATEAU = {"monitor": "val_loss", "factor": 0.5, "patience": 2, "min_delta": 0.0, "cooldown": 0, "min_lr": 0.0}


def noisy(**changes: object) -> tuple[keras.Model, object]:
    """A network and a job in which the validation loss soon stops falling: labels that mean nothing."""
    x, labels = clusters(64)
    y = one_hot(np.random.default_rng(0).permutation(labels), 3)
    return dense_net(), job(x, y, val=24, **changes)


def rates_by_hand(losses: list[float], rate: float, factor: float, patience: int, least: float) -> list[float]:
    """The rate of each epoch: multiplied by ``factor`` when the loss has not fallen for ``patience`` epochs."""
    rates, best, waited = [], np.inf, 0
    for loss in losses:
        rates.append(rate)
        if loss < best:
            best, waited = loss, 0
        else:
            waited += 1
            if waited >= patience:
                rate, waited = max(rate * factor, least), 0
    return rates


@pytest.mark.parametrize("least", [0.0, 0.3])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_the_rate_falls_when_the_validation_loss_does_not(least: float, precision: str, rate: float):
    said = io.StringIO()
    model, what = noisy(precision=precision, progress=Progress(said))
    plan = zoo.freeze(model, multipliers={model.layers[1].name: rate})
    how = replace(stage(25, learning_rate=0.8), reduce_on_plateau={**PLATEAU, "min_lr": least})
    history = train(model, plan, what, how).history
    by_hand = rates_by_hand([row["val_loss"] for row in history], 0.8, 0.5, 2, least)
    assert len(set(by_hand)) >= 2
    np.testing.assert_allclose([row["learning_rate"] for row in history], by_hand, rtol=1e-6)
    falls = [(i, a, b) for i, (a, b) in enumerate(pairwise([*by_hand, by_hand[-1]]), 1) if a != b]
    lines = [
        f"stage fine-tune, after epoch {i}: val_loss stood still for 2 epochs, the rate goes from {a:g} to {b:g}"
        for i, a, b in falls
    ]
    assert [line for line in said.getvalue().splitlines() if "the rate goes" in line][: len(lines)] == lines


def test_without_a_validation_side_it_is_off():
    model, what = noisy()
    how = replace(stage(6, learning_rate=0.8), reduce_on_plateau=PLATEAU)
    history = train(model, zoo.freeze(model), replace(what, val=replace(what.val, targets=what.val.targets[:0])), how)
    assert {row["learning_rate"] for row in history.history} == {np.float32(0.8)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reduce_on_plateau": {**PLATEAU, "monitor": "val_los"}}, "Performance scheduling cannot watch 'val_los'"),
        (
            {"reduce_on_plateau": PLATEAU, "optimizer": {"name": "sgd", "learning_rate": {"name": "cosine"}}},
            "has two who set its rate: a schedule, and reduce_on_plateau",
        ),
        (
            {"weight_averaging": {"start": 0.5, "every": 1}, "optimizer": {"name": "sgd", "use_ema": True}},
            "averages its weights twice",
        ),
        (
            {"weight_averaging": {"start": 0.5, "every": 1}, "early_stopping": {"monitor": "loss", "patience": 1}},
            "ends with the average of its weights, and early stopping with one epoch's",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(changes: dict, said: str):
    model, what = noisy()
    how = replace(StagePart("fine-tune", 2, {"name": "sgd", "learning_rate": 0.1}), **changes)
    with pytest.raises(RecipeError, match=said):
        train(model, zoo.freeze(model), what, how)


STOPPING = keras.callbacks.EarlyStopping(monitor="loss", restore_best_weights=True)


@pytest.mark.parametrize(
    ("changes", "callbacks", "said"),
    [
        (
            {"early_stopping": {"monitor": "loss", "patience": 1}},
            [zoo.WeightAveraging()],
            r"'fine-tune' stops early and ends with one epoch's weights; the callback WeightAveraging, with the "
            r"average of several\. Received early_stopping = .*'patience': 1.*\. Leave one of them out",
        ),
        (
            {"weight_averaging": {"start": 0.5, "every": 1}},
            [zoo.WeightAveraging()],
            r"averages its weights twice\. Received the callback WeightAveraging, and weight_averaging",
        ),
        (
            {"optimizer": {"name": "sgd", "use_ema": True}},
            [zoo.WeightAveraging()],
            r"averages its weights twice\. Received the callback WeightAveraging, and the optimizer sgd",
        ),
        ({}, [zoo.WeightAveraging(), zoo.WeightAveraging()], r"averages its weights twice\. Received .* 2 callbacks"),
        ({}, [zoo.WeightAveraging(), STOPPING], r"would replace the average .*\. Put it before WeightAveraging"),
        ({}, [zoo.WeightAveraging(start=9)], r"would start in epoch 9, and training has 2\."),
    ],
)
def test_an_averaging_of_the_user_s_own_that_would_be_undone_is_refused(changes, callbacks, said, tmp_path):
    """Before anything is trained, and before a run has a folder."""
    model, what = noisy(callbacks=callbacks)
    before = [v.numpy() for v in model.weights]
    how = replace(StagePart("fine-tune", 2, {"name": "sgd", "learning_rate": 0.1}), **changes)
    with pytest.raises(RecipeError, match=said):
        train(model, zoo.freeze(model), what, how)
    assert all(np.array_equal(v.numpy(), value) for v, value in zip(model.weights, before, strict=True))
    recipe = Recipe(ModelPart("glyphs"), DataPart("digits"), stages=(replace(how, train=("top",)),))
    with pytest.raises(RecipeError, match=said):
        zoo.finetune(recipe=recipe, callbacks=callbacks, limit_per_class=3, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_early_stopping_of_the_user_s_own_before_the_averaging_leaves_the_average():
    late = zoo.WeightAveraging(start=0.5)
    model, what = noisy(callbacks=[STOPPING, late])
    result = train(model, zoo.freeze(model), what, StagePart("s", 4, {"name": "sgd", "learning_rate": 0.01}))
    assert result.averaged == bool(late.averaged) is True
