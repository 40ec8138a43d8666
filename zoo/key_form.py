"""What a key of a recipe may hold: one description, from which it is read, and from which an editor is told of it."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import close_matches
from .strict_toml import REQUIRED, Table


class Form:
    """What a value may be.

    ``kind`` is its type, where it has one; ``said`` is what errors expect of a value of that type.
    """

    kind: type | None = None
    said: str = ""

    def fits(self, value: Any) -> bool:
        """Whether a value of any type may stand here."""
        raise NotImplementedError

    def kept(self, value: Any) -> Any:
        """A fitting value as the recipe holds it."""
        return value

    def take(self, table: Table, name: str, default: Any) -> Any:
        """Takes a key out of a table of a recipe; where it is not there, the default.

        Raises:
            ZooError: naming file and key, if it is missing or does not fit.
        """
        if not table.has(name) and default is not REQUIRED:
            return table.take_any(name, default)
        value = table.take(name, self.kind) if self.kind else table.take_any(name)
        if not self.fits(value):
            table.fail(name, self.said, value, self.near(value))
        return self.kept(value)

    def near(self, value: Any) -> str | None:
        """What may have been meant by a value that does not fit."""
        return None

    def schema(self) -> dict[str, Any]:
        """The same as JSON schema."""
        raise NotImplementedError


@dataclass(frozen=True)
class Flag(Form):
    """True or false."""

    kind = bool

    def fits(self, value: Any) -> bool:
        """Whether it is one of the two."""
        return isinstance(value, bool)

    def schema(self) -> dict[str, Any]:
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Text(Form):
    """A string, of a pattern where one is given."""

    pattern: str = ""
    said: str = ""
    kind = str

    def fits(self, value: Any) -> bool:
        """Whether it is a string of the pattern."""
        return isinstance(value, str) and (not self.pattern or re.fullmatch(self.pattern, value) is not None)

    def schema(self) -> dict[str, Any]:
        """A string; letters of all scripts are no pattern that every editor reads alike."""
        portable = self.pattern and r"\w" not in self.pattern
        return {"type": "string", **({"pattern": f"^(?:{self.pattern})$"} if portable else {})}


@dataclass(frozen=True)
class Choice(Form):
    """One of several words."""

    words: tuple[str, ...]
    kind = str

    def fits(self, value: Any) -> bool:
        """Whether it is one of them."""
        return isinstance(value, str) and value in self.words

    def take(self, table: Table, name: str, default: Any) -> Any:
        """Takes one of the words; for another one it says which is near."""
        return table.choice(name, self.words, default)

    def schema(self) -> dict[str, Any]:
        """An enumeration."""
        return {"enum": [*self.words]}


@dataclass(frozen=True)
class Range(Form):
    """A finite number within limits: ``least`` and ``most`` are within, ``above`` and ``below`` are not."""

    said: str = "a finite number"
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False

    @property
    def kind(self) -> type:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whole numbers pass for others, never the other way."""
        return int if self.whole else float

    def fits(self, value: Any) -> bool:
        """Whether it is such a number."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        if isinstance(value, int) and not self.whole and abs(value) >= 2**63:  # more than TOML's own whole numbers
            return False
        over = (self.least is None or value >= self.least) and (self.above is None or value > self.above)
        under = (self.most is None or value <= self.most) and (self.below is None or value < self.below)
        return over and under and (self.whole or -math.inf < value < math.inf)

    def kept(self, value: Any) -> Any:
        """As a float, unless it is a whole one."""
        return value if self.whole else float(value)

    def schema(self) -> dict[str, Any]:
        """A number with its limits."""
        limits = {
            "minimum": self.least,
            "maximum": self.most,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
        }
        given = {key: value for key, value in limits.items() if value is not None}
        return {"type": "integer" if self.whole else "number", **given}


@dataclass(frozen=True)
class ListOf(Form):
    """A list of values of one form; ``said`` is for values of the right type that do not fit."""

    inner: Form
    what: str
    said: str = ""
    least: int = 0
    distinct: bool = False
    kind = list

    def fits(self, value: Any) -> bool:
        """Whether it is a list, and each of its values fits."""
        if not isinstance(value, (list, tuple)) or len(value) < self.least or not all(map(self.inner.fits, value)):
            return False
        return not self.distinct or all(one not in value[:i] for i, one in enumerate(value))

    def kept(self, value: Any) -> Any:
        """As a tuple."""
        return tuple(self.inner.kept(one) for one in value)

    def take(self, table: Table, name: str, default: Any) -> Any:
        """Takes a list; a value of another type in it is told from one that is out of range."""
        if not table.has(name) and default is not REQUIRED:
            return table.take_any(name, default)
        value = table.take(name, list)
        typed = all(isinstance(one, self.inner.kind or object) and not isinstance(one, bool) for one in value)
        if not typed or not self.fits(value):
            table.fail(name, self.said if typed and self.said else self.what, value)
        return self.kept(value)

    def schema(self) -> dict[str, Any]:
        """An array."""
        limits = {
            **({"minItems": self.least} if self.least else {}),
            **({"uniqueItems": True} if self.distinct else {}),
        }
        return {"type": "array", "items": self.inner.schema(), **limits}


@dataclass(frozen=True)
class TableOf(Form):
    """A table whose keys the user chooses: blocks, classes, arguments."""

    said: str = "a table"
    inner: Form | None = None
    needed: tuple[str, ...] = ()
    words: dict[str, Form] = field(default_factory=dict)
    kind = dict

    def fits(self, value: Any) -> bool:
        """Whether it is a table, what it needs is in it, and each of its values fits."""
        if not isinstance(value, dict) or not set(self.needed) <= set(value):
            return False
        forms = {key: self.words.get(key, self.inner) for key in value}
        return all(form is None or form.fits(value[key]) for key, form in forms.items())

    def kept(self, value: Any) -> Any:
        """Each value as the recipe holds it."""
        return {key: self.inner.kept(one) if self.inner else one for key, one in value.items()}

    def schema(self) -> dict[str, Any]:
        """An object."""
        inner = {} if self.inner is None else {"additionalProperties": self.inner.schema()}
        words = {key: form.schema() for key, form in self.words.items()}
        rest = {**({"properties": words} if words else {}), **({"required": [*self.needed]} if self.needed else {})}
        return {"type": "object", **rest, **inner}


@dataclass(frozen=True)
class Either(Form):
    """A value of one of several forms; ``words`` are what may have been meant by another word."""

    forms: tuple[Form, ...]
    said: str
    words: tuple[str, ...] = ()
    convert: Callable[[Any], Any] | None = None

    def fits(self, value: Any) -> bool:
        """Whether it is of one of the forms."""
        return any(form.fits(value) for form in self.forms)

    def kept(self, value: Any) -> Any:
        """As the first form that it fits has it."""
        found = next(form for form in self.forms if form.fits(value)).kept(value)
        return self.convert(found) if self.convert else found

    def near(self, value: Any) -> str | None:
        """The nearest of the words."""
        said = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
        said = [one.get("name") if isinstance(one, dict) else one for one in said]
        wrong = [one for one in said if one not in self.words]
        return close_matches(str(wrong[0]), self.words) if self.words and wrong else None

    def schema(self) -> dict[str, Any]:
        """Any of their schemas."""
        return {"anyOf": [form.schema() for form in self.forms]}


@dataclass(frozen=True)
class Key:
    """A key: its name, what it may hold, one line on what it means, and its default.

    A default of ``None`` means that the key may be left out, and that nothing else says the same.
    """

    name: str
    form: Form
    says: str
    default: Any = REQUIRED

    def schema(self) -> dict[str, Any]:
        """Its schema, with what it means and its default."""
        plain = [*self.default] if isinstance(self.default, tuple) else self.default
        default = {} if self.default is REQUIRED or self.default is None else {"default": plain}
        return {"description": self.says, **default, **self.form.schema()}


@dataclass(frozen=True)
class Keys(Form):
    """A table of known keys."""

    keys: tuple[Key, ...]
    kind = dict

    def fits(self, value: Any) -> bool:
        """Whether it is a table of these keys, none missing and each fitting."""
        known = {key.name: key for key in self.keys}
        if not isinstance(value, dict) or not set(value) <= set(known):
            return False
        return all(k.form.fits(value[n]) if n in value else k.default is not REQUIRED for n, k in known.items())

    def kept(self, value: Any) -> Any:
        """With the defaults of what is not there."""
        return {k.name: k.form.kept(value[k.name]) if k.name in value else k.default for k in self.keys}

    def take(self, table: Table, name: str, default: Any) -> Any:
        """Takes the table key by key."""
        if not table.has(name) and default is not REQUIRED:
            return table.take_any(name, default)
        with table.table(name) as inner:
            return read_keys(inner, self.keys)

    def schema(self) -> dict[str, Any]:
        """An object of these keys alone."""
        needed = [key.name for key in self.keys if key.default is REQUIRED]
        properties = {key.name: key.schema() for key in self.keys}
        rest = {"required": needed} if needed else {}
        return {"type": "object", "properties": properties, **rest, "additionalProperties": False}


def read_keys(table: Table, keys: Sequence[Key]) -> dict[str, Any]:
    """Takes keys out of a table, in their order.

    Example:
        >>> from zoo.errors import RecipeError
        >>> keys = (Key("epochs", Range("1 or more", least=1, whole=True), "at most so many", 5),)
        >>> read_keys(Table({}, "r.toml", RecipeError), keys)
        {'epochs': 5}
    """
    table.only(key.name for key in keys)
    return {key.name: key.form.take(table, key.name, key.default) for key in keys}
