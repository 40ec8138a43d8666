"""``zoo diff``: two runs side by side."""

import json
from pathlib import Path

import click


@click.command("diff")
@click.argument("left", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("right", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def command(left: Path, right: Path, as_json: bool) -> None:
    """Show in what two runs differ: their recipes, what they were run on, and what came of it.

    Runs that have not finished are compared as far as they have got.

    For example: zoo diff runs/first runs/second
    """
    from ..run_diff import compare_runs

    found = compare_runs(left, right)
    click.echo(json.dumps(found.table(), ensure_ascii=False) if as_json else str(found))
