"""``zoo evaluate``: how good a run's result is on data."""

import json
from pathlib import Path

import click

from ..progress import Progress
from ..run import Run


@click.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--skip-bad", is_flag=True, help="Leave out files that cannot be read, and say so.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and the figures.")
def command(run: Path, data: str, as_json: bool, skip_bad: bool, quiet: bool) -> None:
    """Measure a run's result on DATA: figures by class, the confusion matrix, the worst mistakes.

    On the run's own data the test side is taken; on other data, examples that the run was trained on are left out.
    """
    opened = Run(run)
    from .starting import quietly

    with quietly():
        from ..evaluation import evaluate
        from ..measurement import headline
        from ..metrics import table
    figures = evaluate(opened, data, progress=Progress(quiet=quiet), skip_bad=skip_bad)
    if as_json:
        click.echo(json.dumps(figures, ensure_ascii=False))
        return
    click.echo(headline({"test": figures}))
    click.echo(table(figures))
