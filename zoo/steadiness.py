"""Whether what an engine gives for an example is the same, to the last bit, wherever in a batch the example stands.

A sum rounds by the order of its additions, and on a processor TensorFlow's means over positions take one order for
channels that fill the registers and another for those at their edge: which are which changes with the place in the
batch. Other networks let examples see one another, as by the statistics of their batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .engine_difference import (
    EXACT_EXAMPLES,
    PLAUSIBLE,
    TOLERANCE,
    Difference,
    as_near,
    difference,
    in_float64,
    in_inference,
)
from .engines.interface import Engine

_NO_ROWS = Difference(float("inf"), float("inf"))


@dataclass(frozen=True)
class Unsteady:
    """What was found of an engine whose results change with the batch that an example is in.

    Attributes:
        difference: Between what it gave for the same examples in two batches.
        rounding: Whether it is rounding, by the place in the batch; else examples see one another, or count places.
    """

    difference: Difference
    rounding: bool


@dataclass(frozen=True)
class _Places:
    """Where the examples of a batch go in another one: each of its places is one that is left, or one that is taken.

    A place is even where an example leaves it and odd where it comes, or the other way round: it moves by an odd number
    of places. The places that are left hold strangers, each of them twice.
    """

    left: np.ndarray
    taken: np.ndarray
    one: np.ndarray
    other: np.ndarray


def unsteady(engine: Engine, first: Any, outputs: Sequence[np.ndarray], count: int) -> Unsteady | None:
    """Runs one more batch, with half of the examples of the first at other places, between strangers.

    Half of its places hold examples of the first batch, moved by an odd number of places each; the others hold what was
    made of them: each twice, so that a single example, which may be a dark one, is not all that is compared. What moves
    must give the same bits. Where it does not, and the difference is more than the tolerance of
    :func:`zoo.engine_difference.judge`, it may still be rounding, in a network that magnifies it: then the examples
    stay where they are in a third batch, between strangers, where they must give the same bits; and what they gave when
    they had moved must be as near to the exact result.

    Args:
        engine: The engine; of one that runs single examples there is nothing to find.
        first: The inputs of a batch.
        outputs: What the engine gave for it.
        count: How many of its examples differ from one another: the first ones.

    Returns:
        What was found, or ``None`` where the bits are the same.

    Example:
        >>> from zoo.engine import build
        >>> from zoo.engines.interface import Setup
        >>> inputs = keras.Input((2,))
        >>> engine = build(keras.Model(inputs, inputs - keras.ops.mean(inputs, axis=0)), "keras", Setup(batch=4))
        >>> first = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
        >>> unsteady(engine, first, engine.run(first), 4).rounding
        False
    """
    size = engine.setup.batch
    if any(part.ndim < 1 or len(part) != size for part in outputs):
        return Unsteady(_NO_ROWS, rounding=False)
    if size == 1:
        return None
    rng = np.random.default_rng(size)
    places = _places(size, rng)
    now = engine.run(_moved(engine.trunk, first, places, rng))
    before = [np.concatenate([a[places.left], b[places.one]]) for a, b in zip(outputs, now, strict=True)]
    after = [np.concatenate([b[places.taken], b[places.other]]) for b in now]
    if same_bits(before, after):
        return None
    found = difference(after, before)
    if found.largest <= TOLERANCE:
        return Unsteady(found, rounding=True)
    beside = engine.run(_surrounded(engine.trunk, first, places, rng))
    kept = [[part[places.left] for part in parts] for parts in (outputs, beside)]
    if not same_bits(*kept) or not np.isfinite(found.largest):
        return Unsteady(found, rounding=False)
    few = min(count, EXACT_EXAMPLES, len(places.left))
    moved = [part[places.taken[:few]] for part in now]
    return Unsteady(found, _as_near(engine, first, [part[:few] for part in outputs], moved))


def same_bits(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> bool:
    """Whether results are the same, to the last bit."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(ours, theirs, strict=True)
    )


def _places(size: int, rng: np.random.Generator) -> _Places:
    """The first examples are among those that move: they are the ones that are compared with an exact result."""
    even, odd = np.arange(0, size, 2), np.arange(1, size, 2)
    head = np.arange(min(EXACT_EXAMPLES, size // 2))
    left, free = [], []
    for own in (even, odd):
        among = own[~np.isin(own, head)]
        fixed = own[np.isin(own, head)]
        kept = np.concatenate([fixed, rng.permutation(among)[: max((len(own) + 1) // 2 - len(fixed), 0)]])
        left.append(kept)
        free.append(rng.permutation(own[~np.isin(own, kept)]))
    pairs = [(a, b) for kept, to in zip(left, reversed(free), strict=True) for a, b in zip(kept, to, strict=False)]
    pairs.sort()
    strangers = np.setdiff1d(np.arange(size), [to for _, to in pairs])
    one, other = rng.permutation(strangers[strangers % 2 == 0]), rng.permutation(strangers[strangers % 2 == 1])
    twice = min(len(one), len(other))
    moves = np.array(pairs, "int64").reshape(-1, 2)
    return _Places(moves[:, 0], moves[:, 1], one[:twice], other[:twice])


def _moved(trunk: keras.Model, first: Any, places: _Places, rng: np.random.Generator) -> Any:
    def change(array: np.ndarray, floating: bool) -> np.ndarray:
        strange = strangers(array, max(len(places.one), 2), rng, floating=floating)
        made = np.resize(strange, array.shape)
        made[places.one] = made[places.other] = strange[: len(places.one)]
        made[places.taken] = array[places.left]
        return made

    return _each(trunk, first, change)


def _surrounded(trunk: keras.Model, first: Any, places: _Places, rng: np.random.Generator) -> Any:
    def change(array: np.ndarray, floating: bool) -> np.ndarray:
        made = np.resize(strangers(array, max(len(places.one), 2), rng, floating=floating), array.shape)
        made[places.left] = array[places.left]
        return made

    return _each(trunk, first, change)


def _each(trunk: keras.Model, first: Any, change: Callable[[np.ndarray, bool], np.ndarray]) -> Any:
    arrays = [np.asarray(array) for array in keras.tree.flatten(first)]
    floating = ["float" in str(tensor.dtype) for tensor in trunk.inputs]
    return keras.tree.pack_sequence_as(first, [change(a, f) for a, f in zip(arrays, floating, strict=True)])


def strangers(array: np.ndarray, count: int, rng: np.random.Generator, *, floating: bool) -> np.ndarray:
    """Examples that are none of those given, but of their type and shape, and that a network takes where it takes them.

    Their values are drawn from those given. Where the network computes with numbers, and does not look them up, every
    other one, from the first on, has values far beyond these: what a whole batch is scaled by changes.

    Args:
        array: The examples, ``(examples, ...)``.
        count: How many to make.
        rng: Where they are drawn from.
        floating: Whether the network takes them as numbers that any other may stand for.
    """
    shape = (count, *array.shape[1:])
    if not array.size:
        return np.zeros(shape, array.dtype)
    drawn = array.reshape(-1)[rng.integers(0, array.size, shape)]
    odd = drawn[::2]
    if array.dtype.kind in "OUS":
        odd[...] = np.array([text[::-1] for text in odd.reshape(-1)], array.dtype).reshape(odd.shape)
    elif array.dtype.kind == "b":
        odd[...] = ~odd
    elif array.dtype.kind in "iu" and floating:
        top = min(max(int(array.max()), 255), np.iinfo(array.dtype).max)
        odd[...] = rng.integers(0, top, odd.shape, array.dtype, endpoint=True)
    elif array.dtype.kind in "iu":
        odd[..., : odd.shape[-1] // 2 if odd.ndim > 1 else None] = 0
    else:
        odd[...] = 4 * (odd.astype("float32") + rng.standard_normal(odd.shape, "float32"))
    return drawn


def _as_near(engine: Engine, first: Any, ours: list[np.ndarray], moved: list[np.ndarray]) -> bool:
    """Whether results are as near to the exact ones as others are, of an engine that differs by more than rounding."""
    few = keras.tree.map_structure(lambda array: array[: len(ours[0])], first)
    narrow = engine.setup.precision != "float32"
    truth = in_inference(engine.trunk, few) if narrow else in_float64(engine.trunk, few)
    if truth is None:
        return False
    before, after = difference(ours, truth), difference(moved, truth)
    return (narrow or before.largest <= PLAUSIBLE) and as_near(after, before)
