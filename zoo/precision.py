"""Mixed precision: a copy of a network that computes in 16 bits, its variables in 32."""

from typing import Any

import keras

from .copying import clone, rebuilt
from .flattening import flat
from .graph import calls, leaves


def in_precision(network: keras.Model, policy: str, *, inner: bool = False) -> keras.Model:
    """A copy of a network whose layers compute under another dtype policy; its inputs and outputs stay float32.

    What lies below the lowest layers that have parameters stays in float32 (a year of 2015 has no neighbour in bfloat16
    but 2016), and so does everything from the highest of them upwards. A layer that holds the
    user's own function, a ``Lambda``, stays as it is.

    Args:
        network: A functional or Sequential model in float32.
        policy: ``mixed_bfloat16`` or ``mixed_float16``; with ``float32`` the network itself is given back.
        inner: Whether the network is the lower part of another one, such as a frozen trunk: its highest layers that
            have parameters then lie inside that one, and compute under the policy too. Only what lies above them
            stays in float32; where that is nothing, the outputs have 16 bits.

    Returns:
        The copy; :func:`zoo.copying.copy_state` brings back what it learned.
    """
    if policy == "float32":
        return network
    graph = flat(network)
    kept = _below_parameters(graph) | _above_parameters(graph, inner)

    def rebuild(layer: keras.layers.Layer) -> keras.layers.Layer:
        own = isinstance(layer, keras.layers.Lambda)
        if own or layer.name in kept or layer.dtype_policy.name != "float32":
            return rebuilt(layer)
        config: dict[str, Any] = {**layer.get_config(), "dtype": policy}
        return layer.__class__.from_config(config)

    return clone(graph, rebuild)


def computing_in(network: keras.Model) -> tuple[str, ...]:
    """The dtype policies of a network's layers that have variables, in alphabetical order.

    Example:
        >>> inputs = keras.Input((2,))
        >>> model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(3)(inputs)))
        >>> computing_in(model), computing_in(in_precision(model, "mixed_bfloat16"))
        (('float32',), ('float32', 'mixed_bfloat16'))
    """
    inside = [layer for layer in network._flatten_layers() if not isinstance(layer, keras.Model)]
    own = [layer for layer in inside if layer._trainable_variables or layer._non_trainable_variables]
    return tuple(sorted({layer.dtype_policy.name for layer in own}))


def _below_parameters(graph: keras.Model) -> set[str]:
    """The operations under which nothing has parameters, and that have none."""
    raw = {id(tensor) for tensor in graph.inputs}
    names = set()
    for node in calls(graph):
        if not _has_parameters(node.operation) and all(id(t) in raw for t in node.input_tensors):
            raw |= {id(t) for t in node.outputs}
            names.add(node.operation.name)
    return names


def _above_parameters(graph: keras.Model, inner: bool) -> set[str]:
    """The operations above which nothing has parameters; of an inner network, only those that have none themselves."""
    users: dict[int, list[Any]] = {}
    names = set()
    for node in reversed(calls(graph)):
        above = [user for t in node.outputs for user in users.get(id(t), [])]
        below = inner and _has_parameters(node.operation)
        if not below and all(user.operation.name in names and not _has_parameters(user.operation) for user in above):
            names.add(node.operation.name)
        for tensor in node.input_tensors:
            users.setdefault(id(tensor), []).append(node)
    return names


def _has_parameters(operation: Any) -> bool:
    """Whether an operation has weights that training could move, whatever its switch says now."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    return any(leaf._trainable_variables for leaf in leaves(operation))
