"""Replacing and inserting layers anywhere in a network; everything else stays as it was."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from .copying import OWN_LAYERS, Copy, copy_layer, copy_switches, first_line, rebuilt
from .errors import SurgeryError
from .flattening import flat
from .graph import arguments_anew, calls, node_of, operations, outputs_of
from .naming import free_name
from .surgery import no_such_layer

#: What can stand in a layer's place: a layer, a model, or a chain of them from bottom to top.
Part = keras.layers.Layer | Sequence[keras.layers.Layer]


def replace_layer(
    model: keras.Model,
    name: str,
    layer: Part | Callable[[keras.layers.Layer], Part | None] | None,
    *,
    keep_weights: bool = False,
) -> keras.Model:
    """Replaces a layer, or all layers whose names match, wherever they are called.

    Args:
        model: A Keras model.
        name: The layer's name, or a regular expression for the whole of it.
        layer: What stands there instead: a layer, a model, or a list of them from bottom to top; ``None`` takes the
            layer out, where its output has its input's shape. Where ``name`` matches several layers, a function that
            takes the old layer and gives any of these.
        keep_weights: Whether the new layer starts with the old one's weights (a convolution with another stride or
            dilation, a dense layer with another activation); their shapes must be the same.

    Returns:
        A new network; the weights of all other layers are copies. A new layer whose name is taken by another layer is
        copied under a numbered name.

    Raises:
        SurgeryError: if no layer has such a name, several have and one layer is given, the new one does not fit there,
            or its weights have other shapes.

    Example:
        >>> import keras, zoo
        >>> net = zoo.load("glyphs")
        >>> smooth = zoo.replace_layer(net, "block[12]_act.*", lambda old: keras.layers.Activation("gelu"))
        >>> len(smooth.layers) == len(net.layers)
        True
    """
    graph = flat(model)
    old = [op for op in operations(graph) if _matches(name, op.name)]
    if not old:
        raise no_such_layer(graph, name)
    makes = callable(layer) and not isinstance(layer, keras.layers.Layer)
    if len(old) > 1 and not makes and layer is not None:
        what = f"'{name}' matches {len(old)} layers, and one layer cannot stand for all: {_listed(old)}."
        raise SurgeryError(what, fix="Give a function that makes each: lambda old: keras.layers.ReLU().")
    edit = _Edit(graph, leaving=[op.name for op in old])
    parts = {id(op): edit.ready(_made(layer, op) if makes else layer) for op in old}  # pyright: ignore[reportCallIssue, reportOptionalCall]

    def call(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if id(operation) not in parts:
            return edit.copy.call(operation, args, kwargs)
        return edit.chain(parts[id(operation)], args, kwargs, f"'{operation.name}'")

    for node in calls(graph):
        edit.run(node, call)
    if keep_weights:
        for op in old:
            _hand_down(op, parts[id(op)])
    return edit.finished()


def _made(make: Any, old: keras.layers.Layer) -> Any:
    try:
        return make(old)
    except (ValueError, TypeError, AttributeError) as reason:
        what = f"The function that makes what replaces '{old.name}' failed: {first_line(reason)}"
        fix = "It is given the old layer, and gives a new one: lambda old: keras.layers.Activation('gelu')."
        raise SurgeryError(what, fix=fix) from reason


def insert_layer(model: keras.Model, layer: Part, *, above: str | None = None, below: str | None = None) -> keras.Model:
    """Inserts a layer above or below another one.

    Args:
        model: A Keras model.
        layer: A layer, a model, or a list of them from bottom to top.
        above: The layer, or the input, whose output it takes; all that took this output now take the new one's.
        below: The layer that takes its output. With ``above`` too, only the connection between the two is changed,
            which a skip connection passes by; alone, the layer must have one input.

    Returns:
        A new network; the weights of the other layers are copies. A new layer whose name is taken is copied under a
        numbered name.

    Raises:
        SurgeryError: if there is no such layer or connection, or the new layer does not fit there.

    Example:
        >>> import keras, zoo
        >>> net = zoo.insert_layer(zoo.load("glyphs"), keras.layers.Dropout(0.2, name="drop"), above="block2_pool")
        >>> net.get_layer("drop").rate
        0.2
    """
    graph = flat(model)
    if above is None and below is None:
        what = "Where the layer is to be inserted is not said."
        raise SurgeryError(what, expected="above=LAYER, below=LAYER, or both")
    edges = _edges(graph, above, below)
    edit = _Edit(graph, leaving=())
    part = edit.ready(layer)
    if not part:
        what = "There is nothing to insert."
        raise SurgeryError(what, expected="a Keras layer, or a list of them", received=repr(layer))
    made: dict[int, Any] = {}

    def through(tensor: Any) -> Any:
        if id(tensor) not in made:
            made[id(tensor)] = edit.chain(part, (edit.copy.values[id(tensor)],), {}, f"{above or below!r}")
        return made[id(tensor)]

    for node in calls(graph):
        changed = {id(t): through(t) for t in node.input_tensors if (id(t), id(node)) in edges}
        edit.run(node, edit.copy.call, changed)
    for tensor in graph.outputs:
        if (id(tensor), None) in edges:
            edit.copy.values[id(tensor)] = through(tensor)
    return edit.finished()


def _matches(pattern: str, name: str) -> bool:
    if pattern == name:
        return True
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as reason:
        what = f"{pattern!r} is not a regular expression: {reason}."
        raise SurgeryError(what) from None


def _listed(old: Sequence[Any]) -> str:
    return ", ".join(op.name for op in old[:5]) + (", ..." if len(old) > 5 else "")


def _edges(graph: keras.Model, above: str | None, below: str | None) -> set[tuple[int, int | None]]:
    """The connections to change: a tensor and the call that takes it, ``None`` where it is the network's output."""
    nodes = calls(graph)
    made = {id(t): node_of(t).operation.name for t in (*graph.inputs, *(t for n in nodes for t in n.outputs))}
    for name in (above, below):
        if name is not None and name not in made.values():
            raise no_such_layer(graph, name)
    takers = [(t, node) for node in nodes for t in node.input_tensors if t.dtype != "bool"]
    found: set[tuple[int, int | None]] = {
        (id(t), id(node)) for t, node in takers if above in (None, made[id(t)]) and below in (None, node.operation.name)
    }
    if below is None:
        found |= {(id(t), None) for t in graph.outputs if made[id(t)] == above}
    sources = {t for t, _ in found}
    if not found:
        what = f"'{below}' takes nothing from '{above}'." if above and below else f"'{below}' takes no tensor."
        raise SurgeryError(what, fix=f"Say only above={(above or below)!r}, for all that take its output.")
    if len(sources) > 1 and above is None:
        what = f"'{below}' takes {len(sources)} tensors."
        inside = sorted({made[t] for t in sources})
        raise SurgeryError(what, fix=f"Say between which layers: above={inside[0]!r}, below={below!r}.")
    if len(sources) > 1 or any(len(node.outputs) > 1 for node in nodes if node.operation.name == above):
        what = f"'{above}' gives several tensors, or is called several times."
        raise SurgeryError(what, fix="Insert above or below another layer.")
    return found


class _Edit:
    """A copy of a network in which something is changed."""

    def __init__(self, graph: keras.Model, leaving: Sequence[str]):
        self._graph = graph
        self.copy = Copy(graph)
        self._own = {id(op): op for op in operations(graph)}
        inputs = {node_of(tensor).operation.name for tensor in graph.inputs}
        self._taken = ({op.name for op in self._own.values()} | inputs) - set(leaving)

    def ready(self, part: Any) -> list[keras.layers.Layer]:
        """What was given as a chain of layers; one that has a taken name, or is of the network itself, as a copy."""
        layers = [] if part is None else list(part) if isinstance(part, (list, tuple)) else [part]
        for layer in layers:
            if not isinstance(layer, keras.layers.Layer):
                what = "This cannot stand in a network."
                raise SurgeryError(what, expected="a Keras layer, or a list of them", received=type(layer).__name__)
        return [self._named(layer) for layer in layers]

    def _named(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        name = free_name(layer.name, self._taken)
        self._taken.add(name)
        if name == layer.name and id(layer) not in self._own:
            return layer
        fresh = rebuilt(layer, name)
        if layer.built:
            fresh.build_from_config(layer.get_build_config())
            copy_layer(layer, fresh)
            copy_switches(layer, fresh)
        return fresh

    def chain(self, part: Sequence[Any], args: tuple[Any, ...], kwargs: dict[str, Any], where: str) -> Any:
        """Calls a chain of layers on what the layer at this place was called with."""
        if not part:
            return (*args, *kwargs.values())[0]
        known = {key: value for key, value in kwargs.items() if key in part[0].call_signature_parameters}
        for key in kwargs.keys() - known.keys():
            if not key.endswith("mask") and any(
                isinstance(v, keras.KerasTensor) for v in keras.tree.flatten(kwargs[key])
            ):
                what = f"The network '{self._graph.name}' cannot be changed so: {where} also takes '{key}'."
                raise SurgeryError(what, fix=f"'{part[0].name}' must take it too.")
        outputs = self.fitting(where, part[0], *args, **known)
        for layer in part[1:]:
            outputs = self.fitting(where, layer, outputs)
        return outputs

    def fitting(self, where: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Makes a call.

        Raises:
            SurgeryError: if the layer refuses what it is called with.
        """
        try:
            return call(*args, **kwargs)
        except NotImplementedError as reason:
            what = f"The network '{self._graph.name}' cannot be copied: at {where}, {first_line(reason)}"
            raise SurgeryError(what, fix=OWN_LAYERS) from reason
        except (ValueError, TypeError, KeyError) as reason:
            what = f"The network '{self._graph.name}' cannot be changed so: at {where}, {first_line(reason)}"
            raise SurgeryError(what, fix="The new layers must take and give the shapes that stand there.") from reason

    def run(self, node: Any, call: Any, changed: Mapping[int, Any] | None = None) -> None:
        """Makes one of the copy's calls; ``changed`` holds what it takes in other tensors' places.

        A mask that the inputs carry is left to Keras: what is changed below may carry another one, or none.
        """
        args, kwargs = arguments_anew(node, {**self.copy.values, **(changed or {})})
        outputs = keras.tree.flatten(self.fitting(f"'{node.operation.name}'", call, node.operation, args, kwargs))
        if len(outputs) != len(node.outputs):
            what = (
                f"The network '{self._graph.name}' cannot be changed so: '{node.operation.name}' gives other tensors."
            )
            raise SurgeryError(what, expected=f"{len(node.outputs)} of them", received=str(len(outputs)))
        self.copy.values.update(zip(map(id, node.outputs), outputs, strict=True))

    def finished(self) -> keras.Model:
        """The changed copy.

        Raises:
            SurgeryError: if the weights of a layer that stays would have another shape.
        """
        for layer, fresh in self.copy.layers():
            for old, new in zip(layer.weights, fresh.weights, strict=False):
                if tuple(old.shape) != tuple(new.shape):
                    what = f"The weights of '{layer.name}' would not fit any more: the shape of what it takes changes."
                    fix = f"Replace '{layer.name}' too, or let the new layer give what stood there."
                    raise SurgeryError(what, expected=str(tuple(old.shape)), received=str(tuple(new.shape)), fix=fix)
            copy_layer(layer, fresh)
            copy_switches(layer, fresh)
        return self.fitting("its outputs", self.copy.model, outputs_of(self._graph))


def _hand_down(old: Any, part: Sequence[keras.layers.Layer]) -> None:
    weights = getattr(old, "weights", [])
    heirs = [layer for layer in part if layer.weights]
    shapes = [[tuple(v.shape) for v in of] for of in (weights, heirs[0].weights if len(heirs) == 1 else [])]
    if shapes[0] != shapes[1]:
        what = f"The weights of '{old.name}' do not fit what replaces it."
        raise SurgeryError(what, expected=str(shapes[0]), received=str(shapes[1]), fix="Leave keep_weights out.")
    for to, value in zip(heirs[0].weights if heirs else [], weights, strict=True):
        to.assign(value)
