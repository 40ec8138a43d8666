"""Keras's objects by the name of their class, with every argument checked by name."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from zoo.errors import RecipeError, close_matches


def classes(namespace: Any, base: type) -> dict[str, type]:
    """The public classes of one of Keras's namespaces that derive from a base, by their names.

    Args:
        namespace: Such as ``keras.optimizers``.
        base: The class that they derive from; it is not among them.

    Returns:
        The classes.

    Example:
        >>> import keras
        >>> schedules = keras.optimizers.schedules
        >>> sorted(classes(schedules, schedules.LearningRateSchedule))[:3]
        ['CosineDecay', 'CosineDecayRestarts', 'ExponentialDecay']
    """
    found = {name: getattr(namespace, name) for name in dir(namespace)}
    return {name: c for name, c in found.items() if inspect.isclass(c) and issubclass(c, base) and c is not base}


def keras_name(made: type) -> str:
    """What Keras calls a class, or the one that it derives from, in lower case."""
    return next(c.__name__ for c in made.__mro__ if c.__module__.startswith("keras.")).lower()


def parameters(made: type) -> list[str]:
    """The names of a class's arguments."""
    return [p for p in inspect.signature(made.__init__).parameters if p not in ("self", "kwargs")]


def check_names(made: type, arguments: Iterable[str], what: str) -> None:
    """Refuses arguments that a class has not, and the lack of one that it needs.

    Args:
        made: The class.
        arguments: The names of what it is given.
        what: What errors call it: ``The optimizer 'adam'``.

    Raises:
        RecipeError: with the first name.
    """
    given, known = list(arguments), inspect.signature(made.__init__).parameters
    for argument in given:
        if argument not in parameters(made):
            unknown = f"{what} has no argument '{argument}'."
            raise RecipeError(unknown, fix=close_matches(argument, parameters(made)))
    for argument in parameters(made):
        if argument not in given and known[argument].default is inspect.Parameter.empty:
            lacking = f"{what} needs a value for '{argument}'."
            raise RecipeError(lacking, received=", ".join(sorted(given)) or "none")


def make(made: type, arguments: Mapping[str, Any], what: str) -> Any:
    """An object of a class.

    Args:
        made: The class.
        arguments: Its arguments by name.
        what: What errors call it: ``The optimizer 'adam'``.

    Returns:
        The object.

    Raises:
        RecipeError: for an argument that it has not, one that it needs, or a value that it refuses.
    """
    check_names(made, arguments, what)
    try:
        return made(**arguments)
    except (TypeError, ValueError) as reason:
        refused = f"{what} refuses its arguments: {str(reason).splitlines()[0]}"
        raise RecipeError(refused, received=str(dict(arguments))) from None
