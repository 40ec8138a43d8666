"""``zoo resume``: go on with a run that was interrupted."""

import json
from pathlib import Path

import click

from ..progress import Progress
from ..run import check_one_run


@click.command("resume")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and the result.")
def command(run: Path, as_json: bool, quiet: bool) -> None:
    """Go on with RUN, which was interrupted, killed or failed, from its last checkpoint.

    RUN is the folder that `--out` named. It ends with the same bytes as a run that was never interrupted: nothing is
    frozen, thawed or initialized again, and what was computed is not computed again.

    For example: zoo resume runs/mine
    """
    check_one_run(run)  # before the framework is loaded
    from .starting import quietly

    with quietly():
        from ..measurement import headline
        from ..resuming import resume
    done = resume(run, progress=Progress(quiet=quiet))
    if as_json:
        click.echo(json.dumps(done.metrics, ensure_ascii=False))
        return
    click.echo(headline(done.metrics) if quiet else f"next: zoo predict {run} FILES...   or   zoo evaluate {run} DATA")
