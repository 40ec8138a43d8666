"""Weights in a TensorFlow checkpoint, read as tensors: of TensorFlow 1, by name, or of a graph of objects.

The second kind calls a variable by its way through the objects (``model/enc/_kernel``), and keeps the variable's own
name beside it. Where that name is unique it is the tensor's; else the way is, with the variable's own name at its end.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from .tensor import Tensor, by_name, reading

if TYPE_CHECKING:
    import numpy as np

_FORM = "a TensorFlow checkpoint"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_NAMELESS = re.compile(r"|(.*/)?variable(_\d+)?", re.I)
_OPTIMIZERS_OWN = {"iter", "iterations", "_iterations"}


@contextmanager
def opened(file: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of a checkpoint, by name; the optimizer's and the counter of saves are left out of a graph's.

    Args:
        file: The checkpoint's prefix, its ``.index`` file, or a folder with a file ``checkpoint``, whose latest it is.

    Yields:
        The tensors by name, such as ``hidden1/kernel``.

    Raises:
        WeightsError: if there is no checkpoint, or it is damaged.
    """
    import tensorflow as tf

    prefix = prefix_of(file)
    with reading(file, _FORM):
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        names = _names(reader.get_tensor(_GRAPH)) if _GRAPH in shapes else {key: (key,) for key in shapes}
        tensors = [
            Tensor(tried[0], tuple(shapes[key]), dtypes[key].name, _reader_of(file, reader, key), tried)
            for key, tried in sorted(names.items(), key=lambda item: item[1])
            if key in shapes
        ]
        table = by_name(file, tensors)
    yield table


def prefix_of(file: Path) -> Path:
    """The prefix that TensorFlow knows a checkpoint by; a folder's latest lies in that folder, whatever it says.

    Raises:
        WeightsError: if there is none.
    """
    prefix = file.with_suffix("") if file.suffix == ".index" else file
    if file.is_dir():
        listing = file / "checkpoint"
        with reading(file, _FORM):
            text = listing.read_text(encoding="utf-8") if listing.is_file() else ""
            latest = re.search(r'^\s*model_checkpoint_path:\s*"([^"]+)"', text, re.M)
        if latest is None:
            what = f"The folder {file} holds no checkpoint."
            fix = "Give a checkpoint's prefix, such as variables/variables."
            raise WeightsError(what, expected="a file 'checkpoint' that names the latest", fix=fix)
        prefix = file / re.split(r"[\\/]", latest[1])[-1]
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        what = f"There is no checkpoint {prefix}."
        raise WeightsError(what, expected=f"a file {prefix.name}.index", fix="Check the path.")
    return prefix


def _reader_of(file: Path, reader: Any, key: str) -> Any:
    def read() -> "np.ndarray":
        with reading(file, _FORM):
            return reader.get_tensor(key)

    return read


def _names(serialized: bytes) -> dict[str, tuple[str, ...]]:
    """The names of every variable of the objects, best first, by its key in the checkpoint."""
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    nodes = TrackableObjectGraph.FromString(serialized).nodes
    children = [{child.local_name: child.node_id for child in node.children} for node in nodes]
    own = _optimizers_own(nodes, children)
    ways = _ways(children, own)
    values = {
        value.checkpoint_key: (way, value.full_name)
        for node, way in ways.items()
        for value in nodes[node].attributes
        if value.checkpoint_key != f"save_counter{_SUFFIX}" and node not in own
    }
    full = Counter(name for _, name in values.values())
    named = {
        key: (name,) if full[name] == 1 and not _NAMELESS.fullmatch(name) else _way_and_name(way, name)
        for key, (way, name) in values.items()
    }
    counts = Counter(names[0] for names in named.values())
    return {key: names if counts[names[0]] == 1 else (key.removesuffix(_SUFFIX),) for key, names in named.items()}


def _way_and_name(way: str, full_name: str) -> tuple[str, ...]:
    """``model/_enc/_kernel`` and ``sub/kernel`` give ``model/enc/kernel``, and without what the checkpoint calls the
    model, ``enc/kernel``."""
    above, _, last = way.rpartition("/")
    public = re.sub(r"(^|/)_+", r"\1", above)
    name = last if _NAMELESS.fullmatch(full_name) else full_name.rpartition("/")[2]
    whole = f"{public}/{name}".lstrip("/")
    return tuple(filter(None, (whole, whole.partition("/")[2])))


def _optimizers_own(nodes: Any, children: list[dict[str, int]]) -> set[int]:
    """The optimizers' nodes and their variables; the network's, which an optimizer lists too, are not among them."""
    found: set[int] = set()
    for number, inner in enumerate(children):
        if nodes[number].slot_variables or (inner.keys() & _OPTIMIZERS_OWN and "_variables" in inner):
            direct = {node for node in inner.values() if nodes[node].attributes}
            listed = set(children[inner["_variables"]].values()) if "_variables" in inner else set()
            slots = {slot.slot_variable_node_id for slot in nodes[number].slot_variables}
            found |= {number, *direct, *listed, *slots}
    return found


def _ways(children: list[dict[str, int]], last: set[int]) -> dict[int, str]:
    """The shortest way to every node, but through an optimizer only to what nothing else leads to."""
    ways = {0: ""}
    queue, later = deque([0]), deque(sorted(last))
    while queue or later:
        node = queue.popleft() if queue else later.popleft()
        if node in last and queue:
            later.append(node)
            continue
        for name, inner in children[node].items():
            if inner not in ways and node in ways:
                ways[inner] = f"{ways[node]}/{name}".lstrip("/")
                queue.append(inner)
    return ways
