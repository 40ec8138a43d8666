"""``zoo.inspect``: how signals get through a network, layer by layer, and what to do where they do not."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np

from . import network as networks
from .copying import clone, rebuilt
from .engine import as_input
from .errors import DataError, RecipeError, SurgeryError, WeightsError
from .gradients import Signals, signals
from .graph import is_seed_state
from .measured_loss import MeasuredLoss, measured_loss
from .probing import Place, opened, places, references
from .remedy import remedy
from .seeds import derive, generator
from .text_table import text_table
from .verdict import Figures, Verdict, judge

#: The examples of one pass; the last two are about equal, since batch normalization measures each by itself.
BATCH = 64


@dataclass(frozen=True)
class Row:
    """One layer: where it stands, its figures, those of the same layer freshly initialized, and the verdict.

    Attributes:
        layer: Its name; a second call of a shared layer is ``name:2``.
        kind: Its class.
        activation: The activation that follows it, at once or behind a normalization; empty where none is seen.
        normalized: Whether a normalization lies between the two.
        figures: See :class:`zoo.verdict.Figures`.
        fresh: Those of the freshly initialized network; ``None`` where it could not be made.
    """

    layer: str
    kind: str
    activation: str
    normalized: bool
    figures: Figures
    fresh: Figures | None

    @property
    def judged(self) -> Verdict:
        """The verdict with its reason."""
        return judge(self.figures)

    @property
    def verdict(self) -> str:
        """``exploding``, ``dead``, ``saturated``, ``vanishing`` or ``healthy``."""
        return self.judged.name

    @property
    def advice(self) -> str:
        """What to do about it; empty for a healthy layer."""
        return remedy(self.judged, self.activation, self.normalized, None if self.fresh is None else judge(self.fresh))


@dataclass(frozen=True)
class Inspection:
    """What :func:`inspect` found; printed as a table.

    Attributes:
        network: The network's name.
        rows: A row for each layer, bottom to top.
        examples: How many examples were looked at.
        loss: The loss whose gradients were measured, in words.
        learning_rate: The rate of the step.
        spread: Of what the lowest layers take, between examples.
        seed: Sample, fresh weights and dropout follow from it.
        notes: What the reader should know beside the figures.
    """

    network: str
    rows: tuple[Row, ...]
    examples: int
    loss: str
    learning_rate: float
    spread: float
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> Row:
        """The layer whose verdict comes nearest to the cause; of several, the lowest."""
        return min(self.rows, key=lambda row: row.judged.rank)

    @property
    def verdict(self) -> str:
        """The worst layer's verdict."""
        return self.worst.verdict

    @property
    def summary(self) -> str:
        """The verdict on the whole, with the advice, in one line."""
        worst, count = self.worst, Counter(row.verdict for row in self.rows)
        if worst.verdict == "healthy":
            return f"healthy: {_layers(len(self.rows))}"
        others = ", ".join(f"{n} {name}" for name, n in count.items() if name not in (worst.verdict, "healthy"))
        where = f"{count[worst.verdict]} of {_layers(len(self.rows))}{f' ({others})' if others else ''}"
        return f"{worst.verdict}: {where}; '{worst.layer}': {worst.judged.why}. {worst.advice}"

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it: ``None`` for what was not measured or is no number."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("rows", "notes")}
        whole = {"verdict": self.verdict, "summary": self.summary, "notes": list(self.notes)}
        return {**plain, "spread": _number(self.spread), **whole, "layers": [_row_dict(row) for row in self.rows]}

    def __str__(self) -> str:
        rate = f"step at {self.learning_rate:g}"
        head = f"{self.network}: {self.examples} examples, input spread {_short(self.spread)}; {self.loss}; {rate}"
        lines = [head, *self.notes, "", text_table(_HEADER, [_cells(row) for row in self.rows], right=range(2, 11))]
        return "\n".join([*lines, "", self.summary])


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
        x: The examples as the model takes them: an array, or a structure of arrays for several inputs.
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
    if not isinstance(model, keras.Model):
        model = networks.load(model)
    own = getattr(model, "loss", None) if y is not None and getattr(model, "compiled", False) else None
    x, y = _sampled(x, y, sample, seed)
    graph = clone(model, _in_float32)
    fresh, notes = _fresh(graph, seed)
    now = opened(graph)
    how = measured_loss(now, y, own if loss is None else loss, seed)
    text = how.text if loss is not None or own is None else "the loss that it was compiled with"
    figures, spread = _figures(now, x, how, learning_rate, seed)
    again = _figures(fresh, x, how, learning_rate, seed)[0] if fresh is not None else {}
    rows = tuple(
        Row(p.name, p.kind, p.curve.name if p.curve else "", p.normalized, figures[p.name], again.get(p.name))
        for p in places(now)
    )
    if not any(row.figures.gradient for row in rows):
        notes = (
            *notes,
            "no gradient reaches any layer: the loss is flat for every example, or does not depend on them",
        )
    return Inspection(model.name, rows, _count(x), text, learning_rate, spread, seed, notes)


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
    if count < 2:
        what = "Signals are measured between examples."
        raise DataError(what, expected="two examples or more", received=str(count))
    for array in keras.tree.flatten(x):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            what = "The examples hold NaN or infinity, so every layer would."
            raise DataError(what, fix="Mend the data first.")
    rows = np.sort(generator(seed, "sample").permutation(count)[:sample])
    take = lambda array: array[rows]  # noqa: E731
    x, y = keras.tree.map_structure(take, x), None if y is None else keras.tree.map_structure(take, y)
    if all(bool(np.all(array == array[:1])) for array in keras.tree.flatten(x)):
        what = "The examples are all the same: there is nothing to tell apart."
        raise DataError(what, received=f"{len(rows)} copies of one example")
    return x, y


def _as_array(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else np.asarray(value)


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
    graph: keras.Model, x: Any, loss: MeasuredLoss, learning_rate: float, seed: int
) -> tuple[dict[str, Figures], float]:
    """The figures at each place, by its name, and the spread of the input."""
    for i, variable in enumerate(v for v in graph.variables if is_seed_state(v)):
        variable.assign([derive(seed, "dropout", i), 0])
    where = places(graph)
    if not any(place.layer is not None for place in where):
        what = f"The network '{graph.name}' has no layer with weights to inspect."
        raise SurgeryError(what, expected="a dense, convolutional, recurrent or other layer with a kernel")
    found, inputs = signals(graph, where, references(graph), _batches(x), loss)
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


def _batches(x: Any) -> Iterator[tuple[np.ndarray, Any]]:
    count = _count(x)
    for rows in np.array_split(np.arange(count), math.ceil(count / BATCH)):
        yield rows, keras.tree.map_structure(lambda array, rows=rows: as_input(array[rows]), x)


_HEADER = (
    *("layer", "activation", "mean", "std", "forward", "backward", "saturated", "dead", "gradient", "fresh", "step"),
    "verdict",
)


def _cells(row: Row) -> tuple[str, ...]:
    f = row.figures
    return (
        row.layer,
        row.activation,
        *(_short(value) for value in (f.mean, f.std, f.forward, f.backward)),
        *("" if share is None else f"{share:.0%}" for share in (f.saturated, f.dead)),
        _short(f.gradient),
        _short(row.fresh.gradient if row.fresh else None),
        _short(f.step),
        row.verdict,
    )


def _short(value: float | None) -> str:
    """Two digits, as briefly as can be."""
    if value is None:
        return ""
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _row_dict(row: Row) -> dict[str, Any]:
    table = lambda figures: {f.name: _number(getattr(figures, f.name)) for f in fields(figures)}  # noqa: E731
    return {
        "layer": row.layer,
        "kind": row.kind,
        "activation": row.activation,
        "verdict": row.verdict,
        "why": row.judged.why,
        "advice": row.advice,
        **table(row.figures),
        "fresh": None if row.fresh is None else table(row.fresh),
    }
