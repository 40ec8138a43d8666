"""``zoo predict``: what new examples are."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..progress import Progress
from ..run import Run
from ..text_table import text_table

if TYPE_CHECKING:
    from ..evaluation import Prediction


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("items", nargs=-1, required=True, metavar="FILES...")
@click.option("--top", type=int, default=3, show_default=True, help="How many classes for each example.")
@click.option("--format", "form", type=click.Choice(("table", "csv", "json")), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--skip-bad", is_flag=True, help="Leave out files that cannot be read, and say so.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and the predictions.")
def command(run: Path, items: tuple[str, ...], top: int, form: str, as_json: bool, skip_bad: bool, quiet: bool) -> None:
    """Say what new examples are: image files, folders of them, a .csv, an .npz, or a built-in name."""
    opened = Run(run)
    from .starting import quietly

    with quietly():
        from ..evaluation import predict
    found = predict(opened, items, top=top, progress=Progress(quiet=quiet), skip_bad=skip_bad)
    if as_json or form == "json":
        rows = [{"example": p.example, "outputs": [{"name": n, "value": v} for n, v in p.outputs]} for p in found]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    elif form == "csv":
        click.echo(_csv(found), nl=False)
    else:
        click.echo(text_table(("example", *_header(found)), [_row(p) for p in found]))


def _csv(found: "list[Prediction]") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["example", "rank", "name", "value"])
    for p in found:
        writer.writerows([p.example, rank, name, f"{value:.6g}"] for rank, (name, value) in enumerate(p.outputs, 1))
    return text.getvalue()


def _header(found: "list[Prediction]") -> list[str]:
    return [f"{i + 1}." for i in range(max((len(p.outputs) for p in found), default=0))]


def _row(prediction: "Prediction") -> list[str]:
    return [prediction.example, *(f"{name} {value:.4g}" for name, value in prediction.outputs)]
