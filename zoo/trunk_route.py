"""Ways to compute what crosses a boundary: by its own trunk, together with others, or from a lower one that is known.

A way is taken only where it gives, on the first batch, the bits that the trunk itself gives: what is kept must not
depend on how it was come by.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from . import engine
from .boundary import cut_between
from .engines.interface import CannotRun, Engine
from .errors import DeviceError
from .extraction import Sink
from .feature_folder import FeatureFolder
from .graph import inputs_of
from .steadiness import same_bits, unsteady
from .wanted_features import Wanted

#: With fewer examples to compute, making and comparing another way costs more than it saves.
WORTH = 512


@dataclass(frozen=True)
class Route:
    """How missing features are computed.

    Attributes:
        running: What is run.
        read: What it is run on.
        sinks: Where its outputs go.
        line: What is said of it; nothing for the direct way.
        outputs: What its engine gave for the first batch, where it was run on it.
    """

    running: Engine
    read: engine.Read
    sinks: tuple[Sink, ...]
    line: str = ""
    outputs: tuple[np.ndarray, ...] = ()


def direct(wanted: Wanted, running: Engine, read: engine.Read, folder: FeatureFolder) -> Route:
    """The trunk by itself, on the examples."""
    return Route(running, read, (Sink(folder, tuple(range(len(wanted.trunk.outputs)))),))


def together(
    wanted: Wanted,
    others: Sequence[tuple[Wanted, FeatureFolder]],
    running: Engine,
    first: Any,
    count: int,
    read: engine.Read,
    folder: FeatureFolder,
) -> Route | None:
    """One pass for several boundaries.

    Args:
        wanted: The boundary of now.
        others: Those of later stages, and where their features go.
        running: The engine that runs the trunk of now.
        first: The inputs of the first batch.
        count: How many examples there are.
        read: Reads examples.
        folder: Where the features of now go.

    Returns:
        The way; ``None`` where it does not give the bits of each trunk by itself.
    """
    outputs = {id(tensor): tensor for one in (wanted, *(o for o, _ in others)) for tensor in one.trunk.outputs}
    place = {key: number for number, key in enumerate(outputs)}
    network = keras.Model(inputs_of(wanted.trunk), list(outputs.values()), name=wanted.trunk.name)
    sinks = [Sink(to, tuple(place[id(t)] for t in one.trunk.outputs)) for one, to in ((wanted, folder), *others)]
    made = _made(network, running)
    if made is None:
        return None
    given = made.run(first)
    same = same_bits([given[c] for c in sinks[0].columns], running.run(first))
    for (one, _), sink in zip(others, sinks[1:], strict=True):
        if same:
            with _only(one.trunk, running) as alone:
                same = alone is not None and same_bits([given[c] for c in sink.columns], alone.run(first))
    if not same or unsteady(made, first, given, min(count, made.setup.batch)) is not None:
        made.close()
        return None
    names = "; ".join(one.name for one, _ in others)
    line = f"the same pass computes what later stages need: up to {names}"
    return Route(made, read, tuple(sinks), line, tuple(given))


def from_lower(
    graph: keras.Model,
    wanted: Wanted,
    lower: Wanted,
    running: Engine,
    first: Any,
    first_below: list[np.ndarray],
    read: engine.Read,
    folder: FeatureFolder,
) -> Route | None:
    """What lies between two boundaries, on what crosses the lower one.

    Args:
        graph: The flat network.
        wanted: The boundary of now.
        lower: One below it whose features are known.
        running: The engine that runs the trunk of now.
        first: The inputs of the first batch.
        first_below: What crosses the lower boundary for these.
        read: Reads what crosses the lower boundary.
        folder: Where the features of now go.

    Returns:
        The way; ``None`` where it cannot be, or does not give the bits of the trunk by itself.
    """
    between = cut_between(graph, lower.edge, wanted.edge)
    made = _made(between, running) if between is not None else None
    if made is None:
        return None
    given = made.run(first_below)
    if not same_bits(given, running.run(first)) or unsteady(made, first_below, given, len(given[0])) is not None:
        made.close()
        return None
    columns = tuple(range(len(wanted.trunk.outputs)))
    return Route(made, read, (Sink(folder, columns),), f"computed from what is known up to {lower.name}")


def _made(network: keras.Model, like: Engine) -> Engine | None:
    try:
        return engine.make(network, like.name, like.setup)
    except (CannotRun, DeviceError):
        return None


@contextmanager
def _only(network: keras.Model, like: Engine) -> Iterator[Engine | None]:
    made = _made(network, like)
    if made is None:
        yield None
        return
    with closing(made):
        yield made
