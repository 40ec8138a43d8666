"""The loss whose gradients an inspection measures: by the targets where they fit the outputs, else a stand-in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .by_output import OutputNames, by_output
from .errors import DataError
from .output_form import OutputForm, form_of
from .own_loss import OwnLoss, own_parts
from .seeds import generator

#: One output's loss: the mean over a batch, from its examples' targets and the output.
Mean = Callable[[Any, Any], Any]

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
        parts: One loss for each output; ``None`` for one that has none.
        targets: One array for each output, an example a row; ``None`` for a stand-in, whose targets are drawn.
        forms: What each output is.
        seed: Drawn targets follow from it.
    """

    text: str
    parts: tuple[Mean | None, ...]
    targets: tuple[np.ndarray | None, ...]
    forms: tuple[OutputForm, ...]
    seed: int

    def __call__(self, outputs: Sequence[Any], rows: np.ndarray) -> Any:
        """The loss of the examples at some positions in the sample."""
        total: Any = 0.0
        for i, (part, output, target) in enumerate(zip(self.parts, outputs, self.targets, strict=True)):
            if part is not None:
                given = self._drawn(i, output, rows) if target is None else target[rows]
                total = total + part(given, output)
        return total

    def _drawn(self, place: int, output: Any, rows: np.ndarray) -> np.ndarray:
        """Targets at random, the same for an example whatever the network gives."""
        draw = generator(self.seed, "stand-in", place, int(rows[0]))
        shape = tuple(output.shape)
        if self.forms[place].name == "softmax":
            return draw.integers(0, shape[-1], shape[:-1])
        if self.forms[place].name == "sigmoid":
            return draw.integers(0, 2, shape).astype("float32")
        return draw.standard_normal(shape).astype("float32")


def measured_loss(
    graph: keras.Model, names: OutputNames, y: Any, own: OwnLoss | None, *, seed: int, why: str
) -> MeasuredLoss:
    """Chooses the loss.

    Args:
        graph: An opened network, which shows its outputs' activations.
        names: What its outputs are called.
        y: The sample's targets: a dictionary by the outputs' names, or any structure with an array for each output in
            their order; ``None`` for a stand-in.
        own: The user's own, or that which the model was compiled with; ``None`` to choose by outputs and targets.
        seed: Of the stand-in's targets.
        why: Why there are no targets, where there are none.

    Raises:
        DataError: if there is a loss without targets, or an output's loss has no target.
    """
    forms = tuple(form_of(tensor) for tensor in graph.outputs)
    count = len(graph.outputs)
    if y is None:
        if own is not None:
            what = "A loss was given without targets."
            raise DataError(what, fix="Give y too, or leave the loss out.")
        return _stand_in(forms, why, seed)
    targets = by_output(y, names, "targets")
    if own is not None:
        parts = own_parts(own, targets, names)
        kept = tuple(None if part is None else target for part, target in zip(parts, targets, strict=True))
        summed = any(part is not None and part.summed for part in parts)
        share = ", its sum divided by the examples of a batch" if summed else ""
        text = f"{own.text}{_of_some(parts, names)}{share}"
        return MeasuredLoss(text, parts, kept, forms, seed)
    if len(targets) != count:
        return _stand_in(forms, f"there are {len(targets)} targets for {count} outputs", seed)
    fitted = [None if y is None else _fitted(f, o, y) for f, o, y in zip(forms, graph.outputs, targets, strict=True)]
    unfit = next((each for each in fitted if isinstance(each, str)), None)
    if unfit is not None:
        return _stand_in(forms, unfit, seed)
    whole = [each if isinstance(each, _Fitted) else None for each in fitted]
    text = " and ".join(dict.fromkeys(each.name for each in whole if each)) + _of_some(whole, names)
    guesses = [form.unsure for each, form in zip(whole, forms, strict=True) if each and each.logits and form.unsure]
    if guesses:
        text = f"{text}, the outputs taken as logits: what '{guesses[0]}' gives is not known"
    return MeasuredLoss(
        text, tuple(each and each.part for each in whole), tuple(each and each.targets for each in whole), forms, seed
    )


def _of_some(parts: Sequence[Any], names: OutputNames) -> str:
    """Which outputs have a loss, where not all have."""
    some = [repr(name) for name, part in zip(names.keys, parts, strict=True) if part is not None]
    return "" if len(some) == len(parts) else f" of {' and '.join(some)} alone"


def _stand_in(forms: tuple[OutputForm, ...], why: str, seed: int) -> MeasuredLoss:
    losses = {"softmax": _sparse(False), "sigmoid": keras.losses.BinaryCrossentropy(), "linear": _squared(1.0)}
    names = " and ".join(dict.fromkeys(_NAMES[form.name] for form in forms))
    text = f"{names} against random targets, a stand-in: {why}"
    return MeasuredLoss(text, tuple(losses[form.name] for form in forms), (None,) * len(forms), forms, seed)


@dataclass(frozen=True)
class _Fitted:
    """The loss that fits an output and targets, with the targets as it takes them."""

    name: str
    part: Mean
    targets: np.ndarray
    logits: bool = False


def _fitted(form: OutputForm, output: Any, y: np.ndarray) -> _Fitted | str:
    """The loss that fits an output and targets; or why none does."""
    shape, k = tuple(output.shape), output.shape[-1]
    softmax, linear = form.name == "softmax", form.name == "linear"
    y = y[..., 0] if y.ndim == len(shape) and y.shape[-1] == 1 and k != 1 else y
    if y.dtype.kind not in "iubf":
        return "the targets are not numbers"
    whole = y.dtype.kind != "f" or (softmax and bool(np.all(y == np.round(y))))
    if whole and y.ndim == len(shape) - 1 and isinstance(k, int) and k > 1 and form.name != "sigmoid":
        if y.size and (y.min() < 0 or y.max() >= k):
            return f"there are classes from {y.min()} to {y.max()}, and {k} outputs"
        return _Fitted(_NAMES["softmax"], _sparse(linear), y.astype("int64"), linear)
    y = y[..., None] if y.ndim == len(shape) - 1 and k == 1 else y
    if y.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape[1:], y.shape[1:], strict=True)):
        return f"targets of shape {y.shape[1:]} do not fit outputs of shape {shape[1:]}"
    values = y.astype("float32")
    one_hot = len(values) and bool(np.all((values == 0) | (values == 1)) and np.all(values.sum(axis=-1) == 1))
    if linear and one_hot and k != 1:
        return _Fitted(_NAMES["softmax"], keras.losses.CategoricalCrossentropy(from_logits=True), values, logits=True)
    if linear:
        spread = float(np.sqrt(np.mean(np.var(values, axis=0)))) or 1.0
        return _Fitted(_NAMES["linear"], _squared(spread), values)
    if values.size and (values.min() < 0 or values.max() > 1):
        return f"targets from {values.min():g} to {values.max():g} do not fit outputs from 0 to 1"
    if softmax:
        return _Fitted(_NAMES["softmax"], keras.losses.CategoricalCrossentropy(), values)
    return _Fitted(_NAMES["sigmoid"], keras.losses.BinaryCrossentropy(), values)


def _sparse(from_logits: bool) -> Mean:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def _squared(spread: float) -> Mean:
    """Squared error in units of the targets' spread, as zoo trains on numbers."""
    return lambda truth, output: keras.ops.mean(keras.ops.square((output - truth) / spread))
