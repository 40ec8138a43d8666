"""The look of a report: learning curves and the confusion matrix as inline SVG, and the style sheet.

Plain strings; colours are the style sheet's variables, so that one drawing serves light, dark and print.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from zoo.metrics import printable, width

CHART = (460, 250)
MARGIN = (48, 12, 30, 34)  # left, right, top, bottom
SIDE_LIMIT = 100


@dataclass(frozen=True)
class Curve:
    """One line of a chart: ``role`` is ``train`` or ``val``; a value is ``None`` where nothing was measured."""

    role: str
    values: Sequence[float | None]


def curves(title: str, lines: Sequence[Curve], stages: Sequence[tuple[str, int]]) -> str:
    """Draw learning curves over epochs, with the stages as bands.

    Args:
        title: What the chart shows.
        lines: The curves, all of the same length; gaps are ``None``.
        stages: Each stage's name and number of epochs, in order.

    Returns:
        An ``<svg>`` element.

    Example:
        >>> svg = curves("loss", [Curve("train", [2.0, 1.0, None])], [("head", 3)])
        >>> svg.startswith("<svg"), svg.count("<polyline")
        (True, 1)
    """
    (w, h), (left, right, top, bottom) = CHART, MARGIN
    count = max(sum(n for _, n in stages), 1)
    known = [v for line in lines for v in line.values if v is not None]
    marks = ticks(min(known), max(known)) if known else [0.0, 1.0]

    def x(epoch: float) -> float:
        return left + (w - left - right) * (epoch - 0.5) / count

    def y(value: float) -> float:
        return h - bottom - (h - top - bottom) * (value - marks[0]) / (marks[-1] - marks[0])

    parts = [_bands(stages, x)]
    for mark in marks:
        parts.append(f'<line class="rule" x1="{left}" x2="{w - right}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>')
        parts.append(f'<text class="num" x="{left - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:.6g}</text>')
    for epoch in sorted({1, count, *(int(t) for t in ticks(1, count) if 1 < t < count and t == int(t))}):
        parts.append(f'<text class="num" x="{x(epoch):.1f}" y="{h - 16}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{(left + w - right) / 2}" y="{h - 2}" text-anchor="middle">epoch</text>')
    for line in lines:
        for run in _runs(line.values):
            points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in run)
            parts.append(f'<polyline class="{line.role}" points="{points}"/>')
            if len(run) == 1 or count <= 40:
                parts += [f'<circle class="{line.role}" cx="{x(e):.1f}" cy="{y(v):.1f}" r="2"/>' for e, v in run]
    label = escape(title)
    return f'<svg viewBox="0 0 {w} {h}" role="img" aria-label="{label} by epoch">{"".join(parts)}</svg>'


def _bands(stages: Sequence[tuple[str, int]], x) -> str:
    h, (_, _, top, bottom) = CHART[1], MARGIN
    parts, start = [], 0.5
    for i, (name, n) in enumerate(stages):
        begin, end = x(start), x(start + n)
        start += n
        if i % 2:
            height = h - top - bottom
            parts.append(f'<rect class="band" x="{begin:.1f}" y="{top}" width="{end - begin:.1f}" height="{height}"/>')
        if i:
            parts.append(f'<line class="stage" x1="{begin:.1f}" x2="{begin:.1f}" y1="{top - 14}" y2="{h - bottom}"/>')
        if label := fit(name, (end - begin - 8) / 6.2):
            parts.append(f'<text x="{begin + 4:.1f}" y="{top - 5}">{escape(label)}</text>')
    return "".join(parts)


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for epoch, value in enumerate(values, start=1):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((epoch, value))
    return [run for run in runs if run]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that enclose an interval, about as many as asked for.

    Example:
        >>> ticks(0.13, 2.2), ticks(1, 1)
        ([0.0, 0.5, 1.0, 1.5, 2.0, 2.5], [0.0, 0.5, 1.0, 1.5, 2.0])
    """
    size = max(abs(low), abs(high))
    size = size if size > 1e-99 else 1.0  # smaller steps would underflow
    if high - low < 1e-6 * size:  # a flat line: its own size above and below
        low, high = low - size, high + size
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10, 20) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def heat_map(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Draw a confusion matrix: rows are true, columns predicted, shades are parts of the row.

    The diagonal has one colour, mistakes another. Names and counts are written where they fit. Above 100
    classes nothing is drawn.

    Args:
        confusion: ``(k, k)`` counts.
        names: The k classes.

    Returns:
        An ``<svg>`` element, or an empty string.

    Example:
        >>> svg = heat_map([[3, 1], [0, 4]], ["cat", "dog"])
        >>> "true cat, predicted dog: 1" in svg, svg.count("<title>")
        (True, 3)
    """
    k = len(names)
    if not k or k > SIDE_LIMIT:
        return ""
    size = min(max(600 // k, 8), 44)
    labels = [fit(name, 14) for name in names]
    long = max(map(width, labels)) * 7 if size >= 12 else 0
    flat = long + 6 <= size
    side, head = long + 14 if long else 1, (24 if flat else long + 14) if long else 1
    parts = [f'<rect class="none" x="{side}" y="{head}" width="{k * size + 1}" height="{k * size + 1}"/>']
    for i, label in enumerate(labels if long else []):
        middle, text = (i + 0.5) * size, escape(label)
        parts.append(f'<text x="{side - 6}" y="{head + middle + 4:.1f}" text-anchor="end">{text}</text>')
        place = f"{side + middle + (0 if flat else 4):.1f} {head - 7}"
        turn = 'text-anchor="middle"' if flat else f'transform="rotate(-90 {place})"'
        parts.append('<text x="{}" y="{}" {}>{}</text>'.format(*place.split(), turn, text))
    for i, row in enumerate(confusion):
        total = sum(row) or 1
        for j, count in enumerate(row):
            title = f"true {printable(names[i])}, predicted {printable(names[j])}: {count}"
            parts.append(_cell(side + j * size, head + i * size, size, count, count / total, i == j, title))
    w, h = side + k * size + 2, head + k * size + 2
    return (
        f'<svg class="matrix" viewBox="0 0 {w} {h}" style="max-width:{w}px" role="img" '
        f'aria-label="confusion matrix: rows true, columns predicted">{"".join(parts)}</svg>'
    )


def _cell(x: int, y: int, size: int, count: int, part: float, right: bool, title: str) -> str:
    if not count:
        return ""  # a hundred classes are ten thousand cells, nearly all of them empty
    # The square root lets rare mistakes be seen.
    kind, shade = "hit" if right else "miss", f' fill-opacity="{0.15 + 0.85 * math.sqrt(part):.2f}"'
    place = f'x="{x + 1}" y="{y + 1}" width="{size - 1}" height="{size - 1}"'
    drawn = f'<rect class="{kind}" {place}{shade}><title>{escape(title)}</title></rect>'
    if len(str(count)) * 7 + 4 <= size:
        ink = "strong" if part > 0.4 else "num"
        drawn += (
            f'<text class="{ink}" x="{x + size / 2:.1f}" y="{y + size / 2 + 4:.1f}" text-anchor="middle">{count}</text>'
        )
    return drawn


def fit(text: str, columns: float) -> str:
    """The text, shortened with an ellipsis to so many columns; empty where not even two characters fit.

    Example:
        >>> fit("fine-tune", 6), fit("한글 글자", 5), fit("head", 1)
        ('fine-…', '한글…', '')
    """
    text = printable(text)
    if width(text) <= columns:
        return text
    while text and width(text) + 1 > columns:
        text = text[:-1]
    return f"{text}…" if text else ""


STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2530; --soft: #667080; --rule: #e3e6ea; --pale: #f6f7f9;
  --blue: #2f6db5; --orange: #c8641b; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181d; --ink: #e4e7eb; --soft: #98a2b0; --rule: #2c323a;
  --pale: #1c2026; --blue: #4a8bd6; --orange: #d9772f; } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #555; --rule: #ccc; --pale: #f6f7f9;
  --blue: #2f6db5; --orange: #c8641b; } body { font-size: 12px; } main { padding: 0; max-width: none; }
  tr, figure, .headline, .matrix { break-inside: avoid; } h2 { break-after: avoid; }
  details::details-content { content-visibility: visible; height: auto; } }
* { box-sizing: border-box; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans KR", "Malgun Gothic", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
header p, .note, small { color: var(--soft); } header p { margin: .3rem 0 0; }
h2 { font-size: 1.05rem; margin: 2.6rem 0 .7rem; padding-top: .8rem; border-top: 1px solid var(--rule); }
.headline { display: flex; flex-wrap: wrap; align-items: center; gap: 0 1.2rem; margin: 1.6rem 0 .6rem; }
.headline p { margin: 0; } .big { font-size: 3.4rem; font-weight: 650; line-height: 1.15; letter-spacing: -.02em; }
dl { display: flex; flex-wrap: wrap; gap: .8rem 2.2rem; margin: 1rem 0 0; } dd { margin: 0; font-weight: 600; }
dt { color: var(--soft); font-size: .82rem; } dt::first-letter, th::first-letter { text-transform: uppercase; }
dd, .num { font-variant-numeric: tabular-nums; }
.big { white-space: nowrap; }
.wide { overflow-x: auto; } .wide + .wide { margin-top: 1.4rem; } table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .28rem 1.1rem .28rem 0; text-align: left; border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 500; } th.num, td.num { text-align: right; }
td.bar { min-width: 10.6rem; padding-left: 6.4rem; background-repeat: no-repeat; background-position: .9rem 50%;
  background-image: linear-gradient(var(--blue), var(--blue)), linear-gradient(var(--rule), var(--rule));
  background-size: calc(var(--part) * 5rem) .45rem, 5rem .45rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem 2rem;
  margin-bottom: 1rem; }
figure { margin: 0; } figcaption { font-size: .85rem; overflow-wrap: anywhere; }
.charts b { margin-right: .8rem; } .charts b::first-letter { text-transform: uppercase; }
figcaption span { color: var(--soft); margin-right: .8rem; }
figcaption span::before { content: ""; display: inline-block; width: 1.3em; margin-right: .35em; vertical-align: .25em;
  border-top: 2px solid var(--orange); } figcaption span.train::before { border-top: 2px dashed var(--blue); }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 11px; }
.rule { stroke: var(--rule); } .stage { stroke: var(--soft); stroke-dasharray: 2 3; } .band { fill: var(--pale); }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; } polyline.train { stroke-dasharray: 5 3; }
polyline.train { stroke: var(--blue); } polyline.val { stroke: var(--orange); }
circle.train { fill: var(--blue); } circle.val { fill: var(--orange); }
rect.hit { fill: var(--blue); } rect.miss { fill: var(--orange); } rect.none { fill: var(--pale); }
svg text.strong { fill: #fff; font-weight: 600; } .matrix text.num { fill: var(--ink); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1.2rem; }
.cards img, .blank { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--pale);
  border: 1px solid var(--rule); border-radius: 4px; margin-bottom: .4rem; } img.tiny { image-rendering: pixelated; }
pre { background: var(--pale); border: 1px solid var(--rule); border-radius: 4px; padding: .8rem 1rem; overflow-x: auto;
  font: .82rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "D2Coding", monospace; }
@media print { pre { white-space: pre-wrap; overflow-wrap: anywhere; } }
summary { cursor: pointer; color: var(--soft); } .missing { color: var(--orange); }
"""
