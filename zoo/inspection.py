"""``zoo.inspect``: how signals get through a network, layer by layer, and what to do where they do not."""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import keras
import numpy as np

from . import network as networks
from .by_output import output_names
from .data import Dataset
from .engine import as_input
from .errors import DataError, RecipeError, SurgeryError
from .finite import not_finite
from .given_arrays import as_arrays, by_input
from .gradients import Signals, holds_numbers, signals
from .graph import is_seed_state
from .guideline import guidelines
from .inspection_result import Inspection, Row
from .measured_copy import fresh_copy, measured_copy
from .measured_loss import MeasuredLoss, measured_loss
from .own_loss import OwnLoss, OwnPart, compiled_loss
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
        x: The examples as the model takes them: an array; for several inputs one for each, in their order or in a
            dictionary by their names. Or data with its targets: a path, a built-in name or a data set, see
            :func:`zoo.open_data`.
        y: Their targets, likewise for several outputs; an output that is not named, or whose targets are ``None``, has
            no loss. Left out, or where they do not fit the outputs, random targets stand in, and a note says so.
        loss: A Keras loss, its name or a function, for all outputs that have targets; or one for each output, in their
            order or by name, ``None`` among them for an output without one. A sum over a batch is divided by its
            examples. By default that which the model was compiled with, with its weights; for one that was not,
            cross-entropy or squared error, by outputs and targets.
        learning_rate: The rate at which the step is judged: plain gradient descent.
        sample: How many of the examples to look at, chosen at random.
        seed: Sample, fresh weights, dropout and stand-in targets follow from it.

    Returns:
        The inspection; ``print`` it, or read its ``rows``.

    Raises:
        DataError: if examples or targets do not fit the network or the loss, or hold NaN; if there are fewer than two
            examples, or they are all the same.
        RecipeError: if there is no such loss, or learning rate or seed are no numbers.
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
    _check_numbers(learning_rate, sample, seed)
    learning_rate, sample, seed = float(learning_rate), int(sample), int(seed)
    if not isinstance(model, (keras.Model, str, os.PathLike)):
        what = "This is not a network."
        expected = "a keras.Model, or the name or path of one"
        raise SurgeryError(what, expected=expected, received=type(model).__name__)
    if isinstance(x, (str, os.PathLike, Dataset)):
        if y is not None or loss is not None:
            what = "Targets and loss were given beside data that is named."
            raise DataError(what, fix="Give arrays: zoo.inspect(model, x, y); or leave both out.")
        return inspect_subject(subject(model, x, sample=sample, seed=seed), learning_rate=learning_rate, seed=seed)
    model = model if isinstance(model, keras.Model) else networks.load(model)
    found = _sampled(model, x, y, sample, seed)
    return inspect_subject(found, loss=loss, learning_rate=learning_rate, seed=seed)


def inspect_subject(
    found: Subject, *, loss: Any = None, learning_rate: float = 0.01, seed: int = 0, progress: Progress | None = None
) -> Inspection:
    """What :func:`inspect` does once network and sample are there; ``progress`` is told how far it is."""
    rows = np.arange(_count(found.x)) if found.rows is None else found.rows
    _check_examples(found.x, rows)
    model, graph = measured_copy(found.model, found.x)
    x = by_input(found.x, graph)
    fresh, notes = fresh_copy(graph, seed)
    now = opened(graph)
    notes = (*notes, *_spoilt(now))
    own = OwnLoss(loss) if loss is not None else compiled_loss(found.model) if found.y is not None else None
    names = output_names(graph, getattr(found.model, "output_names", None))
    how = measured_loss(now, names, found.y, own, seed=seed, why=found.why)
    _check_targets(how, rows)
    tick = _ticking(progress, _batch_count(x) * (1 if fresh is None else 2))
    figures, spread = _figures(now, _batches(x, tick), how, learning_rate, seed)
    again = _figures(fresh, _batches(x, tick), how, learning_rate, seed)[0] if fresh is not None else {}
    table = tuple(_row(place, figures[place.name], again.get(place.name), spread) for place in places(now))
    if not any(row.figures.gradient for row in table):
        notes = (*notes, "no gradient reaches the weights of any layer")
    how_trained, count = found.training, _count(x)
    rate = learning_rate if how_trained.learning_rate is None else how_trained.learning_rate
    judged = guidelines(model, plan=how_trained.plan, optimizer=how_trained.optimizer, learning_rate=rate)
    departures = replace(judged, network=found.name)
    return Inspection(
        found.name, table, count, how.text, learning_rate, spread, seed, departures, (*found.notes, *notes)
    )


def _row(place: Place, figures: Figures, fresh: Figures | None, spread: float) -> Row:
    activation = place.curve.name if place.curve else ""
    setting = Setting(
        activation, bool(place.normalizations), spread, None if fresh is None else judge(fresh), figures.alike
    )
    return Row(place.name, place.kind, activation, figures, fresh, remedy(judge(figures), setting))


def _spoilt(graph: keras.Model) -> tuple[str, ...]:
    """A note on layers without a row that hold NaN; training may never use it, as with a moving mean."""
    rows = {id(place.layer) for place in places(graph)}
    names = [repr(layer.name) for layer in graph.layers if id(layer) not in rows and not holds_numbers(layer)]
    if not names:
        return ()
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (f"NaN or infinity in what {listed} holds: no prediction is a number",)


def _check_numbers(learning_rate: Any, sample: Any, seed: Any) -> None:
    number = isinstance(learning_rate, Real) and not isinstance(learning_rate, bool)
    if not (number and 0 < float(learning_rate) < math.inf):
        what = "The learning rate of the step cannot be used."
        raise RecipeError(what, expected="a number above 0, such as 0.01", received=repr(learning_rate))
    if not isinstance(sample, Integral) or isinstance(sample, bool) or sample < 2:
        what = "The sample is too small: signals are measured between examples."
        raise DataError(what, expected="a whole number, 2 or more", received=repr(sample))
    if not isinstance(seed, Integral) or isinstance(seed, bool):
        what = "The seed is no whole number."
        raise RecipeError(what, expected="a whole number, such as 0", received=repr(seed))


def _sampled(model: keras.Model, x: Any, y: Any, sample: int, seed: int) -> Subject:
    """Some of the examples, in their order."""
    x = as_arrays(x, "examples")
    y = None if y is None else as_arrays(y, "targets")
    counts = {len(array) for array in keras.tree.flatten((x, y)) if array is not None}
    if len(counts) != 1:
        what = "The arrays hold different numbers of examples." if counts else "There are no examples."
        raise DataError(what, received=", ".join(map(str, sorted(counts))))
    rows = sample_rows(counts.pop(), sample, seed)
    take = lambda array: None if array is None else array[rows]  # noqa: E731
    return Subject(model.name, model, keras.tree.map_structure(take, x), keras.tree.map_structure(take, y), rows=rows)


def _check_examples(x: Any, rows: np.ndarray) -> None:
    """Refuses examples between which there is nothing to measure."""
    if len(rows) < 2:
        what = "Signals are measured between examples."
        raise DataError(what, expected="two examples or more", received=str(len(rows)))
    arrays = [array for array in keras.tree.flatten(x) if array is not None]
    for array in arrays:
        if bad := not_finite(array, rows):
            what = "The examples hold NaN or infinity, so every layer would."
            raise DataError(what, received=bad, fix="Mend the data first, or leave those examples out.")
    if all(bool(np.all(array == array[:1])) for array in arrays):
        what = "The examples are all the same: there is nothing to tell apart."
        raise DataError(what, received=f"{len(rows)} copies of one example")


def _check_targets(how: MeasuredLoss, rows: np.ndarray) -> None:
    """Refuses targets that would make a sound network look as if it exploded; a function of the user's own may mind
    them."""
    for part, targets in zip(how.parts, how.targets, strict=True):
        bad = "" if part is None or targets is None else not_finite(targets, rows)
        if bad and not (isinstance(part, OwnPart) and not part.of_keras):
            what = "The targets hold NaN or infinity, so the loss would be no number, whatever the network gives."
            raise DataError(what, received=bad, fix="Mend the data first, or leave those examples out.")


def _count(x: Any) -> int:
    return next(len(array) for array in keras.tree.flatten(x) if array is not None)


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
        saturated=signal.saturated_share,
        dead=signal.dead_share,
        gradient=signal.gradient,
        step=_ratio(None if signal.gradient is None else learning_rate * signal.gradient, signal.weights),
        weights=signal.weights,
        alike=signal.alike,
        finite=signal.finite,
        weights_finite=signal.weights_finite,
        output=place.output,
    )


def _ratio(part: float | None, whole: float | None) -> float | None:
    """A quotient; ``None`` where it says nothing."""
    if part is None or not whole or not math.isfinite(whole):
        return None
    return part / whole


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
