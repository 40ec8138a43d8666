"""Traps of optimizers: each measured in plain Keras and in zoo, on a network of 159 parameters."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import zoo

from .networks import dense_net
from .test_train import job, stage, train
from .trap import Trap, refusal
from .traps_in_training import VECTORS, compiled, moved


def slots_of_layers_thawed_later() -> Trap:
    """The optimizer knows only the variables that it was built on: a layer thawed later stops the next step."""
    model = dense_net()
    model.get_layer("low1").trainable = False
    compiled(model, keras.optimizers.Adam()).train_on_batch(*VECTORS)
    model.get_layer("low1").trainable = True
    compiled(model, model.optimizer)
    plain = refusal(lambda: model.train_on_batch(*VECTORS))
    ours = dense_net()
    train(ours, zoo.freeze(ours, upto="low1"), job(*VECTORS), stage(name="adam"))
    plan = zoo.freeze(ours)
    return Trap(
        "thawed in the second stage: the error, or the variables of 2 that learn",
        plain,
        moved(ours.get_layer("low1"), lambda: train(ours, plan, job(*VECTORS), stage(name="adam"), 1)),
    )


def the_first_step_of_schedule_free_adamw() -> Trap:
    """`ScheduleFreeAdamW`, built by `fit` itself, takes the network to begin at zero: the first step wipes it out."""

    def change(act: Callable[[keras.Model], object]) -> float:
        model = dense_net()
        before = model.get_layer("low1").kernel.numpy()
        act(model)
        return float(np.linalg.norm(model.get_layer("low1").kernel.numpy() - before) / np.linalg.norm(before))

    plain = change(lambda model: compiled(model, keras.optimizers.ScheduleFreeAdamW(1e-3)).train_on_batch(*VECTORS))
    how = stage(name="schedulefreeadamw", learning_rate=1e-3)
    ours = change(lambda model: train(model, zoo.freeze(model), job(*VECTORS, batch_size=32), how))
    return Trap("change of a kernel in one step at a rate of 0.001, relative", plain, ours)


class Slowed(keras.optimizers.AdamW):
    """The usual recipe for a rate by block: the rate is scaled where the step is computed."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = (0.1, 0.1, 0.0, 0.0, 1.0, 1.0)[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


def _decayed(name: str) -> tuple[float, float]:
    """How far a kernel moves in a step of AdamW whose decay outweighs all else, in units of the plain step."""
    decay = {"learning_rate": 0.01, "weight_decay": 10.0}
    rates = {"low1": 0.1, "low2": 0.0}

    def step(act: Callable[[keras.Model], object]) -> float:
        model = dense_net()
        before = model.get_layer(name).kernel.numpy()
        act(model)
        return float(np.linalg.norm(model.get_layer(name).kernel.numpy() - before))

    whole = step(lambda model: compiled(model, keras.optimizers.AdamW(**decay)).train_on_batch(*VECTORS))
    plain = step(lambda model: compiled(model, Slowed(**decay)).train_on_batch(*VECTORS))
    how = stage(name="adamw", **decay)
    one = job(*VECTORS, batch_size=32)
    ours = step(lambda model: train(model, zoo.freeze(model, multipliers=rates), one, how))
    return plain / whole, ours / whole


def weight_decay_of_a_slowed_block() -> Trap:
    """Weight decay knows nothing of a multiplier that scales the step: a slowed block decays at the full rate."""
    return Trap("step of a block at a tenth of the rate, in plain steps", *_decayed("low1"))


def weight_decay_of_a_block_at_rate_zero() -> Trap:
    """At a multiplier of 0 a block still decays."""
    return Trap("step of a block at rate 0, in plain steps", *_decayed("low2"))


def global_clipping_with_an_optimizer_for_each_block() -> Trap:
    """`MultiOptimizer` clips each block by itself: the step of all together is longer than the limit."""

    def clipped() -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(1.0, global_clipnorm=1e-3)

    def norm(act: Callable[[keras.Model], object]) -> float:
        model = dense_net()
        before = [v.numpy() for v in model.weights]
        act(model)
        steps = [v.numpy() - old for v, old in zip(model.weights, before, strict=True)]
        return float(np.linalg.norm([np.linalg.norm(s) for s in steps])) / 1e-3

    by_block = keras.optimizers.OptimizerMap(clipped(), {"low1/.*": clipped(), "low2/.*": clipped()})
    plain = norm(lambda model: compiled(model, keras.optimizers.MultiOptimizer(by_block)).train_on_batch(*VECTORS))
    how = stage(name="sgd", learning_rate=1.0, global_clipnorm=1e-3)
    one = job(*VECTORS, batch_size=32)
    ours = norm(lambda model: train(model, zoo.freeze(model, multipliers={"low1": 1.0, "low2": 0.999}), one, how))
    return Trap("norm of a clipped step of SGD, in units of the limit", plain, ours)
