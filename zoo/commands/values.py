"""Kinds of values that options take beside click's own."""

from typing import Any

import click


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
