"""The batch normalizations of a network that is reused: held as they are, or fitted to new data."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from . import engine
from .adaptation import adapt
from .data import Dataset
from .editing import replace_layer
from .errors import DataError, SurgeryError, close_matches
from .flattening import flat, is_opaque
from .given_arrays import as_arrays, by_input
from .graph import operations
from .layers import FrozenBatchNorm
from .normalizing import batch_norms_inside
from .sources.path import input_form_of
from .text_table import text_table


def freeze_batch_norm(model: keras.Model, *, layers: str = ".*") -> keras.Model:
    """Replaces batch normalizations by :class:`zoo.layers.FrozenBatchNorm`: nothing moves them from then on.

    What training makes of the network is then what inference makes of it: with small batches, or a few examples, live
    statistics are noise. Scale and offset are fixed too.

    Args:
        model: A Keras model.
        layers: A regular expression for the whole names of those to replace.

    Returns:
        A new network with the same names and values.

    Raises:
        SurgeryError: if no batch normalization has such a name, or one that has is a part of another layer (a
            wrapper, a recurrent cell): it is called ``LAYER/NAME``.

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", 2015, appendix A.

    Example:
        >>> import zoo
        >>> held = zoo.freeze_batch_norm(zoo.load("glyphs"), layers="block[12]_.*")
        >>> type(held.get_layer("block1_bn1")).__name__
        'FrozenBatchNorm'
    """
    names = [norm.name for norm in chosen(flat(model), layers)]
    return replace_layer(model, "|".join(map(re.escape, names)), FrozenBatchNorm.of)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Moved:
    """How far the statistics of a batch normalization moved.

    Attributes:
        layer: Its name.
        channels: How many it has.
        mean: The largest change of a channel's mean, in old standard deviations.
        variance: The smallest and the largest factor by which a channel's variance changed. Both count epsilon in, as
            the layer does.
    """

    layer: str
    channels: int
    mean: float
    variance: tuple[float, float]


@dataclass(frozen=True)
class Adapted:
    """What re-estimating statistics changed; ``print`` gives the table.

    Attributes:
        layers: One row a batch normalization, from the bottom.
    """

    layers: tuple[Moved, ...]

    def __str__(self) -> str:
        rows = [(m.layer, m.channels, f"{m.mean:.3g}", *(f"{v:.3g}" for v in m.variance)) for m in self.layers]
        head = ("layer", "channels", "mean moved by, std", "variance times, least", "most")
        return text_table(head, rows, right=(1, 2, 3, 4))


def adapt_batch_norm(model: keras.Model, x: Any, *, layers: str = ".*", batch_size: int = engine.BATCH) -> Adapted:
    r"""Re-estimates the moving statistics of batch normalizations on new data, in place.

    Each gets the mean and variance, per channel, of everything that reaches it when all chosen below are re-estimated
    already: what one batch of all examples would give in training mode, whatever the batch size and order. No labels
    are needed, and nothing else of the network changes. ``mean = sum(x) / n``, ``variance = sum((x - mean)**2) / n``.

    Args:
        model: A built Keras model; its precision may be mixed.
        x: The examples as the model takes them: an array, an example a row; for several inputs one for each, in their
            order or in a dictionary by their names. Or a data set of :func:`zoo.open_data`.
        layers: A regular expression for the whole names of those to re-estimate.
        batch_size: The examples of a call; it changes the memory that is needed, not the result.

    Returns:
        How far each moved.

    Raises:
        SurgeryError: if no batch normalization has such a name, or one that has is a part of another layer (a
            wrapper, a recurrent cell): it is called ``LAYER/NAME``.
        PlanError: if one is called several times, at places that depend on one another.
        DataError: if there are no examples, or they are not finite, or are not what the model takes; or a batch would
            have none.

    Reference:
        Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation" (AdaBN), 2016.

    Example:
        >>> import zoo
        >>> net = zoo.load("glyphs")
        >>> moved = zoo.adapt_batch_norm(net, zoo.open_data("digits"), layers="block1_.*")
        >>> [m.layer for m in moved.layers]
        ['block1_bn1', 'block1_bn2']
    """
    graph = flat(model)
    norms = chosen(graph, layers)
    _check_batch_size(batch_size)
    read, count = _examples(graph, x)
    before = {id(v): v.numpy() for norm in norms for v in norm.variables}
    try:
        adapt(graph, [norm.name for norm in norms], read, count, batch_size=batch_size)
        return Adapted(tuple(_moved(norm, before) for norm in norms))
    except BaseException:
        for variable in (v for norm in norms for v in norm.variables):
            variable.assign(before[id(variable)])
        raise


def chosen(graph: keras.Model, pattern: str) -> list[keras.layers.BatchNormalization]:
    """The batch normalizations of a flat network whose whole names match a regular expression, from the bottom.

    Raises:
        SurgeryError: if there is none, or one is a part of another layer; it is called ``LAYER/NAME``.
    """
    every = operations(graph)
    norms = [op for op in every if isinstance(op, keras.layers.BatchNormalization)]
    parts = {f"{op.name}/{part.name}": op for op in every for part in batch_norms_inside(op) if _moves(part)}
    try:
        found = [norm for norm in norms if re.fullmatch(pattern, norm.name)]
        inside = [name for name in parts if re.fullmatch(pattern, name)]
    except (re.error, TypeError) as reason:
        what = f"{pattern!r} is not a regular expression: {reason}."
        raise SurgeryError(what) from None
    if inside:
        raise _not_reached(inside[0], parts[inside[0]], [norm.name for norm in found])
    if found:
        return found
    if norms or parts:
        what = f"No batch normalization of the network '{graph.name}' is called '{pattern}'."
        raise SurgeryError(what, fix=close_matches(pattern, [*(norm.name for norm in norms), *parts]))
    what = f"The network '{graph.name}' has no batch normalization whose statistics could move."
    raise SurgeryError(what)


def _moves(norm: keras.layers.Layer) -> bool:
    return isinstance(norm, keras.layers.BatchNormalization)


def _not_reached(name: str, owner: keras.layers.Layer, others: list[str]) -> SurgeryError:
    """Why a batch normalization can neither be replaced nor told what it normalizes."""
    what = f"The batch normalization '{name}' cannot be reached: it is a part of '{owner.name}'"
    what = f"{what} ({type(owner).__name__})."
    if is_opaque(owner):
        return SurgeryError(what, fix=f"The layers inside '{owner.name}' cannot be told apart; zoo.trace says why.")
    fix = f"Replace '{owner.name}' by a layer that has what you want inside: zoo.replace_layer"
    rest = f"; or leave it out: layers={'|'.join(map(re.escape, others))!r}" if others else ""
    return SurgeryError(what, fix=f"{fix}{rest}.")


def _check_batch_size(batch_size: int) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        what = "A batch needs at least one example."
        raise DataError(what, expected="batch_size: a whole number, 1 or more", received=repr(batch_size))


def _examples(graph: keras.Model, x: Any) -> tuple[engine.Read, int]:
    """How examples are read by their indices, and how many there are."""
    if isinstance(x, Dataset):
        first: Any = graph.inputs[0]
        shape = list(first.shape[1:])
        form = input_form_of(graph.name, list(x.native_shape() or shape) if None in shape else shape, first.dtype)
        by_input(x.batch(np.arange(min(1, len(x))), form), graph)
        return lambda indices: x.batch(indices, form), len(x)
    expected = "arrays with an example a row, or a zoo data set"
    if isinstance(x, (str, os.PathLike)):
        what = f"These are not examples that the network '{graph.name}' takes."
        raise DataError(what, expected=expected, received=repr(x), fix="zoo.open_data reads names, files and folders.")
    held = by_input(as_arrays(x, "examples"), graph)
    counts = sorted({len(array) for array in keras.tree.flatten(held)})
    if len(counts) > 1 or counts[0] == 0:
        what = "The examples are empty." if counts[0] == 0 else "The arrays hold different numbers of examples."
        raise DataError(what, expected=expected, received=" and ".join(map(str, counts)))
    return lambda indices: keras.tree.map_structure(lambda array: array[indices], held), counts[0]


def _moved(norm: keras.layers.BatchNormalization, before: dict[int, np.ndarray]) -> Moved:
    statistics: Sequence[Any] = (norm.moving_mean, norm.moving_variance)
    mean, variance = (np.asarray(v, "float64") for v in statistics)
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        what = f"The statistics of '{norm.name}' would not be finite numbers."
        fix = "Look for NaN and infinity in the examples, and for 16-bit layers below that overflow."
        raise DataError(what, fix=f"{fix} The network is as it was.")
    old_mean, old_variance = (np.asarray(before[id(v)], "float64") for v in statistics)
    shift = np.abs(mean - old_mean) / np.sqrt(old_variance + norm.epsilon)
    ratio = (variance + norm.epsilon) / (old_variance + norm.epsilon)
    return Moved(norm.name, len(mean), float(shift.max()), (float(ratio.min()), float(ratio.max())))
