"""Schedules and L2-SP within stages: they last as long as the stage, and leave no trace."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import zoo
from zoo.epochs import Job
from zoo.errors import RecipeError
from zoo.recipe_stage import StagePart
from zoo.starting_point import start_of
from zoo.train import FeatureStore, train_stage

from .networks import clusters, dense_net, quadrants, small_convnet, values
from .test_train import Kept, job, one_hot, stage, train


def learnable() -> Job:
    x, labels = clusters(64)
    return job(x, one_hot(labels, 3))


@pytest.mark.parametrize("rates", [{}, {"low2": 0.5}])
def test_a_schedule_lasts_as_long_as_the_stage(rates: dict):
    """64 examples in batches of 16, 5 epochs: 20 steps, and the rate of an epoch is that of its last step."""
    model = dense_net()
    plan = zoo.freeze(model, multipliers=rates or None)
    how = stage(5, learning_rate={"name": "cosine", "initial_learning_rate": 0.1})
    shown = [row["learning_rate"] for row in train(model, plan, learnable(), how).history]
    by_hand = [0.1 * (1 + np.cos(np.pi * step / 20)) / 2 for step in (3, 7, 11, 15, 19)]
    np.testing.assert_allclose(shown, by_hand, atol=1e-7)


def test_one_cycle_moves_the_momentum_too():
    model = dense_net()
    rate = {"name": "one_cycle", "max_learning_rate": 0.1}
    how = stage(5, learning_rate=rate, momentum={"name": "one_cycle_momentum"})
    kept = Kept()
    train(model, zoo.freeze(model, multipliers={"low1": 0.5}), replace(learnable(), callbacks=[kept]), how)
    made = kept.optimizer
    top = float(made.momentum(0)), min(float(made.momentum(step)) for step in range(20)), float(made.momentum(20))
    np.testing.assert_allclose(top, (0.95, 0.85, 0.95), atol=1e-6)


def distance(model: keras.Model, start: dict[str, np.ndarray], name: str) -> float:
    return float(np.linalg.norm(model.get_layer(name).kernel.numpy() - start[f"{name}/kernel"]))


@pytest.mark.parametrize("frozen", [None, "low1"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_l2_sp_keeps_the_reused_weights_near_their_start_and_not_the_top(frozen, precision):
    moved = {}
    for alpha in (0.0, 2.0):
        model = dense_net()
        start = start_of(model)
        plan = zoo.freeze(model, upto=frozen)
        what = replace(learnable(), precision=precision)
        how = replace(stage(20), l2_sp={"alpha": alpha, "beta": 0.0})
        train_stage(model, plan, how, 0, what, FeatureStore(), start_of(model, new=["top"]))
        moved[alpha] = {name: distance(model, start, name) for name in ("low1", "low2", "top")}
    assert 0 < moved[2.0]["low2"] < moved[0.0]["low2"] / 3
    assert moved[2.0]["top"] > moved[0.0]["top"] / 2
    assert (moved[2.0]["low1"] == 0) == (frozen is not None)


def test_without_a_new_layer_l2_sp_keeps_the_last_one_too():
    moved = {}
    for alpha in (0.0, 2.0):
        model = dense_net()
        start = start_of(model)
        train(model, zoo.freeze(model), learnable(), replace(stage(20), l2_sp={"alpha": alpha, "beta": 1.0}))
        moved[alpha] = distance(model, start, "top")
    assert 0 < moved[2.0] < moved[0.0] / 3


def test_a_run_on_a_network_of_one_s_own_pulls_its_own_top_to_its_start(tmp_path):
    """A network that was trained before, top and all: only a top that surgery made is pulled to 0."""
    own = zoo.replace_top(zoo.load("glyphs"), classes=10, seed=1)
    top = own.get_layer("top_output").kernel
    made = np.asarray(top)
    options = {"limit_per_class": 3, "head_epochs": 25, "head_learning_rate": 0.02, "freeze": "all"}
    for name, trained, said in (
        ("new", False, "(alpha 5); top_output is new, and pulled to 0 (beta 5)"),
        ("trained", True, "(alpha 5); no layer is new"),
    ):
        if trained:
            top.assign(made + 0.1)
        out = tmp_path / name
        run = zoo.finetune(own, "digits", out=out, l2_sp={"alpha": 5.0, "beta": 5.0}, **options)
        assert said in (out / "log.txt").read_text()
        found = np.asarray(run.model.get_layer("top_output").kernel)
        start = np.asarray(top) if trained else np.zeros_like(made)
        assert np.linalg.norm(found - start) < np.linalg.norm(np.asarray(top)) / 4, name
    assert (
        "beta changes nothing in the stage 'head': l2_sp finds no new layer to pull to 0"
        in (tmp_path / "trained" / "log.txt").read_text()
    )


def test_l2_sp_on_a_network_that_nothing_trained_is_refused_before_there_is_a_run(tmp_path):
    x, labels = quadrants(24)
    with pytest.raises(RecipeError, match=r"Nothing in 'convnet' has pretrained values .*'fine-tune'.*Leave l2_sp"):
        zoo.finetune(small_convnet(4), (x, labels), out=tmp_path / "run", l2_sp=0.1)
    assert not (tmp_path / "run").exists()


def test_l2_sp_pulls_to_where_the_run_began_not_to_where_the_stage_did():
    """Far from the start, nothing to learn, a strong pull: the weights go back."""
    model = dense_net()
    start = start_of(model)
    layer = model.get_layer("low2")
    layer.kernel.assign(layer.kernel + 1.0)
    before = distance(model, start, "low2")
    how = replace(stage(10, learning_rate=0.05), l2_sp={"alpha": 5.0, "beta": 0.0})
    train_stage(model, zoo.freeze(model), how, 0, learnable(), FeatureStore(), start)
    assert distance(model, start, "low2") < before / 4


def test_l2_sp_is_in_the_loss_and_gone_after_the_stage():
    model = dense_net()
    start = start_of(model)
    layer = model.get_layer("low2")
    layer.kernel.assign(layer.kernel + 1.0)
    plain, pulled = (
        train_stage(
            model,
            zoo.freeze(model),
            replace(stage(1, learning_rate=0.0), l2_sp=spec),
            0,
            learnable(),
            FeatureStore(),
            start,
        ).history[0]["loss"]
        for spec in (None, {"alpha": 0.5, "beta": 0.0})
    )
    assert pulled - plain == pytest.approx(0.5 / 2 * 64, rel=1e-5)  # 8 x 8 weights, each 1 from its start
    assert all(v.regularizer is None for v in model.variables)


@pytest.mark.parametrize("mode", ["train", "fixed_statistics", "frozen"])
def test_a_stage_ends_with_the_mean_of_its_late_weights(mode: str):
    """Four epochs, from half of them on: the mean of the weights after the third and the fourth."""
    x, labels = quadrants(48)
    what = job(x.astype("float32"), one_hot(labels, 4))
    model = small_convnet(4)
    kept: list[dict[str, np.ndarray]] = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.append({v.path: v.numpy() for v in model.trainable_variables})
    )
    plan = zoo.freeze(model, upto="block1", batch_norm=mode)
    how = replace(stage(4), weight_averaging={"start": 0.5, "every": 1})
    result = train(model, plan, replace(what, callbacks=[note]), how)
    assert result.averaged
    assert np.abs(kept[3]["top_output/kernel"] - kept[2]["top_output/kernel"]).max() > 1e-4
    for v in model.trainable_variables:
        np.testing.assert_allclose(v.numpy(), (kept[2][v.path] + kept[3][v.path]) / 2, atol=1e-7)
    statistics = model.get_layer("block2_bn1").moving_mean.numpy()
    inside = keras.Model(model.input, model.get_layer("block2_bn1").input)
    own = np.asarray(inside(what.train.read(np.arange(48)), training=False)).mean(axis=(0, 1, 2))
    assert np.allclose(statistics, own, atol=1e-4) == (mode == "train")


def test_an_averaging_of_the_user_s_own_is_given_the_training_side():
    x, labels = quadrants(48)
    model, late = small_convnet(4), zoo.WeightAveraging(start=0.5)
    what = job(x.astype("float32"), one_hot(labels, 4), callbacks=[late])
    result = train(model, zoo.freeze(model, batch_norm="train"), what, stage(4))
    assert late.averaged == 2
    assert result.averaged


def test_an_averaging_of_the_user_s_own_serves_run_after_run():
    """Each stage's own training side gives the statistics, as if the callback were new; and it keeps none of them."""

    def trained(late: zoo.WeightAveraging, shift: float) -> str:
        x, labels = quadrants(48)
        model = small_convnet(4)
        what = job(x.astype("float32") + shift, one_hot(labels, 4), callbacks=[late])
        return train(model, zoo.freeze(model, batch_norm="train"), what, stage(2)).digest

    twice = zoo.WeightAveraging(start=0.5)
    first, second = trained(twice, 0.0), trained(twice, 40.0)
    assert twice.x is None
    assert first == trained(zoo.WeightAveraging(start=0.5), 0.0)
    assert second == trained(zoo.WeightAveraging(start=0.5), 40.0) != first


def test_an_averaging_gives_the_training_side_back_when_a_stage_fails():
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            raise KeyboardInterrupt

    late, x = zoo.WeightAveraging(start=0.5), np.ones((8, 4), "float32")
    own = zoo.WeightAveraging(start=0.5, x=x)
    for callback in (late, own):
        with pytest.raises(KeyboardInterrupt):
            train(dense_net(), zoo.freeze(dense_net()), replace(learnable(), callbacks=[callback, Failing()]))
    assert late.x is None
    assert own.x is x


def test_an_average_that_never_began_is_not_claimed():
    class Stopping(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.model.stop_training = True

    model = dense_net()
    how = replace(stage(4), weight_averaging={"start": 0.5, "every": 1})
    with pytest.warns(UserWarning, match="averaged nothing"):
        assert not train(model, zoo.freeze(model), replace(learnable(), callbacks=[Stopping()]), how).averaged


def test_a_run_with_every_setting_gives_the_same_weights_again(tmp_path):
    options = {"limit_per_class": 4, "epochs": 4, "head_epochs": 2, "schedule": "one_cycle", "l2_sp": 0.01, "seed": 3}
    options |= {"weight_averaging": 0.5, "activation": "rrelu", "hidden": [8]}
    runs = [zoo.finetune("glyphs", "digits", out=tmp_path / name, **options) for name in "ab"]
    one, other = (keras.models.load_model(run.folder / "model.keras").variables for run in runs)
    assert [v.numpy().tobytes() for v in one] == [v.numpy().tobytes() for v in other]
    said = (runs[0].folder / "log.txt").read_text()
    assert "the reused weights are pulled to their pretrained values (alpha 0.01)" in said
    assert "it ends with the mean of its weights, every epoch from 50% of them on" in said
    assert "model.keras holds layers of zoo's own (top_activation1): import zoo.layers before keras loads it" in said
    text = (runs[0].folder / "recipe.toml").read_text()
    assert "one_cycle_momentum" in text
    assert "[stage.l2_sp]" in text


def test_a_schedule_that_does_not_exist_is_refused_before_anything_is_trained():
    model = dense_net()
    before = values(model)
    with pytest.raises(RecipeError, match="no learning-rate schedule 'cosin'"):
        train(
            model,
            zoo.freeze(model),
            learnable(),
            StagePart("s", 1, {"name": "sgd", "learning_rate": {"name": "cosin"}}),
        )
    assert values(model) == before
