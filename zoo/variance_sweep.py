"""A walk through a network from the bottom up, on a batch, that scales each layer's kernel to unit variance."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .errors import SurgeryError
from .flattening import known_as
from .graph import arguments_anew, calls
from .moments import Moments
from .orthonormal import KINDS, SEPARABLE

#: How often one layer is scaled again, and how often the whole network is gone through for layers called several times.
_TRIES, _PASSES = 60, 30

#: What of a mean square is rounding: a variance below this share is none.
_NOTHING = 1e-12


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


class Sweep:
    """Goes through the network from the bottom up, on the batch, and scales as it goes.

    Args:
        graph: A functional network without models inside.
        wanted: The layers that are scaled.
        inputs: The batch, by the ``id`` of the network's symbolic inputs.
        tolerance: How far from 1 a variance may stay.
    """

    def __init__(self, graph: keras.Model, wanted: Sequence[Any], inputs: dict[int, Any], tolerance: float):
        self._nodes = calls(graph)
        self._inputs = inputs
        self._times = Counter(id(node.operation) for node in self._nodes)
        self._wanted = {id(layer): layer for layer in wanted}
        self._linear = {id(layer): _linear(layer) for layer in wanted}
        self._tolerance = tolerance
        self._before: dict[int, float] = {}

    def rows(self) -> Iterator[Scaled]:
        """Scales every layer, then tells what was done.

        Raises:
            SurgeryError: if a layer's outputs do not vary, are not finite, or cannot be brought to variance 1.
        """
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
                _scale(self._wanted[key], moments[key].variance ** (-0.5 / self._times[key]))
        names = ", ".join(f"'{self._wanted[key].name}'" for key in off)
        what = f"The variance of {names} does not settle at 1: the layer is called several times, one above another."
        raise SurgeryError(what, fix="Leave it out: lsuv(..., layers=PATTERN).")

    def _through(self) -> dict[int, Moments]:
        """One pass: the moments of each layer's outputs, all its calls together."""
        found: dict[int, Moments] = {}
        values: dict[int, Any] = dict(self._inputs)
        uses = Counter(id(tensor) for node in self._nodes for tensor in node.input_tensors)
        for node in self._nodes:
            args, kwargs = arguments_anew(node, values)
            if isinstance(node.operation, keras.layers.Layer):
                kwargs["training"] = False
            if id(node.operation) in self._wanted:
                outputs = self._scaled(node.operation, args, kwargs, found)
            else:
                outputs = node.operation(*args, **kwargs)
            for reference, value in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
                values[id(reference)] = value
            for tensor in node.input_tensors:  # a network's activations, all at once, may not fit into memory
                uses[id(tensor)] -= 1
                if not uses[id(tensor)]:
                    values.pop(id(tensor), None)
        return found

    def _scaled(self, layer: Any, args: Any, kwargs: Any, found: dict[int, Moments]) -> Any:
        """A layer's outputs, once it is scaled."""
        key = id(layer)
        sums, moments = self._measured(key, args, kwargs)
        self._before.setdefault(key, moments.variance)
        if self._times[key] == 1:
            for _ in range(_TRIES):  # once is enough where the biases are 0
                if self._is_one(moments.variance):
                    break
                _scale(layer, moments.variance**-0.5)
                sums, moments = self._measured(key, args, kwargs)
            else:
                raise self._unreachable(layer)
        found[key] = found[key].joined(moments) if key in found else moments
        if type(layer) not in KINDS or getattr(sums, "_keras_mask", None) is not None:
            return layer(*args, **kwargs)
        # Keras's own end in their activation, so that nothing has to be computed again.
        return sums if layer.activation is None else layer.activation(sums)

    def _measured(self, key: int, args: Any, kwargs: Any) -> tuple[Any, Moments]:
        """What a layer computes before its activation, and the moments of that."""
        sums = self._linear[key](*args, **kwargs)
        narrow = keras.backend.standardize_dtype(sums.dtype) in ("float16", "bfloat16")
        ops: Any = keras.ops
        moments = Moments.of(np.asarray(ops.convert_to_numpy(ops.cast(sums, "float32") if narrow else sums)))
        name = self._wanted[key].name
        if not np.isfinite(moments.square):
            what = f"The outputs of '{name}' are not finite."
            raise SurgeryError(what, fix="Scale the inputs first, or look for weights that are not finite.")
        if moments.variance <= _NOTHING * moments.square:
            what = f"The outputs of '{name}' do not vary over the batch: no scale gives them variance 1."
            fix = "Look below it: inputs that are all alike, weights of 0, or activations that are dead."
            raise SurgeryError(what, fix=fix)
        return sums, moments

    def _unreachable(self, layer: Any) -> SurgeryError:
        what = f"The outputs of '{layer.name}' cannot be brought to variance 1."
        if layer.use_bias and np.any(keras.ops.convert_to_numpy(layer.bias)):
            return SurgeryError(what, fix="Set its biases to 0 first: theirs alone may be as large.")
        return SurgeryError(what, received=f"tolerance={self._tolerance:g}", fix="Allow more: numbers are rounded.")

    def _is_one(self, variance: float) -> bool:
        return abs(variance - 1) < self._tolerance


def kernels_in_order(layer: Any) -> list[Any]:
    """A layer's kernels in the order in which they are applied; the last one is scaled."""
    if isinstance(layer, SEPARABLE):
        return [layer.depthwise_kernel, layer.pointwise_kernel]
    return [layer.kernel]


def _scale(layer: Any, factor: float) -> None:
    kernel = kernels_in_order(layer)[-1]
    kernel.assign(kernel * factor)


def _linear(layer: Any) -> Any:
    """The layer without its activation, sharing its kernel."""
    twin = known_as(layer, layer.name)
    twin.__dict__["activation"] = keras.activations.linear
    return twin
