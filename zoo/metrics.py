"""How good a network's outputs are: the figures of ``metrics.json``, and their form on a terminal.

NumPy only. Sums are exact (`math.fsum`), so that the order of the examples never decides a bit of a figure.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.data.dataset import Target
from zoo.errors import DataError

Figures = dict[str, Any]
CLIP = 1e-7
MATRIX_LIMIT = 30


def measure(
    target: Target, truth: np.ndarray, outputs: np.ndarray, *, names: Sequence[str], worst: int = 20
) -> Figures:
    """Compare a network's outputs with the truth.

    With the hits h, the support s (how often a class is true) and p (how often it is predicted), precision is h/p,
    recall is h/s, and F1 is 2h/(s + p). A figure whose denominator is 0 is ``None``, never 0: the precision of a class
    that was never predicted, the recall of one that does not occur, the F1 of one that is neither. Means leave ``None``
    out.

    What is returned besides ``examples`` and ``loss``, by the target's kind:

    - ``classes``: ``loss`` is the mean cross-entropy (natural logarithm). ``accuracy``; ``balanced_accuracy``, the mean
      recall of the classes that occur; ``macro_f1``; ``per_class``; ``confusion``, rows true, columns predicted. The
      prediction is the most probable class, the first one of several.
    - ``labels``: ``loss`` is the binary cross-entropy, averaged over examples and labels. ``exact_match``, the part of
      the examples with every label right; ``micro_f1``, of all labels pooled; ``macro_f1``; ``per_label``. A label is
      predicted where its probability is greater than 0.5.
    - ``numbers``: ``loss`` and ``mse``, ``mae``, ``rmse``, ``r2``, and the same for each column in ``per_column``. R²
      is 1 - (squared errors)/(squared deviations from the mean), ``None`` for a column that does not vary; overall it
      is the columns' mean, while the others are over all values.

    ``worst`` lists only mistakes: for classes the most confident first, for labels those with the greatest loss, for
    numbers the greatest absolute errors in units of their column's standard deviation. Equals keep their order.

    Args:
        target: What was to be predicted; its kind and names are used, its values are not.
        truth: The rows of ``target.values`` that the outputs answer: ``(n,)`` for classes, else ``(n, k)``.
        outputs: ``(n, k)``: probabilities for classes (softmax) and labels (sigmoid), else numbers. In logarithms,
            probabilities less than 1e-7 count as 1e-7.
        names: How the n examples are called in ``worst``.
        worst: The most mistakes to list.

    Returns:
        Plain Python values, ready for JSON. Without examples there is nothing to measure: ``{"examples": 0}``.

    Raises:
        DataError: The data has no targets, or shapes, classes or values are not what they must be.

    Example:
        >>> target = Target("classes", ("cat", "dog"), np.array([0, 1, 1]))
        >>> outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        >>> figures = measure(target, target.values, outputs, names=["a.png", "b.png", "c.png"])
        >>> figures["confusion"], figures["balanced_accuracy"], round(figures["accuracy"], 4)
        ([[1, 0], [1, 1]], 0.75, 0.6667)
        >>> figures["worst"]
        [{'name': 'c.png', 'true': 'dog', 'predicted': 'cat', 'probability': 0.7, 'true_probability': 0.3}]
    """
    if target.kind == "none":
        what = "The data has no targets, so there is nothing to measure the outputs against."
        raise DataError(what, fix="Give data with class folders or a target column, or use `zoo predict`.")
    truth, outputs = np.asarray(truth), np.asarray(outputs, dtype=np.float64)
    if len(truth) == len(outputs) == len(names) == 0:
        return {"examples": 0}
    _check(target, truth, outputs, len(names))
    kinds = {"classes": _classes, "labels": _labels, "numbers": _numbers}
    return {"examples": len(names), **kinds[target.kind](target, truth, outputs, names, max(worst, 0))}


def _check(target: Target, truth: np.ndarray, outputs: np.ndarray, n: int) -> None:
    k = target.size
    shape = (n,) if target.kind == "classes" else (n, k)
    for what, expected, received in (("truth", shape, truth.shape), ("outputs", (n, k), outputs.shape)):
        if received != expected:
            text = f"The {what} cannot be measured for {n} named examples with {k} outputs each."
            raise DataError(text, expected=f"the shape {expected}", received=f"{received}")
    if not np.isfinite(outputs).all():
        bad = int((~np.isfinite(outputs)).any(axis=1).sum())
        what, fix = "The network's outputs are not all finite: training diverged.", "Lower the learning rate."
        raise DataError(what, expected="finite numbers", received=f"NaN or infinity for {bad} of {n} examples", fix=fix)
    if target.kind == "classes" and not (np.issubdtype(truth.dtype, np.integer) and ((truth >= 0) & (truth < k)).all()):
        what, received = "The truth is not class numbers.", f"{truth.dtype} from {truth.min()} to {truth.max()}"
        raise DataError(what, expected=f"integers from 0 to {k - 1}", received=received)
    if target.kind == "labels" and not np.isin(truth, (0, 1)).all():
        what, received = "The truth of several labels is not yes or no.", f"{truth[~np.isin(truth, (0, 1))][0]}"
        raise DataError(what, expected="0 and 1 only", received=received)
    if target.kind == "numbers" and not np.isfinite(truth.astype(np.float64)).all():
        what = "The true numbers are not all finite."
        raise DataError(what, fix="Remove the rows with NaN or infinity.")
    if target.kind != "numbers":
        _check_probabilities(target, outputs)


def _check_probabilities(target: Target, outputs: np.ndarray) -> None:
    # Loose enough for sums of float16; tight enough for logits, which would give a plausible but wrong loss.
    expected, received = "probabilities from 0 to 1", f"values from {outputs.min():g} to {outputs.max():g}"
    wrong = outputs.min() < -1e-3 or outputs.max() > 1 + 1e-3
    if not wrong and target.kind == "classes":
        sums = outputs.sum(axis=1)
        wrong = abs(sums - 1).max() > 0.05
        expected, received = "rows that sum to 1", f"sums from {sums.min():g} to {sums.max():g}"
    if wrong:
        end = "a softmax" if target.kind == "classes" else "a sigmoid"
        fix = f"Let the network end with {end}; it may end with logits."
        what = "The network's outputs are not probabilities."
        raise DataError(what, expected=expected, received=received, fix=fix)


def _classes(target: Target, truth: np.ndarray, outputs: np.ndarray, names: Sequence[str], worst: int) -> Figures:
    k, rows = target.size, np.arange(len(truth))
    predicted = outputs.argmax(axis=1)
    confusion = np.bincount(truth.astype(np.int64) * k + predicted, minlength=k * k).reshape(k, k)
    per_class = _scores(target.names, np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0))
    wrong = np.flatnonzero(predicted != truth)
    order = wrong[np.argsort(-outputs[wrong, predicted[wrong]], kind="stable")][:worst]
    return {
        "loss": _mean(-np.log(np.maximum(outputs[rows, truth], CLIP))),
        "accuracy": _ratio(int(np.trace(confusion)), len(truth)),
        "balanced_accuracy": _mean(row["recall"] for row in per_class),
        "macro_f1": _mean(row["f1"] for row in per_class),
        "per_class": per_class,
        "confusion": confusion.tolist(),
        "worst": [
            {
                "name": names[i],
                "true": target.names[truth[i]],
                "predicted": target.names[predicted[i]],
                "probability": float(outputs[i, predicted[i]]),
                "true_probability": float(outputs[i, truth[i]]),
            }
            for i in order.tolist()
        ],
    }


def _labels(target: Target, truth: np.ndarray, outputs: np.ndarray, names: Sequence[str], worst: int) -> Figures:
    true, predicted = truth == 1, outputs > 0.5
    loss = -np.log(np.maximum(np.where(true, outputs, 1 - outputs), CLIP))
    hits, support, claims = (x.sum(axis=0) for x in (true & predicted, true, predicted))
    per_label = _scores(target.names, hits, support, claims)
    right = (true == predicted).all(axis=1)
    wrong = np.flatnonzero(~right)
    order = wrong[np.argsort(-loss[wrong].mean(axis=1), kind="stable")][:worst]

    def spell(row: np.ndarray) -> list[str]:
        return [name for name, yes in zip(target.names, row.tolist(), strict=True) if yes]

    return {
        "loss": _mean(loss.ravel()),
        "exact_match": _ratio(int(right.sum()), len(truth)),
        "micro_f1": _ratio(2 * int(hits.sum()), int(support.sum() + claims.sum())),
        "macro_f1": _mean(row["f1"] for row in per_label),
        "per_label": per_label,
        "worst": [
            {"name": names[i], "true": spell(true[i]), "predicted": spell(predicted[i]), "loss": _mean(loss[i])}
            for i in order.tolist()
        ],
    }


def _numbers(target: Target, truth: np.ndarray, outputs: np.ndarray, names: Sequence[str], worst: int) -> Figures:
    truth = truth.astype(np.float64)
    error = outputs - truth
    deviation = truth.std(axis=0)
    # Not the deviation alone: a constant's mean may be rounded. Its square: it may underflow.
    varies = (truth.max(axis=0) > truth.min(axis=0)) & (deviation**2 > 0)
    spread = np.where(varies, deviation, 1.0)
    columns = [
        {"name": name, **_errors(error[:, j]), "r2": _r2(truth[:, j], error[:, j]) if varies[j] else None}
        for j, name in enumerate(target.names)
    ]
    scaled = abs(error) / spread
    column, most = scaled.argmax(axis=1), scaled.max(axis=1)
    order = [i for i in np.argsort(-most, kind="stable").tolist() if most[i] > 0][:worst]
    overall = _errors(error.ravel())
    return {
        "loss": overall["mse"],
        **overall,
        "r2": _mean(row["r2"] for row in columns),
        "per_column": columns,
        "worst": [
            {
                "name": names[i],
                "column": target.names[j],
                "true": float(truth[i, j]),
                "predicted": float(outputs[i, j]),
                "error": float(error[i, j]),
                "scaled_error": float(scaled[i, j]),
            }
            for i, j in ((i, int(column[i])) for i in order)
        ],
    }


def _errors(error: np.ndarray) -> dict[str, float]:
    mse = math.fsum((error**2).tolist()) / error.size
    return {"mse": mse, "mae": math.fsum(abs(error).tolist()) / error.size, "rmse": math.sqrt(mse)}


def _r2(truth: np.ndarray, error: np.ndarray) -> float:
    mean = math.fsum(truth.tolist()) / truth.size
    return 1 - math.fsum((error**2).tolist()) / math.fsum(((truth - mean) ** 2).tolist())


def _scores(names: Sequence[str], hits: np.ndarray, support: np.ndarray, claims: np.ndarray) -> list[dict[str, Any]]:
    counts = zip(names, hits.tolist(), support.tolist(), claims.tolist(), strict=True)
    return [
        {"name": name, "precision": _ratio(h, p), "recall": _ratio(h, s), "f1": _ratio(2 * h, s + p), "support": s}
        for name, h, s, p in counts
    ]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def confused_pairs(metrics: Mapping[str, Any], most: int = 15) -> list[tuple[str, str, int]]:
    """The pairs of classes confused most often: (true, predicted, how often).

    Args:
        metrics: What `measure` returned for classes.
        most: The most pairs to list.

    Returns:
        The pairs that occur, most frequent first, equals in the order of the classes.

    Example:
        >>> confused_pairs({"per_class": [{"name": "cat"}, {"name": "dog"}], "confusion": [[9, 1], [3, 7]]})
        [('dog', 'cat', 3), ('cat', 'dog', 1)]
    """
    names = [row["name"] for row in metrics["per_class"]]
    pairs = [
        (names[i], names[j], count)
        for i, row in enumerate(metrics["confusion"])
        for j, count in enumerate(row)
        if count and i != j
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


def mistake(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Put one entry of ``worst`` into words: what was true, what was predicted, and how far off that is.

    Example:
        >>> mistake({"name": "a", "true": "cat", "predicted": "dog", "probability": 0.98, "true_probability": 0.01})
        ('cat', 'dog', '98.0 % sure, 1.0 % for the true class')
    """
    if "probability" in row:
        sure = f"{percent(row['probability'])} sure, {percent(row['true_probability'])} for the true class"
        return row["true"], row["predicted"], sure
    if "column" in row:
        text = f"{row['column']}: off by {row['error']:+.4g}, {row['scaled_error']:.2g} standard deviations"
        return f"{row['true']:.4g}", f"{row['predicted']:.4g}", text
    return ", ".join(row["true"]) or "none", ", ".join(row["predicted"]) or "none", f"loss {row['loss']:.3g}"


def table(metrics: Mapping[str, Any]) -> str:
    """Lay out the figures for a terminal: overall, per class, the confusion matrix, the worst mistakes.

    Korean, Chinese and Japanese characters count as two columns. Above 30 classes, the pairs confused most often stand
    in for the matrix.

    Args:
        metrics: What `measure` returned, or the same read back from JSON.

    Returns:
        Lines without a final line break.

    Example:
        >>> target = Target("classes", ("가", "dog"), np.array([0, 1]))
        >>> outputs = np.array([[0.9, 0.1], [0.3, 0.7]])
        >>> print(table(measure(target, target.values, outputs, names=["a", "b"])))
        2 examples  loss 0.231  accuracy 1.000  balanced accuracy 1.000  macro f1 1.000
        <BLANKLINE>
        class  precision  recall     f1  support
        가         1.000   1.000  1.000        1
        dog        1.000   1.000  1.000        1
        <BLANKLINE>
        true \\ predicted  가  dog
        가                 1    ·
        dog                ·    1
    """
    if not metrics["examples"]:
        return "0 examples: nothing was measured."
    figures = [(key.replace("_", " "), value) for key, value in metrics.items() if not isinstance(value, list)]
    count = figures.pop(0)[1]
    first = [f"{count} example{'s' * (count != 1)}", *(f"{key} {number(value)}" for key, value in figures)]
    parts = ["  ".join(first)]
    for key in ("per_class", "per_label", "per_column"):
        if metrics.get(key):
            heads = [key.removeprefix("per_"), *list(metrics[key][0])[1:]]
            parts.append(_grid(heads, [[row["name"], *map(number, list(row.values())[1:])] for row in metrics[key]]))
    if "confusion" in metrics:
        parts.append(_confusion(metrics))
    if metrics["worst"]:
        rows = [[row["name"], *mistake(row)] for row in metrics["worst"]]
        parts.append(_grid(["worst mistakes", "true", "predicted", ""], rows, left=4))
    return "\n\n".join(part for part in parts if part)


def _confusion(metrics: Mapping[str, Any]) -> str:
    names = [row["name"] for row in metrics["per_class"]]
    if len(names) > MATRIX_LIMIT:
        pairs = [[true, predicted, str(count)] for true, predicted, count in confused_pairs(metrics)]
        return _grid(["true", "predicted", "most confused"], pairs, left=2) if pairs else ""
    short = max(width(name) for name in names) <= 3
    heads = names if short else [str(i) for i in range(len(names))]
    sides = names if short else [f"{i} {name}" for i, name in enumerate(names)]
    rows = [[side, *(str(x) if x else "·" for x in row)] for side, row in zip(sides, metrics["confusion"], strict=True)]
    return _grid(["true \\ predicted", *heads], rows)


def number(value: float | int | None) -> str:
    """Three decimals; more where they would hide the number; a dash for ``None``.

    Example:
        >>> [number(x) for x in (None, 12, 0.5, 0.00012, 123456.7)]
        ['–', '12', '0.500', '0.00012', '1.235e+05']
    """
    if value is None or isinstance(value, int):
        return "–" if value is None else str(value)
    return f"{value:.3f}" if value == 0 or 1e-2 <= abs(value) < 1e4 else f"{value:.4g}"


def percent(part: float) -> str:
    """A part of 1 in percent.

    Example:
        >>> percent(0.98765)
        '98.8 %'
    """
    return f"{100 * part:.1f} %"


def printable(text: str) -> str:
    """The text with composed characters, and without any that a terminal or a page could not show.

    File names from macOS hold Korean syllables decomposed; file names may also hold line breaks, escape codes, and
    bytes that are not UTF-8.

    Example:
        >>> printable("a\\x1b[31m\\udcff")
        'a�[31m�'
    """
    return "".join(c if c.isprintable() else "�" for c in unicodedata.normalize("NFC", text))


def width(text: str) -> int:
    """The columns that a printable text takes on a terminal.

    Example:
        >>> width("한글 abc")
        8
    """
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    cells = [[_shorten(printable(cell)) for cell in row] for row in (heads, *rows)]
    widths = [max(width(row[j]) for row in cells) for j in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        gaps = [" " * (w - width(cell)) for w, cell in zip(widths, row, strict=True)]
        padded = [cell + gap if j < left else gap + cell for j, (cell, gap) in enumerate(zip(row, gaps, strict=True))]
        return "  ".join(padded).rstrip()

    return "\n".join(map(line, cells))


def _shorten(text: str, limit: int = 48) -> str:
    # The middle goes: a path's folder and its file's name are worth most.
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2 - 1]}…{text[-limit // 2 :]}"
