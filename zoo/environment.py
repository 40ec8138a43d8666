"""What the bits of a result depend on beside recipe, network and data: versions, processor, threads, flags."""

import importlib.metadata
import platform
from collections.abc import Mapping
from functools import cache
from typing import Any

#: The packages whose code computes, or reads what is computed on.
PACKAGES = (
    "transfer-zoo", "keras", "tensorflow", "jax", "torch", "openvino", "numpy", "ml-dtypes", "h5py", "pillow",
    "safetensors",
)  # fmt: skip


def versions() -> dict[str, str]:
    """The version of Python and of each of ``PACKAGES`` that is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def installed() -> dict[str, str]:
    """For each of ``PACKAGES`` the SHA-256 of its list of files with their digests (its ``RECORD``), as installed.

    Two that agree were installed from the same files; a version that was built twice, for another processor or by
    another distributor, does not agree. zoo's own source is hashed itself, however it is installed. What was written
    over a file behind the installer's back is not seen: ``RECORD`` says what was installed, not what is there.
    """
    found = {"transfer-zoo": code_digest()}
    for name in PACKAGES[1:]:
        try:
            record = importlib.metadata.distribution(name).read_text("RECORD")
        except importlib.metadata.PackageNotFoundError:
            continue
        if record:
            found[name] = record_digest(record)
    return found


def record_digest(record: str) -> str:
    """The SHA-256 of a ``RECORD``, without what differs from place to place: scripts, caches, who installed it when.

    Args:
        record: Its text: path, digest and size of each file.

    Example:
        >>> here = "a.py,sha256=x,1\\n../../bin/a,sha256=y,9\\na-1.dist-info/INSTALLER,sha256=z,3\\n"
        >>> record_digest(here) == record_digest("a.py,sha256=x,1")
        True
    """
    import hashlib

    beside = ("../", "..\\")  # a script holds the path of its own interpreter
    lines = sorted(
        line
        for line in record.splitlines()
        if line and ".dist-info/" not in line and ".pyc," not in line and not line.startswith(beside)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@cache
def code_digest() -> str:
    """The SHA-256 of zoo's own source files, names and contents: the same from a checkout and from a wheel."""
    import hashlib
    from importlib.util import find_spec
    from pathlib import Path

    files = {}
    for name in ("", "layers", "models"):  # in a checkout these two lie beside the package
        spec = find_spec(f"{__package__}.{name}" if name else str(__package__))
        root = Path(str(spec.origin if spec else __file__)).parent
        files |= {f"{name}/{file.relative_to(root).as_posix()}".lstrip("/"): file for file in root.rglob("*.py")}
    lines = [f"{name} {hashlib.sha256(files[name].read_bytes()).hexdigest()}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments, as :func:`zoo.lock.environment_of` gives them, in words.

    Example:
        >>> differences({"compute": {"threads": 2}}, {"compute": {"threads": 1}})
        ['compute.threads: 2 before, 1 now']
    """
    found = []
    for key in [*before, *(key for key in now if key not in before)]:
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) or isinstance(new, Mapping):
            inner = differences(old or {}, new or {})  # pyright: ignore[reportArgumentType]
            found += [f"{key}.{line}" for line in inner]
        elif old != new:
            found.append(f"{key}: {shown(old)} before, {shown(new)} now")
    return found


def shown(value: Any) -> str:
    """A value of a lock, for people: lists with commas, digests by their first 12 characters."""
    if value is None:
        return "none"
    text = (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
    return text[:12] if len(text) == 64 and set(text) <= set("0123456789abcdef") else text
