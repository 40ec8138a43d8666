"""Several training steps a call, over examples that are read a few megabytes at a time.

What a step computes is what ``train_on_batch`` computes; only Python's part of it is gone. Memory does not grow with
the number of examples, and how many steps are read at a time follows from the shapes alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import engine
from .side import Side
from .stage_network import StageNetwork
from .step_rule import way_of

#: The bytes that are read at a time: more of them cost new pages of memory, fewer of them more calls.
READ = 8 << 20


class Steps:
    """The steps of a stage, several a call. Made by :func:`several_steps`.

    Attributes:
        per_read: How many steps are read at a time.
        way: ``loop`` or ``xla``; see :mod:`zoo.step_rule`.
    """

    def __init__(self, model: StageNetwork, states: Mapping[str, Any], batch_size: int, per_read: int, way: str):
        from .compiled_steps import CompiledSteps

        self.per_read, self.way, self._batch_size = per_read, way, batch_size
        self._compiled = CompiledSteps(model, list(states.values()), batch_size, xla=way == "xla")
        self._states = len(states)

    def read(self, side: Side, batches: Sequence[np.ndarray], draws: Sequence[Sequence[int]]) -> Any:
        """Reads the examples of some steps, at most :attr:`per_read`.

        Args:
            side: Where they are.
            batches: The indices of each step's examples.
            draws: What the states of the random generators are set to before each step.

        Returns:
            What :meth:`train` takes.
        """
        return self._part(side, batches, draws, filled=self.way == "xla", weighted=True)

    def train(self, part: Any, first: int, last: int) -> list[dict[str, float]]:
        """Trains the steps ``first`` to before ``last`` of what was read, and gives the figures of each.

        The last step of an epoch, which may have fewer examples, is taken by itself.
        """
        return self._compiled.train(part, first, last)

    def evaluate(self, side: Side) -> Iterator[tuple[int, dict[str, float]]]:
        """How many examples each batch of a side has, in order, and its figures."""
        starts = range(0, len(side), self._batch_size)
        batches = [np.arange(start, min(start + self._batch_size, len(side))) for start in starts]
        for i in range(0, len(batches), self.per_read):
            some = batches[i : i + self.per_read]
            part = self._part(side, some, [[0] * self._states] * len(some), filled=False, weighted=False)
            yield from zip(map(len, some), self._compiled.evaluate(part), strict=True)

    def _part(
        self, side: Side, batches: Sequence[np.ndarray], draws: Sequence[Sequence[int]], *, filled: bool, weighted: bool
    ) -> Any:
        from .compiled_steps import Part

        indices = np.concatenate(batches)
        bounds = np.cumsum([0, *map(len, batches)], dtype="int32")
        seeds = np.zeros((len(batches), self._states, 2), "int64")
        seeds[:, :, 0] = np.asarray(draws, "int64").reshape(len(batches), self._states)
        if filled:  # a program of XLA has one shape; what is filled in is not looked at
            missing = self.per_read - len(batches)
            indices = np.pad(indices, (0, self.per_read * self._batch_size - len(indices)), mode="edge")
            bounds = np.pad(bounds, (0, missing), mode="edge")
            seeds = np.pad(seeds, ((0, missing), (0, 0), (0, 0)))
        data = (engine.as_input(side.read(indices)), side.targets[indices])
        data += (side.weights[indices],) if weighted and side.weights is not None else ()
        return self._compiled.put(Part(data, bounds, seeds))


def several_steps(
    model: StageNetwork, side: Side, states: Mapping[str, Any], batch_size: int, steps: int
) -> Steps | None:
    """What runs a stage's steps several a call; ``None`` where each is a call of its own.

    Args:
        model: What the stage trains, compiled, its optimizer built.
        side: The training side.
        states: The states of the random generators, by name, in the order of the draws.
        batch_size: The examples of a step.
        steps: How many steps the stage has at most.
    """
    if not len(side):
        return None
    example = side.read(np.zeros(1, int))
    way = way_of(model, example, steps)
    if way == "single":
        return None
    per_read = max(1, READ // (batch_size * _bytes_of(example, side)))
    per_read = min(per_read, -(-len(side) // batch_size))
    return Steps(model, states, batch_size, per_read, way) if per_read > 1 or len(side) <= batch_size else None


def _bytes_of(example: Any, side: Side) -> int:
    arrays = example if isinstance(example, list) else [example]
    return sum(a.nbytes for a in arrays) + side.targets[:1].nbytes
