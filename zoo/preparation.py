"""Everything a run decides before it computes anything: data, network, plans. ``--dry-run`` prints it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from .boundary import prepares_input
from .card import Card
from .data import Dataset, Split, TakenColumns, open_data, split
from .device import Device, prepare
from .errors import RecipeError, SurgeryError
from .feature_store import FeatureStore
from .flattening import flat
from .graph import operations
from .input_form import InputForm
from .job import Job
from .layers import augmentation, mixing
from .objective import Objective, example_weights, objective
from .options import Options
from .origins import Origins, origins
from .plan import Plan
from .progress import Progress
from .recipe import DataPart, Recipe, read_recipe
from .recipe_stage import StagePart
from .run_job import job_of, store_of
from .said_recipe import said_recipe
from .stage_checks import check_stages
from .stage_lines import patience_notes, stage_lines, stage_notes
from .stages import idle_options, planned
from .starting_network import check_own, from_zoo, own
from .trunk_lines import idle_trunk_options, trunk_lines
from .views import views_refusal


@dataclass(frozen=True)
class Preparation:
    """What a run is about to do: the resolved recipe, and everything that it stands for."""

    recipe: Recipe
    card: Card
    form: InputForm
    data: Dataset
    split: Split
    goal: Objective
    network: keras.Model
    plans: tuple[Plan, ...]
    device: Device
    notes: tuple[str, ...]
    origins: Origins | None = None

    def lines(self, job: Job | None = None, store: FeatureStore | None = None) -> list[str]:
        """What is about to happen, for the user: data, network, stages with their plans.

        Args:
            job: The run's own, where it has been made: what is decided for these lines holds for the run too.
            store: The run's own.
        """
        stages = self._stage_lines(job or job_of(self), store or store_of(self))
        return [*self._data_lines(), *self._network_lines(), *stages]

    def _data_lines(self) -> list[str]:
        s, target = self.split, self.data.target
        sides = ", ".join(f"{len(getattr(s, n))} {n}" for n in ("train", "val", "test", "unused") if len(getattr(s, n)))
        kinds = {"numbers": "number(s) to predict"}
        what = f"{target.size} {kinds.get(target.kind, target.kind)}"
        return [
            f"data: {self.data.source}: {len(self.data)} examples, {what}; {sides}",
            *(f"  {n}" for n in self.notes),
        ]

    def _network_lines(self) -> list[str]:
        model = self.recipe.model
        origin = (
            "random weights" if model.from_scratch else f"pretrained, cut at '{model.cut}'" if model.cut else "as given"
        )
        how = f"{self.device.name} ({self.device.why}), {self.device.threads} threads, {self.recipe.compute.precision}"
        return [f"network: {self.card.full_name}, {origin}; takes {self.form.kind} {self.form.shape}", f"device: {how}"]

    def _stage_lines(self, job: Job, store: FeatureStore) -> list[str]:
        graph = flat(self.network)
        return [
            line
            for stage, plan in zip(self.recipe.stages, self.plans, strict=True)
            for line in [
                *stage_lines(stage, plan, graph, self.split, self.origins),
                *trunk_lines(job, store, plan, stage.epochs, graph),
            ]
        ]


def resolve(
    network: str | os.PathLike[str] | keras.Model | None,
    data: Any,
    recipe: str | os.PathLike[str] | Recipe | None,
    options: Options,
) -> Recipe:
    """The recipe of a run: the one given, or an empty one, with network, data and flags over it.

    Raises:
        RecipeError: if network or data are said nowhere, or the recipe is broken.
    """
    base = read_recipe(recipe) if isinstance(recipe, (str, os.PathLike)) else recipe
    if base is not None and data is not None and not isinstance(data, (str, os.PathLike)):
        base = replace(base, data=replace(base.data, **vars(TakenColumns())))  # what is in memory has no columns
    named = None if network is None else _name_of_network(network)
    return said_recipe(named, None if data is None else _name_of_data(data), base, options)


def _name_of_network(network: Any) -> str:
    return network.name if isinstance(network, keras.Model) else os.fspath(network)


def _name_of_data(data: Any) -> str:
    if isinstance(data, (str, os.PathLike)):
        return os.fspath(data)
    return data.source if isinstance(data, Dataset) else "arrays"


def open_part(part: DataPart, data: Any = None, step: Callable[[int, int], None] | None = None) -> Dataset:
    """Opens the data of a recipe; ``data`` is given where it is in memory already, ``step`` is told of files read."""
    return open_data(
        part.path if data is None else data,
        skip_bad=part.skip_bad,
        target=part.target,
        label_column=list(part.label_column) or None,
        path_column=part.path_column,
        text_column=part.text_column,
        feature_columns=list(part.feature_columns) or None,
        step=step,
    )


def prepared(
    network: str | os.PathLike[str] | keras.Model | None,
    data: Any,
    *,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    plan: Plan | Sequence[Plan] | None = None,
    loss: Any = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Preparation:
    """Decides everything that a run does; nothing is trained or written.

    Args:
        network: A name, a path or a model; ``None`` for the recipe's.
        data: A name, a path, a data set or ``(x, y)``; ``None`` for the recipe's.
        recipe: A path, a shipped name, or a recipe.
        plan: The user's own plan, for a model of their own, or a list of them: one stage each.
        loss: The user's own Keras loss.
        options: Flags; they win over the recipe.
        progress: Told how far reading a folder is.

    Returns:
        The preparation.

    Raises:
        ZooError: if anything in it cannot be done.
    """
    given = options or Options()
    resolved = resolve(network, data, recipe, given)
    own_plans = _plans(plan)
    if own_plans and not isinstance(network, keras.Model):
        what = "A plan goes with the network that it was made for."
        raise RecipeError(what, expected="a keras.Model beside it", received=repr(network))
    if isinstance(network, keras.Model):
        check_own(resolved, given, own_plans)
    device = prepare(resolved.compute.device, resolved.compute.threads)
    resolved = replace(resolved, compute=replace(resolved.compute, threads=device.threads))
    step = (lambda done, total: progress.step("reading", done, total, "files")) if progress else None
    examples = open_part(resolved.data, None if isinstance(data, (str, os.PathLike)) else data, step)
    if examples.columns:
        resolved = replace(resolved, data=replace(resolved.data, **vars(examples.columns)))
    sides = split(
        examples,
        seed=resolved.seed,
        val=resolved.data.val,
        test=resolved.data.test,  # pyright: ignore[reportArgumentType]
        limit_per_class=resolved.data.limit_per_class,
    )
    goal = objective(examples.target, resolved.top, sides.train, loss)
    metrics = [metric.name for metric in goal.metrics()]
    if not own_plans:  # those choose among the recipe's stages
        check_stages(resolved, len(sides.train), metrics)
    _check_training(resolved, examples, sides)
    with keras.device(device.name):
        if isinstance(network, keras.Model):
            card, model = own(network, resolved, examples, goal)
        else:
            card, model, resolved = from_zoo(resolved, examples, sides, goal)
        stages, plans = planned(resolved, model, card, own_plans)
        if own_plans:
            check_stages(replace(resolved, stages=stages), len(sides.train), metrics)
        found = _origins(stages, network if isinstance(network, keras.Model) else model)
    if card.input is None:
        what = f"The card of '{card.full_name}' says no input."
        raise SurgeryError(what)
    ready = Preparation(
        replace(resolved, stages=stages), card, card.input, examples, sides, goal, model, plans, device, (), found
    )
    return replace(ready, notes=_notes(ready, given))


def _notes(ready: Preparation, given: Options) -> tuple[str, ...]:
    """What the user should know beside the plans."""
    recipe, stages = ready.recipe, ready.recipe.stages
    random = recipe.data.augment != "none" and not recipe.data.views
    return (
        *ready.data.notes,
        *ready.split.notes,
        *_resizing_notes(ready.data, ready.form),
        *([] if ready.recipe.model.from_scratch else _raw_notes(ready.network, ready.form)),
        *stage_notes(stages, ready.plans, ready.split, ready.origins),
        *_mixing_notes(ready.recipe.data, ready.data.kind),
        *patience_notes(given.patience, stages),
        *_idle_activation(given, ready.recipe),
        *idle_options(given, stages, ready.plans),
        *idle_trunk_options(given, recipe.compute.cache, random, ready.plans, flat(ready.network)),
    )


def _idle_activation(given: Options, recipe: Recipe) -> list[str]:
    if given.activation is None or recipe.top.hidden:
        return []
    return ["activation changes nothing: the new top has no hidden layers (--hidden)"]


def _origins(stages: Sequence[StagePart], network: keras.Model) -> Origins | None:
    """What L2-SP pulls to its start and what not, where a stage asks for it.

    Raises:
        RecipeError: if nothing in the network was ever trained.
    """
    asking = [stage.name for stage in stages if stage.l2_sp]
    found = origins(network) if asking else None
    if found is not None and not found.reused:
        what = f"Nothing in '{network.name}' has pretrained values to stay near: its weights are as they were drawn."
        raise RecipeError(what, received=f"l2_sp in the stage '{asking[0]}'", fix="Leave l2_sp out.")
    return found


def _plans(plan: Any) -> tuple[Plan, ...]:
    """The user's own plans: none, one, or several."""
    if plan is None or isinstance(plan, Plan):
        return () if plan is None else (plan,)
    several = tuple(plan) if isinstance(plan, (list, tuple)) else ()
    if not several or not all(isinstance(one, Plan) for one in several):
        what = "This is not a plan."
        fix = "Make one with zoo.freeze(model, ...)."
        raise RecipeError(what, expected="a Plan, or a list of them", received=repr(plan)[:80], fix=fix)
    return several


def _check_training(recipe: Recipe, data: Dataset, sides: Split) -> None:
    """Makes what training will need once, so that it is refused before there is a run folder.

    Raises:
        RecipeError: if the augmentation or the class weights cannot be made.
    """
    layers = augmentation(recipe.data.augment, data.kind)
    mixes = recipe.data.augment != "none" and mixing(recipe.data.augment, data.kind) is not None
    refusal = views_refusal(layers, mixes) if recipe.data.views else None
    if refusal:
        what = f"There are no views of these examples: {refusal}."
        raise RecipeError(what, received=f"views = {recipe.data.views}", fix="Leave views out.")
    example_weights(data.target, sides.train, recipe.data.class_weights)


def _mixing_notes(part: DataPart, kind: str) -> list[str]:
    if part.augment == "none" or mixing(part.augment, kind) is None:
        return []
    return ["examples are mixed in pairs while training: its own accuracy and loss say little, those on val are plain"]


def _resizing_notes(data: Dataset, form: InputForm) -> list[str]:
    """What becomes of images that are not stored as the network takes them."""
    native = data.native_shape()
    if data.kind != "image" or form.kind != "image" or native == form.shape:
        return []
    stored = "several sizes" if native is None else "x".join(map(str, native))
    taken = "x".join(map(str, form.shape))
    return [f"the images ({stored}) become {taken}, as the network takes them ({form.resample}, {form.fit})"]


def _raw_notes(network: keras.Model, form: InputForm) -> list[str]:
    """Whether pixels reach the first weights as they are, which few pretrained networks are made for."""
    graph = flat(network)
    if form.kind != "image" or prepares_input(graph):
        return []
    first = next((op.name for op in operations(graph) if getattr(op, "weights", [])), None)
    if first is None or isinstance(graph.get_layer(first), keras.layers.BatchNormalization):
        return []
    how = f"zoo.insert_layer(model, keras.layers.Rescaling(...), below='{first}')"
    return [f"'{first}' takes pixels from 0 to 255 as they are; if it was trained on others, put that inside: {how}"]
