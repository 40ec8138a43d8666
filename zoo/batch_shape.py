"""How many examples a trunk is run on at a time: one number for each network, wherever it runs."""

import math
from typing import Any

import keras

from .byte_size import dtype_bytes
from .engine import BATCH
from .flattening import flat
from .graph import calls

#: What the values between layers of one batch may take, in bytes.
BUDGET = 2**31


def batch_of(trunk: keras.Model) -> int:
    """The examples of a call of a trunk: 64, or as many less as keep the values between its layers within 2 GiB.

    It is a pure function of the network's shapes, and no timing decides it: on a processor an example costs the same in
    batches of 32 and of 128, and the last bits of features depend on it, so that features could not be shared by
    machines that chose differently.

    Args:
        trunk: A functional network.

    Returns:
        A power of two, from 1 to 64.

    Example:
        >>> batch_of(keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3)))
        64
    """
    size = bytes_at_once(trunk)
    batch = BATCH
    while batch > 1 and batch * size > BUDGET:
        batch //= 2
    return batch


def bytes_at_once(trunk: keras.Model) -> int:
    """The most bytes of one example's values that are needed at the same time; sizes that are not fixed count as 1."""
    graph = flat(trunk)
    nodes = calls(graph)
    last: dict[int, int] = {id(tensor): len(nodes) for tensor in graph.outputs}
    for place, node in enumerate(nodes):
        for tensor in node.input_tensors:
            last[id(tensor)] = max(place, last.get(id(tensor), 0))
    alive = {id(tensor): _bytes(tensor) for tensor in graph.inputs}
    most = sum(alive.values())
    for place, node in enumerate(nodes):
        alive |= {id(tensor): _bytes(tensor) for tensor in node.outputs}
        most = max(most, sum(alive.values()))
        alive = {key: size for key, size in alive.items() if last.get(key, -1) > place}
    return most


def _bytes(tensor: Any) -> int:
    return dtype_bytes(str(tensor.dtype)) * math.prod(size or 1 for size in tensor.shape[1:])
