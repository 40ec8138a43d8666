"""``zoo verify``: do a run again, and compare bit by bit."""

import json
from pathlib import Path

import click

from ..progress import Progress
from ..run import check_one_run


@click.command("verify")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--metrics-only", is_flag=True, help="Compare the figures alone: for another machine.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    help="How far the figures may be apart, with --metrics-only; by default 2 standard errors of the side's size.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Keep what is done again, as a run folder of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and the result.")
def command(
    run: Path, metrics_only: bool, tolerance: float | None, out: Path | None, as_json: bool, quiet: bool
) -> None:
    """Do RUN again, from its recipe and its lock, and say whether it is identical.

    Compared are the loss of every step, the weights after every stage, and the figures, bit by bit; the first step that
    differs is named, and what differs between the two environments. Where bits cannot be compared (other data, another
    number of threads, another kind of processor or device) it says what would have to match. RUN is not changed.

    Exit code 0 where it is identical (with --metrics-only: within the tolerance), else 1.

    For example: zoo verify runs/mine
    """
    if tolerance is not None and not metrics_only:
        what = "--tolerance is for --metrics-only: bits are the same, or they are not."
        raise click.UsageError(what)
    check_one_run(run)  # before the framework is loaded
    from .starting import quietly

    with quietly():
        from ..verifying import verify
    found = verify(run, metrics_only=metrics_only, tolerance=tolerance, out=out, progress=Progress(quiet=quiet))
    click.echo(json.dumps(found.table(), ensure_ascii=False) if as_json else str(found))
    if not found.good:
        click.get_current_context().exit(1)
