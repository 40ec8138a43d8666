"""What is trained for: targets, loss and metrics, by what is to be predicted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .data import Target
from .errors import DataError, RecipeError, close_matches
from .one_hot import OneHot
from .recipe import TopPart


@dataclass(frozen=True)
class Objective:
    """The outputs' activation, the targets as the loss takes them, the loss, and the metrics to report while training.

    ``units`` are mean and spread of each number's training values: the network learns in these units, and answers in
    the data's own.
    """

    output: str
    targets: np.ndarray | OneHot
    loss: Any
    metrics: Callable[[], list[Any]]
    units: tuple[np.ndarray, np.ndarray] | None = None


_FITTING = {
    "classes": ("categorical_crossentropy",),
    "labels": ("binary_crossentropy",),
    "numbers": ("mean_squared_error", "mean_absolute_error", "huber"),
}
_OUTPUT = {"classes": "softmax", "labels": "sigmoid", "numbers": "linear"}


def objective(target: Target, top: TopPart, train: np.ndarray, loss: Any = None) -> Objective:
    """What a network is trained for on some targets.

    Args:
        target: The data's targets.
        top: Loss by name (``auto``: by the target), and label smoothing.
        train: The indices of the training side, for the units of numbers.
        loss: The user's own Keras loss, over the recipe's.

    Returns:
        The objective.

    Raises:
        DataError: if the data has no targets.
        RecipeError: if the loss does not fit the target.
    """
    if target.kind == "none":
        what = "The data has no targets to learn."
        raise DataError(what, expected="class folders, a label column, or y in the .npz")
    name = _FITTING[target.kind][0] if top.loss == "auto" else top.loss
    if loss is None and name not in _FITTING[target.kind]:
        what = f"The loss '{name}' does not fit {target.kind}."
        raise RecipeError(what, expected=" | ".join(_FITTING[target.kind]))
    if top.label_smoothing and (target.kind == "numbers" or loss is not None):
        what = "Label smoothing needs classes or labels, and zoo's own loss."
        raise RecipeError(what, received=f"label_smoothing = {top.label_smoothing} on {target.kind}")
    if loss is not None:
        _check_own(loss, target)
    if target.kind == "classes":
        one_hot = OneHot(target.values, target.size)
        made = loss or keras.losses.CategoricalCrossentropy(label_smoothing=top.label_smoothing)
        return Objective("softmax", one_hot, made, lambda: [keras.metrics.CategoricalAccuracy(name="accuracy")])
    values = target.values.astype("float32")
    if target.kind == "labels":
        made = loss or keras.losses.BinaryCrossentropy(label_smoothing=top.label_smoothing)
        return Objective("sigmoid", values, made, lambda: [keras.metrics.BinaryAccuracy(name="accuracy")])
    mean, spread = values[train].mean(axis=0), values[train].std(axis=0)
    spread = np.where(spread > 0, spread, 1.0).astype("float32")
    made = loss or _in_units(keras.losses.get(name), mean, spread)
    metrics = lambda: [keras.metrics.MeanAbsoluteError(name="mae")]  # noqa: E731
    return Objective("linear", values, made, metrics, (mean, spread))


def _check_own(loss: Any, target: Target) -> None:
    """Refuses a loss of the user's own that would silently be given what it does not expect."""
    name = getattr(loss, "name", type(loss).__name__)
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        what = f"The loss '{name}' takes class numbers, and zoo gives it one column for each class, 0 or 1."
        raise RecipeError(what, fix="Use keras.losses.CategoricalCrossentropy().")
    if getattr(loss, "_fn_kwargs", {}).get("from_logits") and target.kind != "numbers":
        what = f"The loss '{name}' expects logits, and the network gives probabilities."
        raise RecipeError(what, fix="Make it with from_logits=False.")


def _in_units(plain: Any, mean: np.ndarray, spread: np.ndarray) -> Any:
    def loss(truth: Any, outputs: Any) -> Any:
        return plain((truth - mean) / spread, (outputs - mean) / spread)

    return loss


def answering_in_units(network: keras.Model, units: tuple[np.ndarray, np.ndarray]) -> keras.Model:
    """The network with its outputs scaled from training units to the data's own, by a plain ``Rescaling`` layer."""
    mean, spread = units
    if len(mean) == 1:
        scale: Any = float(spread[0])
        offset: Any = float(mean[0])
    else:
        scale, offset = [float(v) for v in spread], [float(v) for v in mean]
    scaled = keras.layers.Rescaling(scale, offset, dtype="float32", name="top_units")(network.outputs[0])
    return keras.Model(network.inputs[0], scaled, name=network.name)


def example_weights(target: Target, train: np.ndarray, spec: str | Mapping[str, float]) -> np.ndarray | None:
    """The weight of each training example, by its class.

    Args:
        target: The data's targets.
        train: The indices of the training side.
        spec: ``none``; ``balanced`` (n / (k * count): every class weighs the same in the loss); or a table from class
            to weight, 1 where it names none.

    Returns:
        Weights, float32, one for each training example; ``None`` for ``none``.

    Raises:
        RecipeError: if the targets are not classes, or a class does not exist.
    """
    if spec == "none":
        return None
    if target.kind != "classes":
        what = "Class weights need classes."
        raise RecipeError(what, received=f"targets that are {target.kind}")
    labels = target.values[train]
    if isinstance(spec, str):
        counts = np.bincount(labels, minlength=target.size)
        by_class = len(labels) / (target.size * np.maximum(counts, 1))
    else:
        for name in spec:
            if name not in target.names:
                what = f"There is no class '{name}' to weigh."
                raise RecipeError(what, fix=close_matches(name, target.names))
        by_class = np.array([spec.get(name, 1.0) for name in target.names])
    return by_class[labels].astype("float32")
