"""``zoo list``: the networks of the zoo."""

import json
from fnmatch import fnmatch

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
    rows = [row_of(card) for card in [*registry.shelf(), *registry.architectures()]]
    if pattern:
        kept = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
        rows = [row for row in rows if fnmatch(row["name"], kept)]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    if not rows:
        click.echo(f"no network matches '{pattern}'", err=True)
        return
    cells = [(r["name"], r["where"], r["task"], r["input"], _size(r["bytes"]), r["summary"]) for r in rows]
    click.echo(text_table(("name", "where", "task", "input", "size", "what it is"), cells, right=(4,)))


def row_of(card: Card) -> dict[str, object]:
    """What ``zoo list`` says of a network."""
    where = "architecture" if card.weights is None else "zoo" if card.folder == registry.shipped_folder() else "your shelf"
    parameters = None
    if card.weights and card.weights.file.endswith(".safetensors") and card.weights_path.exists():
        parameters = parameter_count(card.weights_path)
    return {
        "name": card.full_name,
        "where": where,
        "task": card.task,
        "input": "any" if card.input is None else "x".join(map(str, card.input.shape)) or card.input.kind,
        "bytes": card.weights.bytes if card.weights else None,
        "parameters": parameters,
        "summary": card.summary,
    }


def _size(count: object) -> str:
    if not isinstance(count, int):
        return "-"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
