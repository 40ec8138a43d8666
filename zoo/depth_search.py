"""The search for how much of a network to reuse: what is tried next, decided by the scores so far and nothing else.

The chapter's procedure (Géron, "Reusing pretrained layers"): freeze everything that is copied and see how far that
goes; thaw the top one or two blocks, and more of them the more data there is; where that does not help and data is
little, drop the top block, freeze the rest again, and go on so until the right number of layers is found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: So many steps in a row that did not help are followed by one more: a single one may be noise.
PATIENCE = 1
#: Fewer training examples than this for each class are little data.
LITTLE_PER_CLASS = 100
#: Fewer than this are, where there are no classes.
LITTLE = 1000


@dataclass(frozen=True)
class Step:
    """How much is reused: so many of the copied blocks dropped from the top, so many of those left thawed."""

    dropped: int = 0
    thawed: int = 0


@dataclass(frozen=True)
class Tried:
    """A step, and its score: the lower the better; one that is not a number is the worst."""

    step: Step
    score: float

    @property
    def rank(self) -> float:
        """The score, as it is compared."""
        return math.inf if math.isnan(self.score) else self.score


@dataclass(frozen=True)
class Next:
    """What is tried next, ``None`` for nothing more; and why."""

    step: Step | None
    why: str = ""


def next_step(tried: Sequence[Tried], blocks: int, *, little: bool) -> Next:
    """Decides what is tried next.

    1. Everything copied is frozen.
    2. One block is thawed, then one more, as long as the score gets better than all others at this cut. After a step
       that did not help one more is tried; after two in a row no more.
    3. If no thawing helped, or data is little, the top block is dropped and the rest is frozen. Where that is better
       than everything frozen before, 2 and 3 follow from there; else one more block is dropped, and after two in a row
       that did not help no more. At least one block stays.

    Args:
        tried: What was tried, in order; each step is one that this function gave.
        blocks: How many blocks are copied.
        little: Whether training data is little; see :func:`is_little`.

    Returns:
        The next step, or that the search has ended.

    Example:
        >>> next_step([], 3, little=False).step
        Step(dropped=0, thawed=0)
        >>> next_step([Tried(Step(), 0.5), Tried(Step(0, 1), 0.4)], 3, little=False).step
        Step(dropped=0, thawed=2)
        >>> worse = [Tried(Step(), 0.5), Tried(Step(0, 1), 0.6), Tried(Step(0, 2), 0.7)]
        >>> next_step(worse, 3, little=False)
        Next(step=Step(dropped=1, thawed=0), why='thawing did not help')
    """
    if not tried:
        return Next(Step(), "everything copied is frozen first")
    level = tried[-1].step.dropped
    here = [one.rank for one in tried if one.step.dropped == level]
    frozen = [one.rank for one in tried if not one.step.thawed]
    why = "one more"
    if _best(frozen) == level:  # the cut with the best frozen score so far: every cut begins frozen
        if len(here) <= blocks - level and not _stalled(here):
            return Next(Step(level, len(here)), "thawing helps" if _best(here) == len(here) - 1 else "one more")
        helped = _best(here) > 0
        if helped and not little:
            return Next(None, "thawing helped, and there is data enough for it")
        why = "training data is little" if helped else "thawing did not help"
    if level + 1 >= blocks:
        return Next(None, "no other block can be dropped")
    if _stalled(frozen):
        return Next(None, "dropping did not help")
    return Next(Step(level + 1), why)


def best_of(tried: Sequence[Tried]) -> Tried:
    """The step with the lowest score; of equals the first, which reuses more and trains less.

    Example:
        >>> best_of([Tried(Step(), 0.5), Tried(Step(0, 1), 0.4), Tried(Step(0, 2), 0.4)]).step
        Step(dropped=0, thawed=1)
    """
    return min(tried, key=lambda one: one.rank)


def is_little(examples: int, classes: int = 0) -> bool:
    """Whether training data is little: fewer than 100 examples a class; without classes, fewer than 1,000.

    Args:
        examples: How many there are to train on.
        classes: Of how many classes; 0 where there are none.

    Example:
        >>> is_little(900, classes=10), is_little(1300, classes=10), is_little(900)
        (True, False, True)
    """
    return examples < (LITTLE_PER_CLASS * classes or LITTLE)


def _best(scores: Sequence[float]) -> int:
    """Which of the scores is the best: the first one of equals, since an equal one did not help."""
    return min(range(len(scores)), key=lambda i: scores[i])


def _stalled(scores: Sequence[float]) -> bool:
    """Whether more steps in a row did not help than patience has."""
    return len(scores) - 1 - _best(scores) > PATIENCE
