"""A network as the list of calls that it was built from.

The list is an oracle: it runs on numbers, call by call, without the graph that Keras keeps and zoo edits.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

layers = keras.layers


def plainly(what: Any, tensors: list[Any]) -> Any:
    return what(*tensors)


def as_list(what: Any, tensors: list[Any]) -> Any:
    return what(tensors)


def with_state(what: Any, tensors: list[Any]) -> Any:
    return what(tensors[0], initial_state=tensors[1:])


def in_inference(what: Any, tensors: list[Any]) -> Any:
    return what(*tensors, training=False)


Form = Callable[[Any, list[Any]], Any]


@dataclass(frozen=True)
class Call:
    """One call: what is called (a layer, a model, a function), how, on which tensors, by number, and what it gives."""

    what: Any
    form: Form
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    name: str
    inside: "Program | None" = None


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor, the name of the layer, operation or input that made it, and how; an input was made by no call."""

    maker: str
    tensor: Any
    made: "Made | None" = None


@dataclass(frozen=True, eq=False)
class Made:
    """A call that was made: what it took, and what it gave."""

    taken: list[Value]
    given: list[Any]


#: Makes one call, on the tensors that it takes.
Do = Callable[[Call, list[Value]], Any]


def plain(call: Call, taken: list[Value], what: Any = None) -> Any:
    """The call as it was built, or on another layer; attention takes the masks off its inputs, which are put back."""
    tensors = [value.tensor for value in taken]
    masks = [getattr(tensor, "_keras_mask", None) for tensor in tensors]
    made = call.form(what or call.what, tensors)
    for tensor, mask in zip(tensors, masks, strict=True):
        if mask is not None:
            tensor._keras_mask = mask
    return made


@dataclass
class Program:
    """The calls of a network in order, and its outputs: a structure of tensors' numbers; the inputs come first."""

    inputs: tuple[str, ...]
    calls: list[Call] = field(default_factory=list)
    outputs: Any = None

    def run(self, given: list[Value], do: Do, names: dict[int, str]) -> list[Value]:
        """Makes the calls, those inside models too; gives the outputs, flattened."""
        values = dict(enumerate(given))
        for call in self.calls:
            taken = [values[i] for i in call.takes]
            if call.inside:
                made = call.inside.run(taken, do, names)
            else:
                done = Made(taken, keras.tree.flatten(do(call, taken)))
                made = [Value(names[id(call)], tensor, done) for tensor in done.given]
            values.update(zip(call.gives, made, strict=True))
        return [values[i] for i in keras.tree.flatten(self.outputs)]

    def walk(self, chain: tuple[str, ...] = ()) -> Iterator[tuple[Call, tuple[str, ...]]]:
        """All calls of layers and functions, each with the names of the models that it lies in."""
        for call in self.calls:
            yield from call.inside.walk((*chain, call.name)) if call.inside else [(call, chain)]

    def text(self, indent: str = "") -> str:
        """The program to read."""
        lines = [f"{indent}inputs {', '.join(self.inputs)}"]
        for call in self.calls:
            gives, takes = (", ".join(f"t{i}" for i in of) for of in (call.gives, call.takes))
            lines.append(f"{indent}{gives} = {call.name}({takes})  # {type(call.what).__name__}, {call.form.__name__}")
            lines += [call.inside.text(f"{indent}    ")] if call.inside else []
        return "\n".join([*lines, f"{indent}outputs {self.outputs}"])


class Drawn:
    """A random network: the model, a batch for it, and the program that it was built from."""

    def __init__(self, model: keras.Model, x: Any, program: Program):
        self.model, self.x, self.program = model, x, program
        self.learnable = {id(v) for v in model.trainable_variables}
        walked = list(program.walk())
        count = Counter({id(call.what): call.name for call, _ in walked}.values())
        #: What zoo calls the layer or operation of each call: by its model too, where its own name is not enough.
        self.names = {
            id(call): "_".join((*chain, call.name)) if count[call.name] > 1 else call.name for call, chain in walked
        }
        of = {self.names[id(call)]: call.what for call, _ in walked}
        needed = self.made()
        #: The layers that an output depends on, and the variables of all others: an output of a model inside may be
        #: used nowhere, and what makes it is then no part of the network.
        self.layers = {name: of[name] for name in needed if isinstance(of[name], layers.Layer)}
        unused = {id(v) for c, _ in walked if self.names[id(c)] not in needed for v in getattr(c.what, "variables", [])}
        self.variables = [v for v in model.variables if id(v) not in unused]

    def __repr__(self) -> str:
        return f"\n{self.program.text()}"

    def oracle(self, do: Do = plain) -> list[np.ndarray]:
        """What the program gives, flattened; ``do`` makes the calls."""
        return numbers([value.tensor for value in self.values(do)])

    def values(self, do: Do = plain) -> list[Value]:
        """The outputs of the program, each with the name of what made it."""
        x = self.x if isinstance(self.x, dict) else dict(zip(self.program.inputs, self.x, strict=True))
        given = [Value(name, keras.ops.convert_to_tensor(x[name])) for name in self.program.inputs]
        return self.program.run(given, do, self.names)

    def made(self, do: Do = plain) -> dict[str, list[Made]]:
        """The calls that an output depends on, by name; a layer that is called several times has several."""
        found: dict[str, list[Made]] = {}
        done: set[int] = set()

        def below(value: Value) -> None:
            if value.made is None or id(value.made) in done:
                return
            done.add(id(value.made))
            for taken in value.made.taken:
                below(taken)
            found.setdefault(value.maker, []).append(value.made)

        for value in self.values(do):
            below(value)
        return found


def numbers(outputs: Any) -> list[np.ndarray]:
    """Tensors in any structure as a list of arrays."""
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]
