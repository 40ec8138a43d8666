"""Training steps in a loop inside one TensorFlow function: what a step costs is its arithmetic."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from .stage_network import StageNetwork


@dataclass(frozen=True)
class Part:
    """Successive steps of an epoch, with the rows of all of them.

    Attributes:
        data: Inputs (an array, or a list of them), targets, and weights where there are any; the rows of one step after
            those of another, ``(rows, ...)``.
        bounds: Step ``i`` takes the rows from ``bounds[i]`` to ``bounds[i + 1]``, ``(steps + 1,)``.
        draws: What the states of the random generators are set to before each step, ``(steps, states, 2)``.
    """

    data: tuple[Any, ...]
    bounds: np.ndarray
    draws: np.ndarray


class CompiledSteps:
    """The steps of one compiled network; each gives what ``train_on_batch`` or ``test_on_batch`` would.

    The steps of a call are the same program whatever their number: the weights do not depend on how steps are grouped
    into calls, to the last bit.

    Args:
        model: What a stage trains, compiled, its optimizer built.
        states: The states of the random generators.
        batch_size: The examples of a whole step.
        xla: Whether whole steps are compiled by XLA. Its programs have fixed shapes: every part then has the same
            number of rows, and a last step of fewer examples runs without.
    """

    def __init__(self, model: StageNetwork, states: Sequence[Any], batch_size: int, *, xla: bool):
        self._model, self._states, self._batch_size, self._xla = model, list(states), batch_size, xla
        self._functions: dict[str, Any] = {}
        self._mark: Any = None

    def put(self, part: Part) -> Part:
        """The part in the framework's memory: several calls can take steps of it."""
        return replace(part, data=tf.nest.map_structure(tf.convert_to_tensor, part.data))

    def train(self, part: Part, first: int, last: int) -> list[dict[str, float]]:
        """Trains the steps from ``first`` to before ``last``.

        Args:
            part: What :meth:`put` gave.
            first: The first step, counted from 0 in the part.
            last: The one after the last.

        Returns:
            Loss and metrics of each step.
        """
        whole = part.bounds[last] - part.bounds[first] == (last - first) * self._batch_size
        return self._run("xla" if self._xla and whole else "train", part, first, last)

    def evaluate(self, part: Part) -> list[dict[str, float]]:
        """Loss and metrics of each step's examples, in inference."""
        return self._run("test", part, 0, len(part.bounds) - 1)

    def _run(self, kind: str, part: Part, first: int, last: int) -> list[dict[str, float]]:
        self._forget_stale()
        if kind not in self._functions:
            self._model._symbolic_build(data_batch=_one_step(part))
            states = [] if kind == "test" else self._states
            self._functions[kind] = _looped(self._model, states, kind, part, self._batch_size)
        places = [tf.constant(np.asarray(n, "int32")) for n in (part.bounds, first, last)]
        logs = self._functions[kind](part.data, *places, tf.constant(part.draws))
        held = {key: np.asarray(values) for key, values in logs.items()}
        return [{key: float(held[key][i]) for key in sorted(held)} for i in range(first, last)]

    def _forget_stale(self) -> None:
        """Forgets what was traced, where a callback has compiled the model again or had it forget its steps."""
        if self._mark is None or self._model.train_function is not self._mark:
            self._functions.clear()
            self._model.make_train_function()
            self._mark = self._model.train_function


def _one_step(part: Part) -> tuple[Any, ...]:
    rows = slice(part.bounds[0], part.bounds[1])
    return tf.nest.map_structure(lambda a: a[rows], part.data)


def _looped(model: StageNetwork, states: Sequence[Any], kind: str, part: Part, batch_size: int) -> Callable[..., Any]:
    """The function of several steps: ``(data, bounds, first, last, draws)`` to one array for each figure, a number a
    step; numbers of steps that were not taken are 0."""
    fixed = kind == "xla"
    step = model.test_step if kind == "test" else model.train_step
    figures: Mapping[str, Any] = model.get_metrics_result()

    def take(array: Any, bounds: Any, i: Any) -> Any:
        if fixed:
            return tf.reshape(array, (-1, batch_size, *array.shape[1:]))[i]
        return array[bounds[i] : bounds[i + 1]]

    def several(data: Any, bounds: Any, first: Any, last: Any, draws: Any) -> dict[str, Any]:
        count = bounds.shape[0] - 1 if fixed else tf.shape(bounds)[0] - 1
        held = {key: tf.TensorArray(value.dtype, count, element_shape=()) for key, value in figures.items()}

        def body(i: Any, held: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            for j, state in enumerate(states):
                state.assign(tf.cast(draws[i, j], state.dtype))
            model.reset_metrics()
            logs = step(tf.nest.map_structure(lambda array: take(array, bounds, i), data))
            return i + 1, {key: array.write(i, logs[key]) for key, array in held.items()}

        _, held = tf.while_loop(lambda i, _: i < last, body, (first, held))
        return {key: array.stack() for key, array in held.items()}

    return tf.function(several, input_signature=_signature(part, fixed), autograph=False, jit_compile=fixed or None)


def _signature(part: Part, fixed: bool) -> list[Any]:
    """Fixed shapes, or any number of rows and steps in one trace."""

    def spec(array: Any) -> Any:
        return tf.TensorSpec(array.shape if fixed else (None, *array.shape[1:]), array.dtype)

    data = tf.nest.map_structure(spec, part.data)
    steps = len(part.bounds) - 1 if fixed else None
    number = tf.TensorSpec((), tf.int32)
    bounds = tf.TensorSpec((None if steps is None else steps + 1,), tf.int32)
    return [data, bounds, number, number, tf.TensorSpec((steps, *part.draws.shape[1:]), tf.int64)]
