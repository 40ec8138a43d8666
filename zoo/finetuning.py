"""The main job: from a network and data to a run folder."""

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import keras

from .errors import RecipeError, close_matches
from .execution import Execution
from .options import Options
from .plan import Plan
from .preparation import prepared
from .progress import Progress
from .recipe import Recipe
from .run import Run, create_folder, only_writer
from .run_job import job_of, store_of
from .stopping import check_averaging, check_callbacks


def finetune(
    network: str | os.PathLike[str] | keras.Model | None = None,
    data: Any = None,
    *,
    out: str | os.PathLike[str],
    recipe: str | os.PathLike[str] | Recipe | None = None,
    plan: Plan | Sequence[Plan] | None = None,
    loss: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Fine-tunes a network on data and writes everything about it into a run folder.

    Args:
        network: A name that ``zoo list`` shows, a path, or a ``keras.Model`` with an output for each class; a model of
            your own is copied, not changed. Left out where the recipe names one.
        data: A built-in name, a path (folder of class folders, ``.csv``, ``.npz``), a data set, or ``(x, y)``.
        out: The run folder; it must not exist.
        recipe: A path to a recipe, or the name of a shipped one; options win over it.
        plan: What is frozen, from :func:`zoo.freeze`, for a model of your own; it is then trained in one stage. A list
            of plans is a stage each, such as one block thawed after another.
        loss: A Keras loss of your own, or the name of one; by default it follows from the targets.
        callbacks: Keras callbacks, told of every stage; their ``self.model`` is what the stage trains, and
            ``self.model.network`` the whole network.
        progress: Where lines go; by default to standard error.
        **options: The flags of ``zoo finetune`` with underscores, such as ``seed``, ``epochs``, ``limit_per_class``,
            ``hidden``, ``augment``, ``from_scratch``; see :class:`zoo.options.Options`.

    Returns:
        The finished run; ``run.metrics["test"]["accuracy"]``, ``run.model``.

    Raises:
        ZooError: before anything is trained, if network, data, recipe or options do not fit; while training, if memory
            runs out, or a frozen variable moved.

    Example:
        >>> import zoo
        >>> run = zoo.finetune("glyphs", "digits", out=tmp / "run", limit_per_class=2, freeze="all", head_epochs=2)
        >>> 0 <= run.metrics["test"]["accuracy"] <= 1
        True
    """
    progress = progress or Progress()
    check_callbacks(callbacks)
    if isinstance(loss, str):
        options["loss"], loss = loss, None
    given = options_of(options)
    ready = prepared(network, data, recipe=recipe, plan=plan, loss=loss, options=given, progress=progress)
    job, store = job_of(ready, callbacks, progress), store_of(ready, progress)
    for line in ready.lines(job, store):
        progress.line(line)
    said = given_in_python(network, data, plan, loss, callbacks)
    if said:
        progress.line(f"given in Python, and not in the recipe: {', '.join(said)}")
    for stage in ready.recipe.stages:
        check_averaging(stage, callbacks)
    folder = create_folder(Path(out))
    with only_writer(folder):
        progress.log_to(folder / "log.txt")
        return Execution(folder, ready, job, store, progress, said).run()


def given_in_python(
    network: Any, data: Any = None, plan: Any = None, loss: Any = None, callbacks: Sequence[Any] = ()
) -> list[str]:
    """What the recipe of a run cannot say."""
    given = [f"the network '{network.name}'"] if isinstance(network, keras.Model) else []
    given += [] if data is None or isinstance(data, (str, os.PathLike)) else ["the data"]
    given += ["the plan"] if plan is not None else []
    given += [f"the loss '{getattr(loss, 'name', type(loss).__name__)}'"] if loss is not None else []
    return given + [f"the callback {type(callback).__name__}" for callback in callbacks]


def options_of(given: dict[str, Any]) -> Options:
    """Keyword arguments as options, lists as the tuples that a recipe holds.

    Raises:
        RecipeError: if there is no such option.
    """
    known = [f.name for f in fields(Options)]
    for name in given:
        if name not in known:
            what = f"zoo.finetune has no option '{name}'."
            raise RecipeError(what, fix=close_matches(name, known))
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    return Options(**values)
