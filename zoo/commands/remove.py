"""``zoo remove``: remove a network from the user's shelf."""

import click

from .. import registry


@click.command("remove")
@click.argument("name")
def command(name: str) -> None:
    """Remove a network from your shelf. What comes with zoo stays."""
    click.echo(f"removed {registry.remove(name)}")
