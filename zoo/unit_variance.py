"""LSUV: each layer's kernel scaled until its outputs have variance 1 on a batch of the user's data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from . import engine
from .errors import DataError, RecipeError, SurgeryError
from .flattening import flat
from .given_arrays import as_arrays, by_input
from .graph import calls, leaves, operations
from .layer_pattern import layers_matching
from .layers.scalars import number
from .orthonormal import KINDS, draw
from .text_table import text_table
from .variance_sweep import Scaled, Sweep, kernels_in_order

#: A layer is said to tell examples hardly apart where less than this share of its variance does.
_HARDLY = 0.01


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
        if hardly := [row.layer for row in self.scaled if row.between < _HARDLY]:
            lines.append(f"examples are hardly told apart (less than {_HARDLY:.0%} of the variance): {_some(hardly)}")
        for reason in dict.fromkeys(reason for _, reason in self.left):
            names = [name for name, other in self.left if other == reason]
            lines.append(f"left as they are ({reason}): {_some(names)}")
        return "\n".join(lines)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


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
        x: The batch, as the model takes it: an array ``(examples, ...)``; for several inputs one for each, in their
            order or in a dictionary by their names. A few hundred examples are enough, 2 the least; all of it is run
            at once.
        orthonormal: Whether kernels are drawn anew first: orthonormal rows or columns, for each group of a grouped
            convolution and each channel of a depthwise one; if not, they are only scaled.
        tolerance: How far from 1 each variance may stay, above 0 and below 1.
        layers: A regular expression for the whole name of the layers that are meant; by default all.
        seed: The same seed gives the same orthonormal kernels.

    Returns:
        A table of what was done.

    Raises:
        RecipeError: if the tolerance is out of range.
        DataError: if the batch has fewer than 2 examples or all alike, does not fit the network, or holds numbers that
            are not finite.
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
    _check_tolerance(tolerance)
    graph = flat(model)
    batch = by_input(as_arrays(x, "examples"), graph)
    _check_batch(keras.tree.flatten(batch))
    wanted, left = _choose(graph, layers)
    _check_statistics(graph, wanted)
    given = graph._standardize_inputs(keras.tree.map_structure(engine.as_input, batch))
    inputs = {id(tensor): value for tensor, value in zip(graph.inputs, given, strict=True)}
    changed = [kernel for layer in wanted for kernel in kernels_in_order(layer)]
    held = [np.asarray(keras.ops.convert_to_numpy(kernel)) for kernel in changed]
    try:
        if orthonormal:
            rng = np.random.default_rng(seed)
            for layer in wanted:
                draw(layer, rng)
        rows = tuple(Sweep(graph, wanted, inputs, tolerance).rows())
    except BaseException:
        for kernel, value in zip(changed, held, strict=True):
            kernel.assign(value)
        raise
    return Lsuv(rows, tuple(left))


def _check_tolerance(tolerance: Any) -> None:
    if not number(tolerance) or not 0 < tolerance < 1:
        what = "LSUV cannot use its `tolerance`."
        raise RecipeError(what, expected="a number above 0 and below 1", received=repr(tolerance), fix="0.01 is usual.")


def _check_batch(arrays: Sequence[np.ndarray]) -> None:
    enough = "Give it a few hundred examples, in the form that the network takes."
    if not all(len(array) for array in arrays):
        what = "The batch for LSUV is empty."
        raise DataError(what, fix=enough)
    if len(counts := {len(array) for array in arrays}) > 1:
        what = "The inputs of the batch for LSUV are not of the same examples."
        received = " and ".join(str(count) for count in sorted(counts))
        raise DataError(what, expected="as many rows in each", received=received)
    if counts == {1}:
        what = "The batch for LSUV has a single example, which says nothing of how examples vary."
        raise DataError(what, fix=enough)
    if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
        what = "The batch for LSUV holds numbers that are not finite."
        raise DataError(what, fix="Mend the data first: numpy.isfinite tells where.")
    if all(_alike(array) for array in arrays):
        what = "The examples of the batch for LSUV are all alike."
        received = f"{len(arrays[0])} times the same"
        raise DataError(what, expected="examples that differ", received=received, fix=enough)


def _alike(array: np.ndarray) -> bool:
    """Whether examples differ by no more than float32 holds."""
    if array.dtype.kind != "f":
        return bool((array == array[0]).all())
    return bool((array.max(axis=0) - array.min(axis=0)).max() <= 1e-7 * np.abs(array).max())


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
    if not isinstance(layer, KINDS):
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
