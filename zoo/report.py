"""A run as one page: ``report.html``, written from the files of a run folder alone.

The page is self-contained: inline CSS and SVG, images as data, no JavaScript, no outside address. The same folder gives
the same bytes.
"""

import base64
import csv
import io
import json
import math
import os
import secrets
import tomllib
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.errors import DataError, RunError
from zoo.metrics import confused_pairs, mistake, number, percent, printable
from zoo.report_charts import STYLE, Curve, curves, heat_map

THUMBNAIL = 192
NOT_CURVES = ("stage", "epoch", "learning_rate", "seconds")


def write_report(folder: Path, *, thumbnails: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write ``report.html`` into a run folder.

    It is made from ``recipe.toml``, ``recipe.lock``, ``plan.txt``, ``history.csv`` and ``metrics.json``. Where one of
    them is missing or unreadable, its section says so. The file appears only when it is complete; an older one is
    replaced.

    Args:
        folder: The run folder.
        thumbnails: Images for the worst mistakes, by the example's name: uint8, ``(h, w)`` or ``(h, w, c)`` with 1, 3
            or 4 channels. Large ones are reduced, tiny ones shown enlarged with sharp pixels.

    Returns:
        The path of the report.

    Raises:
        RunError: The folder is not there, or cannot be written.
        DataError: A thumbnail is not an image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "plan.txt").write_text("block1  frozen")
        ...     page = write_report(Path(folder)).read_text(encoding="utf-8")
        >>> "block1  frozen" in page, "metrics.json is missing" in page
        (True, True)
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = f"There is no run folder {folder}."
        raise RunError(what, fix="Name the folder that --out named when the run was made.")
    page = _page(folder, {name: _data_uri(name, image) for name, image in (thumbnails or {}).items()})
    path = folder / "report.html"
    temporary = folder / f".report.html.{secrets.token_hex(4)}"
    try:
        try:
            with temporary.open("xb") as file:
                file.write(page.encode("utf-8", errors="replace"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        what = f"The report {path} cannot be written: {error.strerror}."
        raise RunError(what, fix="Check the folder's permissions and the space on its disk.") from error
    return path


class _Unusable(Exception):
    """A file of the run folder that is missing or unreadable: its section says so."""


def _page(folder: Path, pictures: Mapping[str, str]) -> str:
    sections: list[tuple[str, Callable[[], str]]] = [
        ("", lambda: _headline(_metrics(folder))),
        ("Learning curves", lambda: _history(folder)),
        ("Breakdown", lambda: _per(_metrics(folder))),
        ("Confusion matrix", lambda: _confusion(_metrics(folder))),
        ("Worst mistakes", lambda: _worst(_metrics(folder), pictures)),
        ("Freeze plan", lambda: _pre(_read(folder, "plan.txt"))),
        ("Recipe", lambda: _pre(_read(folder, "recipe.toml"))),
        ("Environment", lambda: _details(_read(folder, "recipe.lock"))),
    ]
    title = _title(folder)
    body = [f"<header><h1>{_text(title)}</h1><p>zoo run <code>{_text(folder.resolve().name)}</code></p></header>"]
    for name, build in sections:
        try:
            inside = build()
        except _Unusable as reason:
            inside = f'<p class="missing">{_text(str(reason))}</p>'
        if inside:
            body.append(f"<section>{f'<h2>{name}</h2>' if name else ''}{inside}</section>")
    return PAGE.format(title=_text(title), style=STYLE, body="\n".join(body))


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        what = f"{name} is missing from the run folder."
        raise _Unusable(what) from error
    except (OSError, UnicodeDecodeError) as error:
        what = f"{name} cannot be read: {error}."
        raise _Unusable(what) from error


def _metrics(folder: Path) -> dict[str, Any]:
    try:
        metrics = json.loads(_read(folder, "metrics.json"))
    except json.JSONDecodeError as error:
        what = f"metrics.json is not JSON: {error}."
        raise _Unusable(what) from error
    if not isinstance(metrics, dict):
        what = "metrics.json does not hold a table of figures."
        raise _Unusable(what)
    return metrics


def _main(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for key, name in (("test", "test"), ("val", "validation")):
        if (metrics.get(key) or {}).get("examples"):
            return name, metrics[key]
    what = "metrics.json holds no figures for test or validation examples."
    raise _Unusable(what)


def _title(folder: Path) -> str:
    try:
        recipe = tomllib.loads(_read(folder, "recipe.toml"))
        return f"{recipe['model']['name']} on {recipe['data']['path']}"
    except (_Unusable, tomllib.TOMLDecodeError, KeyError, TypeError):
        return folder.resolve().name


def _headline(metrics: Mapping[str, Any]) -> str:
    name, figures = _main(metrics)
    n = figures["examples"]
    if "accuracy" in figures or "exact_match" in figures:
        key = "accuracy" if "accuracy" in figures else "exact_match"
        low, high = _wilson(figures[key], n)
        big, note = percent(figures[key]), f"95 % interval {percent(low)} to {percent(high)}"
    else:
        key = "rmse"
        big, note = number(figures[key]), "root mean squared error"
    facts = [(k, number(v)) for k, v in figures.items() if k not in ("examples", key) and not isinstance(v, list)]
    if name == "test" and (metrics.get("val") or {}).get(key) is not None:
        value = metrics["val"][key]
        facts.append((f"{key}, validation", number(value) if key == "rmse" else percent(value)))
    if metrics.get("seconds") is not None:
        facts.append(("time", _duration(metrics["seconds"])))
    items = "".join(f"<div><dt>{_text(_words(k))}</dt><dd>{_text(v)}</dd></div>" for k, v in facts)
    what = f"{_words(key)} on {n:,} {name} example{'s' * (n != 1)}<br><small>{note}</small>"
    return f'<div class="headline"><p class="big">{big}</p><p>{what}</p></div><dl>{items}</dl>'


def _wilson(part: float, n: int, z: float = 1.96) -> tuple[float, float]:
    # Wilson (1927): unlike the normal interval, right for few examples and for 100 %.
    middle, half = part + z * z / (2 * n), z * math.sqrt(part * (1 - part) / n + z * z / (4 * n * n))
    return max((middle - half) / (1 + z * z / n), 0.0), min((middle + half) / (1 + z * z / n), 1.0)


def _history(folder: Path) -> str:
    try:
        rows = list(csv.DictReader(io.StringIO(_read(folder, "history.csv"))))
    except csv.Error as error:
        what = f"history.csv cannot be read: {error}."
        raise _Unusable(what) from error
    if not rows:
        what = "history.csv holds no epochs."
        raise _Unusable(what)
    stages = [(name, len(list(group))) for name, group in groupby(row.get("stage") or "" for row in rows)]
    keys = [key for key in rows[0] if key and key not in NOT_CURVES and not key.startswith("val_")]
    figures = []
    for key in keys:
        lines = [Curve("train", [_value(row.get(key)) for row in rows])]
        lines.append(Curve("val", [_value(row.get(f"val_{key}")) for row in rows]))
        lines = [line for line in lines if any(v is not None for v in line.values)]
        if lines:
            legend = " ".join(f'<span class="{x.role}">{ROLES[x.role]}</span>' for x in lines)
            title = f"<b>{_text(_words(key))}</b> {legend}"
            figures.append(f"<figure><figcaption>{title}</figcaption>{curves(key, lines, stages)}</figure>")
    return f'<div class="charts">{"".join(figures)}</div>{_stages(folder)}'


def _stages(folder: Path) -> str:
    try:
        stages = _metrics(folder).get("stages") or []
    except _Unusable:
        return ""  # the headline says so already
    rows = [[s["name"], str(s["epochs"]), _duration(s["seconds"])] for s in stages]
    return _table(["stage", "epochs", "time"], rows) if rows else ""


def _value(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if abs(value) < 1e100 else None  # neither NaN nor infinity


def _per(metrics: Mapping[str, Any]) -> str:
    _, figures = _main(metrics)
    for key in ("per_class", "per_label", "per_column"):
        if rows := figures.get(key):
            heads = [key.removeprefix("per_"), *list(rows[0])[1:]]
            bars = ("precision", "recall", "f1")
            return _table(heads, [[row["name"], *map(number, list(row.values())[1:])] for row in rows], bars)
    return ""


def _confusion(metrics: Mapping[str, Any]) -> str:
    _, figures = _main(metrics)
    if "confusion" not in figures:
        return ""
    names = [row["name"] for row in figures["per_class"]]
    drawn = heat_map(figures["confusion"], names)
    note = '<p class="note">Rows are the true classes, columns the predicted ones; shades are parts of the row.</p>'
    parts = [note, f'<div class="wide">{drawn}</div>'] if drawn else []
    if len(names) > 10 and (pairs := confused_pairs(figures)):
        parts.append(_table(["true", "predicted", "times"], [[t, p, str(n)] for t, p, n in pairs], words=2))
    return "".join(parts)


def _worst(metrics: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    _, figures = _main(metrics)
    rows = figures.get("worst") or []
    if not rows:
        return '<p class="note">None.</p>'
    if not any(row["name"] in pictures for row in rows):
        return _table(["example", "true", "predicted", ""], [[row["name"], *mistake(row)] for row in rows], words=4)
    cards = []
    for row in rows:
        true, predicted, detail = map(_text, mistake(row))
        image = pictures.get(row["name"], '<div class="blank"></div>')
        words = f"predicted <b>{predicted}</b>, true <b>{true}</b><br><small>{detail}<br>{_text(row['name'])}</small>"
        cards.append(f"<figure>{image}<figcaption>{words}</figcaption></figure>")
    return f'<div class="cards">{"".join(cards)}</div>'


def _data_uri(name: str, image: np.ndarray) -> str:
    image = np.asarray(image)
    form = image.shape[2:] in ((), (1,), (3,), (4,)) and image.ndim in (2, 3) and image.size > 0
    if image.dtype != np.uint8 or not form:
        what, received = f"The thumbnail of {name!r} is not an image.", f"{image.dtype} {image.shape}"
        raise DataError(what, expected="uint8 (h, w) or (h, w, 1, 3 or 4 channels)", received=received)
    picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    tiny = max(picture.size) < THUMBNAIL // 3
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, format="PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img class="{"tiny" if tiny else ""}" alt="{_text(name)}" src="data:image/png;base64,{data}">'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], bars: Sequence[str] = (), words: int = 1) -> str:
    def cell(tag: str, j: int, text: str) -> str:
        kind, style = ("" if j < words else "num"), ""
        if tag == "td" and heads[j] in bars and text != "–":
            kind, style = "num bar", f' style="--part:{float(text):.3f}"'
        return f'<{tag} class="{kind}"{style}>{_text(text)}</{tag}>'

    def line(tag: str, row: Sequence[str]) -> str:
        return f"<tr>{''.join(cell(tag, j, text) for j, text in enumerate(row))}</tr>"

    head, body = line("th", list(map(_words, heads))), "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _pre(text: str) -> str:
    lines = "\n".join(map(_text, text.expandtabs(4).splitlines()))
    return f"<pre>{lines}</pre>"


def _details(text: str) -> str:
    return f"<details><summary>recipe.lock</summary>{_pre(text)}</details>"


def _text(text: str) -> str:
    return escape(printable(text))


def _words(key: str) -> str:
    known = {"r2": "R²", "f1": "F1", "macro_f1": "macro F1", "micro_f1": "micro F1"}
    return known.get(key, key.upper() if key in ("mse", "mae", "rmse") else key.replace("_", " "))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


ROLES = {"train": "training", "val": "validation"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main>
{body}
</main></body></html>
"""
