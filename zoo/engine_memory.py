"""Which engine was chosen for a network on this machine: a small file for each, under ``ZOO_HOME/engines``.

A file is never changed once it is there, so that two processes that choose at the same time end with the same engine.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .engine import ENGINES, kind_of
from .engines.interface import Setup, settings
from .errors import DeviceError
from .registry import zoo_home

SCHEMA = 1


@dataclass(frozen=True)
class Remembered:
    """A choice.

    Attributes:
        engine: Its name.
        why: The line that was printed when it was chosen.
        speeds: Examples a second, by engine.
    """

    engine: str
    why: str
    speeds: Mapping[str, float] = field(default_factory=dict)


def engines_folder() -> Path:
    """Where choices are remembered; it may not exist yet."""
    return zoo_home() / "engines"


def key_of(identity: str, setup: Setup, engines: Iterable[str]) -> str:
    """What a choice goes by: the network, the machine, and everything that the engines' results and speed depend on.

    Args:
        identity: The trunk's digest.
        setup: Precision, batch, threads and device.
        engines: Those that could run it.
    """
    known = {name: settings(kind_of(name), setup) for name in sorted(engines)}
    text = json.dumps([SCHEMA, identity, os.cpu_count(), known], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def recall(key: str) -> Remembered | None:
    """The choice under a key; ``None`` where there is none, or it cannot be read."""
    try:
        table: Any = json.loads(_file(key).read_bytes())
        found = Remembered(table["engine"], str(table["why"]), dict(table["speeds"]))
        return found if table["schema"] == SCHEMA and found.engine in ENGINES else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remember(key: str, choice: Remembered) -> Remembered:
    """Keeps a choice.

    Returns:
        What is kept: another process may have been first, and then its choice holds.

    Raises:
        DeviceError: if it cannot be written.
    """
    file = _file(key)
    part = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as stream:
            json.dump({"schema": SCHEMA, **asdict(choice)}, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        if recall(key) is None:
            file.unlink(missing_ok=True)  # one that cannot be read
        try:
            os.link(part, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            part.replace(file)
        return recall(key) or choice
    except OSError as reason:
        what = f"The choice of an engine cannot be kept in {file.parent}: {reason.strerror}."
        raise DeviceError(what, fix="Make the folder writable, or set ZOO_HOME to one that is.") from reason
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _file(key: str) -> Path:
    return engines_folder() / f"{key}.json"
