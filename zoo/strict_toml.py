"""Strictly parsed TOML: unknown keys, missing keys and wrong types are errors that name file and key."""

import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from .errors import ZooError, close_matches

T = TypeVar("T")
#: The default of a key that has none.
REQUIRED: Any = object()

_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a table",
}


class Table:
    """One table of a TOML file, whose keys are taken one by one; what is left over at the end is an error.

    Args:
        data: The parsed table.
        where: What errors call the file.
        error: The class of the errors raised.
        path: The table's own key, dotted, for errors.
        called: What errors call it beside that: one of several headed alike has a name.
    """

    def __init__(self, data: dict[str, Any], where: str, error: type[ZooError], path: str = "", called: str = ""):
        self._data = dict(data)
        self._known: list[str] = []
        self.where, self.error, self.path, self.called = where, error, path, called

    def key(self, name: str) -> str:
        """A key's dotted path."""
        return f"{self.path}.{name}" if self.path else name

    def _shown(self, name: str) -> str:
        """A key's dotted path as errors show it."""
        return f"'{self.key(name)}'{self.called and f' ({self.called})'}"

    def has(self, name: str) -> bool:
        """Whether a key is there and not taken yet."""
        return name in self._data

    def take(self, name: str, kind: type[T], default: T = REQUIRED) -> T:
        """Takes a value of the given type; whole numbers pass for ``float``."""
        self._known.append(name)
        if name not in self._data:
            if default is REQUIRED:
                what = f"{self.where}: the key {self._shown(name)} is missing."
                raise self.error(what, expected=_NAMES[kind], fix=f"Add it: {name} = ...")
            return default
        value: Any = self._data.pop(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(name, _NAMES[kind], value)
        return value

    def take_any(self, name: str, default: Any = None) -> Any:
        """Takes a value of any type: the caller checks it."""
        self._known.append(name)
        return self._data.pop(name, default)

    def choice(self, name: str, choices: tuple[str, ...], default: Any = REQUIRED) -> Any:
        """Takes one of several strings."""
        value = self.take(name, str, default)
        if value not in choices:
            what = f"{self.where}: {self._shown(name)} is not one that zoo knows."
            raise self.error(
                what, expected=" | ".join(choices), received=repr(value), fix=close_matches(value, choices)
            )
        return value

    def strings(self, name: str, default: Any = REQUIRED) -> tuple[str, ...]:
        """Takes a list of strings."""
        value = self.take(name, list, default)
        if not all(isinstance(v, str) for v in value):
            self.fail(name, "a list of strings", value)
        return tuple(value)

    def numbers(self, name: str, default: Any = REQUIRED, whole: bool = False) -> tuple[Any, ...]:
        """Takes a list of numbers (of whole ones, where asked)."""
        value = self.take(name, list, default)
        kinds = (int,) if whole else (int, float)
        if not all(isinstance(v, kinds) and not isinstance(v, bool) for v in value):
            self.fail(name, f"a list of {'whole ' if whole else ''}numbers", value)
        return tuple(value)

    @contextmanager
    def table(self, name: str, required: bool = False) -> Iterator["Table"]:
        """A table inside this one; on leaving it, every key must have been taken."""
        data = self.take(name, dict, REQUIRED if required else {})
        inner = Table(data, self.where, self.error, self.key(name), self.called)
        yield inner
        inner.close()

    def tables(self, name: str, read: Callable[["Table"], T], *, named: bool = False) -> tuple[T, ...]:
        """Reads an array of tables, each by ``read``; errors call them by their ``name`` where they are ``named``."""
        value = self.take(name, list, [])
        if not all(isinstance(v, dict) for v in value):
            self.fail(name, f"tables, each headed [[{name}]]", value)
        out = []
        for i, data in enumerate(value):
            called = f"the {name} {data['name']!r}" if named and isinstance(data.get("name"), str) else ""
            inner = Table(data, self.where, self.error, f"{self.key(name)}[{i}]", called)
            out.append(read(inner))
            inner.close()
        return tuple(out)

    def fail(self, name: str, expected: str, received: Any, fix: str | None = None) -> NoReturn:
        """Raises the error for a value that does not fit."""
        what = f"{self.where}: {self._shown(name)} has the wrong value."
        raise self.error(what, expected=expected, received=repr(received), fix=fix)

    def refuse(
        self,
        name: str,
        what: str,
        *,
        expected: str | None = None,
        received: str | None = None,
        fix: str | None = None,
        called: str = "",
    ) -> NoReturn:
        """Raises the error for a value that is right by itself, and makes no sense for a reason: ``what``, a sentence.

        ``called`` says whose key it is, where this table is not the one that holds it.
        """
        beside = f" ({called})" if called else ""
        whole = f"{self.where}: {self._shown(name)}{beside}: {what}"
        raise self.error(whole, expected=expected, received=received, fix=fix)

    def check(self, name: str, fits: bool, expected: str, received: Any) -> None:
        """Raises the error for a value unless it fits."""
        if not fits:
            self.fail(name, expected, received)

    def only(self, names: Iterable[str]) -> None:
        """Raises if a key is none of these: a misspelled key is said before what its absence leads to."""
        known = list(names)
        for name in self._data:
            if name not in known:
                self._unknown(name, known)

    def close(self) -> None:
        """Raises if a key was not taken."""
        for name in self._data:
            self._unknown(name, self._known)

    def _unknown(self, name: str, known: list[str]) -> NoReturn:
        what = f"{self.where}: unknown key {self._shown(name)}."
        raise self.error(what, fix=close_matches(name, known))


def read(file: Path, error: type[ZooError]) -> Table:
    """Reads a TOML file into a strict table.

    Raises:
        ZooError: of class ``error``, if the file is missing, not UTF-8, or not TOML.
    """
    return parse(text_of(file, error), str(file), error)


def text_of(file: Path, error: type[ZooError]) -> str:
    """The text of a TOML file.

    Raises:
        ZooError: of class ``error``, if the file is missing, or not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        what = f"There is no file {file}."
        raise error(what, fix="Check the path.") from None
    except (OSError, UnicodeDecodeError) as reason:
        what = f"{file} cannot be read: {reason}."
        raise error(what, expected="a UTF-8 text file") from None


def parse(text: str, where: str, error: type[ZooError]) -> Table:
    """Parses TOML text into a strict table, and checks its ``schema``."""
    return checked(data_of(text, where, error), where, error)


def data_of(text: str, where: str, error: type[ZooError]) -> dict[str, Any]:
    """Parses TOML text.

    Raises:
        ZooError: of class ``error``, if it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as reason:
        what = f"{where} is not valid TOML: {reason}."
        raise error(what, fix="Mend the line that it names.") from None


def checked(data: dict[str, Any], where: str, error: type[ZooError]) -> Table:
    """A parsed file as a strict table, its ``schema`` taken."""
    table = Table(data, where, error)
    if not table.has("schema"):
        what = f"{where}: the key 'schema' is missing."
        raise error(what, expected="the version of the file's format", fix="Add it: schema = 1")
    schema = table.take("schema", int)
    if schema != 1:
        what = f"{where}: the 'schema' is not one that this zoo knows."
        raise error(
            what, expected="schema = 1", received=f"schema = {schema}", fix="Use the zoo that wrote it, or a newer one."
        )
    return table
