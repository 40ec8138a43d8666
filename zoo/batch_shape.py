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
#: What of them a processor computes on fast: beyond, they travel to its memory and back.
NEAR = 2**28
#: The fewest examples that a call on a processor is cut down to for that.
FEWEST = 4


def batch_of(trunk: keras.Model, *, on_gpu: bool = False) -> int:
    """The examples of a call of a trunk: 64, or as many less as keep the values between its layers within a budget.

    It is 256 MiB on a processor, but for the first 4 examples: on two cores with 32 MiB of cache MobileNetV2 at 224x224
    runs 1.3 times as fast in batches of 16 as of 64, ResNet50 as fast, and small networks are the faster the more they
    are given. Within 2 GiB it stays in any case. It is a pure function of shapes, and no timing decides it: the last
    bits of features depend on it, so that features could not be shared by machines that chose differently.

    Args:
        trunk: A functional network.
        on_gpu: Whether a GPU is to run it.

    Returns:
        A power of two, from 1 to 64.

    Example:
        >>> trunk = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
        >>> batch_of(trunk), batch_of(trunk, on_gpu=True)
        (16, 64)
    """
    size = bytes_at_once(trunk)
    batch = BATCH
    while batch > FEWEST and batch * size > NEAR and not on_gpu:
        batch //= 2
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
