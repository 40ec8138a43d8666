"""Reads the documentation's pages: sections, code blocks, and the calls in them."""

import ast
import inspect
import pkgutil
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import click

import zoo
from zoo.options import Options

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    code: str
    line: int


@dataclass(frozen=True)
class Section:
    """A heading with a label of its own, and what stands below it."""

    label: str
    level: int
    title: str
    body: str

    @property
    def blocks(self) -> list[Block]:
        return blocks(self.body)

    def says(self, *words: str) -> bool:
        """Whether a paragraph begins with one of these words, in bold."""
        return any(re.search(rf"^\*\*{word}:\*\*", self.body, re.M) for word in words)


def blocks(text: str) -> list[Block]:
    found = re.finditer(r"^```(python|sh|toml)\n(.*?)^```$", text, re.M | re.S)
    return [Block(m[1], m[2], text[: m.start()].count("\n") + 1) for m in found]


@dataclass(frozen=True)
class Ran:
    """A call of a page that was run: a command, or a block of Python (``line`` is empty), and what it printed."""

    block: Block
    line: str = ""
    stdout: str = ""
    output: str = ""


def run_page(page: str) -> tuple[list[Ran], dict[str, Any]]:
    """Runs every call of a page, in order, in the working folder; none may fail.

    Args:
        page: The page's name, without its ending.

    Returns:
        What was run, and the names that the blocks of Python left.
    """
    names: dict[str, Any] = {"__name__": page}
    found = blocks((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    return [ran for block in found for ran in run_block(block, names)], names


def run_block(block: Block, names: dict[str, Any]) -> list[Ran]:
    """Runs the calls of a block in the working folder, Python among these names; none may fail."""
    from click.testing import CliRunner

    from zoo.commands import zoo as command

    if block.language == "python":
        exec(compile(block.code, f"{names['__name__']}:{block.line}", "exec"), names)
        return [Ran(block)]
    ran = []
    for words in commands(block.code) if block.language == "sh" else ():
        result = CliRunner().invoke(command, words[1:], catch_exceptions=False)
        assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}"
        ran.append(Ran(block, " ".join(words), result.stdout, result.output))
    return ran


def sections(text: str) -> list[Section]:
    """The labelled sections in order; a label in Korean is the English one with ``ko-`` before it."""
    parts = re.split(r"^\((?:ko-)?([a-z0-9-]+)\)=\n(#+) (.+)\n", text, flags=re.M)
    rows = zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True)
    return [Section(label, len(hashes), title, body) for label, hashes, title, body in rows]


def without_comments(code: str) -> str:
    return re.sub(r"[ \t]+#.*$", "", code, flags=re.M)


def formulas(text: str) -> list[str]:
    """The displayed formulas, without the words in them."""
    return [re.sub(r"\\text\{.*?\}", "", formula) for formula in re.findall(r"\$\$(.*?)\$\$", text, re.S)]


def status_table(text: str) -> list[tuple[str, str, str]]:
    """The rows of the table at the top: label, what is there today, what is planned."""
    rows = re.findall(r"^\| \[.+?\]\(#(?:ko-)?([a-z0-9-]+)\) \|(.*?)\|(.*?)\|$", text, re.M)
    return [(label, today.strip(), planned.strip()) for label, today, planned in rows]


def missing_names(code: str) -> list[str]:
    """The imported names, attributes and keyword arguments in a piece of Python that do not exist."""
    tree = ast.parse(code)
    names: dict[str, Any] = {}
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "<imports>", "exec"), names)
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = _dotted(node)
            if name and name.split(".")[0] in names and not _found(name, names):
                wrong.append(name)
        if isinstance(node, ast.Call):
            wrong += list(_unknown_arguments(node, names))
    return wrong


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else None
    return f"{inner}.{node.attr}" if inner else None


def _found(dotted: str, names: dict[str, Any]) -> bool:
    try:
        _resolve(dotted, names)
    except (AttributeError, ImportError):
        return False
    return True


def _resolve(dotted: str, names: dict[str, Any]) -> Any:
    first, *rest = dotted.split(".")
    value = names[first]
    for part in rest:
        value = getattr(value, part)
    return value


def _unknown_arguments(call: ast.Call, names: dict[str, Any]) -> Iterator[str]:
    dotted = _dotted(call.func)
    if not dotted or dotted.split(".")[0] not in names or not _found(dotted, names):
        return
    target = _resolve(dotted, names)
    if isinstance(target, ModuleType) or not callable(target):
        yield f"{dotted} is not callable"
        return
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # some of NumPy's functions have none
        return
    known = {p.name for p in parameters}
    if target is zoo.finetune:
        known |= {field.name for field in fields(Options)}
    elif any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    yield from (f"{dotted}({k.arg}=...)" for k in call.keywords if k.arg and k.arg not in known)


def commands(code: str) -> list[list[str]]:
    """The ``zoo`` command lines in a block, split into words."""
    joined = code.replace("\\\n", " ")
    lines = [line.removeprefix("$ ") for line in joined.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("zoo ")]


def command_faults(words: list[str], root: click.Command) -> list[str]:
    """What is wrong with a command line: verb, options, and choices that do not exist."""
    command = root
    words = words[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(click.Context(command), words[0])
        if inner is None:
            return [f"no command {words[0]!r}"]
        command, words = inner, words[1:]
    options = {name: p for p in command.params if isinstance(p, click.Option) for name in [*p.opts, *p.secondary_opts]}
    faults = []
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        if not name.startswith("--") or name == "--help":
            continue
        if name not in options:
            faults.append(f"`{command.name}` has no option {name}")
            continue
        option = options[name]
        value = value or (words[place + 1] if place + 1 < len(words) else "")
        if isinstance(option.type, click.Choice) and not option.is_flag and value not in option.type.choices:
            faults.append(f"{name} does not take {value!r}")
    return faults


def inline_code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def exists(dotted: str) -> bool:
    """Whether a dotted name can be imported or read."""
    try:
        pkgutil.resolve_name(dotted)
    except (AttributeError, ImportError, ValueError):
        return False
    return True
