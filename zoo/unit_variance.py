"""LSUV: each layer's kernel scaled until its outputs have variance 1 on a batch of the user's data."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from . import engine
from .errors import DataError, SurgeryError
from .flattening import flat, known_as
from .graph import arguments_anew, calls, leaves, operations
from .layer_pattern import layers_matching
from .orthonormal import DEPTHWISE, FULL, SEPARABLE, TRANSPOSED, draw
from .text_table import text_table

#: How often one layer is scaled again, and how often the whole network is gone through for layers called several times.
_TRIES, _PASSES = 60, 30


@dataclass(frozen=True)
class Scaled:
    """One layer that LSUV went through.

    Attributes:
        layer: Its name.
        kind: Its class.
        before: The variance of its outputs, activation left off, over examples, places and units, with the kernel that
            it had, or with the orthonormal one.
        after: The same at the end.
        between: The share of ``after`` that tells examples apart: each unit's own variance, the mean over units.
    """

    layer: str
    kind: str
    before: float
    after: float
    between: float


@dataclass(frozen=True)
class Lsuv:
    """What :func:`lsuv` did; printed as a table.

    Attributes:
        scaled: One row a layer, bottom to top.
        left: Layers with weights that were left as they are, each with the reason.
    """

    scaled: tuple[Scaled, ...]
    left: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        header = ("layer", "kind", "variance before", "after", "between examples")
        rows = [(r.layer, r.kind, f"{r.before:.3g}", f"{r.after:.3f}", f"{r.between:.0%}") for r in self.scaled]
        lines = [text_table(header, rows, right=(2, 3, 4))]
        for reason in dict.fromkeys(reason for _, reason in self.left):
            names = [name for name, other in self.left if other == reason]
            some = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            lines.append(f"left as they are ({reason}): {some}")
        return "\n".join(lines)


def lsuv(
    model: keras.Model,
    x: Any,
    *,
    orthonormal: bool = True,
    tolerance: float = 0.01,
    layers: str | None = None,
    seed: int = 0,
) -> Lsuv:
    r"""Layer-sequential unit-variance initialization: for a fresh network, on a batch of your own data.

    Each kernel begins orthonormal; then, from the bottom up, it is divided by the standard deviation of the layer's
    outputs (before the activation, all units together) on the batch, until

    .. math:: |\operatorname{Var}(W h + b) - 1| < \text{tolerance}

    Dense, convolutional, depthwise, separable and transposed layers are scaled, in models inside too; a layer that is
    called several times by the variance of all its calls together. Biases, frozen layers and all others stay as they
    are. The network runs as in inference: nothing is dropped, and a fresh batch normalization passes signals on.

    Args:
        model: A built Keras model; its kernels are changed in place, and overwritten where ``orthonormal``. On a
            network that has learned something, name the fresh layers alone.
        x: The batch, as the model takes it: an array ``(examples, ...)``, or a list or dictionary of them. A few
            hundred examples are enough; all of it is run at once.
        orthonormal: Whether kernels are drawn anew first: orthonormal rows or columns, for each group of a grouped
            convolution and each channel of a depthwise one; if not, they are only scaled.
        tolerance: How far from 1 each variance may stay.
        layers: A regular expression for the whole name of the layers that are meant; by default all.
        seed: The same seed gives the same orthonormal kernels.

    Returns:
        A table of what was done.

    Raises:
        DataError: if the batch is empty, or holds numbers that are not finite.
        SurgeryError: if no layer is meant, a batch normalization above those that are has statistics already, or a
            layer's outputs do not vary, are not finite, or cannot be brought to variance 1. The network is as it was.

    Reference:
        D. Mishkin, J. Matas (2016), All you need is a good init, algorithm 1. A. Saxe et al. (2014), Exact solutions to
        the nonlinear dynamics of learning in deep linear neural networks (orthonormal start).

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.models import dnn
        >>> net = dnn.build((8,), 3, widths=[20, 20], seed=1)
        >>> done = zoo.lsuv(net, np.random.default_rng(0).normal(size=(64, 8)))
        >>> [(row.layer, round(row.after, 2)) for row in done.scaled]
        [('hidden1_dense', 1.0), ('hidden2_dense', 1.0), ('top_output', 1.0)]
    """
    _check_batch(x)
    graph = flat(model)
    wanted, left = _choose(graph, layers)
    _check_statistics(graph, wanted)
    kernels = [kernel for layer in wanted for kernel in _kernels(layer)]
    held = [np.asarray(keras.ops.convert_to_numpy(kernel)) for kernel in kernels]
    try:
        if orthonormal:
            rng = np.random.default_rng(seed)
            for layer in wanted:
                draw(layer, rng)
        rows = tuple(_Sweep(graph, wanted, x, tolerance).rows())
    except Exception:
        for kernel, value in zip(kernels, held, strict=True):
            kernel.assign(value)
        raise
    return Lsuv(rows, tuple(left))


def _check_batch(x: Any) -> None:
    arrays = [np.asarray(array) for array in keras.tree.flatten(x)]
    if not arrays or any(array.ndim == 0 or not len(array) for array in arrays):
        what = "The batch for LSUV is empty."
        raise DataError(what, fix="Give it a few hundred examples, in the form that the network takes.")
    if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
        what = "The batch for LSUV holds numbers that are not finite."
        raise DataError(what, fix="Mend the data first: numpy.isfinite tells where.")


def _choose(graph: keras.Model, pattern: str | None) -> tuple[list[Any], list[tuple[str, str]]]:
    """The layers that are scaled, bottom to top, and the other ones with weights, each with the reason."""
    wanted: list[Any] = []
    left: list[tuple[str, str]] = []
    named = layers_matching(graph, pattern)
    for layer in operations(graph):
        if not isinstance(layer, keras.layers.Layer) or not layer.weights:
            continue
        if layer.name not in named:
            continue
        reason = _why_not(layer)
        if reason is None:
            wanted.append(layer)
        elif reason:
            left.append((layer.name, reason))
    if not wanted:
        what = f"The network '{graph.name}' has no such layer that LSUV could scale."
        received = "; ".join(f"{name}: {reason}" for name, reason in left[:6]) or None
        raise SurgeryError(what, expected="dense or convolutional layers that are not frozen", received=received)
    return wanted, left


def _why_not(layer: Any) -> str | None:
    """Why a layer is left as it is: ``None`` where it is not, no words where nobody would expect it."""
    if not isinstance(layer, (*FULL, *DEPTHWISE, *SEPARABLE, *TRANSPOSED)):
        matrices = any(len(v.shape) > 1 for leaf in leaves(layer) for v in leaf.weights)
        return "not dense or convolutional" if matrices else ""
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return "beside an adapter, or quantized"
    return None if layer.trainable else "frozen"


def _check_statistics(graph: keras.Model, wanted: Sequence[Any]) -> None:
    """Refuses batch-norm statistics that were estimated with the kernels that are to be changed."""
    changed = {id(layer) for layer in wanted}
    reached: set[int] = set()
    for node in calls(graph):
        if id(node.operation) in changed or any(id(tensor) in reached for tensor in node.input_tensors):
            reached.update(id(tensor) for tensor in node.outputs)
            mean, variance = (getattr(node.operation, f"moving_{name}", None) for name in ("mean", "variance"))
            if mean is not None and (np.any(mean) or np.any(np.asarray(variance) != 1)):
                what = f"The statistics of '{node.operation.name}' belong to the kernels that LSUV would change."
                fix = "LSUV is for fresh networks. Name the fresh layers above it: lsuv(..., layers=PATTERN)."
                raise SurgeryError(what, fix=fix)


class _Sweep:
    """Goes through the network from the bottom up, on the batch, and scales as it goes."""

    def __init__(self, graph: keras.Model, wanted: Sequence[Any], x: Any, tolerance: float):
        self._graph = graph
        self._nodes = calls(graph)
        self._inputs = _as_inputs(graph, x)
        self._times = Counter(id(node.operation) for node in self._nodes)
        self._wanted = {id(layer): layer for layer in wanted}
        self._linear = {id(layer): _linear(layer) for layer in wanted}
        self._tolerance = tolerance
        self._before: dict[int, float] = {}

    def rows(self) -> Iterator[Scaled]:
        """Scales every layer, then tells what was done."""
        off: list[int] = []
        for _ in range(_PASSES):
            moments = self._through()
            off = [key for key, found in moments.items() if not self._is_one(found.variance)]
            if not off:
                for key, found in moments.items():
                    layer, now = self._wanted[key], found.variance
                    yield Scaled(layer.name, type(layer).__name__, self._before[key], now, found.between / now)
                return
            for key in off:
                self._scale(self._wanted[key], moments[key].variance ** (-0.5 / self._times[key]))
        names = ", ".join(f"'{self._wanted[key].name}'" for key in off)
        what = f"The variance of {names} does not settle at 1: the layer is called several times, one above another."
        raise SurgeryError(what, fix="Leave it out: lsuv(..., layers=PATTERN).")

    def _through(self) -> "dict[int, _Moments]":
        """One pass: the moments of each layer's outputs, all its calls together."""
        found: dict[int, _Moments] = {}
        values: dict[int, Any] = dict(self._inputs)
        uses = Counter(id(tensor) for node in self._nodes for tensor in node.input_tensors)
        for node in self._nodes:
            args, kwargs = arguments_anew(node, values)
            outputs = self._call(node.operation, args, kwargs, found)
            for reference, value in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
                values[id(reference)] = value
            for tensor in node.input_tensors:  # a network's activations, all at once, may not fit into memory
                uses[id(tensor)] -= 1
                if not uses[id(tensor)]:
                    values.pop(id(tensor), None)
        return found

    def _call(self, operation: Any, args: Any, kwargs: Any, found: "dict[int, _Moments]") -> Any:
        if isinstance(operation, keras.layers.Layer):
            kwargs["training"] = False
        key = id(operation)
        if key not in self._wanted:
            return operation(*args, **kwargs)
        moments = self._measured(key, args, kwargs)
        self._before.setdefault(key, moments.variance)
        if self._times[key] == 1:
            for _ in range(_TRIES):  # once is enough where the biases are 0
                if self._is_one(moments.variance):
                    break
                self._scale(operation, moments.variance**-0.5)
                moments = self._measured(key, args, kwargs)
            else:
                what = f"The outputs of '{operation.name}' cannot be brought to variance 1."
                raise SurgeryError(what, fix="Set its biases to 0 first: theirs alone may be as large.")
        found[key] = found[key].joined(moments) if key in found else moments
        return operation(*args, **kwargs)

    def _measured(self, key: int, args: Any, kwargs: Any) -> "_Moments":
        outputs = np.asarray(self._linear[key](*args, **kwargs), "float64")
        name = self._wanted[key].name
        if not np.isfinite(outputs).all():
            what = f"The outputs of '{name}' are not finite."
            raise SurgeryError(what, fix="Scale the inputs first, or look for weights that are not finite.")
        moments = _Moments.of(outputs)
        if moments.variance <= 1e-12 * moments.square or not moments.square:
            what = f"The outputs of '{name}' do not vary over the batch: no scale gives them variance 1."
            fix = "Look below it: inputs that are all alike, weights of 0, or activations that are dead."
            raise SurgeryError(what, fix=fix)
        return moments

    def _is_one(self, variance: float) -> bool:
        return abs(variance - 1) < self._tolerance

    def _scale(self, layer: Any, factor: float) -> None:
        kernel = _kernels(layer)[-1]
        kernel.assign(kernel * factor)


@dataclass(frozen=True)
class _Moments:
    """Of some outputs, all units together: how many, their mean, mean square, and the mean of each unit's variance."""

    count: int
    mean: float
    square: float
    between: float

    @classmethod
    def of(cls, outputs: np.ndarray) -> "_Moments":
        means = outputs.mean(), np.square(outputs).mean(), outputs.var(axis=0).mean()
        return cls(outputs.size, *(float(mean) for mean in means))

    @property
    def variance(self) -> float:
        return self.square - self.mean**2

    def joined(self, other: "_Moments") -> "_Moments":
        share = other.count / (self.count + other.count)

        def mixed(one: float, two: float) -> float:
            return one * (1 - share) + two * share

        pairs = ((self.mean, other.mean), (self.square, other.square), (self.between, other.between))
        return _Moments(self.count + other.count, *(mixed(*pair) for pair in pairs))


def _as_inputs(graph: keras.Model, x: Any) -> dict[int, Any]:
    """The batch as the network's inputs, by the ``id`` of the symbolic ones."""
    try:
        given = graph._standardize_inputs(keras.tree.map_structure(engine.as_input, x))
        for tensor, value in zip(graph.inputs, given, strict=True):
            if any(n not in (None, m) for n, m in zip(tensor.shape[1:], value.shape[1:], strict=True)):
                raise ValueError
    except (ValueError, TypeError, KeyError):
        what = "The batch does not fit the network's inputs."
        expected = ", ".join(f"{tensor.name} {tuple(tensor.shape)}" for tensor in graph.inputs)
        received = ", ".join(str(np.shape(array)) for array in keras.tree.flatten(x))
        raise DataError(what, expected=expected, received=received) from None
    return {id(tensor): value for tensor, value in zip(graph.inputs, given, strict=True)}


def _linear(layer: Any) -> Any:
    """The layer without its activation, sharing its kernel."""
    twin = known_as(layer, layer.name)
    twin.__dict__["activation"] = keras.activations.linear
    return twin


def _kernels(layer: Any) -> list[Any]:
    """A layer's kernels; the last one is scaled."""
    if isinstance(layer, SEPARABLE):
        return [layer.depthwise_kernel, layer.pointwise_kernel]
    return [layer.kernel]
