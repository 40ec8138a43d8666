"""What ``zoo finetune`` and ``zoo run`` have in common: what becomes of a recipe once it is said."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..default_stages import transfer_stages
from ..errors import RecipeError, RunError
from ..options import Options
from ..progress import Progress
from ..recipe import Recipe, read_recipe, recipe_from, recipe_text
from ..recipe_parts import table_of
from ..said_recipe import said_recipe
from ..settings import read_setting

if TYPE_CHECKING:
    from ..run import Run


@dataclass(frozen=True)
class Asked:
    """What is to be done with a recipe: ``--out``, ``--find-depth``, ``--seeds``, ``--save-recipe``, ``--json``, ..."""

    out: Path | None
    find_depth: bool
    seeds: int | None
    save_recipe: Path | None
    dry_run: bool
    as_json: bool
    quiet: bool


def outcome(function: Any) -> Any:
    """The options that say what is to be done; :func:`asked` takes them out of a command's arguments."""
    options = (
        click.option("--out", type=click.Path(path_type=Path), help="The run folder; it must not exist."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="Set a key of the recipe, such as seed=3, data.val=0.2 or stage.head.epochs=5; may be repeated.",
        ),
        click.option(
            "--find-depth",
            is_flag=True,
            help="Find out on the validation side how many blocks to freeze, thaw and drop; the best is the run.",
        ),
        click.option(
            "--seeds",
            type=click.IntRange(1),
            metavar="N",
            help="Run from N seeds, into --out/seed-0 and so on; print mean and range.",
        ),
        click.option(
            "--save-recipe",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Write all this as a recipe; without --out nothing else is done.",
        ),
        click.option(
            "--dry-run", is_flag=True, help="Print data, network, plan and what would be computed; train nothing."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON."),
        click.option("--quiet", is_flag=True, help="Print nothing but errors and the result."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def asked(given: dict[str, Any]) -> Asked:
    """Takes what is to be done out of a command's arguments, and refuses what cannot be done before it is looked at.

    Raises:
        RunError: if something is at the path of the run, or of the recipe.
    """
    names = ("out", "find_depth", "seeds", "save_recipe", "dry_run", "as_json", "quiet")
    wanted = Asked(**{name: given.pop(name) for name in names})
    if wanted.out is None and not wanted.dry_run and wanted.save_recipe is None:
        what = "Missing option '--out'."
        raise click.UsageError(what)
    if wanted.dry_run and wanted.as_json:
        what = "--dry-run prints lines for people: leave --json out."
        raise click.UsageError(what)
    if wanted.seeds is not None and wanted.out is None and not wanted.dry_run:
        what = "A recipe holds no --seeds: leave it out here, and say it to zoo run."
        raise click.UsageError(what)
    _check_search(wanted)
    for path, option in ((wanted.out, "--out"), (wanted.save_recipe, "--save-recipe")):
        if path is not None and path.exists():
            what = f"{path} exists already."
            raise RunError(what, expected="a path where nothing is", fix=f"Choose another {option}, or remove it.")
    return wanted


def _check_search(wanted: Asked) -> None:
    """Refuses what a search cannot be together with."""
    if wanted.find_depth and wanted.seeds is not None:
        what = "--find-depth and --seeds do not go together: search once, then run --out's recipe.toml with --seeds."
        raise click.UsageError(what)
    if wanted.find_depth and wanted.save_recipe is not None:
        what = "A recipe cannot say --find-depth: leave --save-recipe out; that of the best step will be in --out."
        raise click.UsageError(what)


def recipe_with(
    source: str | None,
    settings: tuple[str, ...],
    model: str | None,
    data: str | None,
    options: Mapping[str, Any],
) -> Recipe | None:
    """The recipe that flags go over, with what ``--set`` says; ``None`` where neither is given.

    What is set of a stage is set of the one that the flags lead to: of the default stages they say which.

    Raises:
        RecipeError: if something is set of stages that --from-scratch leaves out.
    """
    said = dict(read_setting(text) for text in settings)
    of_stages, freeze = [key for key in said if key.startswith("stage")], options.get("freeze")
    if of_stages and options.get("from_scratch"):
        base = read_recipe(source) if source is not None else None
        if base is not None and base.stages and not base.model.from_scratch:
            what = (
                f"--from-scratch leaves out the stages of {source}, which reuse a network: nothing can be set of them."
            )
            fix = "Leave these --set out, and say --epochs, --learning-rate, ... of the one stage that there is then."
            raise RecipeError(what, received=", ".join(of_stages), fix=fix)
        said = {"model.from_scratch": True, **said}
    if source is not None:
        return read_recipe(source, set=said)
    if not said:
        return None
    empty: dict[str, Any] = {"schema": 1, "model": {}, "data": {}}
    empty["model"] |= {"name": model} if model else {}
    empty["data"] |= {"path": data} if data else {}
    if of_stages and freeze and not said.get("model.from_scratch"):
        empty["stage"] = [table_of(stage) for stage in transfer_stages(freeze)]
    return recipe_from(empty, "the command line", said)


def carry_out(
    wanted: Asked, model: str | None, data: str | None, recipe: Recipe | None, options: dict[str, Any]
) -> None:
    """Saves the recipe, prints what would be done, or does it: once, from several seeds, or as a search."""
    if wanted.find_depth:
        from .searching import search

        out = None if wanted.dry_run else wanted.out
        found = search(model, data, recipe, options, out=out, progress=Progress(quiet=wanted.quiet))
        if found is not None:
            say_result(wanted, found)
        return
    said = said_recipe(model, data, recipe, Options(**options))  # refused before anything is loaded
    progress = Progress(quiet=wanted.quiet)
    if wanted.dry_run:
        _print_plan(wanted, model, data, recipe, options, progress)
    if wanted.save_recipe is not None:
        from ..atomic import write_text

        write_text(wanted.save_recipe, recipe_text(said))
        progress.line(f"the recipe is in {wanted.save_recipe}: zoo run {wanted.save_recipe} --out DIR")
    if wanted.dry_run or wanted.out is None:
        return
    given: dict[str, Any] = {"out": wanted.out, "recipe": recipe, "progress": progress, **options}
    if wanted.seeds is not None:
        _from_seeds(wanted, model, data, given)
        return
    from .starting import quietly

    with quietly():
        from ..finetuning import finetune
    say_result(wanted, finetune(model, data, **given))


def say_result(wanted: Asked, run: "Run") -> None:
    """What a command prints when its run has finished."""
    from ..measurement import headline

    if wanted.as_json:
        click.echo(json.dumps(run.metrics, ensure_ascii=False))
        return
    out = wanted.out
    click.echo(
        headline(run.metrics) if wanted.quiet else f"next: zoo predict {out} FILES...   or   zoo evaluate {out} DATA"
    )


def _print_plan(
    wanted: Asked,
    model: str | None,
    data: str | None,
    recipe: Recipe | None,
    options: dict[str, Any],
    progress: Progress,
) -> None:
    from .starting import quietly

    with quietly():
        from ..preparation import prepared
        from ..repetition import seeds_from
    ready = prepared(model, data, recipe=recipe, options=Options(**options), progress=progress)
    lines = ready.lines()
    if wanted.seeds is not None:
        seeds = seeds_from(ready.recipe.seed, wanted.seeds)
        lines.append(f"all this {len(seeds)} times, from the seeds {seeds[0]} to {seeds[-1]}")
    written = "trained" if wanted.save_recipe else "trained or written"
    click.echo("\n".join([*lines, f"nothing was {written} (--dry-run)"]))


def _from_seeds(wanted: Asked, model: str | None, data: str | None, given: dict[str, Any]) -> None:
    from .starting import quietly

    with quietly():
        from ..measurement import headline
        from ..repetition import repeat
    found = repeat(model, data, seeds=wanted.seeds, **given)
    if wanted.as_json:
        click.echo(json.dumps(found.table(), ensure_ascii=False))
        return
    for seed, run in zip(found.seeds, found.runs, strict=True):
        click.echo(f"seed {seed}: {headline(run.metrics, found.side)}")
    click.echo(str(found))
