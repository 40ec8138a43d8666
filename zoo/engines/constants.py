"""A trunk as one TensorFlow graph whose weights are constants."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.framework import node_def_pb2
from tensorflow.python.eager import wrap_function

from ..errors import SurgeryError
from ..flattening import flat
from ..folding import fold_batch_norm, foldable
from ..framework_error import said_by
from ..graph import inputs_of
from .interface import CannotRun

#: A graph of constants is one message of protocol buffers, which hold less than 2 GiB.
MOST_BYTES = 2**31 - 2**24
#: Operations that TensorFlow calls stateful though running them changes and draws nothing.
_HARMLESS = frozenset(("Placeholder", "Assert", "StatefulPartitionedCall", "While", "If", "Case"))


@dataclass(frozen=True)
class Folded:
    """A trunk made ready: its batch normalizations folded, or why not.

    Attributes:
        network: The network to trace.
        count: How many batch normalizations were folded.
        note: Why none was, where it failed.
    """

    network: keras.Model
    count: int
    note: str = ""


def folded(trunk: keras.Model) -> Folded:
    """A copy of a trunk with its batch normalizations folded; where it cannot be copied, the trunk as it is."""
    try:
        count = len(foldable(trunk).folded)
        return Folded(fold_batch_norm(trunk), count) if count else Folded(flat(trunk), 0)
    except SurgeryError as reason:
        return Folded(trunk, 0, str(reason))


def specs(network: keras.Model, batch: int) -> list[Any]:
    """The shapes and types of a network's inputs, with a fixed batch."""
    return [
        tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, name=f"input{i}")
        for i, tensor in enumerate(network.inputs)
    ]


def called(network: keras.Model) -> Callable[..., list[Any]]:
    """A network in inference as a function of flat tensors to flat tensors."""

    def call(*tensors: Any) -> list[Any]:
        given = keras.tree.pack_sequence_as(inputs_of(network), tensors)
        outputs = keras.tree.flatten(network(given, training=False))
        return [tf.identity(keras.ops.convert_to_tensor(part)) for part in outputs]

    return call


def with_constants(network: keras.Model, batch: int) -> Any:
    """Traces a network in inference, its variables as constants.

    Args:
        network: A functional network.
        batch: The examples of a call.

    Returns:
        A concrete function of flat tensors.

    Raises:
        CannotRun: if it is too large, cannot be traced, changes its own variables, draws at random, or holds anything
            beside Keras variables, such as a lookup table.
    """
    values = [(variable, variable.numpy()) for variable in network.variables]
    size = sum(value.nbytes for _, value in values)
    if size > MOST_BYTES:
        what = f"its weights take {size / 2**30:.1f} GiB, and a graph of constants holds less than 2"
        raise CannotRun(what)
    call, moved = called(network), []

    def traced(*tensors: Any) -> list[Any]:
        constants = [(variable, tf.constant(value)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants) as scope:
            outputs = call(*tensors)
        now = ((variable, scope.get_current_value(variable), before) for variable, before in constants)
        moved.extend(variable.path for variable, after, before in now if after is not before)
        return outputs

    try:
        function = tf.function(traced, autograph=False).get_concrete_function(*specs(network, batch))
    except (MemoryError, tf.errors.ResourceExhaustedError):  # as it is now, not as the network is
        raise
    except Exception as reason:  # whatever a layer's own code raises
        raise CannotRun(said_by(reason).rstrip(".")) from reason
    _check(function, moved)
    return _with_its_own_constants(function)


def _with_its_own_constants(function: Any) -> Any:
    """Tensors that a layer computed once and holds, as ``Normalization`` its means, are constants too."""
    held = {tensor.op.name: value for value, tensor in function.graph.captures}
    if not held:
        return function
    graph = function.graph.as_graph_def()
    for node in graph.node:
        if node.name in held:
            constant = tf.make_tensor_proto(held[node.name].numpy())
            node.CopyFrom(node_def_pb2.NodeDef(op="Const", name=node.name))
            node.attr["dtype"].type = constant.dtype
            node.attr["value"].tensor.CopyFrom(constant)
    given = [tensor.name for tensor in function.inputs if tensor.op.name not in held]
    return wrap_function.function_from_graph_def(graph, given, [tensor.name for tensor in function.outputs])


def has_functions(function: Any) -> bool:
    """Whether a graph calls functions inside it: the steps of a recurrent layer's loop are one."""
    return bool(function.graph.as_graph_def().library.function)


def _check(function: Any, moved: list[str]) -> None:
    if moved:
        what = f"it changes its own variable '{moved[0]}' when it runs"
        raise CannotRun(what)
    if any(tensor.dtype in (tf.resource, tf.variant) for tensor in function.graph.internal_captures):
        what = "it holds a lookup table, or a variable that is not Keras's, which is no constant"
        raise CannotRun(what)
    changing = sorted({op for op in _operations(function.graph) if _is_stateful(op)})
    if changing:
        what = f"it computes with {', '.join(changing)}, which may differ from call to call"
        raise CannotRun(what)


def _operations(graph: Any) -> Iterable[str]:
    yield from (op.type for op in graph.get_operations())
    for function in graph.as_graph_def().library.function:
        yield from (node.op for node in function.node_def)


def _is_stateful(kind: str) -> bool:
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(kind)
    return definition is not None and definition.is_stateful and kind not in _HARMLESS
