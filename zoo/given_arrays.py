"""Examples and targets as a user gives them: taken as arrays, and checked against what a network takes."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import keras
import numpy as np

from .errors import DataError, close_matches
from .graph import inputs_of, node_of


def as_arrays(given: Any, what: str) -> Any:
    """Arrays with an example a row, in the structure that they are given in.

    Args:
        given: An array, or anything that NumPy makes one of, such as a list of numbers; a list, tuple or dictionary of
            arrays. ``None`` inside of one stays. Python's numbers in an array of objects become NumPy's.
        what: What it is, for a message.

    Raises:
        DataError: if there is something else in it.

    Example:
        >>> as_arrays([[1, 2], [3, 4]], "examples").shape
        (2, 2)
        >>> [array.shape for array in as_arrays((np.zeros((5, 2)), np.zeros((5, 3))), "examples")]
        [(5, 2), (5, 3)]
    """
    if isinstance(given, Mapping):
        return {key: None if value is None else as_arrays(value, what) for key, value in given.items()}
    if isinstance(given, (list, tuple)) and any(_holds_arrays(value) for value in given):
        made = [None if value is None else as_arrays(value, what) for value in given]
        return made if isinstance(given, list) else tuple(made)
    plain: Any = given
    try:
        array = np.asarray(plain)
    except (ValueError, TypeError) as reason:
        raise _none(what, f"{type(given).__name__} whose parts differ in length") from reason
    if not array.ndim:
        raise _none(what, type(given).__name__ if array.dtype == object else repr(given))
    if array.dtype == object and not _texts(array):
        return _numbers(array, what)
    return array.astype(object) if array.dtype.kind in "US" else array  # texts, as the readers of data have them


def _holds_arrays(value: Any) -> bool:
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return (hasattr(value, "__array__") and len(getattr(value, "shape", ())) > 0) or any(map(_holds_arrays, inside))


def _none(what: str, received: str) -> DataError:
    message = f"The {what} are no arrays."
    return DataError(message, expected="arrays with an example a row", received=received)


def _texts(array: np.ndarray) -> bool:
    return all(isinstance(value, (str, bytes)) for value in array.flat)


def _numbers(array: np.ndarray, what: str) -> np.ndarray:
    """Python's numbers as NumPy's: a table with columns of several types comes as an array of objects."""
    others = [type(value).__name__ for value in array.flat if not isinstance(value, (Real, Decimal, np.bool_))]
    received = f"an array of objects, such as {others[0]}" if others else "numbers that float64 does not hold"
    if not others:
        made = np.array(array.tolist())  # whole numbers stay whole
        try:
            return made if made.dtype != object else made.astype("float64")
        except (ValueError, OverflowError):
            pass
    message = f"The {what} cannot be taken as numbers, nor as texts."
    raise DataError(message, expected="arrays of numbers, or of texts", received=received)


def by_input(x: Any, graph: keras.Model) -> Any:
    """Examples in the structure in which a network takes them.

    Args:
        x: Arrays: a dictionary by the inputs' names, or any structure in their order.
        graph: A functional model.

    Raises:
        DataError: if there is not one array for each input, of its shape and of a type that it takes.
    """
    struct, names = inputs_of(graph), [node_of(tensor).operation.name for tensor in graph.inputs]
    paths = [path for path, _ in keras.tree.flatten_with_path(struct)]
    keys = list(dict.fromkeys(path[0] for path in paths)) if isinstance(struct, Mapping) else names
    if isinstance(x, Mapping):
        x = _named(x, keys if any(key in x for key in keys) else names)
    elif isinstance(struct, Mapping) and len(keys) > 1 and list(struct) != sorted(struct):
        what = "The network takes its inputs by name, and the examples have none."
        raise DataError(what, expected=f"a dictionary with {_listed(keys)}", received=type(x).__name__)
    arrays = [array for array in keras.tree.flatten(x) if array is not None]
    if len(arrays) != len(names):
        what = f"The network takes {_count(len(names), 'array')} of examples."
        expected = f"one for each of its inputs {_listed(names)}" if len(names) > 1 else "one array"
        raise DataError(what, expected=expected, received=str(len(arrays)))
    for name, tensor, array in zip(names, graph.inputs, arrays, strict=True):
        _check(f"the input '{name}'" if len(names) > 1 else "the network", tensor, array)
    return keras.tree.pack_sequence_as(struct, arrays)


def _named(x: Mapping[str, Any], names: Sequence[Any]) -> list[Any]:
    missing = [name for name in names if x.get(name) is None]
    if missing:
        what = f"The examples by name have none for the input '{missing[0]}'."
        received = _listed(list(x)) or "nothing"
        raise DataError(
            what, expected=_listed(names), received=received, fix=close_matches(str(missing[0]), map(str, x))
        )
    return [x[name] for name in names]


def _check(which: str, tensor: Any, array: np.ndarray) -> None:
    """Refuses what Keras would: it adds or drops a last axis of 1 by itself."""
    text = str(tensor.dtype) == "string"
    if text != (array.dtype == object):
        what = f"The examples are not what {which} takes."
        raise DataError(what, expected="texts" if text else "numbers", received="numbers" if text else "texts")
    wanted, shape = tuple(tensor.shape[1:]), array.shape[1:]
    if len(shape) == len(wanted) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    elif len(shape) == len(wanted) - 1 and wanted[-1] == 1:
        shape = (*shape, 1)
    if len(shape) != len(wanted) or any(n is not None and n != m for n, m in zip(wanted, shape, strict=True)):
        what = f"The examples do not have the shape that {which} takes."
        expected = f"({', '.join(['examples', *('any' if n is None else str(n) for n in wanted)])})"
        raise DataError(what, expected=expected, received=str(array.shape))


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(repr(name) for name in names)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
