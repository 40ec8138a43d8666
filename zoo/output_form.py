"""What a network's output is: probabilities by softmax or by sigmoid, or numbers that may be logits."""

from dataclasses import dataclass
from typing import Any, Literal

import keras

from .graph import node_of
from .layers.activations import Function

layers = keras.layers


@dataclass(frozen=True)
class OutputForm:
    """What an output is.

    Attributes:
        name: ``softmax``: its last axis holds probabilities that sum to 1; ``sigmoid``: each value is a probability of
            its own; ``linear``: anything else.
        unsure: The layer of which it is not known what it gives, where there is one; ``linear`` is then a guess.
    """

    name: Literal["softmax", "sigmoid", "linear"]
    unsure: str = ""


#: They rearrange values, choose among them, or repeat them. Dropout and noise are meant to leave them as they are.
_REARRANGING = (
    *(layers.Reshape, layers.Flatten, layers.Permute, layers.RepeatVector, layers.Identity, layers.Concatenate),
    *(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D),
    *(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D),
    *(layers.Dropout, layers.GaussianDropout, layers.GaussianNoise, layers.Masking, layers.ActivityRegularization),
    *(layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D),
)
#: The mean of probabilities is one.
_AVERAGING = (
    *(layers.Average, layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
)
#: Of ``keras.ops``, those that keep values.
_OPERATIONS = frozenset(
    ("Reshape", "Squeeze", "ExpandDims", "Cast", "StopGradient", "GetItem", "Transpose", "Moveaxis", "Copy")
)
_TURNING = ("Permute", "Transpose", "Moveaxis")


def form_of(tensor: Any) -> OutputForm:
    """What a symbolic tensor is, by the activation that gave it, through all that keeps its values.

    Example:
        >>> inputs = keras.Input((8,))
        >>> form_of(keras.layers.Reshape((2, 3))(keras.layers.Dense(6, activation="sigmoid")(inputs))).name
        'sigmoid'
    """
    return _form(tensor, {})


def _form(tensor: Any, known: dict[int, OutputForm]) -> OutputForm:
    """What a tensor is; each is looked at once, however many ways lead to it."""
    if id(tensor) not in known:
        known[id(tensor)] = _found(tensor, known)
    return known[id(tensor)]


def _found(tensor: Any, known: dict[int, OutputForm]) -> OutputForm:
    node = node_of(tensor)
    operation = node.operation
    if node.is_input:
        return OutputForm("linear")
    if _keeps_values(operation):
        below = [_form(given, known) for given in node.input_tensors]
        if len({form.name for form in below}) > 1:
            return OutputForm("linear", operation.name)
        sources = [given.shape[-1:] for given in node.input_tensors]
        broken = type(operation).__name__ in _TURNING or any(last != tensor.shape[-1:] for last in sources)
        if below[0].name == "softmax" and broken:
            return OutputForm("linear", operation.name)
        return OutputForm(below[0].name, next((form.unsure for form in below if form.unsure), ""))
    return _given_by(operation, node, len(tensor.shape), known)


def _keeps_values(operation: Any) -> bool:
    if isinstance(operation, layers.Activation):
        return operation.activation in (None, keras.activations.linear)
    if isinstance(operation, layers.Layer):
        return isinstance(operation, (*_REARRANGING, *_AVERAGING))
    return _of_keras(operation) and type(operation).__name__ in _OPERATIONS


def _given_by(operation: Any, node: Any, rank: int, known: dict[int, OutputForm]) -> OutputForm:
    """What an operation makes of its inputs, by its activation where it has one."""
    while not hasattr(operation, "activation") and isinstance(getattr(operation, "layer", None), layers.Layer):
        operation = operation.layer  # inside TimeDistributed and the like
    name = _activation(operation)
    if name == "softmax":
        axis = getattr(operation, "axis", -1)
        axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        return OutputForm("softmax") if axis in (-1, rank - 1) else OutputForm("linear", operation.name)
    if name == "sigmoid":
        return OutputForm("sigmoid")
    if not hasattr(operation, "activation") and not _is_number_layer(operation):
        return OutputForm("linear", operation.name)
    merged = not hasattr(operation, "activation") and not getattr(operation, "weights", ())
    if merged and any(_form(given, known).name != "linear" for given in node.input_tensors):
        return OutputForm("linear", operation.name)  # such as the sum of probabilities
    return OutputForm("linear")


def _activation(operation: Any) -> str:
    if isinstance(operation, Function):
        return operation.function
    function = getattr(operation, "activation", operation)
    return (getattr(function, "__name__", None) or type(function).__name__).lower()


def _is_number_layer(operation: Any) -> bool:
    """Whether a layer without an activation is one of Keras's or zoo's: those are known to give any number."""
    if isinstance(operation, (keras.Model, layers.Lambda)) or not isinstance(operation, layers.Layer):
        return False
    return _of_keras(operation) or type(operation).__module__.startswith("zoo.layers.")


def _of_keras(operation: Any) -> bool:
    return type(operation).__module__.startswith("keras.src.")
