"""The same run from several seeds: how much of a figure is luck."""

import os
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import RecipeError, RunError
from .finetuning import finetune, given_in_python
from .progress import Progress
from .recipe import Recipe, read_recipe
from .run import RECIPE, Run, write_json

#: What ``seeds.json`` is called, in the folder that holds the runs.
SEEDS = "seeds.json"
_HEADLINES = ("accuracy", "micro_f1", "rmse", "loss")


@dataclass(frozen=True)
class Repetition:
    """Runs from several seeds: the folder that holds them, and the headline figure of each.

    ``figure`` is its name, ``side`` the side that it was measured on; a value is ``None`` where it is undefined.
    """

    folder: Path
    seeds: tuple[int, ...]
    side: str
    figure: str
    values: tuple[float | None, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, in the order of their seeds."""
        return tuple(Run(run_folder(self.folder, seed)) for seed in self.seeds)

    @property
    def defined(self) -> tuple[float, ...]:
        """The values that are numbers."""
        return tuple(value for value in self.values if value is not None)

    @property
    def mean(self) -> float | None:
        """The mean of the values."""
        return sum(self.defined) / len(self.defined) if self.defined else None

    def __str__(self) -> str:
        what = f"{self.side} {self.figure.replace('_', ' ')} over {len(self.seeds)} seeds"
        if self.mean is None:
            return f"{what}: undefined"
        return f"{what}: mean {self.mean:.4f}, from {min(self.defined):.4f} to {max(self.defined):.4f}"

    def table(self) -> dict[str, Any]:
        """What ``seeds.json`` holds."""
        rows = [
            {"seed": seed, "folder": run.folder.name, self.figure: value, "weights": _weights(run)}
            for seed, run, value in zip(self.seeds, self.runs, self.values, strict=True)
        ]
        span = {"min": min(self.defined), "max": max(self.defined)} if self.defined else {"min": None, "max": None}
        return {"side": self.side, "figure": self.figure, "mean": self.mean, **span, "seeds": rows}


def repeat(
    network: Any = None,
    data: Any = None,
    *,
    seeds: int,
    out: str | os.PathLike[str],
    recipe: str | os.PathLike[str] | Recipe | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Repetition:
    """Fine-tunes from several seeds, each into a run folder of its own; each run is what it would be alone.

    Args:
        network: As :func:`zoo.finetune` takes it.
        data: As :func:`zoo.finetune` takes it.
        seeds: How many: the recipe's seed, or ``seed=``, and those after it.
        out: A folder that does not exist; the runs are ``seed-0``, ``seed-1``, ... in it, and ``seeds.json`` beside
            them.
        recipe: As :func:`zoo.finetune` takes it.
        progress: Where lines go; by default to standard error.
        **options: As :func:`zoo.finetune` takes them.

    Returns:
        The runs, with mean and range of the headline figure of the test side (of validation, where there is no test).

    Raises:
        ZooError: if there is no such number of seeds, the folder exists, or a run is refused. Finished runs stay.

    Example:
        >>> import zoo
        >>> few = {"limit_per_class": 2, "freeze": "all", "head_epochs": 1}
        >>> result = zoo.repeat("glyphs", "digits", seeds=2, out=tmp / "runs", **few)
        >>> result.figure, [run.folder.name for run in result.runs]
        ('accuracy', ['seed-0', 'seed-1'])
    """
    folder, shown = Path(out), progress or Progress()
    base = read_recipe(recipe) if isinstance(recipe, (str, os.PathLike)) else recipe
    first = options.pop("seed", None)
    first = (base.seed if base else 0) if first is None else int(first)
    numbers = seeds_from(first, seeds)
    if folder.exists():
        what = f"{folder} exists already."
        raise RunError(what, expected="a path where nothing is", fix="Choose another --out, or remove it.")
    runs = []
    for seed in numbers:
        shown.line(f"seed {seed}, {len(runs) + 1} of {len(numbers)}")
        told = Progress(shown.stream, shown.quiet)  # its lines go into that run's log, not into the next one's
        given = {**options, "seed": seed}
        with _others_named(folder, numbers, seed, given_in_python(network, data), shown):
            runs.append(finetune(network, data, out=run_folder(folder, seed), recipe=base, progress=told, **given))
    found = _repetition(folder, numbers, [run.metrics for run in runs])
    write_json(folder / SEEDS, found.table())
    return found


@contextmanager
def _others_named(
    folder: Path, seeds: Sequence[int], seed: int, python: Sequence[str], progress: Progress
) -> Iterator[None]:
    """Says how the seeds that have not begun are run, where this one does not finish."""
    try:
        yield
    except BaseException:
        rest, recipe = [other for other in seeds if other > seed], run_folder(folder, seed) / RECIPE
        if rest and recipe.exists():
            each = f"zoo run {recipe} --set seed={rest[0]} --out {run_folder(folder, rest[0])}"
            each = f"zoo.finetune(..., seed={rest[0]}, out={str(run_folder(folder, rest[0]))!r})" if python else each
            what = "seed" if len(rest) == 1 else "seeds"
            progress.line(f"{what} {', '.join(map(str, rest))} not begun. Run each by itself, such as: {each}")
        raise


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """The seeds of a repetition.

    Raises:
        RecipeError: if there is no such number of them.

    Example:
        >>> seeds_from(7, 3)
        (7, 8, 9)
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1 or first + count > 2**63:
        what = "There is no such number of seeds."
        expected = f"1 or more, and none above 2**63 - 1 from {first} on"
        raise RecipeError(what, expected=expected, received=repr(count))
    return tuple(range(first, first + count))


def run_folder(folder: Path, seed: int) -> Path:
    """Where the run of a seed is."""
    return folder / f"seed-{seed}"


def _repetition(folder: Path, seeds: tuple[int, ...], metrics: list[dict[str, Any]]) -> Repetition:
    side = "test" if metrics[0].get("test") else "val"
    figures = [one.get(side) or {} for one in metrics]
    figure = next((name for name in _HEADLINES if name in figures[0]), "loss")
    return Repetition(folder, seeds, side, figure, tuple(one.get(figure) for one in figures))


def _weights(run: Run) -> str:
    """The digest of a run's weights, from its lock."""
    with (run.folder / "recipe.lock").open("rb") as file:
        return tomllib.load(file)["result"]["weights"]
