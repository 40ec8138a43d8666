"""What a trunk computes, as one number: the key under which its features are kept.

A network is read into nested tuples of plain values, in the order of :func:`zoo.graph.calls`, which the graph alone
decides; their text is hashed. Names are left out, and so is what only training uses.
"""

import functools
import hashlib
import tempfile
import types
import uuid
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .array_digests import ArrayDigests
from .flattening import flat
from .graph import calls, inputs_of, is_graph, is_seed_state, node_of, outputs_of, takes_training
from .known_code import is_known, known_module, named, source_of

#: Keras's layers that run code, or read files, that their configuration does not hold.
CARRIERS = ("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper")

_TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")
_NAMES = frozenset({"name", "trainable"})
_RAW = frozenset({"_lock", "_auto_config", "name", "_inbound_nodes", "_outbound_nodes", "_remat_mode"})
_FITTING = (keras.optimizers.Optimizer, keras.losses.Loss, keras.metrics.Metric, keras.random.SeedGenerator)


def trunk_digest(trunk: keras.Model) -> str:
    """The SHA-256, hexadecimal, of everything that a network computes with in inference.

    That is its graph, what its layers are set to, the bytes of their state, and the source of zoo's own layers. Names,
    ``trainable``, initializers, regularizers, the states of random generators and the order in which layers were made
    count for nothing. The keys of a dictionary of inputs or outputs count: they say which data goes where.

    Args:
        trunk: A Keras model that is built.

    Returns:
        The same in every process, and for every network that is the same. Two of one digest give the same bits with
        the same versions of Keras and its backend on the same device, except where :func:`unknown_code` names
        something; a network that holds an object which cannot be read never has the same digest twice.

    Raises:
        SurgeryError: if the model is not built, or uses a variable outside a layer.

    Example:
        >>> import keras
        >>> def network(name, epsilon=1e-3):
        ...     x = keras.Input((4,))
        ...     return keras.Model(x, keras.layers.BatchNormalization(epsilon=epsilon, name=name)(x))
        >>> trunk_digest(network("one")) == trunk_digest(network("other"))
        True
        >>> trunk_digest(network("one")) == trunk_digest(network("one", epsilon=1e-5))
        False
    """
    return read_trunk(trunk)[0]


def read_trunk(trunk: keras.Model) -> tuple[str, tuple[str, ...]]:
    """What :func:`trunk_digest` and :func:`unknown_code` give, for one reading."""
    config = keras.config
    around = (config.backend(), config.floatx(), config.epsilon().hex(), config.image_data_format())
    graph = flat(trunk)  # held while it is read: it may have layers of its own
    with ArrayDigests() as digests:
        reader = _Reader(digests)
        read = ("trunk 1", around, reader.network(graph, outermost=True))
    digest = hashlib.sha256(repr(read).encode("utf-8", "surrogatepass")).hexdigest()
    return digest, tuple(dict.fromkeys(reader.unknown))


def unknown_code(trunk: keras.Model) -> tuple[str, ...]:
    """The operations of a network that run code which their configuration does not hold, by name.

    These are layers and functions of anybody but Keras, TensorFlow and zoo, subclasses of Keras's layers among them,
    and ``keras.layers.Lambda``. An edit of such code does not change :func:`trunk_digest`.

    Args:
        trunk: A Keras model that is built.

    Returns:
        Each name once, in the order of the graph; those of layers in models inside as :func:`zoo.flattening.flat` has
        them.

    Raises:
        SurgeryError: if the model is not built, or uses a variable outside a layer.

    Example:
        >>> import keras
        >>> stack = [keras.layers.Dense(3, name="low"), keras.layers.Lambda(lambda x: 2 * x, name="double")]
        >>> unknown_code(keras.Sequential([keras.Input((4,)), *stack]))
        ('double',)
    """
    graph, reader = flat(trunk), _Reader()
    reader.network(graph, outermost=True)
    return tuple(dict.fromkeys(reader.unknown))


class _Reader:
    """Reads one network; what it meets a second time it knows by its number.

    ``unknown`` has the names of the operations of the outermost graph whose code is not known. Without ``digests``
    arrays are left out.
    """

    def __init__(self, digests: ArrayDigests | None = None):
        self.unknown: list[str] = []
        self._digests = digests
        self._where = ""
        self._met: dict[int, tuple[int, Any]] = {}
        self._tensors: dict[int, Any] = {}

    def network(self, graph: keras.Model, *, outermost: bool = False) -> Any:
        """A graph: its inputs, its calls in order, each with its operation, and its outputs."""
        outside, self._tensors = self._tensors, {id(t): ("input", i) for i, t in enumerate(graph.inputs)}
        made = []
        for i, node in enumerate(calls(graph)):
            if outermost:
                self._where = node.operation.name
            made.append(self._call(node))
            self._tensors |= {id(t): ("call", i, k) for k, t in enumerate(node.outputs)}
        takes, inputs = inputs_of(graph), [_input(tensor) for tensor in graph.inputs]
        takes = takes[0] if isinstance(takes, (list, tuple)) and len(takes) == 1 else takes
        read = ("network", inputs, self.value(takes), made, self.value(outputs_of(graph)))
        self._tensors = outside
        return read

    def _call(self, node: Any) -> Any:
        operation, (args, kwargs) = node.operation, (node.arguments.args, node.arguments.kwargs)
        idle = {"training": (None, False), "mask": (None,)}  # what such a call does when nothing is said
        kwargs = {k: v for k, v in kwargs.items() if not any(v is value for value in idle.get(k, ()))}
        switches = None
        if takes_training(operation) and any(leaf is True for leaf in (*args, kwargs.get("training"))):
            switches = [layer.trainable for layer in operation._flatten_layers()]  # batch normalization heeds them then
        return ("call", self.operation(operation), self.value(args), self.value(kwargs), switches)

    def operation(self, operation: Any) -> Any:
        """A layer, a model that was not taken apart, or an operation without state."""
        if (again := self._again(operation)) is not None:
            return again
        if is_graph(operation):
            return self.network(_as_graph(operation))
        kind = self._class(type(operation))
        if not isinstance(operation, keras.layers.Layer):
            own = {name: value for name, value in vars(operation).items() if name not in _RAW}
            return ("operation", kind, self.value(own))
        if type(operation).__name__ in CARRIERS:
            self._note()
        settings = (operation.autocast, operation._convert_input_args, operation.supports_masking)
        inside = [self.operation(layer) for layer in operation._flatten_layers(include_self=False, recursive=False)]
        config = self._config(operation)
        attributes = self._attributes(operation, whole=config is None or not is_known(type(operation)))
        return ("layer", kind, settings, inside, config, attributes, self._state(operation))

    # What a layer is set to

    def _config(self, layer: keras.layers.Layer) -> Any:
        """Its configuration; ``None`` where it has none."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Keras warns of functions without a name
                config = dict(layer.get_config())
        except Exception:  # whatever a user's own code raises; its attributes are read instead
            self._note()
            return None
        known = is_known(type(layer))
        beside = {"vocabulary", "idf_weights"} if _is_lookup(layer) else set()
        dropped = _NAMES | beside | ({"seed"} if known else set())
        inside = [(type(one).__name__, one.name) for one in layer._flatten_layers(include_self=False)]
        kept = {k: v for k, v in config.items() if k not in dropped and not k.endswith(_TRAINING_ONLY)}
        return self._configured(kept, inside)

    def _configured(self, config: Any, inside: list[tuple[str, str]]) -> Any:
        """A part of a configuration; a layer in it is one of those inside, which are read by themselves."""
        if isinstance(config, (list, tuple)):
            return ("list", [self._configured(value, inside) for value in config])
        if not isinstance(config, dict):
            return self.value(config)
        if "class_name" in config and "config" in config:
            kind, of = config["class_name"], config["config"]
            if kind == "__lambda__":
                return ("lambda",)  # its bytes change from time to time; the function is read as an attribute
            if isinstance(of, dict) and (kind, of.get("name")) in inside:
                return ("inside", inside.index((kind, of["name"])))
            if not known_module(config.get("module") or "keras") and config["module"] != "builtins":
                self._note()
        return ("dict", [(self.value(k), self._configured(config[k], inside)) for k in sorted(config, key=repr)])

    def _attributes(self, layer: keras.layers.Layer, whole: bool) -> Any:
        """What it holds beside its configuration: arrays and functions, or all that it has where little is known."""
        found = {}
        for name, value in vars(layer).items():
            if (
                name in _kept_by_keras(isinstance(layer, keras.Model))
                or name.endswith(_TRAINING_ONLY)
                or isinstance(value, _FITTING)
            ):
                continue
            leaves = keras.tree.flatten(value) if isinstance(value, (list, tuple, dict)) else [value]
            if whole or any(_is_array(leaf) or callable(leaf) for leaf in leaves):
                found[name] = value
        return self.value(found)

    def _state(self, layer: keras.layers.Layer) -> Any:
        """Its own variables, and what it saves beside them; those inside it have theirs."""
        if self._digests is None:
            return None
        inside = layer._flatten_layers(include_self=False, recursive=False)
        others = {id(variable) for one in inside for variable in one.variables}
        own = [v for v in layer.variables if id(v) not in others and not is_seed_state(v)]
        state: list[Any] = [self.value(variable) for variable in own]
        if _is_lookup(layer):
            state.append(self.value(layer.get_vocabulary()))  # pyright: ignore[reportAttributeAccessIssue]
        if not type(layer).save_own_variables.__module__.startswith("keras."):
            store: dict[str, Any] = {}
            layer.save_own_variables(store)
            state.append(self.value(store))
        save_assets: Any = getattr(layer, "save_assets", None)
        if save_assets and not save_assets.__module__.startswith("keras."):
            with tempfile.TemporaryDirectory() as folder:
                save_assets(folder)
                files = [path for path in Path(folder).rglob("*") if path.is_file()]
                state.append(self.value({path.relative_to(folder).as_posix(): path.read_bytes() for path in files}))
        return state

    # Values

    def value(self, given: Any) -> Any:
        """Any value as nested tuples and lists of plain ones; of what cannot be read, something that never recurs."""
        if isinstance(given, keras.KerasTensor):
            return self._tensors.get(id(given)) or ("symbolic", str(given.dtype), repr(given.shape[1:]))
        if isinstance(given, keras.Variable) or _is_array(given):
            return self._array(given)
        if given is None or given is Ellipsis or isinstance(given, (bool, int, str, bytes)):
            return (type(given).__name__, repr(given))
        if isinstance(given, (float, complex)):
            return (type(given).__name__, given.real.hex(), given.imag.hex())
        if isinstance(given, slice):
            return ("slice", *map(self.value, (given.start, given.stop, given.step)))
        if isinstance(given, dict):
            return ("dict", [(self.value(k), self.value(given[k])) for k in sorted(given, key=repr)])
        if isinstance(given, (list, tuple)):
            return ("list", [self.value(one) for one in given])  # one and the same, once read from a file
        if isinstance(given, (set, frozenset)):
            return ("set", sorted(repr(self.value(one)) for one in given))
        if isinstance(given, keras.Operation):
            return self.operation(given)
        if isinstance(given, type):
            return self._class(given)
        if isinstance(given, functools.partial):
            return ("partial", *map(self.value, (given.func, given.args, given.keywords)))
        if isinstance(given, types.MethodType):
            return ("method", self.value(given.__func__), self.value(given.__self__))
        if isinstance(given, (types.FunctionType, types.BuiltinFunctionType)):
            return self._function(given)
        return self._object(given)

    def _array(self, given: Any) -> Any:
        if self._digests is None:
            return None
        try:
            array = np.asarray(
                given.numpy() if isinstance(given, keras.Variable) else keras.ops.convert_to_numpy(given)
            )
        except (TypeError, ValueError, NotImplementedError):  # a ragged one
            return self._object(given)
        about = ("array", type(given).__name__ == "ndarray", str(array.dtype), array.shape)
        if array.dtype.kind in "OT":
            return (*about, [self.value(one) for one in array.ravel().tolist()])
        return (*about, self._digests.of(array))

    def _class(self, kind: type) -> Any:
        """A class: of a known one its name and zoo's source, of any other the code of its methods."""
        name = (kind.__module__, kind.__qualname__)
        if is_known(kind):
            zoos = {base.__module__ for base in kind.__mro__ if base.__module__.partition(".")[0] == "zoo"}
            return ("class", name, [source_of(module) for module in sorted(zoos)])
        self._note()
        if (again := self._again(kind)) is not None:
            return again
        methods = {k: v for k, v in vars(kind).items() if isinstance(v, types.FunctionType)}
        bases = [base for base in kind.__bases__ if base.__module__ != "builtins"]
        return ("class", name, self.value(methods), self.value(bases))

    def _function(self, function: Any) -> Any:
        """A function: a known one that its name leads to is its name, any other its code and what that holds."""
        name = (function.__module__, function.__qualname__)
        known = known_module(function.__module__)
        source = source_of(function.__module__) if known and function.__module__.startswith("zoo") else None
        if known and named(*name) is function:
            return ("function", name, source)
        if not known:
            self._note()
        if (again := self._again(function)) is not None:
            return again
        if not isinstance(function, types.FunctionType):
            return ("function", name)
        held = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
        given = (function.__defaults__, function.__kwdefaults__)
        return ("function", name, source, self._code(function.__code__), self.value(held), self.value(given))

    def _code(self, code: types.CodeType) -> Any:
        constants = [self._code(c) if isinstance(c, types.CodeType) else self.value(c) for c in code.co_consts]
        return ("code", code.co_code, code.co_names, constants)

    def _object(self, given: Any) -> Any:
        if isinstance(given, np.dtype):
            return ("dtype", str(given))
        if (again := self._again(given)) is not None:
            return again
        kind = self._class(type(given))
        if hasattr(given, "get_config"):
            return ("object", kind, self.value(given.get_config()))
        if not is_known(type(given)) and hasattr(given, "__dict__"):
            return ("object", kind, self.value(vars(given)))
        self._note()
        return ("object", kind, uuid.uuid4().hex)

    def _again(self, given: Any) -> Any:
        """The number of what was met before; ``None`` for what is new, which is held so that its id stays its own."""
        if id(given) in self._met:
            return ("again", self._met[id(given)][0])
        self._met[id(given)] = (len(self._met), given)
        return None

    def _note(self) -> None:
        self.unknown.append(self._where)


def _input(tensor: Any) -> Any:
    optional = bool(getattr(node_of(tensor).operation, "optional", False))
    ragged = bool(getattr(tensor, "ragged", False))
    return ("input", str(tensor.dtype), tuple(tensor.shape[1:]), bool(tensor.sparse), ragged, optional)


def _as_graph(model: keras.Model) -> keras.Model:
    """A model whose graph is known, as a functional one."""
    return keras.Model(model.inputs[0], model.outputs[0]) if isinstance(model, keras.Sequential) else model


def _is_array(value: Any) -> bool:
    """Whether something is a tensor or an array with a value; a layer's variables are counted elsewhere."""
    if isinstance(value, (np.ndarray, np.generic)):
        return True
    if value is None or isinstance(value, (bool, int, float, str, list, tuple, dict, types.FunctionType)):
        return False  # asking the backend takes longer than all of these
    return keras.ops.is_tensor(value) and not isinstance(value, (keras.KerasTensor, keras.Variable))


def _is_lookup(layer: keras.layers.Layer) -> bool:
    """Whether a layer looks words or numbers up in a vocabulary, as Keras does."""
    method = getattr(type(layer), "get_vocabulary", None)
    return method is not None and method.__module__.startswith("keras.")


@functools.cache
def _kept_by_keras(model: bool) -> frozenset[str]:
    """The attributes that every layer, or every model, has for Keras's and its backend's own sake."""
    layer = keras.layers.Dense(1, name="dense")
    layer.build((None, 1))
    backends = {name for name in vars(layer) if name.startswith("_self_")}
    return frozenset(vars(keras.Model(name="model") if model else keras.layers.Layer(name="layer"))) | backends
