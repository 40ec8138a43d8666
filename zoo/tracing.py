"""Subclassed models as graphs, where their ``call`` is made of Keras operations.

Tracing calls the model's own ``call`` on symbolic tensors. What comes out shares every layer with the model, and is
proved before it is used: it must not depend on ``training`` but through its layers, must use every weight
through a layer, and must compute the same on random inputs.
"""

import inspect
from typing import Any

import keras
import numpy as np

from .errors import SurgeryError
from .graph import calls, is_graph

#: The largest difference between a model and its trace, relative to the largest output.
TOLERANCE = 1e-5


def trace(model: keras.Model, *inputs: Any) -> keras.Model:
    """A subclassed model as a functional one that shares every layer with it.

    Args:
        model: Any Keras model; a functional or Sequential one needs no tracing.
        *inputs: What its ``call`` takes: arrays, ``keras.Input`` tensors, or structures of them; only shapes and types
            count. Left out, a model that was called before is traced with the shape that it was called with.

    Returns:
        A functional model with the same layers, whose batch size is free.

    Raises:
        SurgeryError: if the model cannot be traced: its ``call`` uses more than Keras operations, depends on
            ``training`` by itself, uses weights outside layers, or computes something else when traced.

    Example:
        >>> import keras, numpy as np
        >>> class Net(keras.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.low, self.top = keras.layers.Dense(3, name="low"), keras.layers.Dense(2, name="top")
        ...     def call(self, inputs):
        ...         return self.top(self.low(inputs))
        >>> [layer.name for layer in trace(Net(), np.ones((1, 4))).layers[1:]]
        ['low', 'top']
    """
    if is_graph(model):
        return model
    specs: Any = _specs(inputs) if inputs else (built_input(model),)
    traced = _traced(model, specs)
    _check_training(model, specs, traced)
    _check_weights(model, traced)
    _check_values(model, specs, traced)
    return traced


def built_input(model: keras.Model) -> Any:
    """Symbolic inputs of the shape that a subclassed model was first called with.

    Raises:
        SurgeryError: if it was not called yet.
    """
    if getattr(model, "inputs", None):  # a functional model with a call of its own
        return _specs(model._inputs_struct)  # pyright: ignore[reportAttributeAccessIssue]
    shapes = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if shapes is None:
        known = "what it takes is not known" if model.built else "it was never called"
        what = f"The layers of '{model.name}' cannot be told apart: {known}."
        fix = "Say what it takes: zoo.trace(model, INPUTS)."
        raise SurgeryError(what, fix=fix if model.built else f"Call it once on data. {fix}")
    return _of_shapes(shapes)


def _of_shapes(shapes: Any, name: str | None = None) -> Any:
    """A structure of shapes, each a tuple or list of sizes, as symbolic inputs."""
    if isinstance(shapes, dict):
        return {key: _of_shapes(value, str(key)) for key, value in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return keras.Input(batch_shape=(None, *shapes[1:]), name=name)
    return type(shapes)(_of_shapes(value) for value in shapes)


def _specs(value: Any, name: str | None = None) -> Any:
    """Symbolic inputs for a structure of values; those in a dictionary bear its keys."""
    if isinstance(value, dict):
        return {key: _specs(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)) and not all(isinstance(inner, (int, float, str)) for inner in value):
        return type(value)(_specs(inner) for inner in value)
    return _spec(value, name)


def _spec(value: Any, name: str | None = None) -> Any:
    """A symbolic input of the same shape and type; texts are of type ``string``."""
    value = value if hasattr(value, "dtype") else np.asarray(value)
    texts = getattr(value.dtype, "kind", "") in ("U", "S", "O", "T")
    dtype = "string" if texts else keras.backend.standardize_dtype(value.dtype)
    dtype = "float32" if dtype == "float64" else dtype
    return keras.Input(batch_shape=(None, *value.shape[1:]), dtype=dtype, name=name)


def _traced(model: keras.Model, specs: tuple[Any, ...], **how: Any) -> keras.Model:
    parameters = inspect.signature(model.call).parameters
    if "training" in parameters and parameters["training"].default is inspect.Parameter.empty:
        how.setdefault("training", None)
    try:
        inspect.signature(model.call).bind(*specs, **how)
    except TypeError as reason:
        fix = "Say all that its call takes: zoo.trace(model, INPUT, INPUT, ...)."
        raise _not(model, f"its call takes other arguments ({reason})", fix) from None
    try:
        outputs = model.call(*specs, **how)
        return keras.Model(specs[0] if len(specs) == 1 else list(specs), outputs, name=model.name)
    except Exception as reason:  # whatever a user's own code raises on a symbolic tensor
        first = (str(reason).splitlines() or [""])[0]
        raise _not(model, f"its call does more than Keras operations ({type(reason).__name__}: {first})") from reason


def _not(
    model: keras.Model, reason: str, fix: str = "Build it as a functional model: keras.Model(inputs, outputs)."
) -> SurgeryError:
    return SurgeryError(f"The layers of '{model.name}' cannot be told apart: {reason}.", fix=fix)


def _check_training(model: keras.Model, specs: tuple[Any, ...], traced: keras.Model) -> None:
    """A branch on ``training`` in Python would be cast into the graph as it was while tracing."""
    if "training" not in inspect.signature(model.call).parameters:
        return
    other = _traced(model, specs, training=True)
    if _form(other) != _form(traced):
        raise _not(model, "its call depends on training by itself, not only through its layers")


def _form(graph: keras.Model) -> list[Any]:
    """What a graph calls, and with which constants."""
    found: list[Any] = []
    for node in calls(graph):
        operation = node.operation
        known = id(operation) if isinstance(operation, keras.layers.Layer) else type(operation).__name__
        given = keras.tree.flatten((node.arguments.args, {**node.arguments.kwargs, "training": None}))
        found.append((known, [None if isinstance(v, keras.KerasTensor) else repr(v) for v in given]))
    return found


def _check_weights(model: keras.Model, traced: keras.Model) -> None:
    own = {id(v) for v in (*model._trainable_variables, *model._non_trainable_variables)}
    if own:
        raise _not(model, "it holds weights of its own, outside its layers")
    name = bare_variable(traced)
    if name is not None:
        raise _not(model, f"its call uses the weight '{name}' outside its layer")
    for node in calls(traced):
        for value in keras.tree.flatten((node.arguments.args, node.arguments.kwargs)):
            if keras.ops.is_tensor(value) and keras.backend.is_float_dtype(value.dtype):
                # It may have been computed from a weight, and would stay as it is while that learns.
                raise _not(model, "its call computes with a tensor that is none of its layers' outputs")


def bare_variable(graph: keras.Model) -> str | None:
    """The path of a variable that a graph uses outside a layer, if there is one: no copy would find it."""
    for node in calls(graph):
        for value in keras.tree.flatten((node.arguments.args, node.arguments.kwargs)):
            if isinstance(value, keras.Variable):
                return value.path
    return None


def _check_values(model: keras.Model, specs: tuple[Any, ...], traced: keras.Model) -> None:
    """Compares on random numbers from 0 to 2, which tokens and images can be too."""
    if any(None in spec.shape[1:] or str(spec.dtype) == "string" for spec in keras.tree.flatten(specs)):
        return  # no input can be made up; the other checks hold
    rng = np.random.default_rng(0)
    given: Any = keras.tree.map_structure(lambda s: rng.uniform(0, 2, (2, *s.shape[1:])).astype(s.dtype), specs)
    try:
        theirs = model(*given, training=False)
        ours = traced(given[0] if len(given) == 1 else list(given), training=False)
    except Exception as reason:  # whatever a user's own code raises
        first = (str(reason).splitlines() or [""])[0]
        how = f"it cannot be called on made-up numbers ({type(reason).__name__}: {first})"
        raise _not(model, how, "Say what it takes: zoo.trace(model, INPUTS).") from reason
    for one, other in zip(keras.tree.flatten(theirs), keras.tree.flatten(ours), strict=True):
        one, other = (np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in (one, other))
        scale = max(float(np.abs(np.nan_to_num(one)).max()), 1e-30)
        if not np.allclose(one, other, rtol=0, atol=TOLERANCE * scale, equal_nan=True):
            raise _not(model, "it computes something else when its call is traced")
