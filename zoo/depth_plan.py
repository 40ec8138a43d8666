"""A search for how much of a network to reuse, prepared: what its steps are, and what it says before it begins."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .depth_recipe import check_searchable, listed, no_validation, recipe_of, said
from .depth_search import Next, Step, Tried, is_little, next_step
from .finetuning import options_of
from .preparation import Preparation, prepared, resolve
from .progress import Progress
from .recipe import Recipe

#: A validation side of fewer examples gets a line: which step is the best may then be luck.
FEW = 100


@dataclass(frozen=True)
class DepthPlan:
    """A search that is prepared.

    Attributes:
        network: The user's own model, where it is one.
        given: The data, where it was given in Python.
        loss: The user's own Keras loss.
        recipe: What is searched: it says everything but how much is frozen and dropped.
        first: The first step, prepared; it is not trained.
    """

    network: keras.Model | None
    given: Any
    loss: Any
    recipe: Recipe
    first: Preparation

    @property
    def names(self) -> tuple[str, ...]:
        """The blocks that are copied, bottom to top."""
        return self.first.plans[-1].blocks.names[:-1]

    @property
    def little(self) -> bool:
        """Whether training data is little."""
        target = self.first.data.target
        return is_little(len(self.first.split.train), target.size if target.kind == "classes" else 0)

    def cut(self, step: Step) -> str | None:
        """The layer that a step keeps as the last; ``None`` where it drops nothing."""
        if not step.dropped:
            return None
        return self.first.plans[-1].blocks[len(self.names) - step.dropped - 1].layers[-1]

    def recipe_of(self, step: Step) -> Recipe:
        """The recipe of a step."""
        return recipe_of(self.recipe, step, self.names, self.cut(step))

    def next(self, tried: Sequence[Tried]) -> Next:
        """What is tried next; of a model of one's own nothing is dropped."""
        found = next_step(tried, len(self.names), little=self.little)
        if self.network is not None and found.step is not None and found.step.dropped:
            return Next(None, f"{found.why}, and nothing is dropped of a model of your own")
        return found

    def lines(self) -> list[str]:
        """How the search chooses, for the user."""
        sides, target = self.first.split, self.first.data.target
        count = f"{len(sides.val)} validation examples"
        lines = [
            f"searching how much of {listed(self.names)} to freeze, thaw and drop, by the loss on the {count}; "
            "the test side is not looked at until the best step is known"
        ]
        if len(sides.val) < FEW:
            lines.append(
                f"  {count} are few: which step is the best may be luck; a larger --val takes more of the labels for it"
            )
        each = f", {len(sides.train) / target.size:.0f} a class" if target.kind == "classes" else ""
        amount = f"  {len(sides.train)} training examples{each}:"
        if self.network is not None:
            lines.append("  nothing is dropped: a model of your own is trained with the top that it has")
        elif self.little:
            lines.append(f"{amount} that is little, so dropping the top block is tried whether thawing helps or not")
        else:
            lines.append(f"{amount} dropping the top block is tried only if thawing does not help")
        return lines

    def step_lines(self) -> list[str]:
        """Every step that could be tried, a line for each cut."""
        lines = ["steps, a block more in each, as long as it helps, and one more after one that did not:"]
        for dropped in range(len(self.names) if self.network is None else 1):
            names = self.names[: len(self.names) - dropped]
            at = f" (cut at '{self.cut(Step(dropped))}')" if dropped else ""
            lines.append(f"  {said(Step(dropped), self.names)}{at}; then thawed: {', '.join(reversed(names))}")
        return lines


def depth_plan(
    network: str | os.PathLike[str] | keras.Model | None,
    data: Any,
    *,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    loss: Any = None,
    progress: Progress | None = None,
    **options: Any,
) -> DepthPlan:
    """Prepares a search; nothing is trained or written.

    Args:
        network: As :func:`zoo.find_depth` takes it.
        data: As :func:`zoo.find_depth` takes it.
        recipe: As :func:`zoo.find_depth` takes it.
        loss: As :func:`zoo.find_depth` takes it.
        progress: Told how far reading a folder is.
        **options: As :func:`zoo.find_depth` takes them.

    Returns:
        The search.

    Raises:
        RecipeError: if there is nothing to search, or nothing to choose by.
        ZooError: if network, data, recipe or options do not fit.

    Example:
        >>> plan = depth_plan("glyphs", "digits", limit_per_class=10, test="rest")
        >>> plan.names, plan.little, plan.cut(Step(dropped=1))
        (('block1', 'block2', 'block3'), True, 'block2_activation2')
    """
    if isinstance(loss, str):
        options["loss"], loss = loss, None
    given = options_of(options)
    base = resolve(network, data, recipe, given)
    check_searchable(base, given)
    own = network if isinstance(network, keras.Model) else None
    held = None if data is None or isinstance(data, (str, os.PathLike)) else data
    first = prepared(own, held, recipe=recipe_of(base, Step(), ()), loss=loss, progress=progress)
    if not len(first.split.val):
        received = f"val = {base.data.val:g}, and {len(first.split.train)} labelled examples in all"
        raise no_validation(received)
    return DepthPlan(own, held, loss, base, first)
