"""What an inspection gives: a row a layer, the verdict on the whole, and both as a table and as JSON."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from .departure import Departures
from .text_table import text_table
from .verdict import Figures, Verdict, judge, short

#: How many characters of a layer's name the table shows.
_NAME = 20
#: Weights that differ from fresh ones by more than this factor are named.
_SHIFTED = 5.0
_NO_FAULT = "A departure need not be a fault, and signals do get through here: it is a place to have a reason for."


@dataclass(frozen=True)
class Row:
    """One layer: where it stands, its figures, those of the same layer freshly initialized, and the verdict.

    Attributes:
        layer: Its name; a second call of a shared layer is ``name:2``.
        kind: Its class.
        activation: The activation that follows it, at once or behind a normalization; empty where none is seen.
        figures: What was measured.
        fresh: The same of the freshly initialized network; ``None`` where it could not be made.
        advice: What to do about it; empty for a healthy layer.
    """

    layer: str
    kind: str
    activation: str
    figures: Figures
    fresh: Figures | None
    advice: str

    @property
    def judged(self) -> Verdict:
        """The verdict with its reason."""
        return judge(self.figures)

    @property
    def verdict(self) -> str:
        """``exploding``, ``dead``, ``saturated``, ``vanishing`` or ``healthy``."""
        return self.judged.name

    @property
    def grown(self) -> float | None:
        """How many times as large as fresh ones the layer's weights are."""
        now, before = self.figures.weights, self.fresh.weights if self.fresh else None
        return now / before if now and before and math.isfinite(now) and math.isfinite(before) else None


@dataclass(frozen=True)
class Inspection:
    """What :func:`zoo.inspect` found; printed as a table.

    Attributes:
        network: The network's name.
        rows: A row for each layer, bottom to top.
        examples: How many examples were looked at.
        loss: The loss whose gradients were measured, in words.
        learning_rate: The rate of the step.
        spread: Of what the lowest layers take, between examples.
        seed: Sample, fresh weights and dropout follow from it.
        departures: Where the network departs from the guidelines, see :func:`zoo.guidelines`.
        notes: What the reader should know beside the figures.
    """

    network: str
    rows: tuple[Row, ...]
    examples: int
    loss: str
    learning_rate: float
    spread: float
    seed: int
    departures: Departures
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
        """The verdict on the whole, with the advice."""
        worst, count = self.worst, Counter(row.verdict for row in self.rows)
        if worst.verdict == "healthy":
            return f"healthy: {_layers(len(self.rows))}"
        others = ", ".join(f"{n} {name}" for name, n in count.items() if name not in (worst.verdict, "healthy"))
        where = f"{count[worst.verdict]} of {_layers(len(self.rows))}{f' ({others})' if others else ''}"
        return f"{worst.verdict}: {where}; '{worst.layer}': {worst.judged.why}. {worst.advice}{self._shifted()}"

    def _shifted(self) -> str:
        """The layer whose weights differ most from fresh ones in size, where that may be why."""
        fresh = self.worst.fresh
        if self.verdict not in ("exploding", "vanishing") or fresh is None or judge(fresh).name != "healthy":
            return ""
        known = [(row, row.grown) for row in self.rows if row.grown]
        row, factor = max(known, key=lambda pair: abs(math.log(pair[1])), default=(None, 1.0))
        if row is None or 1 / _SHIFTED < factor < _SHIFTED:
            return ""
        return f" The weights of '{row.layer}' are {short(factor)} times as large as fresh ones."

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it: ``None`` for what was not measured or is no number."""
        names = ("network", "examples", "loss", "learning_rate", "seed")
        return {
            **{name: getattr(self, name) for name in names},
            "spread": _number(self.spread),
            "verdict": self.verdict,
            "summary": self.summary,
            "notes": list(self.notes),
            "departures": self.departures.as_dict()["departures"],
            "layers": [_row_dict(row) for row in self.rows],
        }

    def __str__(self) -> str:
        rate = f"step at {self.learning_rate:g}"
        head = f"{self.network}: {self.examples} examples, input spread {short(self.spread)}; {self.loss}; {rate}"
        departures = str(self.departures)
        if self.departures and self.verdict == "healthy":
            departures = f"{departures}\n{_NO_FAULT}"
        return "\n".join([head, *self.notes, "", _table(self.rows), "", departures, "", self.summary])


_HEADER = (
    *("layer", "activation", "mean", "std", "forward", "backward", "sat.", "dead", "gradient", "fresh", "step"),
    "verdict",
)


def _table(rows: Sequence[Row]) -> str:
    """The rows as text, without columns in which there is nothing."""
    cells = [_cells(row) for row in rows]
    kept = [i for i in range(len(_HEADER)) if any(line[i] for line in cells)]
    right = [kept.index(i) for i in kept if 2 <= i < len(_HEADER) - 1]
    return text_table([_HEADER[i] for i in kept], [[line[i] for i in kept] for line in cells], right)


def _cells(row: Row) -> tuple[str, ...]:
    f = row.figures
    return (
        row.layer if len(row.layer) <= _NAME else f"{row.layer[: _NAME - 13]}…{row.layer[-12:]}",
        row.activation,
        *(short(value) for value in (f.mean, f.std, f.forward, f.backward)),
        *(_percent(share) for share in (f.saturated, f.dead)),
        *(short(value) for value in (f.gradient, row.fresh.gradient if row.fresh else None, f.step)),
        row.verdict,
    )


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{share:.0%}" if math.isfinite(share) else "nan"


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
