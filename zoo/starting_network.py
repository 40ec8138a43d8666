"""The network that a run starts from: the user's own, or one of the zoo's with a fresh top."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from . import network as networks
from . import registry
from .card import KERAS_FILE, Card, plain_name
from .copying import clone
from .data import Dataset, Split
from .errors import DataError, RecipeError, SurgeryError
from .fitting_form import check_form
from .graph import node_of
from .input_form import InputForm
from .objective import Objective, answering_in_units
from .options import Options
from .plan import Plan
from .recipe import Recipe, TopPart
from .seeds import derive
from .sources.path import input_form_of
from .surgery import default_cut, retopped

#: What images of different sizes become for a network that takes any size.
DEFAULT_IMAGE = (64, 64, 3)


#: Options that ask for a top or a cut, which a model of one's own comes with.
_TOP_OPTIONS = ("hidden", "activation", "dropout")
#: Options that say what a plan says already.
_PLAN_OPTIONS = ("freeze", "layer_decay", "multipliers", "batch_norm", "thaw", "head_epochs", "head_learning_rate")


def check_own(recipe: Recipe, options: Options, plans: Sequence[Plan]) -> None:
    """Refuses what a run on a model of one's own would not do.

    Args:
        recipe: The resolved recipe.
        options: The options as they were given.
        plans: The user's own plans, one for each stage, where there are any.

    Raises:
        RecipeError: if a top, a cut or a builder's arguments are asked for, or what the plan says already.
    """
    default = TopPart()
    asked = {key: getattr(recipe.top, key) for key in _TOP_OPTIONS if getattr(options, key)}
    asked |= {k: v for k in _TOP_OPTIONS if (v := getattr(recipe.top, k)) != getattr(default, k)}
    asked |= {"cut": recipe.model.cut} if recipe.model.cut is not None else {}
    if asked:
        what = "A model of your own is trained with the top that it has."
        fix = "Give it the top that you want first: zoo.replace_top(model, cut=..., classes=..., hidden=..., ...)."
        raise RecipeError(what, received=_listed(asked), fix=fix)
    if recipe.model.args:
        what = "A model of your own is built already: it takes no arguments of a builder."
        raise RecipeError(what, received=f"args = {recipe.model.args!r}", fix="Leave [model.args] out.")
    said = {key: getattr(options, key) for key in _PLAN_OPTIONS if getattr(options, key) is not None}
    if len(plans) > 1:  # the first of several stages may be the recipe's `head`
        said = {key: value for key, value in said.items() if not key.startswith("head_")}
    if plans and said:
        what = f"The plan says already what learns, in {'one stage' if len(plans) == 1 else 'each stage'}."
        fix = "Say it there: zoo.freeze(model, upto=..., layer_decay=..., batch_norm=...); or leave the plan out."
        raise RecipeError(what, received=_listed(said), fix=fix)
    frozen = ", ".join(dict.fromkeys(row.block.name for plan in plans for row in plan.rows if row.frozen))
    if frozen and recipe.model.from_scratch:
        what = "A network from random weights has nothing worth freezing."
        raise RecipeError(
            what, received=f"from_scratch with a plan that freezes {frozen}", fix="Leave one of them out."
        )


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in values.items())


def own(network: keras.Model, recipe: Recipe, data: Dataset, goal: Objective) -> tuple[Card, keras.Model]:
    """The user's own network, copied, so that training leaves theirs as it is; from scratch, with weights drawn anew.

    Raises:
        SurgeryError: if its input or output does not fit the data, or it gives logits.
        DataError: if it takes another kind of input.
    """
    copy = clone(network)
    if len(copy.inputs) != 1:
        what = "The network takes several inputs."
        raise SurgeryError(what, expected="one input", received=str(len(copy.inputs)))
    size, kind = data.target.size, data.target.kind
    shapes = [tuple(tensor.shape) for tensor in copy.outputs]
    if shapes != [(None, size)]:
        what = "The network's output does not fit the data."
        received = ", ".join(str(shape) for shape in shapes)
        fix = f"Give it a new top: zoo.replace_top(model, classes={size})."
        raise SurgeryError(what, expected=f"(None, {size}), one for each of the {kind}", received=received, fix=fix)
    last = node_of(copy.outputs[0]).operation
    if goal.output != "linear" and getattr(last, "activation", None) is keras.activations.linear:
        what = f"The network's last layer '{last.name}' gives logits, not probabilities."
        raise SurgeryError(
            what, expected=f"activation='{goal.output}' for {kind}", fix="Add it, and use a loss on probabilities."
        )
    form = input_form_of(network.name, list(copy.inputs[0].shape[1:]), str(copy.inputs[0].dtype))
    check_form(form, data)
    if recipe.model.from_scratch:
        copy = networks.drawn_anew(copy, derive(recipe.seed, "network"))
    return Card(plain_name(network.name), "", KERAS_FILE, "classification", "a network of the user's own", form), copy


def from_zoo(recipe: Recipe, data: Dataset, sides: Split, goal: Objective) -> tuple[Card, keras.Model, Recipe]:
    """The named network with a fresh top, and the recipe with its cut written out.

    Raises:
        ZooError: if there is no such network, or it does not fit the data.
    """
    card = registry.find(recipe.model.name)
    architecture = card.input is None
    if card.input is None:
        card = replace(card, input=_form_for(card, data))
    form = card.input
    if form is None:
        what = f"The card of '{card.full_name}' says no input."
        raise SurgeryError(what)
    check_form(form, data)
    if architecture and not recipe.model.from_scratch:
        what = f"'{card.full_name}' is an architecture without weights."
        raise RecipeError(what, fix="Train it from random weights: --from-scratch.")
    if recipe.model.from_scratch:
        args = {**_normalization(card, data, sides, form), **recipe.model.args}
        _check_dropout(card, {**card.args, **args}, recipe)
        top = {"outputs": data.target.size, "output": goal.output} if architecture else {}
        base = networks.build(card, seed=derive(recipe.seed, "network"), **top, **args)
        card = replace(card, args={**card.args, **args})
    else:
        base = networks.load(card)
    cut = recipe.model.cut or card.cut or default_cut(base)
    model = retopped(
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


def _check_dropout(card: Card, args: dict[str, Any], recipe: Recipe) -> None:
    """Refuses a builder's dropout that would go unsaid with the builder's own top, where it has no other place."""
    between = card.builder == "dnn" and not args.get("batch_norm")
    if args.get("dropout") and not between and not recipe.top.dropout:
        what = f"'{card.name}' drops some of its features, in the top that a run replaces: nothing would be dropped."
        received = f"model.args.dropout = {args['dropout']!r}"
        fix = f"Ask it of the fresh top: dropout = {args['dropout']!r} under [top], or --dropout {args['dropout']}."
        raise RecipeError(what, expected="dropout of the top", received=received, fix=fix)


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


def _normalization(card: Card, data: Dataset, sides: Split, form: InputForm) -> dict[str, Any]:
    """Mean and variance of each feature on the training side, for the dense network's own normalization."""
    if card.builder != "dnn" or form.kind != "vector":
        return {}
    x = data.batch(sides.train, form).astype("float64")
    variance = np.where(x.var(axis=0) > 0, x.var(axis=0), 1.0)
    return {"mean": [float(v) for v in x.mean(axis=0)], "variance": [float(v) for v in variance]}
