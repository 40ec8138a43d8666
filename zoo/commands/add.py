"""``zoo add``: put a network on the user's shelf."""

from pathlib import Path

import click

from .. import registry


@click.command("add")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="Its name on the shelf: NAME or NAME.TAG; by default its own.")
def command(path: Path, name: str | None) -> None:
    """Put a network on your shelf: a run folder, a .keras file, or safetensors with a card.

    Nothing is overwritten. The shelf is in ZOO_HOME, by default your user cache folder.
    """
    card = registry.add(path, name)
    click.echo(f"{card.full_name} is on your shelf: {card.folder}")
    click.echo(f"next: zoo info {card.full_name} --blocks")
