"""Every error that a user can cause.

::

    ZooError
    ├── DataError        a data set that cannot be read, or cannot be used as asked
    ├── CardError        a card that is not a card, a name that the zoo does not know, a shelf that refuses
    ├── WeightsError     a weights file that is missing, altered, or does not fit its network
    ├── SurgeryError     a network that cannot be edited as asked: no such layer, block or cut
    ├── PlanError        a freeze plan that contradicts itself, or was not kept
    ├── RecipeError      a recipe with an unknown key, a wrong type, an impossible combination
    ├── RunError         a run folder that exists already, is incomplete, or cannot be written
    ├── CacheError       a cache of features that cannot be written or read
    └── DeviceError      a device that is not there, or too small

Each message is one short paragraph: what happened, what was expected, what was received, how to fix it. The command
line prints it and exits with 1; ``--debug`` adds the traceback. This module imports nothing of zoo, so that every room
may use it.
"""

from collections.abc import Iterable


class ZooError(Exception):
    """An error that zoo explains.

    Args:
        what: What happened, a sentence.
        expected: What was expected; left out where it goes without saying.
        received: What was received instead.
        fix: How to mend it, a sentence.

    Example:
        >>> print(ZooError("The image cannot be read.", expected="a JPEG", received="an empty file", fix="Remove it."))
        The image cannot be read. Expected a JPEG; received an empty file. Remove it.
    """

    def __init__(self, what: str, *, expected: str | None = None, received: str | None = None, fix: str | None = None):
        facts = [f"{word} {text}" for word, text in (("expected", expected), ("received", received)) if text]
        middle = "; ".join(facts)
        parts = [what, f"{middle[0].upper()}{middle[1:]}." if middle else "", fix or ""]
        super().__init__(" ".join(part for part in parts if part))


class DataError(ZooError):
    """A data set that cannot be read, or cannot be used as asked."""


class CardError(ZooError):
    """A card that is not a card, a name that the zoo does not know, a shelf that refuses."""


class WeightsError(ZooError):
    """A weights file that is missing, altered, or does not fit its network."""


class SurgeryError(ZooError):
    """A network that cannot be edited as asked: no such layer, block or cut."""


class PlanError(ZooError):
    """A freeze plan that contradicts itself, or was not kept."""


class RecipeError(ZooError):
    """A recipe with an unknown key, a wrong type, or an impossible combination."""


class RunError(ZooError):
    """A run folder that exists already, is incomplete, or cannot be written."""


class CacheError(ZooError):
    """A cache of features that cannot be written or read."""


class DeviceError(ZooError):
    """A device that is not there, or too small."""


def close_matches(name: str, known: Iterable[str]) -> str:
    """A sentence that names what the user may have meant.

    Example:
        >>> close_matches("glyfs", ["glyphs", "convnet"])
        "Did you mean 'glyphs'?"
        >>> close_matches("xyz", ["glyphs", "convnet"])
        'Known: convnet, glyphs.'
    """
    from difflib import get_close_matches

    names = sorted(set(known))
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?"
    if not names:
        return "There is none yet."
    return f"Known: {', '.join(names[:20])}{f' and {len(names) - 20} more' if len(names) > 20 else ''}."
