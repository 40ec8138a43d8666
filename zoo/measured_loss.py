"""The loss whose gradients an inspection measures: by the targets where they fit the outputs, else a stand-in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .errors import DataError
from .graph import node_of
from .seeds import generator

#: One output's loss: the mean over a batch, from the output and its examples' targets.
_Mean = Callable[[Any, Any], Any]

_NAMES = {
    "softmax": "cross-entropy",
    "sigmoid": "binary cross-entropy",
    "linear": "squared error",
}


@dataclass(frozen=True)
class MeasuredLoss:
    """A mean loss of a batch, summed over the network's outputs.

    Attributes:
        text: What it is, in words.
        parts: One loss for each output.
        targets: One array for each output, an example a row; ``None`` for a stand-in, whose targets are drawn.
        seed: Drawn targets follow from it.
    """

    text: str
    parts: tuple[_Mean, ...]
    targets: tuple[np.ndarray | None, ...]
    forms: tuple[str, ...]
    seed: int

    def __call__(self, outputs: Sequence[Any], rows: np.ndarray) -> Any:
        """The loss of the examples at some positions in the sample."""
        total: Any = 0.0
        for i, (part, output, target) in enumerate(zip(self.parts, outputs, self.targets, strict=True)):
            given = self._drawn(i, output, rows) if target is None else target[rows]
            total = total + part(given, output)
        return total

    def _drawn(self, place: int, output: Any, rows: np.ndarray) -> np.ndarray:
        """Targets at random, the same for an example whatever the network gives."""
        draw = generator(self.seed, "stand-in", place, int(rows[0]))
        shape = tuple(output.shape)
        if self.forms[place] == "softmax":
            return draw.integers(0, shape[-1], shape[:-1])
        if self.forms[place] == "sigmoid":
            return draw.integers(0, 2, shape).astype("float32")
        return draw.standard_normal(shape).astype("float32")


def measured_loss(graph: keras.Model, y: Any, loss: Any, seed: int, why: str) -> MeasuredLoss:
    """Chooses the loss.

    Args:
        graph: An opened network, which shows its outputs' activations.
        y: The sample's targets, in any structure with an array for each output; ``None`` for a stand-in.
        loss: The user's own: a Keras loss, its name, a function ``(y, outputs)``, or one for each output in any
            structure; ``None`` to choose by outputs and targets.
        seed: Of the stand-in's targets.
        why: Why there are no targets, where there are none.

    Raises:
        DataError: if there is a loss without targets, or not one for each output.
    """
    forms = tuple(_form(tensor) for tensor in graph.outputs)
    count = len(graph.outputs)
    if y is None:
        if loss is not None:
            what = "A loss was given without targets."
            raise DataError(what, fix="Give y too, or leave the loss out.")
        return _stand_in(forms, why, seed)
    targets = [np.asarray(array) for array in keras.tree.flatten(y)]
    if loss is not None:
        own = keras.tree.flatten(loss)
        own = own * count if len(own) == 1 else own
        if len(own) != count or len(targets) != count:
            what = "Each of the network's outputs needs a target and a loss."
            received = f"{len(targets)} targets, {len(own)} losses"
            raise DataError(what, expected=f"{count} of each", received=received)
        return MeasuredLoss("the loss given", tuple(map(_own, own)), tuple(targets), forms, seed)
    if len(targets) != count:
        return _stand_in(forms, f"there are {len(targets)} targets for {count} outputs", seed)
    fitted = [_fitted(*each) for each in zip(forms, graph.outputs, targets, strict=True)]
    whole = [each for each in fitted if not isinstance(each, str)]
    if len(whole) < count:
        return _stand_in(forms, next(each for each in fitted if isinstance(each, str)), seed)
    names = list(dict.fromkeys(name for name, _, _ in whole))
    return MeasuredLoss(
        " and ".join(names), tuple(part for _, part, _ in whole), tuple(target for _, _, target in whole), forms, seed
    )


def _own(loss: Any) -> _Mean:
    made: Any = keras.losses.get(loss)
    return lambda truth, output: keras.ops.mean(made(truth, output))


def _stand_in(forms: tuple[str, ...], why: str, seed: int) -> MeasuredLoss:
    losses = {"softmax": _sparse(False), "sigmoid": keras.losses.BinaryCrossentropy(), "linear": _squared(1.0)}
    names = " and ".join(dict.fromkeys(_NAMES[form] for form in forms))
    text = f"{names} against random targets, a stand-in: {why}"
    return MeasuredLoss(text, tuple(losses[form] for form in forms), (None,) * len(forms), forms, seed)


def _form(tensor: Any) -> str:
    """The activation of an output: ``softmax``, ``sigmoid``, or ``linear`` for any other."""
    operation = node_of(tensor).operation
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    name = getattr(getattr(operation, "activation", None), "__name__", type(operation).__name__.lower())
    return name if name in ("softmax", "sigmoid") else "linear"


def _fitted(form: str, output: Any, y: np.ndarray) -> tuple[str, _Mean, np.ndarray] | str:
    """The loss that fits an output and targets, with the targets as it takes them; or why none does."""
    shape, k = tuple(output.shape), output.shape[-1]
    y = y[..., 0] if y.ndim == len(shape) and y.shape[-1] == 1 and k != 1 else y
    if y.dtype.kind not in "iubf":
        return "the targets are not numbers"
    whole = y.dtype.kind != "f" or (form == "softmax" and bool(np.all(y == np.round(y))))
    if whole and y.ndim == len(shape) - 1 and isinstance(k, int) and k > 1 and form != "sigmoid":
        if y.size and (y.min() < 0 or y.max() >= k):
            return f"there are classes from {y.min()} to {y.max()}, and {k} outputs"
        return _NAMES["softmax"], _sparse(form == "linear"), y.astype("int64")
    y = y[..., None] if y.ndim == len(shape) - 1 and k == 1 else y
    if y.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape[1:], y.shape[1:], strict=True)):
        return f"targets of shape {y.shape[1:]} do not fit outputs of shape {shape[1:]}"
    values = y.astype("float32")
    one_hot = len(values) and bool(np.all((values == 0) | (values == 1)) and np.all(values.sum(axis=-1) == 1))
    if form == "linear" and one_hot and k != 1:
        return _NAMES["softmax"], keras.losses.CategoricalCrossentropy(from_logits=True), values
    if form == "linear":
        spread = float(np.sqrt(np.mean(np.var(values, axis=0)))) or 1.0
        return _NAMES["linear"], _squared(spread), values
    if values.size and (values.min() < 0 or values.max() > 1):
        return f"targets from {values.min():g} to {values.max():g} do not fit outputs from 0 to 1"
    if form == "softmax":
        return _NAMES["softmax"], keras.losses.CategoricalCrossentropy(), values
    return _NAMES["sigmoid"], keras.losses.BinaryCrossentropy(), values


def _sparse(from_logits: bool) -> _Mean:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def _squared(spread: float) -> _Mean:
    """Squared error in units of the targets' spread, as zoo trains on numbers."""
    return lambda truth, output: keras.ops.mean(keras.ops.square((output - truth) / spread))
