"""Training in mixed precision: a copy that computes in 16 bits, its variables in 32."""

from typing import Any

import keras

from .copying import clone, rebuilt
from .flattening import flat
from .graph import calls, leaves


def in_precision(network: keras.Model, policy: str) -> keras.Model:
    """A copy of a network whose layers compute under another dtype policy; its inputs and outputs stay float32.

    What lies below the lowest layers that have parameters stays in float32 (a year of 2015 has no neighbour in bfloat16
    but 2016), and so does everything from the highest of them upwards.

    Args:
        network: A functional or Sequential model in float32.
        policy: ``mixed_bfloat16`` or ``mixed_float16``; with ``float32`` the network itself is given back.

    Returns:
        The copy; :func:`zoo.copying.copy_state` brings back what it learned.
    """
    if policy == "float32":
        return network
    graph = flat(network)
    kept = _below_parameters(graph) | _above_parameters(graph)

    def rebuild(layer: keras.layers.Layer) -> keras.layers.Layer:
        policy_of = getattr(layer, "dtype_policy", None)  # operations such as x * 2 have none
        if layer.name in kept or policy_of is None or policy_of.name != "float32":
            return rebuilt(layer)
        config: dict[str, Any] = {**layer.get_config(), "dtype": policy}
        return layer.__class__.from_config(config)

    return clone(graph, rebuild)


def _below_parameters(graph: keras.Model) -> set[str]:
    """The operations under which nothing has parameters, and that have none."""
    raw = {id(tensor) for tensor in graph.inputs}
    names = set()
    for node in calls(graph):
        if not _has_parameters(node.operation) and all(id(t) in raw for t in node.input_tensors):
            raw |= {id(t) for t in node.outputs}
            names.add(node.operation.name)
    return names


def _above_parameters(graph: keras.Model) -> set[str]:
    """The operations above which nothing has parameters."""
    users: dict[int, list[Any]] = {}
    names = set()
    for node in reversed(calls(graph)):
        above = [user for t in node.outputs for user in users.get(id(t), [])]
        if all(user.operation.name in names and not _has_parameters(user.operation) for user in above):
            names.add(node.operation.name)
        for tensor in node.input_tensors:
            users.setdefault(id(tensor), []).append(node)
    return names


def _has_parameters(operation: Any) -> bool:
    """Whether an operation has weights that training could move, whatever its switch says now."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    return any(leaf._trainable_variables for leaf in leaves(operation))
