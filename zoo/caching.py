"""Whether what a frozen trunk gives is kept, and how: decided before anything is computed."""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import keras

from .boundary import Boundary, size_text
from .byte_size import dtype_bytes, size_said
from .features import BUDGET

#: ``disk``: kept from run to run; ``run``: computed once, kept while the run lasts; ``none``: run in every step;
#: ``nothing``: nothing lies below what learns.
Way = Literal["disk", "run", "none", "nothing"]

#: Why features are not kept whose sizes may differ from example to example.
OPEN_SIZES = "the sizes of what it gives are not fixed"


@dataclass(frozen=True)
class FeatureSettings:
    """How a run's frozen trunks are run, and what becomes of what they give.

    Attributes:
        engine: ``auto``, or an engine's name; see :mod:`zoo.engine`.
        precision: What the trunk computes in: ``float32`` or ``bfloat16``.
        dtype: What is stored: ``float32`` or ``float16``.
        keep: One of :data:`zoo.trunk_options.CACHES`.
        size: The bytes that all features on the disk may take; by default a tenth of the disk.
        memory: The bytes of features that are held in memory while training; what is more is read from the disk.
        threads: CPU threads.
        device: Keras's name for it.
    """

    engine: str = "auto"
    precision: str = "float32"
    dtype: str = "float32"
    keep: str = "disk"
    size: int | None = None
    memory: int = BUDGET
    threads: int = 1
    device: str = "cpu:0"


@dataclass(frozen=True)
class Room:
    """The bytes that there are for more features, and those that all of them may take; ``None`` without a limit."""

    left: int
    limit: int | None = None


@dataclass(frozen=True)
class Caching:
    """What becomes of what a stage's frozen trunk gives, and why.

    Attributes:
        way: See :data:`Way`.
        why: In words.
    """

    way: Way
    why: str = ""

    @property
    def once(self) -> bool:
        """Whether the trunk is run once for each example, and not in every step."""
        return self.way in ("disk", "run")


def decide_caching(
    edge: Boundary,
    keep: str,
    *,
    augmented: bool = False,
    unknown: tuple[str, ...] = (),
    writable: bool = True,
    needed: int | None = 0,
    room: Room | None = None,
) -> Caching:
    """Decides whether a stage trains on what its trunk gave once.

    What lies below the boundary is frozen, runs in inference and draws nothing: that is what
    :func:`zoo.boundary.boundary` sees to. So it gives the same for the same input, in every epoch.

    Args:
        edge: The deepest frozen boundary.
        keep: One of :data:`zoo.trunk_options.CACHES`.
        augmented: Whether training changes the examples at random, other than by views, or mixes them.
        unknown: The layers whose code is the user's own: it may change without their configuration.
        writable: Whether the cache's folder may be written to, where it has to be.
        needed: The bytes of the features that are not there yet; ``None`` where that cannot be told.
        room: What there is for them.
    """
    if not edge.below:
        return Caching("nothing", "everything that has weights lies above something that learns")
    if keep == "none":
        return Caching("none", "as asked")
    if augmented:
        return Caching("none", "the examples are augmented, and look different every time")
    if needed is None:
        return Caching("none", OPEN_SIZES)
    if room is not None and needed > room.left:
        return Caching("none", no_room(needed, room))
    if keep == "run":
        return Caching("run", "for this run only, as asked")
    if unknown:
        first = f"'{unknown[0]}'{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}"
        return Caching("run", f"for this run only, since {first} is code of your own, which may change")
    if not writable:
        return Caching("run", "for this run only, since the cache's folder cannot be written to")
    return Caching("disk")


def no_room(needed: int, room: Room) -> str:
    """Why features are not kept that take more than there is room for."""
    left = size_said(room.left)
    limit = "" if room.limit is None else f" of the {size_said(room.limit)} that the cache may take (--cache-size)"
    return f"its features take {size_said(needed)}, and there is room for {left}{limit}"


def caching_line(caching: Caching, edge: Boundary, count: int, views: int = 0, known: int = 0) -> str:
    """What is said of a stage before it begins.

    Args:
        caching: What was decided.
        edge: The boundary.
        count: How many examples there are, the views of one counted once.
        views: How many views of each example that trains are made; 0 where the examples are not augmented.
        known: How many rows are in the cache.
    """
    if caching.way == "nothing":
        return ""
    where = f"'{edge.crossings[0].layer}'" if len(edge.crossings) == 1 else size_text(edge.crossings)
    what = f"the frozen trunk (up to {where})"
    if not caching.once:
        return f"{what} is run in every step: {caching.why}"
    rows = f"{count} examples"
    rows += f", {views} views of each that trains" if views else ""
    kept = f" ({caching.why})" if caching.why else ""
    there = f"; {known} are in the cache" if known else ""
    return f"{what} is run once for {rows}{kept}, and the head trains on what it gives{there}"


def bytes_of(trunk: keras.Model, shape: tuple[int | None, ...], dtype: str) -> int | None:
    """What a trunk's outputs take for one example, stored; ``None`` where their sizes are not known before it is run.

    Args:
        trunk: The network.
        shape: What it is given, without the batch: sizes that it leaves open are taken from here.
        dtype: What floating-point numbers are stored in.
    """
    total = 0
    for tensor in _outputs(trunk, shape):
        if None in tensor.shape[1:]:
            return None
        kind = keras.backend.standardize_dtype(tensor.dtype)
        kind = {"bfloat16": "float32"}.get(kind, kind)  # as engines give it
        width = dtype_bytes("float16" if dtype == "float16" and kind in ("float32", "float64") else kind)
        total += width * prod(int(length) for length in tensor.shape[1:])
    return total


def _outputs(trunk: keras.Model, shape: tuple[int | None, ...]) -> list[Any]:
    whole = all(None not in tensor.shape[1:] for tensor in trunk.outputs)
    if whole or len(trunk.inputs) != 1 or len(shape) != len(trunk.inputs[0].shape) - 1:
        return list(trunk.outputs)
    given = keras.KerasTensor((1, *shape), trunk.inputs[0].dtype)
    return keras.tree.flatten(trunk.compute_output_spec(given))
