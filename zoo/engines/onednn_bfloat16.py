"""A graph of constants rewritten so that a processor computes it in bfloat16.

TensorFlow's own switch for this is global: every graph compiled while it is on is rewritten too. Here its rewriter is
called on one graph, and nothing is left behind.
"""

from typing import Any

from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.eager import wrap_function
from tensorflow.python.grappler import tf_optimizer

_REWRITER = "auto_mixed_precision_onednn_bfloat16"


def in_bfloat16(function: Any) -> tuple[Any, int]:
    """Rewrites a graph: convolutions and products, and what lies between them, in bfloat16; inputs and outputs stay.

    Args:
        function: A concrete function that holds no variables.

    Returns:
        The rewritten function, and how many casts were put in; none means that nothing was rewritten.
    """
    graph = function.graph
    meta = meta_graph_pb2.MetaGraphDef()
    meta.graph_def.CopyFrom(graph.as_graph_def())
    ends = meta_graph_pb2.CollectionDef()
    ends.node_list.value.extend(tensor.name for tensor in (*function.inputs, *function.outputs))
    meta.collection_def["train_op"].CopyFrom(ends)  # the rewriter reads here what it must keep
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.min_graph_nodes = -1
    options.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
    options.optimizers.append(_REWRITER)
    rewritten = tf_optimizer.OptimizeGraph(config, meta)
    casts = sum(node.op == "Cast" for node in rewritten.node) - sum(op.type == "Cast" for op in graph.get_operations())
    names = ([tensor.name for tensor in tensors] for tensors in (function.inputs, function.outputs))
    return wrap_function.function_from_graph_def(rewritten, *names), casts
