"""``zoo inspect``: how signals get through a network, layer by layer."""

import json
from pathlib import Path
from typing import Any

import click

from ..progress import Progress


@click.command("inspect")
@click.argument("model")
@click.argument("data")
@click.option("--sample", type=click.IntRange(min=2), default=256, show_default=True, help="How many examples.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=0.01,
    show_default=True,
    help="The rate at which a step of plain gradient descent is compared with the weights.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Sample, fresh weights and dropout follow from it."
)
@click.option("--label-column", multiple=True, metavar="COLUMN", help="CSV: the target's column; may be repeated.")
@click.option("--path-column", metavar="COLUMN", help="CSV: the column of image paths.")
@click.option("--text-column", metavar="COLUMN", help="CSV: the column of texts.")
@click.option("--feature-column", "feature_columns", multiple=True, metavar="COLUMN", help="CSV: a numeric column.")
@click.option("--skip-bad", is_flag=True, help="Leave out files that cannot be read, and say so.")
@click.option("--out", type=click.Path(path_type=Path), help="Write figures and charts here; it must not exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and the figures.")
def command(
    model: str,
    data: str,
    sample: int,
    learning_rate: float,
    seed: int,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **columns: Any,
) -> None:
    """See where the signals of MODEL vanish or explode on a sample of DATA, and which layers are saturated or dead.

    MODEL is a name that `zoo list` shows, a run folder, or a path. DATA is a folder of class folders, a .csv, an .npz,
    or a built-in name: digits, characters. Nothing is trained or changed.

    Columns: mean and std of a layer's outputs; forward, their spread between examples relative to the input's;
    backward, the gradient by them relative to the highest hidden layer's; the shares of saturated values and of dead
    units; the norm of the gradient by the layer's kernels, now and in a freshly initialized network; step, how far one
    step of gradient descent moves them relative to their own size.
    """
    from .starting import quietly

    with quietly():
        from ..inspection import inspect_subject
        from ..inspection_folder import check_out, write_inspection
        from ..subject import subject
    if out is not None:
        check_out(out)
    progress = Progress(quiet=quiet)
    given = {key: (list(value) if isinstance(value, tuple) else value) for key, value in columns.items() if value}
    found = subject(model, data, sample=sample, seed=seed, columns=given, progress=progress)
    result = inspect_subject(found, learning_rate=learning_rate, seed=seed, progress=progress)
    if out is not None:
        write_inspection(result, out)
        progress.line(f"written: {out}")
    if as_json:
        click.echo(json.dumps(result.as_dict(), ensure_ascii=False))
        return
    click.echo(str(result))
