"""Reading ``recipe.lock``: on what a run was done, and what it led to."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import RunError
from .run import LOCK


def lock_of(folder: Path) -> dict[str, Any]:
    """The lock of a run.

    Raises:
        RunError: if there is none, or it is broken.
    """
    file = folder / LOCK
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        what = f"The lock {file} cannot be read: {reason}."
        raise RunError(what, expected="the recipe.lock that the run wrote") from None


def engines_of(features: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The engine that each trunk was run on, by the trunk's digest, as locks and checkpoints hold it.

    Example:
        >>> engines_of([{"trunk": "ab12", "engine": "openvino", "batch": 16}, {}])
        {'ab12': 'openvino'}
    """
    return {str(one["trunk"]): str(one["engine"]) for one in features if "trunk" in one and "engine" in one}


def environment_in(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a lock that :func:`zoo.lock.environment_of` gave."""
    return {key: lock.get(key, {}) for key in ("versions", "installed", "compute")}
