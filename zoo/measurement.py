"""Measuring a network on data: what training, evaluation and the command line all say of a result."""

import math
from typing import Any

import keras
import numpy as np

from . import engine
from .data import Dataset
from .input_form import InputForm
from .metrics import measure
from .progress import Progress


def reader(data: Dataset, indices: np.ndarray, form: InputForm) -> engine.Read:
    """Reads some of a data set's examples, counted from 0, as a network takes them."""
    return lambda positions: data.batch(indices[positions], form)


def figures_of(
    network: keras.Model, data: Dataset, indices: np.ndarray, read: engine.Read, progress: Progress
) -> dict[str, Any]:
    """The figures of a network on some examples of a data set, which ``read`` gives as it takes them."""
    step = lambda done, total: progress.step("evaluating", done, total, "examples")  # noqa: E731
    results = engine.outputs(network, read, len(indices), step=step)[0]
    names = [data.name_of(int(i)) for i in indices]
    return measure(data.target, data.target.values[indices], results, names=names)


def headline_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of a side that are single numbers worth quoting; those that are undefined are left out."""
    keys = ("examples", "loss", "accuracy", "balanced_accuracy", "micro_f1", "mae", "rmse", "r2")
    return {key: figures[key] for key in keys if figures.get(key) is not None and math.isfinite(figures[key])}


def headline(metrics: dict[str, Any], side: str = "test") -> str:
    """One line on how good a result is."""
    figures = metrics.get(side)
    if not figures:
        return f"no {side} examples"
    for key in ("accuracy", "micro_f1", "rmse"):
        if key in figures:
            value = figures[key]
            shown = "undefined" if value is None else f"{value:.4f}"
            return f"{side} {key.replace('_', ' ')} {shown} on {figures['examples']} examples"
    return f"{side} loss {figures['loss']:.4f} on {figures['examples']} examples"
