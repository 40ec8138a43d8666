"""``zoo list``: the networks of the zoo."""

import click

from .. import registry
from ..card import Card
from ..formats.safetensors import parameter_count
from ..text_table import text_table


@click.command("list")
@click.argument("pattern", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(pattern: str | None, as_json: bool) -> None:
    """List the networks of the zoo: shipped, on your shelf, and architectures.

    PATTERN keeps the names that contain it, or that match it where it has a * or a ?.
    """
    cards = [card for card in [*registry.shelf(), *registry.architectures()] if _matches(card.full_name, pattern)]
    broken = {name: reason for name, reason in registry.broken().items() if _matches(name, pattern)}
    rows = [{**row_of(card), "parameters": parameters_of(card) if as_json else None} for card in cards]
    rows += [_broken_row(name) for name in broken]
    for reason in broken.values():
        click.echo(reason, err=True)
    if as_json:
        import json

        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    if not rows:
        click.echo(f"no network matches '{pattern}'", err=True)
        return
    cells = [(r["name"], r["where"], r["task"], r["input"], _size(r["bytes"]), r["summary"]) for r in rows]
    click.echo(text_table(("name", "where", "task", "input", "size", "what it is"), cells, right=(4,)))


def _matches(name: str, pattern: str | None) -> bool:
    if not pattern:
        return True
    from fnmatch import fnmatch

    return fnmatch(name, pattern if any(c in pattern for c in "*?[") else f"*{pattern}*")


def _broken_row(name: str) -> dict[str, object]:
    summary = f"broken: its card cannot be read; zoo remove {name}"
    unknown = {"bytes": None, "summary": summary, "parameters": None}
    return {"name": name, "where": "your shelf", "task": "broken", "input": "-", **unknown}


def row_of(card: Card) -> dict[str, object]:
    """What ``zoo list`` says of a network."""
    return {
        "name": card.full_name,
        "where": _where(card),
        "task": card.task,
        "input": "any" if card.input is None else "x".join(map(str, card.input.shape)) or card.input.kind,
        "bytes": card.weights.bytes if card.weights else None,
        "summary": card.summary,
    }


def _where(card: Card) -> str:
    if card.weights is None or card.folder is None:
        return "architecture"
    if card.folder == registry.shipped_folder():
        return "zoo"
    return "your shelf" if card.folder.parent == registry.user_shelf() else str(card.folder)


def parameters_of(card: Card) -> int | None:
    """How many parameters a network has, from the header of its weights; ``None`` where it has no such header."""
    if card.weights and card.weights.file.endswith(".safetensors") and card.weights_path.exists():
        return parameter_count(card.weights_path)
    return None


def _size(count: object) -> str:
    if not isinstance(count, int):
        return "-"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
