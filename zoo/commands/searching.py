"""What ``--find-depth`` makes of ``zoo finetune`` and ``zoo run``: a search for how much to reuse."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..depth_recipe import check_searchable
from ..options import Options
from ..progress import Progress
from ..recipe import Recipe
from ..said_recipe import said_recipe

if TYPE_CHECKING:
    from ..run import Run


def search(
    model: str | None,
    data: str | None,
    recipe: Recipe | None,
    options: dict[str, Any],
    *,
    out: Path | None,
    progress: Progress,
) -> "Run | None":
    """Searches; without ``out`` prints what would be tried, and gives nothing."""
    given = Options(**options)
    check_searchable(said_recipe(model, data, recipe, given), given)  # refused before anything is loaded
    from .starting import quietly

    with quietly():
        from ..depth_plan import depth_plan
        from ..finding_depth import find_depth
    if out is not None:
        return find_depth(model, data, out=out, recipe=recipe, progress=progress, **options)
    plan = depth_plan(model, data, recipe=recipe, progress=progress, **options)
    lines = [*plan.first.lines(), *plan.lines(), *plan.step_lines(), "nothing was trained or written (--dry-run)"]
    click.echo("\n".join(lines))
    return None
