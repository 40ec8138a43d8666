"""Code that is known by its name: that of Keras and TensorFlow, by their versions, and of zoo, by its source."""

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

#: The packages whose code is known: zoo's files are part of the digest, the others' versions a part of the key.
KNOWN = ("keras", "tensorflow", "zoo")


def is_known(kind: type) -> bool:
    """Whether a class is of a package whose code is known."""
    return known_module(kind.__module__)


def known_module(module: str | None) -> bool:
    """Whether a module is of a package whose code is known."""
    return (module or "").partition(".")[0] in KNOWN


def named(module: str, name: str) -> Any:
    """What a name leads to in a module; ``None`` if nothing."""
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


@functools.cache
def source_of(module: str) -> str:
    """The SHA-256 of the source of one of zoo's modules, and of all of zoo's that it imports."""
    digest = hashlib.sha256()
    for name, source in sorted(_sources(module)):
        digest.update(f"{name} {len(source)}\n{source}".encode())
    return digest.hexdigest()


def _sources(module: str) -> Iterator[tuple[str, str]]:
    """The names and sources of a module of zoo's and of all of zoo's that it imports."""
    waiting, seen = [module], set()
    while waiting:
        name = waiting.pop()
        found = sys.modules.get(name)
        if name in seen or found is None or found.__spec__ is None:
            continue
        seen.add(name)
        loader: Any = found.__spec__.loader
        source = loader.get_source(name) or repr(version("transfer-zoo"))  # the version where there is no source
        yield name, source
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), found.__spec__.parent)
                names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
                waiting += [other for other in names if other.partition(".")[0] == "zoo"]
