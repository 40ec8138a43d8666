"""What a network's lower layers give for a data set: for a head of your own, scikit-learn, or any Keras model."""

import os
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from . import registry
from .boundary import boundary
from .byte_size import size_of
from .caching import FeatureSettings
from .data import DECODER, Dataset, open_data
from .data.dataset import Target
from .device import prepare
from .errors import CacheError, DataError, SurgeryError, close_matches
from .feature_dataset import FeatureDataset
from .feature_store import FeatureStore
from .features import BUDGET, Features
from .fitting_form import check_form
from .flattening import as_graph, flat
from .graph import calls, operations
from .input_form import InputForm
from .measurement import reader
from .network import load
from .progress import Progress
from .side import Side
from .sources.path import input_form_of
from .surgery import default_cut, drop_above
from .trunk_options import CACHES, ENGINES, FEATURE_DTYPES, TRUNK_PRECISIONS
from .trunk_rows import trunk_rows


@dataclass(frozen=True)
class Extracted:
    """What a network's lower layers give for every example of a data set, in its order.

    Attributes:
        features: The features: ``.rows(indices)``, ``.arrays(budget)``; on the disk where they take more memory than
            they may.
        target: What the examples stand for, as the data set says.
        names: How each example is named: a file, or ``row 17``.
        cut: The layer whose output they are.
        facts: Engine, precision, batch, and the key that they are known by.
    """

    features: Features
    target: Target
    names: tuple[str, ...] = field(repr=False)
    cut: str
    facts: dict[str, Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def x(self) -> Any:
        """All features in memory: an array ``(examples, ...)``, or a list of them where the cut gives several."""
        arrays = self.features.arrays()
        return arrays[0] if len(arrays) == 1 else arrays

    @property
    def y(self) -> np.ndarray:
        """The targets: class numbers ``(examples,)``, or ``(examples, outputs)`` of labels and numbers."""
        return self.target.values

    def dataset(self, batch_size: int, *, seed: int | None = None) -> FeatureDataset:
        """Batches of features and targets for ``fit`` of any Keras model; memory does not grow with the examples.

        Args:
            batch_size: The examples of a batch.
            seed: Whence each epoch's order follows; by default the order stays that of the examples.
        """
        return self.features.dataset(self.y, batch_size, seed=seed)


def extract(
    network: str | os.PathLike[str] | keras.Model,
    data: Any,
    *,
    cut: str | None = None,
    engine: str = "auto",
    precision: str = "float32",
    dtype: str = "float32",
    cache: str = "disk",
    cache_size: str | None = None,
    memory: int = BUDGET,
    threads: int = 0,
    device: str = "auto",
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Extracted:
    """Computes what a network's lower layers give for a data set, and keeps it: the next time it is only read.

    Fine-tuning the same network with everything below ``cut`` frozen finds these features in the cache, and the other
    way round.

    Args:
        network: A name that ``zoo list`` shows, a path, or a ``keras.Model``.
        data: A built-in name, a path (folder, ``.csv``, ``.npz``), a data set, or ``(x, y)``.
        cut: The layer whose output is wanted; by default the one below the classifier.
        engine: What runs the network: ``auto``, ``keras``, ``tensorflow`` or ``openvino``.
        precision: What it computes in: ``float32`` or ``bfloat16``.
        dtype: What is kept: ``float32`` or ``float16``.
        cache: ``disk`` keeps the features under ``ZOO_HOME``; ``run`` and ``none`` keep nothing there.
        cache_size: What the cache may take, such as ``20GB``; by default a tenth of its disk.
        memory: The bytes of features that may be held in memory; what is more is read from the disk.
        threads: CPU threads; 0 for as many as the machine has, up to 8.
        device: ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
        skip_bad: Whether to leave out files that cannot be read.
        progress: Where lines go; by default to standard error.

    Returns:
        The features, with the targets.

    Raises:
        ZooError: if network, data or an argument do not fit, or the features cannot be kept.

    Example:
        >>> import zoo
        >>> found = zoo.extract("glyphs", "digits")
        >>> found.x.shape, found.y.shape, found.cut
        ((1797, 384), (1797,), 'features')
    """
    _check("engine", engine, ENGINES)
    _check("precision", precision, TRUNK_PRECISIONS)
    _check("dtype", dtype, FEATURE_DTYPES)
    _check("cache", cache, CACHES)
    size = None if cache_size is None else size_of(cache_size)
    if cache_size is not None and size is None:
        what = f"'{cache_size}' is no size."
        raise DataError(what, expected="such as 20GB", received=type(cache_size).__name__)
    for what, number in (("memory", memory), ("threads", threads)):
        if not isinstance(number, int) or number < 0:
            said = f"'{number}' is no {what}."
            raise DataError(said, expected="a whole number, 0 or more")
    progress = progress or Progress()
    chosen = prepare(device, threads)
    model, form, cut, name = _network(network, cut)
    step = lambda done, total: progress.step("reading", done, total, "files")  # noqa: E731
    opened = data if isinstance(data, Dataset) else open_data(data, skip_bad=skip_bad, step=step)
    check_form(form, opened)
    everything = np.arange(len(opened))
    side = Side(reader(opened, everything, form), opened.target.values, None, lambda: opened.digests)
    keep = cache if cache != "none" else "run"
    if size is not None and keep == "run":
        progress.line("cache_size changes nothing: what is kept for the run only has no such limit")
    settings = FeatureSettings(engine, precision, dtype, keep, size, memory, chosen.threads, chosen.name)
    graph = flat(model)
    edge = boundary(graph, frozenset(op.name for op in operations(graph)))
    if len(edge.below) < len(calls(graph)):
        first = edge.above[0].operation.name
        what = f"There is nothing to keep: '{first}' is random in inference too, or nothing below it has weights."
        raise SurgeryError(what, fix="Cut below it.")
    store = FeatureStore(settings, inputs=f"{form} {DECODER}", network=name, progress=progress)
    rows = trunk_rows({"all": side})
    with keras.device(chosen.name), store:
        wanted = store.decide(graph, edge, lambda: rows)
        if wanted.caching.why and wanted.caching.once:
            progress.line(f"what '{name}' gives is kept {wanted.caching.why}")
        stored = store.get(graph, wanted, lambda: rows)
        if stored is None:
            what = f"What '{name}' gives cannot be kept: {wanted.caching.why or 'the line before this says why'}."
            raise CacheError(what)
        features = stored.features.held(memory)
    names = tuple(opened.name_of(int(i)) for i in everything)
    return Extracted(features, opened.target, names, cut, dict(stored.facts))


def _check(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        what = f"'{value}' is no {name}."
        raise DataError(what, expected=" | ".join(known), fix=close_matches(str(value), known))


def _network(network: Any, cut: str | None) -> tuple[keras.Model, InputForm, str, str]:
    """The network up to the cut, what it takes, the cut, and what it is called."""
    if isinstance(network, keras.Model):
        network = as_graph(network)
        if len(network.inputs) != 1:
            what = "The network takes several inputs."
            raise SurgeryError(what, expected="one input", received=str(len(network.inputs)))
        form = input_form_of(network.name, list(network.inputs[0].shape[1:]), str(network.inputs[0].dtype))
        cut = cut or default_cut(network)
        return drop_above(network, cut), form, cut, network.name
    card = registry.find(network)
    loaded = load(card)
    if card.input is None:
        what = f"The card of '{card.full_name}' says no input."
        raise SurgeryError(what)
    cut = cut or card.cut or default_cut(loaded)
    return drop_above(loaded, cut), card.input, cut, card.full_name
