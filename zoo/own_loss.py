"""A loss of the user's own, or that which a model was compiled with: one for each output, with its weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras.src.losses.losses import LossFunctionWrapper

from .by_output import OutputNames, by_output
from .errors import DataError, RecipeError, close_matches
from .framework_error import said_by

#: Names that Keras takes in ``compile`` for the cross-entropy that fits the shapes.
_BY_SHAPE = ("crossentropy", "ce")


@dataclass(frozen=True)
class OwnLoss:
    """What was asked for.

    Attributes:
        loss: A Keras loss, its name, a function ``(y, outputs)``: one for all outputs that have targets; or one for
            each output, in their order or by name, ``None`` for an output without one.
        text: What it is, in words.
        weights: What each output's loss is multiplied by, in the same form; ``None`` for 1.
    """

    loss: Any
    text: str = "the loss given"
    weights: Any = None


def compiled_loss(model: keras.Model) -> OwnLoss | None:
    """The loss that a model was compiled with, if there is one."""
    loss = getattr(model, "loss", None) if getattr(model, "compiled", False) else None
    if loss is None or (keras.tree.is_nested(loss) and all(each is None for each in keras.tree.flatten(loss))):
        return None
    weights = getattr(model._compile_loss, "_user_loss_weights", None)
    text = "the loss that it was compiled with"
    return OwnLoss(loss, text if weights is None else f"{text}, with its weights", weights)


@dataclass(frozen=True)
class OwnPart:
    """The loss of one output.

    Attributes:
        loss: What computes it, as ``compile`` makes it of a function: their ranks made equal, masks heeded.
        weight: What it is multiplied by.
        text: What to call it in a message.
    """

    loss: keras.losses.Loss
    weight: float
    text: str

    @property
    def of_keras(self) -> bool:
        """Whether it is one of Keras's: those give no number where a target is none."""
        function = getattr(self.loss, "fn", None)
        computes = type(self.loss) if function is None else function
        return str(getattr(computes, "__module__", "")).startswith("keras.")

    @property
    def summed(self) -> bool:
        """Whether it adds up the losses of a batch: it would be the larger, the more examples there are in one."""
        return self.loss.reduction == "sum"

    def __call__(self, truth: np.ndarray, output: Any) -> Any:
        """The mean over a batch.

        Raises:
            DataError: if it cannot be computed, or gives no number because of a target that is none.
        """
        try:
            value = keras.ops.multiply(self._mean(truth, output), self.weight)
        except Exception as reason:  # whatever a user's own code raises
            what = f"{self.text} cannot be computed: {said_by(reason)}"
            received = f"targets of shape {truth.shape} and type {truth.dtype}, outputs of shape {tuple(output.shape)}"
            fix = "Give targets as the loss takes them, or another loss."
            raise DataError(what, received=received, fix=fix) from reason
        name = f"{self.text[0].lower()}{self.text[1:]}"
        numbers = lambda values: bool(np.isfinite(np.asarray(values, "float64")).all())  # noqa: E731
        if truth.dtype.kind == "f" and not numbers(truth) and numbers(output) and not numbers(value):
            what = f"The targets hold NaN or infinity, and {name} gives no number for them."
            raise DataError(what, fix="Leave those examples out, or mask them in the loss.")
        return value

    def _mean(self, truth: np.ndarray, output: Any) -> Any:
        if not self.summed:
            return keras.ops.mean(self.loss(truth, output))
        apart = object.__new__(type(self.loss))  # copy() would go through the configuration: not all have one
        apart.__dict__.update(self.loss.__dict__, reduction=None)
        values: Any = apart(truth, output)
        if not len(values.shape):  # Keras adds up no single number
            return values
        total: Any = keras.ops.sum(values)
        return total / len(truth)


def own_parts(own: OwnLoss, targets: Sequence[Any], names: OutputNames) -> tuple[OwnPart | None, ...]:
    """One loss for each output; ``None`` for an output without one.

    Args:
        own: What was asked for.
        targets: One array for each output; ``None`` for an output without one.
        names: What the outputs are called.

    Raises:
        DataError: if there is not one of each for each output.
        RecipeError: if there is no such loss.
    """
    count = len(names.layers)
    losses = by_output(own.loss, names, "losses")
    shared = len(losses) == 1 < count
    losses = losses * count if shared else losses
    weights = (1.0,) * count if own.weights is None else by_output(own.weights, names, "weights of the losses")
    weights = weights * count if len(weights) == 1 else weights
    if len(losses) != count or len(targets) != count or len(weights) != count:
        what = "Each of the network's outputs needs a target and a loss."
        received = f"{len(targets)} targets, {len(losses)} losses"
        raise DataError(what, expected=f"{count} of each", received=received)
    if shared and any(y is not None for y in targets):
        losses = tuple(None if y is None else loss for loss, y in zip(losses, targets, strict=True))
    if all(loss is None for loss in losses):
        what = "None of the network's outputs has a loss."
        raise DataError(what, expected=f"a loss for one of {', '.join(map(repr, names.keys))}")
    bare = [n for n, loss, y in zip(names.keys, losses, targets, strict=True) if loss is not None and y is None]
    if bare:
        what = f"The output '{bare[0]}' has a loss and no target."
        raise DataError(what, fix=f"Give one, or no loss for it: loss={{'{bare[0]}': None, ...}}.")
    return tuple(
        None if loss is None else OwnPart(_of(loss, target, size), 1.0 if weight is None else float(weight), text)
        for loss, target, weight, size, text in zip(losses, targets, weights, names.sizes, _texts(names), strict=True)
    )


def _texts(names: OutputNames) -> tuple[str, ...]:
    keys = names.keys
    return ("The loss",) if len(keys) == 1 else tuple(f"The loss of '{key}'" for key in keys)


def _of(loss: Any, target: np.ndarray, size: tuple[Any, ...]) -> keras.losses.Loss:
    if isinstance(loss, str) and loss.lower() in _BY_SHAPE:
        sparse = target.ndim < len(size) or (target.shape[-1] == 1 and size[-1] != 1)
        loss = "binary_crossentropy" if size[-1] == 1 else f"{'sparse_' if sparse else ''}categorical_crossentropy"
    try:
        found: Any = keras.losses.get(loss)
    except (ValueError, TypeError) as reason:
        what = "The loss is not known." if isinstance(loss, str) else "This is not a loss."
        functions = [name for name in dir(keras.losses) if name.islower() and callable(getattr(keras.losses, name))]
        known = set(functions) - {"get", "serialize", "deserialize"}
        fix = close_matches(loss, known) if isinstance(loss, str) else None
        expected = "a Keras loss, its name, a function of targets and outputs, or one of these for each output"
        raise RecipeError(what, expected=expected, received=repr(loss), fix=fix) from reason
    return found if isinstance(found, keras.losses.Loss) else LossFunctionWrapper(found)
