"""Weights in HDF5: Keras 3's ``.weights.h5``, and the older ``.h5`` of weights or whole models.

Keras 3 numbers a layer's variables (``layers/dense_1/vars/0``) and keeps the layer's name in an attribute; the older
form has names throughout. Nothing outside the file is read: soft and external links, external storage and virtual
datasets are refused.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tensor import MAX_RATIO, Tensor, by_name, reading

if TYPE_CHECKING:
    import numpy as np

_FORM = "an HDF5 file of weights"
_NUMBERED = re.compile(r"(?:(?P<owner>.*)/)?vars/(\d+)")
_LISTS = ("layers", "_layer_checkpoint_dependencies")
_TOP = "top_level_model_weights"


@contextmanager
def opened(
    file: Path, *, called: Path | None = None, names: Mapping[str, str] | None = None
) -> Iterator[dict[str, Tensor]]:
    """The tensors of an HDF5 file of weights.

    Args:
        file: The file.
        called: What messages call it, where it was taken out of another one.
        names: The names of layers by their groups (``layers/dense_1``), for files that do not hold them.

    Yields:
        The tensors by name: ``hidden1/kernel`` in the older form; ``hidden1/0``, ``hidden1/1``, ... in Keras 3's.

    Raises:
        WeightsError: if it is none, is damaged, or reaches out of itself.
    """
    import h5py

    called = called or file
    with reading(called, _FORM):
        handle = h5py.File(file, "r")
    with handle:
        with reading(called, _FORM):
            found = _Contents(called, _members(handle).get("model_weights", handle))
            tensors = by_name(called, found.older() if found.is_older() else found.numbered(names or {}))
        yield tensors


def _members(group: Any) -> dict[str, Any]:
    """What a group holds, if all of it lies in the file."""
    import h5py

    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            what = f"'{group.name.rstrip('/')}/{name}' is a link, which could lead to any file"
            raise ValueError(what)
    return {name: group[name] for name in group}


class _Contents:
    """The groups and datasets below a group, each once."""

    def __init__(self, file: Path, root: Any):
        self.file = file
        self.groups: dict[str, Any] = {}
        self.datasets: dict[str, Any] = {}
        self._walk("", root, set())

    def _walk(self, path: str, group: Any, seen: set[Any]) -> None:
        import h5py

        self.groups[path] = group
        for name, member in _members(group).items():
            inner = f"{path}/{name}".lstrip("/")
            if member in seen:
                what = f"'{inner}' is the same object as another one"
                raise ValueError(what)
            seen.add(member)
            if isinstance(member, h5py.Group):
                self._walk(inner, member, seen)
            elif isinstance(member, h5py.Dataset):
                self.datasets[inner] = member

    def is_older(self) -> bool:
        """Whether names are listed in attributes, as Keras 2 did."""
        return bool(_listed(self.groups[""], "layer_names")) or _TOP in self.groups

    def older(self) -> list[Tensor]:
        """The tensors of the older form, by the layer's name and the variable's."""
        tensors = []
        for layer in [*_listed(self.groups[""], "layer_names"), *([_TOP] if _TOP in self.groups else [])]:
            weights = _listed(self.groups[layer], "weight_names")
            leaves = [weight.rsplit("/", 1)[-1] for weight in weights]
            for weight, leaf in zip(weights, leaves, strict=True):
                names = _older_names(layer, weight, leaves.count(leaf) == 1)
                tensors.append(self._tensor(f"{layer}/{weight}", names[0], tried=names))
        return tensors

    def numbered(self, names: Mapping[str, str]) -> list[Tensor]:
        """The tensors of Keras 3's form, by the layer's name and the variable's number; any other by its path."""
        tensors = []
        owned = {path: match for path in self.datasets if (match := _NUMBERED.fullmatch(path))}
        layers = {match["owner"]: self._layer(match["owner"] or "", names) for match in owned.values()}
        repeats = Counter(layer for layer, _ in layers.values())
        for path in sorted(self.datasets, key=_natural):
            if path.startswith(("optimizer/", "metrics/")):
                continue  # no part of the network
            if path not in owned:
                tensors.append(self._tensor(path, path))
                continue
            owner, number = owned[path].groups()
            layer, certain = layers[owner]
            name, place = _join(layer, number), _join(owner, number)
            if repeats[layer] > 1:
                name, certain = place, True
            count = sum(member.isdecimal() for member in self.groups[_join(owner, "vars")])
            tensors.append(self._tensor(path, name, tried=() if certain else (place, name), count=count))
        return tensors

    def _layer(self, owner: str, names: Mapping[str, str]) -> tuple[str, bool]:
        """A layer's name, those of the layers around it before it; and whether none of them was made by Keras.

        Where the file does not tell the name of a layer in a graph, its place stands for it: the number of its class
        must not be taken for a name.
        """
        parts, certain, path = [], True, ""
        for part in filter(None, owner.split("/")):
            above, path = path, _join(path, part)
            listed = above and f"{above}/vars" not in self.groups  # a list of layers, which has no variables of its own
            name = self._name_at(path) or names.get(path)
            in_graph = above.rpartition("/")[2] in _LISTS
            if part in _LISTS and f"{path}/vars" not in self.groups:
                continue
            if in_graph and name is None:
                return owner, True
            automatic = name is None or bool(re.fullmatch(rf"{re.sub(r'_[0-9]+$', '', part)}(_\d+)?", name))
            certain = certain and not (listed and automatic)
            parts.append(name if name and listed and (in_graph or not automatic) else part)
        return "/".join(parts), certain

    def _name_at(self, path: str) -> str | None:
        group = self.groups.get(f"{path}/vars")
        name = None if group is None else group.attrs.get("name")
        return name if isinstance(name, str) and name else None

    def _tensor(self, path: str, name: str, *, tried: tuple[str, ...] = (), count: int | None = None) -> Tensor:
        if path not in self.datasets:
            what = f"it lists '{path}', which is not in it"
            raise ValueError(what)
        dataset = self.datasets[path]
        _check_storage(path, dataset)
        dtype = dataset.dtype
        bfloat16 = dtype.kind == "V" and dtype.names is None and dtype.itemsize == 2  # h5py knows no such type

        def read() -> "np.ndarray":
            import ml_dtypes

            with reading(self.file, _FORM):
                values = dataset[()]
                return values.view(ml_dtypes.bfloat16) if bfloat16 else values

        return Tensor(name, tuple(dataset.shape), "bfloat16" if bfloat16 else dtype.name, read, tried, count)


def _join(above: str | None, below: str) -> str:
    return f"{above}/{below}" if above else below


def _check_storage(path: str, dataset: Any) -> None:
    """Refuses what lies in other files, and what claims more than is stored."""
    if dataset.external or dataset.is_virtual:
        what = f"'{path}' keeps its values in another file"
        raise ValueError(what)
    if dataset.shape is None:
        what = f"'{path}' is empty"
        raise ValueError(what)
    claimed, stored = prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    packed = dataset.id.get_create_plist().get_nfilters() > 0
    chunk = prod(dataset.chunks or ()) * dataset.dtype.itemsize  # read whole, however little of it is claimed
    if dataset.chunks and chunk > max(claimed, 1024**2) * 2:
        what = f"'{path}' claims {claimed} bytes, in chunks of {chunk}"
        raise ValueError(what)
    if claimed > stored * (MAX_RATIO if packed else 1):
        what = f"'{path}' claims {claimed} bytes; {stored} are stored"
        raise ValueError(what)


def _older_names(layer: str, weight: str, alone: bool) -> tuple[str, ...]:
    """What a variable is called, best first: ``hidden1`` and ``hidden1/kernel:0`` give ``hidden1/kernel``.

    Keras 2 sometimes numbered the scope (``hidden1_1/kernel:0``), and left the layers between out.
    """
    plain = re.sub(r":\d+$", "", weight)
    parts, leaf = plain.split("/"), plain.rsplit("/", 1)[-1]
    if layer == _TOP:
        return (plain,)
    if layer in parts:
        return ("/".join(parts[parts.index(layer) :]),)
    scoped = len(parts) == 2 and re.fullmatch(rf"{re.escape(layer)}_\d+", parts[0])
    return (f"{layer}/{leaf}",) if alone and scoped else (f"{layer}/{plain}", plain)


def _listed(group: Any, name: str) -> list[str]:
    """A list of names in an attribute, or in several where it was too long for one."""
    chunks = takewhile(lambda chunk: chunk in group.attrs, (f"{name}{i}" for i in range(len(group.attrs))))
    chunks = [name] if name in group.attrs else chunks
    found = [text for chunk in chunks for text in group.attrs[chunk]]
    return [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in found]


def _natural(path: str) -> list[tuple[bool, int, str]]:
    """Sorts 10 after 9."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in path.split("/")]
