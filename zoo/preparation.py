"""Everything a run decides before it computes anything: data, network, plans. ``--dry-run`` prints it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from . import network as networks
from . import registry
from .block import blocks, top_block
from .card import KERAS_FILE, Card
from .data import Dataset, Split, open_data, split
from .device import Device, prepare
from .errors import DataError, RecipeError, SurgeryError
from .graph import flat, leaves
from .input_form import InputForm
from .objective import Objective, answering_in_units, objective
from .options import Options, with_options
from .plan import Plan, freeze
from .recipe import FREEZE_ALL, FREEZE_NONE, DataPart, ModelPart, Recipe, StagePart, read_recipe
from .seeds import derive
from .sources.path import input_form_of
from .surgery import clone, default_cut, replace_top

#: What images of different sizes become for a network that takes any size.
DEFAULT_IMAGE = (64, 64, 3)


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

    def lines(self) -> list[str]:
        """What is about to happen, for the user: data, network, stages with their plans."""
        return [*self._data_lines(), *self._network_lines(), *self._stage_lines()]

    def _data_lines(self) -> list[str]:
        s, target = self.split, self.data.target
        sides = ", ".join(f"{len(getattr(s, n))} {n}" for n in ("train", "val", "test", "unused") if len(getattr(s, n)))
        what = f"{target.size} {target.kind}"
        return [f"data: {self.data.source}: {len(self.data)} examples, {what}; {sides}", *(f"  {n}" for n in self.notes)]

    def _network_lines(self) -> list[str]:
        model = self.recipe.model
        origin = "random weights" if model.from_scratch else f"pretrained, cut at '{model.cut}'" if model.cut else "as given"
        how = f"{self.device.name} ({self.device.why}), {self.device.threads} threads, {self.recipe.compute.precision}"
        return [f"network: {self.card.full_name}, {origin}; takes {self.form.kind} {self.form.shape}", f"device: {how}"]

    def _stage_lines(self) -> list[str]:
        lines = []
        for stage, plan in zip(self.recipe.stages, self.plans, strict=True):
            rate = stage.optimizer.get("learning_rate", "Keras's default rate")
            lines.append(f"stage {stage.name}: {stage.epochs} epochs, {stage.optimizer['name']} at {rate}")
            lines.extend(f"  {line}" for line in str(plan).splitlines())
            if plan.crossings and self.recipe.data.augment == "none":
                count = len(self.split.train) + len(self.split.val)
                lines.append(f"  the frozen trunk is computed once for {count} examples, and the head trains on what it gives")
            elif plan.crossings:
                lines.append("  the frozen trunk is computed every epoch, since the examples are augmented")
        return lines


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
    if base is None:
        if network is None or data is None:
            what = "A run needs a network and data."
            raise RecipeError(what, fix="Say both, or give a recipe.")
        base = Recipe(ModelPart(_name_of_network(network)), DataPart(_name_of_data(data)))
    if network is not None:
        base = replace(base, model=replace(base.model, name=_name_of_network(network)))
    if data is not None:
        base = replace(base, data=replace(base.data, path=_name_of_data(data)))
    return with_options(base, options)


def _name_of_network(network: Any) -> str:
    return network.name if isinstance(network, keras.Model) else os.fspath(network)


def _name_of_data(data: Any) -> str:
    if isinstance(data, (str, os.PathLike)):
        return os.fspath(data)
    return data.source if isinstance(data, Dataset) else "arrays"


def open_part(part: DataPart, data: Any = None) -> Dataset:
    """Opens the data of a recipe; ``data`` is given where it is in memory already."""
    return open_data(
        part.path if data is None else data,
        skip_bad=part.skip_bad,
        target=part.target,
        label_column=list(part.label_column) or None,
        path_column=part.path_column,
        text_column=part.text_column,
        feature_columns=list(part.feature_columns) or None,
    )


def prepared(
    network: str | os.PathLike[str] | keras.Model | None,
    data: Any,
    *,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    plan: Plan | None = None,
    loss: Any = None,
    options: Options | None = None,
) -> Preparation:
    """Decides everything that a run does; nothing is trained or written.

    Args:
        network: A name, a path or a model; ``None`` for the recipe's.
        data: A name, a path, a data set or ``(x, y)``; ``None`` for the recipe's.
        recipe: A path, a shipped name, or a recipe.
        plan: The user's own plan, for a model of their own: one stage.
        loss: The user's own Keras loss.
        options: Flags; they win over the recipe.

    Returns:
        The preparation.

    Raises:
        ZooError: if anything in it cannot be done.
    """
    resolved = resolve(network, data, recipe, options or Options())
    if plan is not None and not isinstance(network, keras.Model):
        what = "A plan goes with the network that it was made for."
        raise RecipeError(what, expected="a keras.Model beside it", received=repr(network))
    device = prepare(resolved.compute.device, resolved.compute.threads)
    resolved = replace(resolved, compute=replace(resolved.compute, threads=device.threads, engine="keras"))
    examples = open_part(resolved.data, None if isinstance(data, (str, os.PathLike)) else data)
    sides = split(
        examples,
        seed=resolved.seed,
        val=resolved.data.val,
        test=resolved.data.test,  # pyright: ignore[reportArgumentType]
        limit_per_class=resolved.data.limit_per_class,
    )
    goal = objective(examples.target, resolved.top, sides.train, loss)
    with keras.device(device.name):
        if isinstance(network, keras.Model):
            card, model = _own(network, examples, goal)
        else:
            card, model, resolved = _from_zoo(resolved, examples, sides, goal)
        stages, plans = _stages(resolved, model, card, plan)
    if card.input is None:
        what = f"The card of '{card.full_name}' says no input."
        raise SurgeryError(what)
    notes = (*examples.notes, *sides.notes, *_stopping_notes(stages, sides))
    return Preparation(
        replace(resolved, stages=stages), card, card.input, examples, sides, goal, model, plans, device, notes
    )


def _stopping_notes(stages: Sequence[StagePart], sides: Split) -> list[str]:
    idle = [s.name for s in stages if s.early_stopping and s.early_stopping["monitor"].startswith("val_")]
    if not idle or len(sides.val):
        return []
    return [f"no validation examples: early stopping is off in {', '.join(idle)}"]


def _own(network: keras.Model, data: Dataset, goal: Objective) -> tuple[Card, keras.Model]:
    """The user's own network, copied, so that training leaves theirs as it is."""
    copy = clone(network)
    shape = copy.output_shape
    if isinstance(shape, list) or len(shape) != 2 or shape[-1] != data.target.size:
        what = "The network's output does not fit the data."
        fix = f"Give it a new top: zoo.replace_top(model, classes={data.target.size})."
        raise SurgeryError(what, expected=f"(batch, {data.target.size}), one for each of the {data.target.kind}", received=str(shape), fix=fix)
    if len(copy.inputs) != 1:
        what = "The network takes several inputs."
        raise SurgeryError(what, expected="one input", received=str(len(copy.inputs)))
    tensor = copy.inputs[0]
    form = input_form_of(network.name, list(tensor.shape[1:]), str(tensor.dtype))
    _check_form(form, data)
    slug = "".join(c if c.isalnum() or c in "-_" else "-" for c in network.name).strip("-_") or "network"
    return Card(slug, "", KERAS_FILE, "classification", "a network of the user's own", form), copy


def _from_zoo(recipe: Recipe, data: Dataset, sides: Split, goal: Objective) -> tuple[Card, keras.Model, Recipe]:
    """The named network with a fresh top, and the recipe with its cut written out."""
    card = registry.find(recipe.model.name)
    architecture = card.input is None
    if card.input is None:
        card = replace(card, input=_form_for(card, data))
    form = card.input
    if form is None:
        what = f"The card of '{card.full_name}' says no input."
        raise SurgeryError(what)
    _check_form(form, data)
    if architecture and not recipe.model.from_scratch:
        what = f"'{card.full_name}' is an architecture without weights."
        raise RecipeError(what, fix="Train it from random weights: --from-scratch.")
    if recipe.model.from_scratch:
        args = {**_normalization(card, data, sides, form), **recipe.model.args}
        outputs = data.target.size if architecture else None
        base = networks.build(card, seed=derive(recipe.seed, "network"), outputs=outputs, **args)
        card = replace(card, args={**card.args, **args})
    else:
        base = networks.load(card)
    cut = recipe.model.cut or card.cut or default_cut(base)
    model = replace_top(
        base,
        cut=cut,
        classes=data.target.size,
        hidden=recipe.top.hidden,
        activation=recipe.top.activation,
        dropout=recipe.top.dropout,
        output=goal.output,
        seed=derive(recipe.seed, "top"),
    )
    if goal.units is not None:
        model = answering_in_units(model, goal.units)
    return card, model, replace(recipe, model=replace(recipe.model, cut=cut))


def _form_for(card: Card, data: Dataset) -> InputForm:
    """The input of an architecture that takes any: the data's own."""
    shape = data.native_shape() or (DEFAULT_IMAGE if data.kind == "image" else None)
    if shape is None or data.kind not in ("image", "vector"):
        what = f"'{card.name}' cannot take this data."
        raise DataError(what, expected="images, or vectors of numbers", received=data.kind)
    if card.builder == "convnet" and data.kind != "image":
        what = "'convnet' takes images."
        raise DataError(what, received=f"vectors of {shape[0]} numbers", fix="Use 'dnn'.")
    return InputForm(data.kind, tuple(shape))


def _check_form(form: InputForm, data: Dataset) -> None:
    native = data.native_shape()
    if form.kind == data.kind and (form.kind in ("image", "text") or native == form.shape):
        return
    what = "The network and the data do not fit together."
    received = f"{data.kind}{'' if native is None else f' of shape {native}'}"
    raise DataError(what, expected=f"{form.kind} of shape {form.shape}", received=received)


def _normalization(card: Card, data: Dataset, sides: Split, form: InputForm) -> dict[str, Any]:
    """Mean and variance of each feature on the training side, for the dense network's own normalization."""
    if card.builder != "dnn" or form.kind != "vector":
        return {}
    x = data.batch(sides.train, form).astype("float64")
    variance = np.where(x.var(axis=0) > 0, x.var(axis=0), 1.0)
    return {"mean": [float(v) for v in x.mean(axis=0)], "variance": [float(v) for v in variance]}


def _stages(
    recipe: Recipe, model: keras.Model, card: Card, plan: Plan | None
) -> tuple[tuple[StagePart, ...], tuple[Plan, ...]]:
    """Each stage with the blocks that learn written out, and its plan."""
    if plan is not None:
        stage = replace(recipe.stages[-1], train=tuple(r.block.name for r in plan.rows if not r.frozen), freeze=None)
        stage = replace(stage, multipliers={r.block.name: r.rate for r in plan.rows if not r.frozen}, layer_decay=None)
        stage = replace(stage, batch_norm={r.block.name: r.batch_norm for r in plan.rows if r.batch_norm and not r.frozen} or "frozen")
        return (stage,), (plan,)
    patterns = _patterns(model, card)
    found = blocks(model, patterns)
    stages, plans = [], []
    for stage in recipe.stages:
        learning = _learning(stage, list(found.names), top_block(found))
        stage = replace(stage, train=tuple(learning), freeze=None)
        made = freeze(
            model,
            train=learning,
            batch_norm=stage.batch_norm,  # pyright: ignore[reportArgumentType]
            layer_decay=stage.layer_decay,
            multipliers=stage.multipliers,
            blocks_of=patterns,
        )
        stages.append(stage)
        plans.append(made)
    return tuple(stages), tuple(plans)


def _patterns(model: keras.Model, card: Card) -> tuple[Any, ...]:
    """The card's blocks that are still there after the surgery."""
    import re

    names = [layer.name for layer in model.layers]
    return tuple(p for p in card.blocks if any(re.fullmatch(p.layers, name) for name in names))


def _learning(stage: StagePart, names: list[str], top: str) -> list[str]:
    """The blocks that learn in a stage, bottom to top; ``top`` stands for the network's top, whatever it is called."""
    if stage.train is not None:
        return [top if name == "top" else name for name in stage.train]
    if stage.freeze == FREEZE_NONE:
        return names
    if stage.freeze == FREEZE_ALL:
        return [top]
    if stage.freeze == "half":
        return names[(len(names) - 1) // 2 :]
    if stage.freeze not in names:
        from .errors import close_matches

        what = f"The network has no block '{stage.freeze}' to freeze up to."
        raise SurgeryError(what, fix=close_matches(str(stage.freeze), [*names, FREEZE_ALL, FREEZE_NONE]))
    learning = names[names.index(stage.freeze) + 1 :]
    return learning


def trainable_switches(model: keras.Model) -> dict[int, bool]:
    """What every leaf layer's ``trainable`` says, by the layer's ``id``; to be put back after training."""
    return {id(leaf): leaf.trainable for layer in flat(model).layers for leaf in leaves(layer)}


def restore_switches(model: keras.Model, switches: dict[int, bool]) -> None:
    """Puts back what :func:`trainable_switches` gave: a saved result is not frozen behind its user's back."""
    for layer in flat(model).layers:
        for leaf in leaves(layer):
            if id(leaf) in switches:
                leaf.trainable = switches[id(leaf)]


def run_name(out: Path) -> str:
    """A name for a result, from its folder."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in out.resolve().name).strip("-_") or "run"
