"""Signals in a network, forwards and backwards, measured on a sample in training mode."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .errors import DataError
from .framework_error import said_by
from .graph import inputs_of, takes_training
from .probing import Place, multiplying_weights
from .verdict import FLAT

#: A loss of a batch, from the network's outputs (a list) and the positions of its examples in the sample.
Loss = Callable[[list[Any], np.ndarray], Any]


@dataclass
class UnitMoments:
    """Mean and variance of each unit over examples, pooled over batches by Chan's formula."""

    count: int = 0
    mean: Any = 0.0
    squares: Any = 0.0

    def add(self, values: Any) -> None:
        """Pools a batch, examples first, with those before."""
        values = tf.cast(values, tf.float64)  # squares of what vanishes or explodes leave the range of 32 bits
        middle = tf.reduce_mean(values, axis=0)
        rest = tf.reduce_sum(tf.square(values - middle), axis=0).numpy()
        count, shift = int(values.shape[0]), middle.numpy() - self.mean
        total = self.count + count
        self.squares = self.squares + rest + shift**2 * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = total

    @property
    def spread(self) -> float:
        """Between examples: the root of the mean over units of each one's variance."""
        return float(np.sqrt(np.mean(self.squares / self.count)))

    @property
    def std(self) -> float:
        """Of all values, over examples and units."""
        return float(np.sqrt(np.mean(self.squares / self.count) + np.var(self.mean)))


@dataclass
class Signals:
    """What was measured at one place, over the whole sample.

    ``backward`` is the root mean square over examples of the norm of the loss's gradient by the outputs; ``None`` where
    the loss does not depend on them. ``off`` says of each unit whether it was so for every example, ``slopes_finite``
    whether all slopes of the activation are numbers; where not, neither share is known. ``alike`` says that each kernel
    of the layer holds one value throughout.
    """

    moments: UnitMoments = field(default_factory=UnitMoments)
    squares: float | None = None
    saturated: list[tuple[int, float]] = field(default_factory=list)
    off: np.ndarray | None = None
    slopes_finite: bool = True
    finite: bool = True
    alike: bool = False
    gradient: float | None = None
    weights: float | None = None
    weights_finite: bool = True

    @property
    def backward(self) -> float | None:
        """The back-propagated signal."""
        return None if self.squares is None else float(np.sqrt(self.squares / self.moments.count))

    @property
    def saturated_share(self) -> float | None:
        """The share of values where a bounded activation is flat; NaN where a slope is none."""
        if not self.saturated or not self.slopes_finite:
            return math.nan if self.saturated else None
        return sum(n * share for n, share in self.saturated) / sum(n for n, _ in self.saturated)

    @property
    def dead_share(self) -> float | None:
        """The share of units that are off for every example; NaN where a slope is none."""
        if self.off is None or not self.slopes_finite:
            return None if self.off is None else math.nan
        return float(np.mean(self.off))


def signals(
    graph: keras.Model,
    places: Sequence[Place],
    references: Sequence[Any],
    batches: Iterable[tuple[np.ndarray, Any]],
    loss: Loss,
) -> tuple[list[Signals], list[UnitMoments]]:
    """Runs a network forwards and backwards, in training mode.

    Args:
        graph: An opened network of one's own: its moving statistics move.
        places: Where to measure.
        references: Tensors of which only the moments are wanted.
        batches: Positions in the sample, and inputs.
        loss: The mean loss of a batch.

    Returns:
        The signals at each place, and the moments of each reference.

    Raises:
        DataError: if the network cannot be run on the examples.
    """
    probe = _Probe(graph, places, references)
    found = [Signals(weights_finite=_weights_finite(place)) for place in places]  # before anything of the copy moves
    inputs = [UnitMoments() for _ in references]
    summed: dict[int, Any] = {}
    count = 0
    for rows, x in batches:
        values, gradients, by_kernel = probe.backward(x, lambda outputs, rows=rows: loss(outputs, rows))
        count += len(rows)
        for place, signal, value, gradient in zip(places, found, values.outputs, gradients, strict=True):
            _add(signal, value, gradient, len(rows))
            _add_activation(place, signal, values.before[place.name])
        for moments, value in zip(inputs, values.references, strict=True):
            moments.add(value)
        for key, gradient in by_kernel.items():
            summed[key] = summed.get(key, 0.0) + gradient * len(rows)
    for place, signal in zip(places, found, strict=True):
        _finish(place, signal, {key: total / count for key, total in summed.items()})
    return found, inputs


@dataclass(frozen=True)
class _Values:
    """One batch's values: at the places, before their activations, of the references, and of the network."""

    outputs: list[Any]
    before: dict[str, Any]
    references: list[Any]
    network: list[Any]


class _Probe:
    """The network with everything that is measured as its outputs."""

    def __init__(self, graph: keras.Model, places: Sequence[Place], references: Sequence[Any]):
        self._places, self._references, self._graph = places, references, graph
        befores = [place.before for place in places if place.curve]
        every = [*(place.outputs for place in places), *befores, *references, *graph.outputs]
        self._of = {id(tensor): i for i, tensor in enumerate({id(t): t for t in every}.values())}
        self._model = keras.Model(inputs_of(graph), list({id(t): t for t in every}.values()))
        self._kernels = {id(v): v for place in places for v in multiplying_weights(place.layer)}

    def backward(self, x: Any, loss: Callable[[list[Any]], Any]) -> tuple[_Values, list[Any], dict[int, Any]]:
        """One batch: its values, the gradients by the places' outputs, and those by the kernels."""
        variables = [v.value for v in self._kernels.values()]
        with tf.GradientTape() as tape:
            tape.watch(variables)  # frozen ones are not watched by themselves
            values = self._values(self._run(x))
            mean = loss(values.network)
        gradients = tape.gradient(mean, [*values.outputs, *variables])
        own, rest = gradients[: len(self._places)], gradients[len(self._places) :]
        by_kernel = {
            k: tf.cast(tf.convert_to_tensor(g), tf.float64)
            for k, g in zip(self._kernels, rest, strict=True)
            if g is not None
        }
        return values, own, by_kernel

    def _run(self, x: Any) -> Any:
        try:
            return self._model(x, training=True)
        except Exception as reason:  # whatever a framework and a user's own layers raise
            what = f"The network cannot be run on the examples: {said_by(reason)}"
            raise DataError(what, fix="Give them as the model takes them in predict.") from reason

    def _values(self, outputs: Any) -> _Values:
        given = lambda tensor: outputs[self._of[id(tensor)]]  # noqa: E731
        return _Values(
            [given(place.outputs) for place in self._places],
            {place.name: given(place.before) if place.curve else None for place in self._places},
            [given(tensor) for tensor in self._references],
            [given(tensor) for tensor in self._graph.outputs],
        )


def _add(signal: Signals, value: Any, gradient: Any, count: int) -> None:
    signal.moments.add(value)
    signal.finite = signal.finite and bool(tf.reduce_all(tf.math.is_finite(value)))
    if gradient is None:
        return
    gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float64) * count  # of each example's own loss, not its share
    signal.squares = (signal.squares or 0.0) + float(tf.reduce_sum(tf.square(gradient)))


def _add_activation(place: Place, signal: Signals, before: Any) -> None:
    """Where the activation is flat, by its own slope at what goes into it."""
    curve = place.curve
    if curve is None:
        return
    how = {"training": False} if takes_training(place.apply) else {}
    with tf.GradientTape() as tape:
        tape.watch(before)
        after = place.apply(before, **how)
    slope = tape.gradient(after, before)
    known = tf.logical_and(tf.math.is_finite(slope), tf.logical_not(tf.math.is_nan(before)))
    signal.slopes_finite = signal.slopes_finite and bool(tf.reduce_all(known))
    above = tf.zeros_like(before, tf.bool) if curve.cap is None else before >= curve.cap
    if curve.steepest is not None:
        above = tf.abs(slope) < FLAT * curve.steepest
    if curve.steepest is not None or curve.cap is not None:
        signal.saturated.append((int(before.shape[0]), float(tf.reduce_mean(tf.cast(above, tf.float64)))))
    if curve.steepest is None:  # a unit of a bounded activation that never moves is saturated, not off
        off = tf.logical_and(slope == 0, tf.logical_not(above))
        axes = [i for i in range(len(off.shape)) if i != place.axis % len(off.shape)]
        every = tf.reduce_all(off, axis=axes).numpy()
        signal.off = every if signal.off is None else signal.off & every


def _finish(place: Place, signal: Signals, gradients: dict[int, Any]) -> None:
    """The norms of a layer's kernels and of their gradients."""
    if place.layer is None:
        return
    own = multiplying_weights(place.layer)
    signal.alike = bool(own) and all(_alike(v) for v in own)
    signal.weights = _norm([tf.cast(v.value, tf.float64) for v in own])
    signal.gradient = _norm([gradients[id(v)] for v in own if id(v) in gradients])


def _alike(kernel: keras.Variable) -> bool:
    """Whether a kernel holds one value: its units are then copies of one. A single unit can be so only by zeros."""
    values = kernel.value
    low, high = float(tf.reduce_min(values)), float(tf.reduce_max(values))
    return low == high and (kernel.shape[-1] > 1 or low == 0)


def _weights_finite(place: Place) -> bool:
    own = place.normalizations if place.layer is None else (place.layer, *place.normalizations)
    return all(map(holds_numbers, own))


def holds_numbers(layer: keras.layers.Layer) -> bool:
    """Whether all that a layer holds, statistics included, are numbers."""
    return all(bool(tf.reduce_all(tf.math.is_finite(v.value))) for v in layer.variables if "float" in v.dtype)


def _norm(tensors: Sequence[Any]) -> float:
    return float(np.sqrt(sum(float(tf.reduce_sum(tf.square(t))) for t in tensors)))
