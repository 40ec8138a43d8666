"""Kinds of values that options take beside click's own."""

from collections.abc import Sequence
from typing import Any

import click

from ..errors import close_matches


class Share(click.ParamType):
    """A share from 0 to below 1, or the word ``rest``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """A number, or ``rest`` as it is."""
        if value == "rest" or isinstance(value, float):
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'rest'.", param, ctx)


class OneOf(click.Choice):
    """One of several words; for another one it says which is near."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word as it is."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as refused:
            self.fail(f"{refused.message}{_near(str(value), self.choices)}", param, ctx)


def _near(said: str, words: Sequence[str]) -> str:
    near = close_matches(said, words)
    return f" {near}" if near.startswith("Did you mean") else ""


class ByBlock(click.ParamType):
    """``BLOCK=VALUE``, or a value alone where ``alone`` allows it."""

    name = "by block"

    def __init__(self, values: Sequence[str] | None = None, *, alone: bool = False):
        self._values, self._alone = values, alone

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str | None, Any]:
        """``block1=0.5`` as ``("block1", 0.5)``; a value alone with ``None``."""
        if isinstance(value, tuple):
            return value
        block, joint, said = str(value).rpartition("=")
        if bool(joint) != bool(block) or (not joint and not self._alone):
            self.fail(f"{value!r} is not BLOCK=VALUE.", param, ctx)
        if self._values is None:
            try:
                return (block or None), float(said)
            except ValueError:
                self.fail(f"{said!r} is not a number.", param, ctx)
        if said not in self._values:
            self.fail(f"{said!r} is not one of {', '.join(self._values)}.{_near(said, self._values)}", param, ctx)
        return (block or None), said


def table_of(given: Sequence[tuple[str | None, Any]]) -> Any:
    """What several options ``BLOCK=VALUE`` say together: a table, or the one value that was said for all."""
    twice = sorted(str(block) for block in {b for b, _ in given} if [b for b, _ in given].count(block) > 1)
    if twice:
        what = f"{twice[0]!r} is said twice."
        raise click.UsageError(what)
    alone = [value for block, value in given if block is None]
    if not alone:
        return dict(given)
    if len(given) > 1:
        what = f"{alone[0]!r} is for all blocks: it cannot be said beside others."
        raise click.UsageError(what)
    return alone[0]


class Widths(click.ParamType):
    """Whole numbers separated by commas."""

    name = "widths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """``64,32`` as ``(64, 32)``."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(",") if part.strip())
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 64,32.", param, ctx)
