"""What a model's variables are called, by where they stand in it.

``variable.path`` will not do: it depends on where a layer was first called, changes when a model is saved and loaded,
and repeats where two backbones are of the same make. A layer's place in its model does neither.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras.src.saving.saving_lib import _get_unique_name, _walk_saveable
from keras.src.utils.naming import to_snake_case

from .formats.tensor import Tensor
from .graph import is_seed_state

#: Lists inside lists, at most.
_DEPTH = 20
#: Ways to call a layer, at most: each layer around it has a few.
_MIXES = 200


@dataclass(frozen=True, eq=False)
class Place:
    """A variable and where it stands.

    Attributes:
        variable: The variable.
        layer: The layer that it belongs to.
        name: What it is called here: the names of the layers around it, its layer's and its own.
        spellings: All that files may call it.
        number: Its number among its layer's variables, in the order in which Keras saves them.
        count: How many variables its layer has.
    """

    variable: keras.Variable
    layer: keras.Layer
    name: str
    spellings: tuple[tuple[str, ...], ...]
    number: int
    count: int


@dataclass(frozen=True)
class _Way:
    """How a layer is reached from the model.

    ``name`` is what it is called here; ``named`` strings the layers' own names together; ``all`` mixes these with the
    attributes that hold the layers; ``position`` is by class and number, as in Keras's files, and ``None`` in a graph,
    where it tells nothing.
    """

    name: str = ""
    named: str = ""
    all: tuple[str, ...] = ("",)
    position: str | None = ""

    def on(self, step: "_Step") -> "_Way":
        """The way to a layer right inside."""
        position = None if self.position is None or step.position is None else _join(self.position, step.position)
        mixed = dict.fromkeys(_join(way, name) for way in self.all for name in (step.name, *step.others))
        return _Way(_join(self.name, step.name), _join(self.named, step.layer.name), tuple(mixed)[:_MIXES], position)

    def spellings(self, leaf: str, number: int) -> tuple[tuple[str, ...], ...]:
        """All that files may call a variable of the layer, surest first; ``#0`` is a variable that files number.

        The last two may be met without their beginnings.
        """
        leaves = (leaf, f"#{number}")
        position = () if self.position is None else (_join(self.position, f"#{number}"),)
        return (
            (*(_join(way, end) for way in self.all for end in leaves), *position),
            tuple(_join(self.name, end) for end in leaves),
            tuple(_join(self.named, end) for end in leaves),
        )


@dataclass
class _Step:
    """A layer right inside another one: what it is called there, here and in files, and the attribute that holds it."""

    layer: keras.Layer
    name: str
    held: str | None
    others: tuple[str, ...]
    position: str | None


def _join(above: str, below: str) -> str:
    return f"{above}/{below}" if above else below


def places(model: keras.Model) -> list[Place]:
    """Every variable of a model once, in the model's order, but not the states of random generators.

    A variable is called ``layer/variable``, with the layers and models around its layer before it:
    ``backbone/conv1/kernel``. A layer that Keras named itself and that is an attribute of another (``self.encoder``)
    is called by the attribute, since Keras's own names count on through a session.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="low")], name="m")
        >>> [place.name for place in places(model)]
        ['low/kernel', 'low/bias']
    """
    found = list(_places_in(model, _Way(), set()))
    order = {id(variable): i for i, variable in enumerate(model.variables)}
    return sorted(found, key=lambda place: order.get(id(place.variable), len(order)))


def _places_in(layer: keras.Layer, way: _Way, seen: set[int]) -> Iterator[Place]:
    seen.add(id(layer))
    own = layer._trainable_variables + layer._non_trainable_variables
    for number, (variable, leaf) in enumerate(zip(own, _leaves(layer, own), strict=True)):
        if id(variable) not in seen and not is_seed_state(variable):
            seen.add(id(variable))
            name, spellings = _join(way.name, leaf), way.spellings(leaf, number)
            yield Place(variable, layer, name, spellings, number, len(own))
    for step in _steps(layer):
        if id(step.layer) not in seen:
            yield from _places_in(step.layer, way.on(step), seen)


def _leaves(layer: keras.Layer, own: list[keras.Variable]) -> list[str]:
    """The variables' own names; the attribute's where Keras made the name, a number where it repeats."""
    attributes = {id(value): name for name, value in vars(layer).items() if isinstance(value, keras.Variable)}
    names = [attributes.get(id(v), str(v.name)) if re.fullmatch(r"variable(_\d+)?", v.name) else v.name for v in own]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name}_{i}" for i, name in enumerate(names)]


def _steps(layer: keras.Layer) -> list[_Step]:
    """The layers right inside a layer, walked as Keras walks them when it saves."""
    in_graph = layer._obj_type() in ("Functional", "Sequential")
    by_keras = type(layer).__module__.startswith("keras.")
    found: dict[int, _Step] = {}
    for attribute, value in _walk_saveable(layer):
        for child, held, position in _layers_in(value, attribute, attribute):
            if attribute == "layers":  # a model's own list of all its layers
                found.setdefault(id(child), _Step(child, child.name, None, (), None if in_graph else position))
                continue
            name = held if _is_automatic(child, by_keras) else child.name
            above = position.rpartition("/")[0]
            saved = position if not above or name == held else f"{above}/{child.name}"
            public = held.lstrip("_")  # an attribute, and the property that shows it, are one
            step = _Step(child, name, held, (child.name, held, public, saved), position)
            known = found.setdefault(id(child), step)
            if known.held is None and not in_graph:
                found[id(child)] = replace(step, position=known.position)
    for child in layer._flatten_layers(include_self=False, recursive=False):
        found.setdefault(id(child), _Step(child, child.name, None, (), None))
    return _told_apart(list(found.values()))


def _layers_in(value: Any, held: str, position: str, depth: int = 0) -> Iterator[tuple[keras.Layer, str, str]]:
    """The layers in an attribute's value: each with its index or key, and with its class and number."""
    if isinstance(value, keras.Layer):
        yield value, held, position
    elif isinstance(value, (list, tuple, dict)) and depth < _DEPTH:
        used: dict[str, int] = {}
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            is_list = isinstance(item, (list, tuple, dict))
            if is_list or isinstance(item, keras.Layer):
                kind = _get_unique_name("container" if is_list else to_snake_case(type(item).__name__), used)
                yield from _layers_in(item, f"{held}/{key}", f"{position}/{kind}", depth + 1)


def _is_automatic(layer: keras.Layer, by_keras: bool) -> bool:
    """Whether Keras made a layer's name: its class's, numbered; a layer of Keras's may put a word before it."""
    before = "(.*_)?" if by_keras else ""
    return bool(re.fullmatch(rf"{before}{to_snake_case(type(layer).__name__)}(_\d+)?", layer.name))


def _told_apart(steps: list[_Step]) -> list[_Step]:
    """Calls layers of the same name by the attributes that hold them."""
    while True:
        counts = Counter(step.name for step in steps)
        same = [step for step in steps if counts[step.name] > 1 and step.held not in (None, step.name)]
        if not same:
            return steps
        for step in same:
            step.name = step.held or step.name


class Names:
    """Finds the variables that a file's names mean.

    Args:
        found: The model's variables.
        model_name: The model's own name, with which some files' names begin.
    """

    def __init__(self, found: list[Place], model_name: str):
        self._model = f"{model_name}/"
        self._levels: list[dict[str, list[Place]]] = [{} for _ in range(5)]
        for place in found:
            ways, names, own_names = place.spellings
            levels = (names, own_names, ways, _endings(names), _endings(own_names))
            for level, spellings in zip(self._levels, levels, strict=True):
                for spelling in dict.fromkeys(spellings):
                    level.setdefault(spelling, []).append(place)

    def meant(self, tensor: Tensor, renamed: str | None) -> list[Place]:
        """The variables that a tensor may be for: one, or none; several where its name does not tell.

        Args:
            tensor: The tensor.
            renamed: What the user calls it; ``None`` where the file's names hold.
        """
        for name in (tensor.tried or (tensor.name,)) if renamed is None else (renamed,):
            layer, _, last = name.rpartition("/")
            numbered = tensor.count is not None and is_numbered(name)
            found = self._called(_join(layer, f"#{last}") if numbered else name)
            if found:
                return found
        return []

    def _called(self, name: str) -> list[Place]:
        plain = name if "/" in name else name.replace(".", "/")
        for candidate in dict.fromkeys((plain, plain.removeprefix(self._model))):
            for level in self._levels:
                if candidate in level:
                    return level[candidate]
        return []


def is_numbered(name: str) -> bool:
    """Whether a name's last part is a number.

    Example:
        >>> is_numbered("hidden1/0"), is_numbered("hidden1/kernel")
        (True, False)
    """
    return name.rpartition("/")[2].isdecimal()


def _endings(spellings: tuple[str, ...]) -> list[str]:
    """``a/b/c/d`` without one or more at its beginning, down to a layer and its variable: ``b/c/d``, ``c/d``."""
    parted = [spelling.split("/") for spelling in spellings]
    return ["/".join(parts[i:]) for parts in parted for i in range(1, len(parts) - 1)]
