"""One trap, as measured: what plain Keras does and what zoo does."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Trap:
    """A figure in plain Keras and in zoo; text where one of them refuses, the error's class."""

    figure: str
    plain: float | str
    ours: float | str


Measure = Callable[[], Trap]


def refusal(act: Callable[[], object], fine: str = "no error") -> str:
    """The class of the error that an act ends in."""
    try:
        act()
    except Exception as reason:
        return type(reason).__name__
    return fine
