"""Batch-norm statistics re-estimated on new data: pooled over the whole set, not a moving average.

Each layer's mean and variance are those of everything that reaches it when all layers below have their new statistics
already: what a single batch of the whole set would give in training mode. The layers are therefore taken from the
bottom up; what the next ones start from is kept in memory where it fits, so that nothing is computed twice.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from . import engine
from .copying import same_input
from .errors import PlanError
from .graph import calls, calls_down_to, inputs_of, one_or_list, run

#: How many bytes of intermediate results are kept in memory; above it they are computed again.
BUDGET = 1024**3


def adapt(
    graph: keras.Model,
    names: Iterable[str],
    read: engine.Read,
    count: int,
    *,
    batch_size: int = engine.BATCH,
    step: Callable[[int, int], None] | None = None,
) -> None:
    r"""Re-estimates the statistics of some batch normalizations.

    For each channel, over all ``n`` values of all examples (masked ones left out): mean ``m = sum(x) / n`` and variance
    ``sum((x - m)**2) / n``, pooled from each example's own by Chan's formula in float64.

    Args:
        graph: A flat network; the statistics are changed in place.
        names: The layers' names.
        read: Gives the inputs of the examples of some indices.
        count: The number of examples.
        batch_size: The examples of a call.
        step: Told how many examples of a pass are done, of how many.

    Raises:
        PlanError: if such a layer is called several times, at places that depend on one another.

    Reference:
        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    levels = _Levels(graph, set(names))
    known: Sequence[Any] = graph.inputs
    source = read
    for level in range(levels.top):
        norms = levels.norms[level]
        ahead = levels.crossing(level)
        masked = any(getattr(t, "_keras_mask", None) is not None for t in ahead)  # and a kept array would not be
        keep = level + 1 < levels.top and not masked and _bytes(ahead, count) <= BUDGET
        network = _collecting(graph, known, levels, level, ahead if keep else [])
        pooled = [_Pooled() for _ in norms]
        kept: list[list[np.ndarray]] = []
        for arrays in engine.batches(network, source, count, batch_size=batch_size, step=step):
            found, rest = arrays[: 3 * len(levels.calls[level])], arrays[3 * len(levels.calls[level]) :]
            for i, node in enumerate(levels.calls[level]):
                pooled[norms.index(node.operation)].add(*found[3 * i : 3 * i + 3])
            kept.append(rest)
        for norm, moments in zip(norms, pooled, strict=True):
            _assign(norm, moments.mean, moments.variance)
        if keep:
            known, source = ahead, engine.rows_of([np.concatenate(columns) for columns in zip(*kept, strict=True)])


def _assign(norm: Any, mean: np.ndarray, variance: np.ndarray) -> None:
    norm.moving_mean.assign(mean.astype("float32"))
    norm.moving_variance.assign(variance.astype("float32"))
    if norm.renorm:  # it computes the variance from these again when it trains on
        deviation = np.sqrt(variance + norm.epsilon).astype("float32")
        norm.moving_stddev.assign(deviation)
        norm.renorm_stddev.assign(deviation)
        norm.renorm_mean.assign(mean.astype("float32"))


class _Levels:
    """How many adapting layers each tensor has below it; what has as many can be computed together."""

    def __init__(self, graph: keras.Model, names: set[str]):
        self._of = {id(tensor): 0 for tensor in graph.inputs}
        self._graph = graph
        self.calls: dict[int, list[Any]] = {}
        for node in calls(graph):
            level = max((self._of[id(t)] for t in node.input_tensors), default=0)
            if node.operation.name in names:
                self.calls.setdefault(level, []).append(node)
                level += 1
            self._of.update({id(t): level for t in node.outputs})
        self.top = len(self.calls)
        self.norms = {level: list(dict.fromkeys(n.operation for n in nodes)) for level, nodes in self.calls.items()}
        every = [norm for norms in self.norms.values() for norm in norms]
        twice = next((norm.name for norm in every if every.count(norm) > 1), None)
        if twice is not None:
            what = f"The statistics of '{twice}' cannot be re-estimated: it is called several times, one above another."
            fix = 'Leave it out; in a plan, choose "frozen", "fixed_statistics" or "train" for its block.'
            raise PlanError(what, fix=fix)

    def crossing(self, level: int) -> list[Any]:
        """The tensors from which everything above a level can be computed, the level's own layers included."""
        found: dict[int, Any] = {}
        for node in calls(self._graph):
            if all(self._of[id(t)] <= level for t in node.outputs):
                continue
            found.update({id(t): t for t in node.input_tensors if self._of[id(t)] <= level})
        return list(found.values())


def _bytes(tensors: Sequence[Any], count: int) -> float:
    sizes = [np.prod([float("inf") if n is None else n for n in t.shape[1:]], dtype=float) for t in tensors]
    return count * sum(4 * size for size in sizes)


def _collecting(
    graph: keras.Model, known: Sequence[Any], levels: _Levels, level: int, ahead: Sequence[Any]
) -> keras.Model:
    """From the known tensors to the moments of what reaches a level's layers, and to the tensors to go on from."""
    raw = known is graph.inputs
    inputs = [
        same_input(t) if raw else keras.Input(batch_shape=t.shape, dtype=t.dtype, name=f"known{i}")
        for i, t in enumerate(known)
    ]
    values = {id(tensor): new for tensor, new in zip(known, inputs, strict=True)}
    wanted = levels.calls[level]
    run(_needed(wanted, ahead, set(values)), values)
    outputs: list[Any] = []
    for node in wanted:
        (x, *_), kwargs = node.arguments.fill_in(values)
        outputs.extend(_Moments(node.operation.axis)(x, mask=kwargs.get("mask")))
    outputs.extend(values[id(tensor)] for tensor in ahead)
    if not raw:
        return keras.Model(one_or_list(inputs), outputs)
    given = iter(inputs)
    return keras.Model(keras.tree.map_structure(lambda _: next(given), inputs_of(graph)), outputs)


def _needed(wanted: Sequence[Any], ahead: Sequence[Any], known: set[int]) -> list[Any]:
    """The calls below some calls and tensors, down to what is known."""
    tensors = [t for node in wanted for t in node.input_tensors] + list(ahead)
    return calls_down_to(known, tensors)


class _Moments(keras.layers.Layer):
    """How many values each example has a channel, their mean, and the sum of squared differences from it."""

    def __init__(self, axis: int):
        super().__init__(dtype="float32")
        self._axis = axis
        self.supports_masking = True

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
        """Three tables, an example a row and a channel a column."""
        shape = (inputs.shape[0], inputs.shape[self._axis])
        return tuple(keras.KerasTensor(shape, "float32") for _ in range(3))

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Computes them."""
        ops: Any = keras.ops
        rank = len(inputs.shape)
        axes = [i for i in range(1, rank) if i != self._axis % rank]
        weight = ops.ones_like(inputs)
        if mask is not None:
            mask = ops.cast(mask, "float32")
            weight = weight * ops.reshape(mask, (*ops.shape(mask), *[1] * (rank - len(mask.shape))))
        if not axes:
            return weight, inputs * weight, ops.zeros_like(inputs)
        count = ops.maximum(ops.sum(weight, axis=axes, keepdims=True), 1.0)
        mean = ops.sum(inputs * weight, axis=axes, keepdims=True) / count
        rest = ops.sum(weight * ops.square(inputs - mean), axis=axes)
        return ops.sum(weight, axis=axes), ops.squeeze(mean, axis=axes), rest


class _Pooled:
    """Mean and variance over examples, from each one's own."""

    def __init__(self) -> None:
        self.count: Any = 0.0
        self.mean: Any = 0.0
        self._squares: Any = 0.0

    def add(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        """Pools the examples of a batch with those before."""
        count, mean, squares = (np.asarray(a, "float64") for a in (count, mean, squares))
        total = np.maximum(count.sum(axis=0), 1e-30)
        middle = (count * mean).sum(axis=0) / total
        spread = squares.sum(axis=0) + (count * (mean - middle) ** 2).sum(axis=0)
        both = self.count + total
        shift = middle - self.mean
        self._squares = self._squares + spread + shift**2 * self.count * total / both
        self.mean = self.mean + shift * total / both
        self.count = both

    @property
    def variance(self) -> np.ndarray:
        """The population's variance, as batch normalization uses it."""
        return self._squares / self.count
