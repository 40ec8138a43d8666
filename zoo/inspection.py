"""``zoo.inspect``: how signals get through a network, layer by layer, and what to do where they do not."""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from . import network as networks
from .copying import clone, rebuilt
from .data import Dataset
from .engine import as_input
from .errors import DataError, RecipeError, SurgeryError, WeightsError
from .gradients import Signals, signals
from .graph import is_seed_state
from .guideline import guidelines
from .inspection_result import Inspection, Row
from .measured_loss import MeasuredLoss, measured_loss
from .probing import Place, opened, places, references
from .progress import Progress
from .remedy import Setting, remedy
from .seeds import derive
from .subject import Subject, sample_rows, subject
from .verdict import Figures, judge

#: The most examples of a batch; all batches are about equal, since batch normalization measures each by itself.
BATCH = 64


def inspect(
    model: keras.Model | str | os.PathLike[str],
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    learning_rate: float = 0.01,
    sample: int = 256,
    seed: int = 0,
) -> Inspection:
    r"""Measures how signals get through a network in one pass over a sample, and judges each layer.

    Each layer with weights is measured behind the activation that follows it, at once or behind a normalization; so is
    an activation that stands alone, as after an addition. With h a layer's outputs, L an example's loss and W a layer's
    kernels:

    .. math::
        \text{forward} = \sqrt{\overline{\operatorname{var}_{\text{examples}} h}} \Big/ \text{that of the input}
        \qquad \text{backward} = \sqrt{\overline{\lVert \partial L / \partial h \rVert^2}}
        \Big/ \text{that of the highest hidden layer}
        \qquad \text{step} = \frac{\lVert \eta \, \partial \bar L / \partial W \rVert}{\lVert W \rVert}

    Both signals are needed: where ReLU layers without normalization have too small weights, forward and backward signal
    vanish towards opposite ends, and the gradients of the kernels, which are products of the two, are the same in every
    layer.

    Copies are measured, in float32 and in training mode, and a freshly initialized one beside them; nothing in
    ``model`` changes.

    Args:
        model: Any Keras model whose layers can be rebuilt from their configuration; or what :func:`zoo.load` takes.
        x: The examples as the model takes them: an array, or a structure of arrays for several inputs. Or data with its
            targets: a path, a built-in name or a data set, see :func:`zoo.open_data`.
        y: Their targets; left out, or where they do not fit the outputs, random targets stand in, and a note says so.
        loss: A Keras loss, its name or a function, or one for each output. By default that which the model was compiled
            with; for one that was not, cross-entropy or squared error, by outputs and targets.
        learning_rate: The rate at which the step is judged: plain gradient descent.
        sample: How many of the examples to look at, chosen at random.
        seed: Sample, fresh weights, dropout and stand-in targets follow from it.

    Returns:
        The inspection; ``print`` it, or read its ``rows``.

    Raises:
        DataError: if there are fewer than two examples, they are all the same, or they hold NaN.
        SurgeryError: if the model is not built, cannot be copied, or has no weights.

    Reference:
        X. Glorot and Y. Bengio (2010), Understanding the difficulty of training deep feedforward neural networks,
        section 4.2.

    Example:
        >>> import keras, numpy as np, zoo
        >>> hidden = [keras.layers.Dense(50, activation="sigmoid") for _ in range(12)]
        >>> net = keras.Sequential([keras.Input((8,)), *hidden, keras.layers.Dense(3, activation="softmax")])
        >>> x, y = np.random.default_rng(0).normal(size=(100, 8)), np.arange(100) % 3
        >>> zoo.inspect(net, x, y).verdict
        'vanishing'
    """
    _check_numbers(learning_rate, sample)
    if isinstance(x, (str, os.PathLike, Dataset)):
        if y is not None or loss is not None:
            what = "Targets and loss were given beside data that is named."
            raise DataError(what, fix="Give arrays: zoo.inspect(model, x, y); or leave both out.")
        return inspect_subject(subject(model, x, sample=sample, seed=seed), learning_rate=learning_rate, seed=seed)
    model = model if isinstance(model, keras.Model) else networks.load(model)
    found = Subject(model.name, model, *_sampled(x, y, sample, seed))
    return inspect_subject(found, loss=loss, learning_rate=learning_rate, seed=seed)


def inspect_subject(
    found: Subject, *, loss: Any = None, learning_rate: float = 0.01, seed: int = 0, progress: Progress | None = None
) -> Inspection:
    """What :func:`inspect` does once network and sample are there; ``progress`` is told how far it is."""
    _check_examples(found.x)
    model = found.model
    own = getattr(model, "loss", None) if found.y is not None and getattr(model, "compiled", False) else None
    graph = clone(model, _in_float32)
    fresh, notes = _fresh(graph, seed)
    now = opened(graph)
    how = measured_loss(now, found.y, own if loss is None else loss, seed, found.why)
    text = how.text if loss is not None or own is None else "the loss that it was compiled with"
    tick = _ticking(progress, _batch_count(found.x) * (1 if fresh is None else 2))
    figures, spread = _figures(now, _batches(found.x, tick), how, learning_rate, seed)
    again = _figures(fresh, _batches(found.x, tick), how, learning_rate, seed)[0] if fresh is not None else {}
    rows = tuple(_row(place, figures[place.name], again.get(place.name), spread) for place in places(now))
    if not any(row.figures.gradient for row in rows):
        notes = (*notes, "no gradient reaches the weights of any layer")
    departures, count = replace(guidelines(model), network=found.name), _count(found.x)
    return Inspection(found.name, rows, count, text, learning_rate, spread, seed, departures, (*found.notes, *notes))


def _row(place: Place, figures: Figures, fresh: Figures | None, spread: float) -> Row:
    activation = place.curve.name if place.curve else ""
    setting = Setting(activation, place.normalized, spread, None if fresh is None else judge(fresh))
    return Row(place.name, place.kind, activation, figures, fresh, remedy(judge(figures), setting))


def _check_numbers(learning_rate: float, sample: int) -> None:
    if not (isinstance(learning_rate, int | float) and learning_rate > 0 and math.isfinite(learning_rate)):
        what = "The learning rate of the step cannot be used."
        raise RecipeError(what, expected="a number above 0, such as 0.01", received=repr(learning_rate))
    if not isinstance(sample, int) or sample < 2:
        what = "The sample is too small: signals are measured between examples."
        raise DataError(what, expected="a whole number, 2 or more", received=repr(sample))


def _sampled(x: Any, y: Any, sample: int, seed: int) -> tuple[Any, Any]:
    """Some of the examples, in their order."""
    x = keras.tree.map_structure(_as_array, x)
    y = None if y is None else keras.tree.map_structure(_as_array, y)
    counts = {len(array) for array in keras.tree.flatten((x, y)) if array is not None}
    if len(counts) != 1:
        what = "The arrays hold different numbers of examples."
        raise DataError(what, received=", ".join(map(str, sorted(counts))))
    (count,) = counts
    rows = sample_rows(count, sample, seed)
    take = lambda array: array[rows]  # noqa: E731
    return keras.tree.map_structure(take, x), None if y is None else keras.tree.map_structure(take, y)


def _check_examples(x: Any) -> None:
    """Refuses examples between which there is nothing to measure."""
    count = _count(x)
    if count < 2:
        what = "Signals are measured between examples."
        raise DataError(what, expected="two examples or more", received=str(count))
    for array in keras.tree.flatten(x):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            what = "The examples hold NaN or infinity, so every layer would."
            raise DataError(what, fix="Mend the data first.")
    if all(bool(np.all(array == array[:1])) for array in keras.tree.flatten(x)):
        what = "The examples are all the same: there is nothing to tell apart."
        raise DataError(what, received=f"{count} copies of one example")


def _as_array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "US" else array  # texts, as the readers of data have them


def _count(x: Any) -> int:
    return len(keras.tree.flatten(x)[0])


def _in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer as it is, computing in 32 bits: in 16, small gradients would be 0, and look as if they had vanished."""
    if isinstance(layer, keras.layers.Lambda) or "float16" not in str(config := layer.get_config()):
        return rebuilt(layer)
    fresh = layer.__class__.from_config(_widened(config))
    fresh.name = layer.name
    return fresh


def _widened(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {key: "float32" if key == "dtype" and "float16" in str(v) else _widened(v) for key, v in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_widened(value) for value in config)
    return config


def _fresh(graph: keras.Model, seed: int) -> tuple[keras.Model | None, tuple[str, ...]]:
    """The same network with initial weights drawn anew, where its layers can say how they start."""
    try:
        return opened(networks.drawn_anew(graph, derive(seed, "fresh"))), ()
    except (WeightsError, SurgeryError) as reason:
        return None, (f"no fresh network to compare with: {reason}",)


def _figures(
    graph: keras.Model, batches: Iterator[Any], loss: MeasuredLoss, learning_rate: float, seed: int
) -> tuple[dict[str, Figures], float]:
    """The figures at each place, by its name, and the spread of the input."""
    for i, variable in enumerate(v for v in graph.variables if is_seed_state(v)):
        variable.assign([derive(seed, "dropout", i), 0])
    where = places(graph)
    if not any(place.layer is not None for place in where):
        what = f"The network '{graph.name}' has no layer with weights to inspect."
        raise SurgeryError(what, expected="a dense, convolutional, recurrent or other layer with a kernel")
    found, inputs = signals(graph, where, references(graph), batches, loss)
    spread = _root_mean_square([moments.spread for moments in inputs])
    highest = [s.backward for p, s in zip(where, found, strict=True) if p.layer is not None and not p.output]
    top = highest[-1] if highest else None
    values = zip(where, found, strict=True)
    return {p.name: _figures_of(p, s, spread, top, learning_rate) for p, s in values}, spread


def _figures_of(place: Place, signal: Signals, spread: float, top: float | None, learning_rate: float) -> Figures:
    own = signal.moments
    relative = _ratio(signal.backward, top) if not place.output else None
    if signal.backward is None and top and not place.output:
        relative = 0.0  # the loss does not depend on it
    return Figures(
        mean=float(np.mean(own.mean)),
        std=own.std,
        spread=own.spread,
        forward=_ratio(own.spread, spread),
        backward=relative,
        saturated=_weighted_mean(signal.saturated),
        dead=None if signal.off is None else float(np.mean(signal.off)),
        gradient=signal.gradient,
        step=_ratio(None if signal.gradient is None else learning_rate * signal.gradient, signal.weights),
        weights=signal.weights,
        finite=signal.finite,
        weights_finite=signal.weights_finite,
        output=place.output,
    )


def _ratio(part: float | None, whole: float | None) -> float | None:
    """A quotient; ``None`` where it says nothing."""
    if part is None or not whole or not math.isfinite(whole):
        return None
    return part / whole


def _weighted_mean(parts: list[tuple[int, float]]) -> float | None:
    return sum(n * share for n, share in parts) / sum(n for n, _ in parts) if parts else None


def _root_mean_square(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _batch_count(x: Any) -> int:
    return math.ceil(_count(x) / BATCH)


def _batches(x: Any, tick: Callable[[], None]) -> Iterator[tuple[np.ndarray, Any]]:
    for rows in np.array_split(np.arange(_count(x)), _batch_count(x)):
        yield rows, keras.tree.map_structure(lambda array, rows=rows: as_input(array[rows]), x)
        tick()


def _ticking(progress: Progress | None, total: int) -> Callable[[], None]:
    """Tells how many batches are done, each time that it is called."""
    done = itertools.count(1)

    def tick() -> None:
        if progress is not None:
            progress.step("measuring", next(done), total, "batches")

    return tick
