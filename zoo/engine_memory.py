"""What was found of the engines for a network on this machine: small files under ``ZOO_HOME/engines``.

Of each engine its verdict: whether it gives Keras's results, and whether the place in a batch matters to them. Of all
of them the choice, where they were timed. A file is not changed once it is there, so that two processes that find
something at the same time end with the same; but for an engine that was not taken, and is when its user asks again.
"""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .engine import ENGINES, kind_of
from .engine_difference import Difference
from .engines.interface import Setup, settings
from .errors import DeviceError
from .registry import zoo_home

SCHEMA = 2


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


@dataclass(frozen=True)
class Judged:
    """What was found of one engine.

    Attributes:
        taken: Whether it may run the network: it gives Keras's results, or in bfloat16 numbers at all.
        why: In words.
        difference: From Keras in float32; ``None`` where nothing was compared, as of Keras itself.
        batch: The examples of a call: those of the setup, or 1 where the place in a batch matters.
    """

    taken: bool
    why: str
    difference: Difference | None = None
    batch: int = 1


def engines_folder() -> Path:
    """Where all this is remembered; it may not exist yet."""
    return zoo_home() / "engines"


def key_of(identity: str, setup: Setup, engines: Iterable[str]) -> str:
    """What a choice goes by: the network, the machine, and everything that the engines' results and speed depend on.

    Args:
        identity: The trunk's digest.
        setup: Precision, batch, threads and device.
        engines: Those that could run it.
    """
    return _key("choice", identity, setup, engines)


def _key(kind: str, identity: str, setup: Setup, engines: Iterable[str]) -> str:
    known = {name: settings(kind_of(name), setup) for name in sorted(engines)}
    text = json.dumps([kind, SCHEMA, identity, os.cpu_count(), known], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def recall(key: str) -> Remembered | None:
    """The choice under a key; ``None`` where there is none, or it cannot be read."""
    table = _read(key)
    try:
        found = Remembered(table["engine"], str(table["why"]), dict(table["speeds"]))
        return found if found.engine in ENGINES else None
    except (ValueError, KeyError, TypeError):
        return None


def remember(key: str, choice: Remembered) -> Remembered:
    """Keeps a choice.

    Returns:
        What is kept: another process may have been first, and then its choice holds.

    Raises:
        DeviceError: if it cannot be written.
    """
    _write(key, asdict(choice), lambda: recall(key))
    return recall(key) or choice


def recall_verdict(identity: str, setup: Setup, engine: str) -> Judged | None:
    """What was found of an engine for a network; ``None`` where there is nothing, or it cannot be read.

    Args:
        identity: The trunk's digest.
        setup: Precision, batch, threads and device, as asked for.
        engine: The engine's name.
    """
    return _judged(_key("verdict", identity, setup, [engine]), setup)


def _judged(key: str, setup: Setup) -> Judged | None:
    table = _read(key)
    try:
        gap, batch = table["difference"], table["batch"]
        known = gap if gap is None else Difference(float(gap["largest"]), float(gap["typical"]))
        sound = isinstance(table["taken"], bool) and type(batch) is int and batch in (1, setup.batch)
        sound = sound and not (known and (math.isnan(known.largest) or math.isnan(known.typical)))
        return Judged(table["taken"], str(table["why"]), known, batch) if sound else None
    except (ValueError, KeyError, TypeError):
        return None


def remember_verdict(identity: str, setup: Setup, engine: str, judged: Judged, *, again: bool = False) -> Judged:
    """Keeps what was found of an engine for a network.

    Args:
        identity: The trunk's digest.
        setup: Precision, batch, threads and device, as asked for: the batch of ``judged`` may be another.
        engine: The engine's name.
        judged: What was found.
        again: Whether it was looked at again, and this is to stand instead of what was found before.

    Returns:
        What is kept: another process may have been first, and then what it found holds.

    Raises:
        DeviceError: if it cannot be written.
    """
    key = _key("verdict", identity, setup, [engine])
    _write(key, asdict(judged), lambda: None if again else _judged(key, setup))
    return _judged(key, setup) or judged


def _read(key: str) -> Any:
    try:
        table: Any = json.loads(_file(key).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) and table.get("schema") == SCHEMA else {}


def _write(key: str, table: Mapping[str, Any], read: Callable[[], object]) -> None:
    file = _file(key)
    part = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as stream:
            json.dump({"schema": SCHEMA, **table}, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        if file.exists() and read() is None:
            file.unlink(missing_ok=True)  # it is not to stand: one that another process writes now is whole
        try:
            os.link(part, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            part.replace(file)
    except OSError as reason:
        what = f"The choice of an engine cannot be kept in {file.parent}: {reason.strerror}."
        raise DeviceError(what, fix="Make the folder writable, or set ZOO_HOME to one that is.") from reason
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _file(key: str) -> Path:
    return engines_folder() / f"{key}.json"
