"""What callbacks have counted, noted and kept: plain values and arrays, as a checkpoint holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

#: What every callback is given, and what is never its own.
_GIVEN = ("_model", "model", "params", "validation_data")


@dataclass(frozen=True)
class CallbackState:
    """The state of several callbacks.

    Attributes:
        values: For each callback its class, and its attributes that JSON holds.
        arrays: Its attributes that are arrays, or lists of them, as ``NUMBER/ATTRIBUTE`` or
            ``NUMBER/ATTRIBUTE/PLACE``.
    """

    values: Sequence[Mapping[str, Any]] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def state_of(callbacks: Sequence[keras.callbacks.Callback]) -> CallbackState:
    """The state of callbacks, as it is now.

    Args:
        callbacks: Any callbacks: what they hold in plain attributes (numbers, words, lists and tables of them, arrays
            and lists of arrays) is their state; those with ``keeps_state = False`` have none.

    Example:
        >>> stopping = keras.callbacks.EarlyStopping(patience=3)
        >>> stopping.wait, stopping.best = 2, 0.25
        >>> held = state_of([stopping])
        >>> other = keras.callbacks.EarlyStopping(patience=3)
        >>> restore([other], held)
        >>> other.wait, other.best
        (2, 0.25)
    """
    values: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for number, callback in enumerate(callbacks):
        plain: dict[str, Any] = {}
        for name, value in _own(callback).items():
            if _is_plain(value):
                plain[name] = value
            elif _is_array(value):
                arrays[f"{number}/{name}"] = np.array(value)
            elif _are_arrays(value):
                arrays |= {f"{number}/{name}/{place}": np.array(one) for place, one in enumerate(value)}
        values.append({"class": type(callback).__name__, "values": plain})
    return CallbackState(values, arrays)


def restore(callbacks: Sequence[keras.callbacks.Callback], state: CallbackState) -> None:
    """Puts back what :func:`state_of` gave, the plain arguments that a callback was made with among it.

    Args:
        callbacks: As many as then, of the same classes.
        state: The state.

    Raises:
        ValueError: if they are others.
    """
    classes = [str(one["class"]) for one in state.values]
    if classes != [type(callback).__name__ for callback in callbacks]:
        what = f"callbacks of the classes {classes}"
        raise ValueError(what)
    for number, callback in enumerate(callbacks):
        for name, value in state.values[number]["values"].items():
            setattr(callback, name, value)
        for name, value in _arrays_of(number, state.arrays).items():
            setattr(callback, name, value)


def _arrays_of(number: int, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A callback's arrays and lists of arrays, by attribute."""
    found: dict[str, Any] = {}
    for key, array in arrays.items():
        owner, name, *place = key.split("/")
        if int(owner) == number and place:
            found.setdefault(name, {})[int(place[0])] = array
        elif int(owner) == number:
            found[name] = array if array.ndim else array[()]
    return {
        name: [value[place] for place in sorted(value)] if isinstance(value, dict) else value
        for name, value in found.items()
    }


def unkept(callback: keras.callbacks.Callback) -> list[str]:
    """The attributes of a callback whose values no checkpoint holds: they are as it makes them when it begins."""
    return [
        name
        for name, value in _own(callback).items()
        if not (_is_plain(value) or _is_array(value) or _are_arrays(value) or callable(value))
    ]


def _own(callback: keras.callbacks.Callback) -> dict[str, Any]:
    if not getattr(callback, "keeps_state", True):
        return {}
    # Keras turns the sign of `min_delta` around once it knows which way is better, and keeps that in `monitor_op`: a
    # function, found anew after a resume, when the sign is turned once more.
    argument = ("min_delta",) if hasattr(callback, "monitor_op") else ()
    return {name: value for name, value in vars(callback).items() if name not in (*_GIVEN, *argument)}


def _is_plain(value: Any) -> bool:
    """Whether JSON gives a value back as it is."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf"


def _are_arrays(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_array, value))
