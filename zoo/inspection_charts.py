"""Charts of an inspection: activations and gradients by depth, now against fresh, as SVG."""

import io
import math
from collections.abc import Sequence
from typing import Any

from .inspection_result import Inspection
from .verdict import EXPLODED, VANISHED, Figures

#: From how many layers on they are numbered, not named.
_MANY = 26
_NOW, _FRESH, _THIRD = "#0072b2", "#d55e00", "#666666"  # told apart by those who see no red or green, and in print


def activation_chart(inspection: Inspection) -> str:
    """Each layer's outputs by depth: mean and spread, the signal forwards, and the shares of saturated and dead.

    Args:
        inspection: What :func:`zoo.inspect` gave.

    Returns:
        An SVG document; the same inspection gives the same text.
    """
    figure, (values, signal, shares) = _figure(inspection, "Outputs by depth", 3)
    places = range(1, len(inspection.rows) + 1)
    now = [row.figures for row in inspection.rows]
    mean, std = ([getattr(f, name) if f.finite else math.nan for f in now] for name in ("mean", "std"))
    values.plot(places, mean, "o-", color=_NOW, markersize=4, label="mean")
    low, high = zip(*((m - s, m + s) for m, s in zip(mean, std, strict=True)), strict=True)
    values.fill_between(places, low, high, color=_NOW, alpha=0.2, linewidth=0, label="± standard deviation")
    values.set_ylabel("outputs", fontsize=9)
    values.legend(frameon=False, fontsize=9)
    _signal(signal, inspection, "forward", "spread between examples,\nrelative to the input's", limits=True)
    for name, colour, mark in (("saturated", _NOW, "s"), ("dead", _FRESH, "X")):
        found = [(i, getattr(f, name)) for i, f in zip(places, now, strict=True) if getattr(f, name) is not None]
        if found:
            shares.plot(*zip(*found, strict=True), mark, color=colour, markersize=5, label=name)
    shares.set_ylim(-0.05, 1.05)
    shares.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    shares.set_ylabel("share", fontsize=9)
    if shares.get_legend_handles_labels()[0]:
        shares.legend(frameon=False, fontsize=9)
    return _svg(figure)


def gradient_chart(inspection: Inspection) -> str:
    """The gradients by depth: the signal backwards, and the norm by each layer's kernels.

    Args:
        inspection: What :func:`zoo.inspect` gave.

    Returns:
        An SVG document.
    """
    figure, (signal, kernels) = _figure(inspection, "Gradients by depth", 2)
    label = "gradient by the outputs, relative\nto the highest hidden layer's"
    _signal(signal, inspection, "backward", label, limits=True)
    _signal(kernels, inspection, "gradient", "norm of the gradient\nby the kernels", limits=False)
    return _svg(figure)


def _figure(inspection: Inspection, title: str, panels: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    count = len(inspection.rows)
    names = count <= _MANY
    figure = Figure(figsize=(7, 0.7 + 2.1 * panels + (1.0 if names else 0.3)), layout="constrained")
    axes = figure.subplots(panels, 1, sharex=True)
    figure.suptitle(f"{title}: {inspection.network}, {inspection.examples} examples", fontsize=11)
    for axis in axes:
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
    axes[-1].set_xlim(0.5, count + 0.5)
    if names:
        labels = [row.layer if len(row.layer) <= 20 else f"{row.layer[:19]}…" for row in inspection.rows]
        axes[-1].set_xticks(range(1, count + 1), labels, rotation=60, ha="right", rotation_mode="anchor")
    else:
        axes[-1].set_xlabel("layer, counted from the bottom", fontsize=9)
    return figure, axes


def _signal(axis: Any, inspection: Inspection, name: str, label: str, *, limits: bool) -> None:
    """One figure on a logarithmic axis, now and fresh; zeros as arrows at the bottom."""
    series = (
        (_FRESH, "^--", "freshly initialized", _values([row.fresh for row in inspection.rows], name)),
        (_NOW, "o-", "now", _values([row.figures for row in inspection.rows], name)),
    )
    drawn = [value for *_, values in series for value in values if value]
    axis.set_yscale("log")
    axis.yaxis.set_minor_formatter("")
    axis.set_ylabel(label, fontsize=9)
    if not drawn:
        return
    low, high = min(drawn) / 10, max(drawn) * 10  # at least two decades, so that a flat line looks flat
    axis.set_ylim(low / 2, high)
    for colour, style, text, values in series:
        if any(value is not None for value in values):
            places = range(1, len(values) + 1)
            axis.plot(places, [value or math.nan for value in values], style, color=colour, markersize=4, label=text)
        zeros = [i for i, value in enumerate(values, 1) if value == 0]
        if zeros:
            axis.plot(zeros, [low] * len(zeros), "v", color=colour, markersize=6, label=f"{text}: 0")
    for limit in (VANISHED, EXPLODED):
        if limits and low < limit < high:
            axis.axhline(limit, color=_THIRD, linewidth=0.8, linestyle=":", label=f"{limit:g}")
    axis.legend(frameon=False, fontsize=9)


def _values(figures: Sequence[Figures | None], name: str) -> list[float | None]:
    values = [None if one is None else getattr(one, name) for one in figures]
    return [value if value is None or math.isfinite(value) else None for value in values]


def _svg(figure: Any) -> str:
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "zoo", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
