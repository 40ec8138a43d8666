"""How signals get through a dense network of zoo's: what ``deep_networks.py`` measures, in plain Keras and TensorFlow.

Apart from ``zoo.inspect`` on purpose: the two are held against each other by a test.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

#: A value is saturated where the slope is below a tenth of the largest, as zoo/verdict.py has it.
FLAT = 0.1
#: By activation, the slope at an output, relative to the largest. Others have no flat side that they cannot leave.
SLOPES = {"sigmoid": lambda y: 4 * y * (1 - y), "tanh": lambda y: 1 - y**2}


@dataclass(frozen=True)
class Signals:
    """A network's figures, by hidden layer from the bottom; shares are means over the layers.

    Attributes:
        spread: Between examples: the root of the units' mean variance; relative to the input's.
        backward: The loss's gradient by an example's outputs, root mean square; relative to the highest hidden layer's.
        gradient: The norm of the loss's gradient by the kernel; relative to the highest hidden layer's.
        saturated: The share of values where tanh or the logistic function is flat; ``None`` for others.
        dead: The share of units whose ReLU gives 0 for all examples; ``None`` for other activations.
        finite: Whether all outputs and gradients are numbers.
    """

    spread: tuple[float, ...]
    backward: tuple[float, ...]
    gradient: tuple[float, ...]
    saturated: float | None
    dead: float | None
    finite: bool


def signals(model: "keras.Model", activation: str, x: np.ndarray, y: np.ndarray) -> Signals:
    """Measures a network in training mode on one batch; its moving statistics stay.

    Args:
        model: From ``zoo.models.dnn.build``, with logits.
        activation: Of its hidden layers.
        x: Examples.
        y: Their classes.
    """
    import keras
    import tensorflow as tf

    held = [variable.numpy() for variable in model.variables]
    names = [layer.name for layer in model.layers if layer.name.endswith("_activation")]
    probe = keras.Model(model.input, [*(model.get_layer(name).output for name in names), model.output])
    kernels = [model.get_layer(name.replace("_activation", "_dense")).kernel for name in names]
    with tf.GradientTape() as tape:
        *hidden, logits = probe(x, training=True)
        losses = keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)
        loss = tf.reduce_mean(losses)
    values = [kernel.value for kernel in kernels]
    gradients = tape.gradient(loss, [*hidden, *values], unconnected_gradients="zero")
    for variable, value in zip(model.variables, held, strict=True):
        variable.assign(value)
    outputs = [np.asarray(h, "float64") for h in hidden]
    by_output, by_kernel = (
        [float(np.linalg.norm(np.asarray(g, "float64"))) for g in part]
        for part in (gradients[: len(hidden)], gradients[len(hidden) :])
    )
    spread = float(np.sqrt(model_input(model, x).var(axis=0).mean()))
    slope = SLOPES.get(activation)
    return Signals(
        tuple(float(np.sqrt(h.var(axis=0).mean())) / spread for h in outputs),
        tuple(_relative(by_output)),
        tuple(_relative(by_kernel)),
        float(np.mean([(slope(h) < FLAT).mean() for h in outputs])) if slope else None,
        float(np.mean([(h == 0).all(axis=0).mean() for h in outputs])) if activation == "relu" else None,
        bool(np.isfinite(by_output + by_kernel).all() and all(np.isfinite(h).all() for h in outputs)),
    )


def model_input(model: "keras.Model", x: np.ndarray) -> np.ndarray:
    """What the lowest dense layer takes: the examples, normalized where the network does so."""
    layer = model.layers[1]
    return np.asarray(layer(x) if layer.name.endswith("_normalization") else x, "float64")


def _relative(norms: list[float]) -> list[float]:
    """Each norm relative to the last."""
    return [float(np.divide(norm, norms[-1])) if norms[-1] else float("nan") for norm in norms]
