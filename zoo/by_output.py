"""What is given for each output of a network, by position or by name: targets, losses, weights of losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .errors import DataError, close_matches
from .graph import outputs_of


@dataclass(frozen=True)
class OutputNames:
    """What the outputs of a network are called, in their order.

    Attributes:
        layers: The name of the layer that gives each.
        paths: Where each stands in the structure that the network gives: keys and positions.
        sizes: The shape of each, with the batch.
    """

    layers: tuple[str, ...]
    paths: tuple[tuple[Any, ...], ...]
    sizes: tuple[tuple[int | None, ...], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Their keys, of a network that gives a dictionary; else the layers' names."""
        return tuple(str(path[0]) for path in self.paths) if self.by_key else self.layers

    @property
    def by_key(self) -> bool:
        """Whether the network gives a dictionary."""
        return bool(self.paths[0]) and isinstance(self.paths[0][0], str)


def output_names(graph: keras.Model, layers: Sequence[str] | None = None) -> OutputNames:
    """The names of a functional model's outputs.

    Args:
        graph: The model.
        layers: The names of the layers that give them, where those of ``graph`` are not the user's.
    """
    paths = tuple(tuple(path) for path, _ in keras.tree.flatten_with_path(outputs_of(graph)))
    own: tuple[str, ...] = tuple(graph.output_names)  # pyright: ignore[reportAttributeAccessIssue]
    named = own if layers is None or len(layers) != len(own) else tuple(layers)
    return OutputNames(named, paths, tuple(tuple(tensor.shape) for tensor in graph.outputs))


def by_output(given: Any, names: OutputNames, what: str) -> tuple[Any, ...]:
    """One entry for each output: ``None`` for one that is not named.

    Args:
        given: A dictionary by the network's own keys or by the names of the layers that give its outputs; or anything
            else in any structure, in the outputs' order.
        names: What the outputs are called.
        what: What is given, in the plural, for a message.

    Returns:
        As many entries as there are outputs where a dictionary is given, else as many as are given.

    Raises:
        DataError: if an output is named that the network does not have, or a name fits several.

    Example:
        >>> inputs = keras.Input((4,))
        >>> outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("b", "a")]
        >>> by_output({"a": "mse", "b": "mae"}, output_names(keras.Model(inputs, outputs)), "losses")
        ('mae', 'mse')
    """
    if not isinstance(given, Mapping):
        return tuple(keras.tree.flatten(given))
    if names.by_key and all(key in {path[0] for path in names.paths} for key in given):
        return tuple(_found(given, path) for path in names.paths)
    foreign = [str(key) for key in given if key not in names.layers]
    if foreign:
        what = f"The {what} name an output that the network does not have."
        known = " | ".join(repr(name) for name in dict.fromkeys(names.keys))
        raise DataError(what, expected=known, received=repr(foreign[0]), fix=close_matches(foreign[0], names.keys))
    twice = [key for key in given if names.layers.count(key) > 1]
    if twice:
        what = f"The {what} by name do not say which output is meant: the layer '{twice[0]}' gives several."
        raise DataError(what, fix="Give a list in the outputs' order.")
    return tuple(given.get(name) for name in names.layers)


def _found(given: Any, path: Sequence[Any]) -> Any:
    """What stands at a place in a structure: what is given for a part of it is for all of that part."""
    for step in path:
        if isinstance(given, Mapping):
            given = given.get(step)
        elif isinstance(given, (list, tuple)):
            given = given[step] if step < len(given) else None
        else:
            return given
    return given
