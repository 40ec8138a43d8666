"""Batch normalization folded into the dense or convolutional layer beside it: the same outputs with fewer layers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .copying import OWN_LAYERS, Copy, copy_layer, copy_switches, first_line, rebuilt
from .errors import SurgeryError
from .flattening import flat
from .graph import arguments_anew, calls, node_of, outputs_of
from .layers.normalizing import BATCH_NORMS
from .linear_layers import KINDS, Linear, channel_axis, is_identity, not_linear, pads
from .normalizing import batch_norms_inside
from .text_table import text_table


@dataclass(frozen=True)
class Fold:
    """What becomes of a batch normalization.

    Attributes:
        norm: Its name.
        into: The layer that takes it in; ``None`` where it stays.
        below: Whether that layer stands below it, not above.
        reason: Why it stays.
    """

    norm: str
    into: str | None = None
    below: bool = True
    reason: str = ""


@dataclass(frozen=True)
class Folding:
    """Which batch normalizations of a network can be folded; ``print`` gives the table.

    Attributes:
        rows: One for each, from the bottom.
    """

    rows: tuple[Fold, ...]

    @property
    def folded(self) -> tuple[str, ...]:
        """The names of those that can be."""
        return tuple(row.norm for row in self.rows if row.into)

    def __str__(self) -> str:
        cells = [
            (r.norm, f"{r.into} {'below' if r.below else 'above'}" if r.into else "-", r.reason) for r in self.rows
        ]
        count = f"{len(self.folded)} of {len(self.rows)} can be folded"
        return "\n".join([text_table(("batch norm", "folded into", "why not"), cells), count])


def foldable(model: keras.Model) -> Folding:
    """Says which batch normalizations of a network :func:`fold_batch_norm` folds, into what, and why the others stay.

    One folds into the dense or convolutional layer below it, which must have no activation and give its output to
    nothing else; or into the one above it, which must take nothing else and pad nothing.

    Args:
        model: A built Keras model.

    Returns:
        The decision; nothing is changed.

    Raises:
        SurgeryError: if the model is not built.

    Example:
        >>> import keras
        >>> inputs = keras.Input((4,))
        >>> x = keras.layers.Dense(3, name="low")(inputs)
        >>> x = keras.layers.ReLU(name="act")(keras.layers.BatchNormalization(name="bn1")(x))
        >>> model = keras.Model(inputs, keras.layers.ReLU(name="top")(keras.layers.BatchNormalization(name="bn2")(x)))
        >>> print(foldable(model))
        batch norm  folded into  why not
        bn1         low below
        bn2         -            'act' (ReLU) is no dense or convolutional layer
        1 of 2 can be folded
    """
    return _Decision(flat(model)).folding


def fold_batch_norm(model: keras.Model) -> keras.Model:
    r"""Folds batch normalizations into the dense and convolutional layers beside them: for inference.

    With ``s = gamma / sqrt(variance + epsilon)`` for each channel, a layer ``W x + b`` below becomes
    ``(s W) x + s (b - mean) + beta``; a layer ``W x + b`` above becomes ``(W s) x + b + W (beta - s mean)``, where it
    pads nothing. The arithmetic is in float64, so that the outputs differ by rounding alone.

    The result is for inference: what is trained after folding goes another way, without batch statistics. Penalties and
    constraints on the folded weights are dropped, since they were meant for the values before.

    Args:
        model: A built Keras model. It may hold ``BatchNormalization`` and ``FrozenBatchNorm`` layers.

    Returns:
        A new, plain network without those batch normalizations, under the same names of inputs and outputs; it is not
        compiled. :func:`foldable` lists what is folded and what stays; without any, it is a copy.

    Raises:
        SurgeryError: if the model is not built, or cannot be copied.

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        2018, equation 14.

    Example:
        >>> import zoo
        >>> net = zoo.load("glyphs")
        >>> len(net.layers) - len(zoo.fold_batch_norm(net).layers)
        6
    """
    graph = flat(model)
    decision = _Decision(graph)
    parts = decision.changed_layers()
    copy = Copy(graph, lambda layer: parts[id(layer)].rebuilt() if id(layer) in parts else rebuilt(layer))
    folded, ends = set(decision.folding.folded), {id(tensor) for tensor in graph.outputs}
    try:
        for node in calls(graph):
            if node.operation.name in folded:
                value = copy.values[id(node.input_tensors[0])]
                if id(node.outputs[0]) in ends:  # an output is called after the layer that gives it
                    policy = node.operation.dtype_policy.name  # Identity does not save a policy that is an object
                    value = keras.layers.Identity(name=node.operation.name, dtype=policy)(value)
                copy.values[id(node.outputs[0])] = value
                continue
            args, kwargs = arguments_anew(node, copy.values)
            outputs = keras.tree.flatten(copy.call(node.operation, args, kwargs))
            copy.values.update(zip(map(id, node.outputs), outputs, strict=True))
        for layer, fresh in copy.layers():
            if id(layer) in parts:
                parts[id(layer)].assign(fresh)
                fresh.trainable = layer.trainable
            else:
                copy_layer(layer, fresh)
                copy_switches(layer, fresh)
    except (NotImplementedError, ValueError, TypeError, KeyError) as reason:
        what = f"The network '{model.name}' cannot be copied: {first_line(reason)}"
        raise SurgeryError(what, fix=OWN_LAYERS) from reason
    return copy.model(outputs_of(graph))


class _Decision:
    """What can be folded into what in a flat network."""

    def __init__(self, graph: keras.Model):
        self._nodes = calls(graph)
        self._times = Counter(id(node.operation) for node in self._nodes)
        self._users: dict[int, list[Any]] = {id(t): [None] for t in graph.outputs}
        for node in self._nodes:
            for tensor in {id(t): t for t in node.input_tensors}.values():
                self._users.setdefault(id(tensor), []).append(node)
        self._layers: dict[str, Any] = {}
        self._inputs = {id(tensor) for tensor in graph.inputs}
        norms = [node for node in self._nodes if isinstance(node.operation, BATCH_NORMS)]
        self._norms = list({id(node.operation): node for node in norms}.values())
        self._rows: dict[str, Fold] = {}
        for node in self._norms:
            self._rows[node.operation.name] = self._below(node)
        for node in reversed(self._norms):
            if not self._rows[node.operation.name].into:
                self._rows[node.operation.name] = self._above(node, self._rows[node.operation.name])

    @property
    def folding(self) -> Folding:
        """The rows, those of batch normalizations inside other layers last."""
        return Folding((*self._rows.values(), *self._inside()))

    def _inside(self) -> Iterator[Fold]:
        for operation in {id(n.operation): n.operation for n in self._nodes}.values():
            for layer in batch_norms_inside(operation):
                reason = f"it is inside '{operation.name}' ({type(operation).__name__})"
                yield Fold(f"{operation.name}/{layer.name}", reason=reason)

    def _below(self, node: Any) -> Fold:
        """Whether a batch normalization can go into the layer that it takes its input from."""
        norm, tensor = node.operation, node.input_tensors[0]
        reason = self._not_fixed(node)
        if reason:
            return Fold(norm.name, reason=reason)
        if id(tensor) in self._inputs:
            return Fold(norm.name, reason="it takes the network's input")
        layer = node_of(tensor).operation
        done = self._rows.get(layer.name)
        if done and done.into:
            layer = self._layers[done.into]
        reason = (
            not_linear(layer) or self._not_alone(layer, tensor) or self._not_fitting(norm, layer, len(tensor.shape))
        )
        if not reason and not is_identity(layer.activation):
            reason = f"'{layer.name}' has an activation, {keras.activations.serialize(layer.activation)}"
        if reason:
            return Fold(norm.name, reason=reason)
        self._layers[layer.name] = layer
        return Fold(norm.name, layer.name)

    def _above(self, node: Any, stays: Fold) -> Fold:
        """Whether a batch normalization can go into the layer that takes its output."""
        norm, tensor = node.operation, node.outputs[0]
        users = self._users.get(id(tensor), [])
        if self._not_fixed(node) or len(users) != 1 or users[0] is None:
            return stays
        layer = users[0].operation
        done = self._rows.get(layer.name)
        if done and done.into and not done.below:
            layer = self._layers[done.into]
        if type(layer) not in KINDS or isinstance(layer, keras.layers.EinsumDense):
            return stays
        reason = not_linear(layer) or self._not_fitting(norm, layer, len(tensor.shape))
        if not reason and self._times[id(layer)] > 1:
            reason = f"'{layer.name}' above is called {self._times[id(layer)]} times"
        if not reason and pads(layer):
            reason = f"'{layer.name}' above takes less at the borders"
        if reason:
            return Fold(norm.name, reason=f"{stays.reason}; {reason}")
        self._layers[layer.name] = layer
        return Fold(norm.name, layer.name, below=False)

    def _not_fixed(self, node: Any) -> str | None:
        norm = node.operation
        if type(norm) not in BATCH_NORMS:
            return f"it is of a kind of its own ({type(norm).__name__})"
        if self._times[id(norm)] > 1:
            return f"it is called {self._times[id(norm)]} times"
        if node.arguments.kwargs.get("training"):
            return "it is called with training=True"
        return None

    def _not_alone(self, layer: Any, tensor: Any) -> str | None:
        if self._times[id(layer)] > 1:
            return f"'{layer.name}' is called {self._times[id(layer)]} times"
        if len(self._users[id(tensor)]) > 1:
            return f"what '{layer.name}' gives is used elsewhere too"
        return None

    @staticmethod
    def _not_fitting(norm: Any, layer: Any, rank: int) -> str | None:
        if norm.axis % rank != channel_axis(layer, rank):
            return f"it normalizes axis {norm.axis}, not the channels of '{layer.name}'"
        if norm.compute_dtype != layer.compute_dtype:
            return f"'{layer.name}' computes in {layer.compute_dtype}, not in {norm.compute_dtype}"
        return None

    def changed_layers(self) -> dict[int, Linear]:
        """The layers that take batch normalizations in, by ``id``, with their new values."""
        parts = {id(layer): KINDS[type(layer)](layer) for layer in self._layers.values()}
        norms = {node.operation.name: node.operation for node in self._norms}
        upwards = [row for row in self._rows.values() if row.into and row.below]
        downwards = [row for row in reversed(self._rows.values()) if row.into and not row.below]
        for row in (*upwards, *downwards):
            part = parts[id(self._layers[row.into or ""])]
            (part.scale_outputs if row.below else part.scale_inputs)(*_scale_and_shift(norms[row.norm]))
        return parts


def _scale_and_shift(norm: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a batch normalization does to each channel in inference."""
    mean, variance, gamma, beta = (
        None if v is None else np.asarray(keras.ops.convert_to_numpy(v), "float64")
        for v in (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta)
    )
    scale = (1.0 if gamma is None else gamma) / np.sqrt(variance + norm.epsilon)
    return scale, (0.0 if beta is None else beta) - mean * scale
