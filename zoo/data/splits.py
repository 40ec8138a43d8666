"""Training, validation and test: a pure function of seed and content."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from zoo.data.dataset import Dataset
from zoo.errors import DataError

Rest = Literal["rest"]
VAL, TEST = 0.1, 0.2
"""The shares where none are said."""


@dataclass(frozen=True)
class Split:
    """Which examples are trained on, validated on and tested on: int64 indices, ascending, disjoint, together all.

    ``unused`` are those that a limit left over, and copies; ``notes`` are lines for the user.
    """

    train: np.ndarray = field(repr=False)
    val: np.ndarray = field(repr=False)
    test: np.ndarray = field(repr=False)
    unused: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Draw:
    """Three independent uniforms on [0, 1) for one content."""

    test: float
    val: float
    limit: float


def split(
    data: Dataset, *, seed: int, val: float = VAL, test: float | Rest = TEST, limit_per_class: int | None = None
) -> Split:
    """Divide a data set by a keyed hash of each example's content.

    Each content draws three uniforms, ``u = blake2b(content digest, key=seed)``. It is tested on if ``u_test < test``,
    else validated on if ``u_val < val / (1 - test)``, else trained on. So no example's side depends on another example,
    and copies are on one side. Counts are approximate.

    With a limit ``L``, in each class the L contents of lowest ``u_limit`` outside the test side are the labelled ones;
    of these the ``round(L * val / (1 - test))`` of lowest ``u_val`` (at least one if L >= 2, never all) are for
    validation, and what is left over is unused.

    Sides that the data came with are kept; a missing one is carved from training, of which ``val`` or ``test`` is then
    the share. Content on two of them is left out of training: test keeps it, else validation.

    Args:
        data: The data set.
        seed: Any whole number.
        val: The share of validation, in [0, 1).
        test: The share of the test, in [0, 1); or ``rest``: everything that is not labelled under the limit.
        limit_per_class: How many labels of each class to use, training and validation together.

    Returns:
        The four sides, with notes.

    Raises:
        DataError: The shares are impossible, or a class (or label) has no training example.

    Example:
        >>> from zoo.data import ArrayData
        >>> data = ArrayData(np.arange(400).reshape(200, 2), np.arange(200) % 2)
        >>> sides = split(data, seed=0, limit_per_class=10, test="rest")
        >>> len(sides.train), len(sides.val), len(sides.test)
        (18, 2, 180)
    """
    _check(data, val, test, limit_per_class)
    sides, notes = _given(data)
    draws = {digest: _draw(seed, digest) for digest in set(data.digests)}
    carve_val, carve_test = "val" not in sides, "test" not in sides
    void = {"val": val != VAL and not carve_val and limit_per_class is None, "test": test != TEST and not carve_test}
    notes += [
        f"The data brings its own {side} side; {side} = {share} is not used."
        for side, share in (("val", val), ("test", test))
        if void[side]
    ]
    if carve_test and test != "rest":
        sides = [
            "test" if side == "train" and draws[digest].test < test else side
            for side, digest in zip(sides, data.digests, strict=True)
        ]
    share = val / (1 - test) if carve_test and test != "rest" else val
    if limit_per_class is not None:
        left = "test" if carve_test and test == "rest" else "unused"
        sides = _limited(data, sides, draws, limit_per_class, share, left)
    elif carve_val:
        sides = [
            "val" if side == "train" and draws[digest].val < share else side
            for side, digest in zip(sides, data.digests, strict=True)
        ]
    _check_training(data, sides)
    notes += _remarks(data, sides, val, test)
    found = np.array(sides)
    indices = {side: np.flatnonzero(found == side).astype(np.int64) for side in ("train", "val", "test", "unused")}
    return Split(**indices, notes=tuple(notes))


def _check(data: Dataset, val: float, test: float | Rest, limit: int | None) -> None:
    shares = {"val": val} if test == "rest" else {"val": val, "test": test}
    for name, share in shares.items():
        if isinstance(share, str) or not 0 <= share < 1:
            what = f"The share {name}={share!r} is impossible."
            raise DataError(what, expected="0 or more, and less than 1" + (", or 'rest'" if name == "test" else ""))
    if test != "rest" and val + test >= 1:
        what = "Validation and test leave nothing to train on."
        raise DataError(what, expected="val + test less than 1", received=f"{val:g} + {test:g}")
    if limit is None and test == "rest":
        what = "test='rest' is what a limit leaves over, but no limit is set."
        raise DataError(what, fix="Set limit_per_class, or give the test a share.")
    if limit is not None and data.target.kind != "classes":
        what = "limit_per_class needs classes."
        raise DataError(what, received=f"a target of kind {data.target.kind!r}", fix="Leave the limit out.")
    if limit is not None and limit < 1:
        what = "limit_per_class is too small."
        raise DataError(what, expected="1 or more", received=str(limit))
    if data.target.kind == "classes" and len(data.classes) < 2:
        what = f"'{data.source}' has one class only, {', '.join(data.classes)!r}: there is nothing to tell apart."
        fix = "Add examples of another class, or open it with target='none'."
        raise DataError(what, expected="two classes or more", fix=fix)


def _draw(seed: int, digest: str) -> _Draw:
    key = hashlib.blake2b(f"zoo split {int(seed)}".encode(), digest_size=32).digest()
    drawn = hashlib.blake2b(digest.encode(), key=key, digest_size=24).digest()
    # 53 bits fill a float exactly, so that it is below 1
    test, val, limit = ((int.from_bytes(drawn[i : i + 8], "big") >> 11) / 2**53 for i in (0, 8, 16))
    return _Draw(test, val, limit)


def _given(data: Dataset) -> tuple[list[str], list[str]]:
    """The sides that the data came with, ``train`` where none; content on several keeps one."""
    sides = ["train" if side is None else str(side) for side in data.sides or ("train",) * len(data)]
    where: dict[str, set[str]] = defaultdict(set)
    for side, digest in zip(sides, data.digests, strict=True):
        where[digest].add(side)
    kept = {digest: min(found, key=("test", "val", "train").index) for digest, found in where.items()}
    twice = sum(len(found) > 1 for found in where.values())
    sides = [side if side == kept[digest] else "unused" for side, digest in zip(sides, data.digests, strict=True)]
    if not twice:
        return sides, []
    which = "1 content is" if twice == 1 else f"{twice} contents are"
    return sides, [f"{which} on more than one of the given sides: kept for test, else validation, not for training."]


def _limited(
    data: Dataset, sides: list[str], draws: dict[str, _Draw], limit: int, share: float, left: str
) -> list[str]:
    """Choose the labelled contents of each class; of each, one example is used, and its copies are not."""
    first: dict[int, dict[str, int]] = defaultdict(dict)  # class -> content -> its first example
    owner: dict[str, int] = {}  # a content under two classes belongs to the first of them
    labels = data.target.values.tolist()
    for index, digest in enumerate(data.digests):
        if sides[index] in ("train", "val"):
            owner[digest] = min(owner.get(digest, labels[index]), labels[index])
    for index, digest in enumerate(data.digests):
        if sides[index] in ("train", "val") and owner[digest] == labels[index]:
            first[labels[index]].setdefault(digest, index)
    given = "val" in sides
    out = [left if side in ("train", "val") else side for side in sides]
    labelled: set[str] = set()
    for pool in first.values():
        ranked = sorted(pool, key=lambda digest: (draws[digest].limit, digest))
        chosen = _choose(ranked, {d: sides[i] for d, i in pool.items()} if given else None, draws, limit, share)
        for digest, side in chosen.items():
            out[pool[digest]] = side
        labelled |= set(chosen)
    for index, digest in enumerate(data.digests):
        if digest in labelled and out[index] == left:
            out[index] = "unused"
    return out


def _choose(
    ranked: list[str], given: dict[str, str] | None, draws: dict[str, _Draw], limit: int, share: float
) -> dict[str, str]:
    """The labelled contents of one class, each with its side."""
    count = min(limit, len(ranked))
    wanted = min(max(round(count * share), 1), count - 1) if share > 0 and count >= 2 else 0
    if given is None:
        labelled = ranked[:count]
        held = set(sorted(labelled, key=lambda digest: (draws[digest].val, digest))[:wanted])
        return {digest: "val" if digest in held else "train" for digest in labelled}
    held = [digest for digest in ranked if given[digest] == "val"][:wanted]
    trained = [digest for digest in ranked if given[digest] == "train"][: limit - len(held)]
    return {**dict.fromkeys(held, "val"), **dict.fromkeys(trained, "train")}


def _check_training(data: Dataset, sides: list[str]) -> None:
    """At least one training example, of every class and for every label."""
    training = [i for i, side in enumerate(sides) if side == "train"]
    if data.target.kind not in ("classes", "labels"):
        if not training:
            what = f"'{data.source}' has no training example."
            raise DataError(what, fix="Add examples, make val and test smaller, or try another seed.")
        return
    if data.target.kind == "classes":
        totals, trained = Counter(data.target.values.tolist()), Counter(data.target.values[training].tolist())
    else:
        totals = dict(enumerate(data.target.values.sum(axis=0).tolist()))
        trained = dict(enumerate(data.target.values[training].sum(axis=0).tolist()))
    missing = [i for i in range(data.target.size) if not trained.get(i)]
    if missing:
        word = "Class" if data.target.kind == "classes" else "Label"
        named = ", ".join(f"{data.classes[i]!r} (of {int(totals.get(i, 0))})" for i in missing[:10])
        what = f"{word} {named} has no training example."
        fix = "Add examples of it, leave it out, make val and test smaller, or try another seed."
        raise DataError(what, expected="at least one of each", fix=fix)


def _remarks(data: Dataset, sides: list[str], val: float, test: float | Rest) -> list[str]:
    notes = []
    if val and "val" not in sides:
        notes.append(f"No example is left for validation (val={val:g}).")
    if test and "test" not in sides:
        notes.append(f"No example is left for the test (test={test}).")
    seen: dict[str, set[bytes]] = defaultdict(set)
    for digest, value in zip(data.digests, data.target.values, strict=True):
        seen[digest].add(value.tobytes())
    conflicts = sum(len(values) > 1 for values in seen.values())
    if conflicts:
        which = "1 content has" if conflicts == 1 else f"{conflicts} contents have"
        notes.append(f"{which} more than one target: the same example, labelled differently.")
    copies = len(sides) - len(seen)
    if copies:
        notes.append(
            f"{copies} {'example is a copy' if copies == 1 else 'examples are copies'} of others, on one side."
        )
    return notes
