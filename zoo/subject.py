"""What an inspection looks at: a network, and a sample of data with targets numbered as the network's outputs are."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from . import network as networks
from . import registry
from .card import Card
from .data import Dataset, TakenColumns, is_table, open_data
from .data.targets import NoTargets
from .errors import SurgeryError
from .fitting_form import check_form
from .flattening import as_graph
from .input_form import InputForm
from .preparation import open_part
from .progress import Progress
from .run import Run
from .seeds import generator
from .sources.path import input_form_of
from .trained_as import TrainedAs, trained_as

NO_TARGETS = "there are no targets"


@dataclass(frozen=True)
class Subject:
    """A network with a sample.

    Attributes:
        name: What the network is called.
        model: The network.
        x: The sample's examples, an array or a structure of arrays.
        y: Their targets, likewise; ``None`` where there are none that fit.
        why: Why there are none.
        notes: What the user should know of the sample.
        rows: Where each example stands in the data.
        training: How the network was trained, where it is a run's.
    """

    name: str
    model: keras.Model
    x: Any
    y: Any = None
    why: str = NO_TARGETS
    notes: tuple[str, ...] = ()
    rows: np.ndarray | None = None
    training: TrainedAs = field(default_factory=TrainedAs)


def sample_rows(count: int, sample: int, seed: int) -> np.ndarray:
    """Some of ``count`` examples, chosen at random, in their order."""
    return np.sort(generator(seed, "sample").permutation(count)[:sample])


def subject(
    model: keras.Model | str | os.PathLike[str],
    data: Any,
    *,
    sample: int = 256,
    seed: int = 0,
    columns: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Subject:
    """A network and a sample of data, each by name.

    Args:
        model: A Keras model, a run folder, or anything that :func:`zoo.load` takes.
        data: Anything that :func:`zoo.open_data` takes. A run folder opens it as the run opened its own, and of what it
            was trained on takes the training side; of data that came split, the training side too.
        sample: How many examples.
        seed: Which ones.
        columns: The columns of a table, by :func:`zoo.open_data`'s names.
        progress: Told how far reading files is.

    Raises:
        ZooError: if there is no such network or data, or they do not fit together.
    """
    run = Run(model) if not isinstance(model, keras.Model) and (Path(model) / "recipe.toml").exists() else None
    card = None if isinstance(model, keras.Model) else run.card if run else registry.find(model)
    if card is not None and card.weights is None:
        what = f"'{card.full_name}' is an architecture without weights: there is nothing to inspect."
        raise SurgeryError(what, fix="Train it first, or build it and give the model to zoo.inspect.")
    network = model if isinstance(model, keras.Model) else networks.load(card or model)
    opened = _opened(run, data, columns or {}, progress)
    shapes = network if getattr(network, "inputs", None) else as_graph(network)
    form = _form(card, shapes)
    check_form(form, opened)
    side, note = _training_side(run, opened)
    rows = side[sample_rows(len(side), sample, seed)]
    y, why = _targets(opened, rows, card, shapes)
    name = card.full_name if card else network.name
    training = trained_as(run, network) if run else TrainedAs()
    notes = (*opened.notes, *note, *([training.note] if training.note else []))
    return Subject(name, network, opened.batch(rows, form), y, why, notes, rows, training)


def _opened(run: Run | None, data: Any, columns: Mapping[str, Any], progress: Progress | None) -> Dataset:
    step = (lambda done, total: progress.step("reading", done, total, "files")) if progress else None
    if run is None or not isinstance(data, (str, os.PathLike)):
        return open_data(data, step=step, **columns)
    part = replace(run.recipe.data, path=os.fspath(data))
    part = replace(part, **columns) if is_table(data) else replace(part, **vars(TakenColumns()))
    try:
        return open_part(part, step=step)
    except NoTargets:
        return open_part(replace(part, target="none"), step=step)


def _form(card: Card | None, network: keras.Model) -> InputForm:
    if card is not None and card.input is not None:
        return card.input
    inputs = network.inputs
    if len(inputs) != 1:
        what = f"The network '{network.name}' takes {len(inputs)} inputs, and data by name has one."
        raise SurgeryError(what, fix="Give the arrays: zoo.inspect(model, [x1, x2], y).")
    return input_form_of(network.name, list(inputs[0].shape[1:]), str(inputs[0].dtype))


def _training_side(run: Run | None, data: Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """The examples to choose from: those of a training side, where one is known."""
    sides = data.sides
    if run is not None:
        sides = tuple(run.sides.get(digest) for digest in data.digests)  # pyright: ignore[reportAssignmentType]
    if sides is None or "train" not in sides:
        return np.arange(len(data)), ()
    rows = np.array([i for i, side in enumerate(sides) if side == "train"])
    return rows, (f"of the training side, {len(rows)} of {len(data)} examples",)


def _targets(data: Dataset, rows: np.ndarray, card: Card | None, network: keras.Model) -> tuple[Any, str]:
    """The targets, numbered as the network's outputs; or why there are none."""
    target, labels = data.target, card.labels if card else ()
    values, outputs = target.values[rows], network.outputs[0].shape[-1]
    if target.kind == "none":
        return None, NO_TARGETS
    if not labels:
        fits = target.size == outputs or (target.kind == "classes" and target.size == 2 and outputs == 1)
        return (
            (values, "") if fits else (None, f"the data has {target.size} {target.kind}, the network {outputs} outputs")
        )
    foreign = [name for name in target.names if name not in labels]
    if foreign or (target.kind == "numbers" and target.size != len(labels)):
        listed = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        return None, f"the network does not know the data's {target.kind}{f' {listed}' if listed else ''}"
    places = np.array([labels.index(name) for name in target.names])
    if target.kind == "classes":
        return places[values], ""
    whole = np.zeros((len(rows), len(labels)), "float32")
    whole[:, places] = values
    return whole, ""
