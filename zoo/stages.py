"""From a recipe's stages to plans: which blocks learn in each."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras

from .block import blocks, top_block
from .card import BlockPattern, Card
from .errors import SurgeryError, close_matches
from .flattening import flat
from .naming import free_name
from .options import Options
from .plan import Plan, Row, check_fits, freeze
from .recipe import Recipe
from .recipe_stage import FREEZE_ALL, FREEZE_NONE, StagePart


def planned(
    recipe: Recipe, model: keras.Model, card: Card, own: Sequence[Plan] = ()
) -> tuple[tuple[StagePart, ...], tuple[Plan, ...]]:
    """Each stage with the blocks that learn written out, and its plan.

    Args:
        recipe: Its stages; see :func:`_settings` for which of them the user's own plans take.
        model: The network to train.
        card: Its blocks are the network's, where it names any.
        own: The user's own plans: each is trained in one stage.

    Raises:
        SurgeryError: if a block does not exist.
        PlanError: if a stage contradicts itself, or a plan was made for another network.
    """
    if own:
        for plan in own:
            check_fits(plan, flat(model))
        stages = [_as_planned(stage, plan) for stage, plan in zip(_settings(recipe, own), own, strict=True)]
        return tuple(stages), tuple(own)
    patterns = _patterns(model, card)
    found = blocks(model, patterns)
    opaque = [name for block in found for name in block.opaque]
    if opaque and len(found) == 1 and not recipe.model.from_scratch:
        what = f"Nothing of '{opaque[0]}' can be frozen: its layers cannot be told apart, and it has no top of its own."
        fix = (
            "zoo.trace(model) says why. To train all of it: plan=zoo.freeze(model), and a learning_rate that suits it."
        )
        raise SurgeryError(what, fix=fix)
    stages, plans = [], []
    for stage in recipe.stages:
        stage = _with_top_named(stage, top_block(found))
        learning = _learning(stage, list(found.names))
        for name in learning:
            found.index_of(name)
        for step in _steps(stage, learning, found.names, above=stages[-1].train if stages else None):
            stages.append(replace(step, name=free_name(step.name, [s.name for s in stages], " ")))
            plans.append(
                freeze(
                    model,
                    train=step.train,
                    batch_norm=step.batch_norm,  # pyright: ignore[reportArgumentType]
                    layer_decay=step.layer_decay,
                    multipliers=step.multipliers,
                    blocks_of=patterns,
                )
            )
    return tuple(stages), tuple(plans)


def _steps(
    stage: StagePart, learning: Sequence[str], names: Sequence[str], above: Sequence[str] | None
) -> list[StagePart]:
    """A stage with its blocks written out; one that thaws block by block as a stage for each step.

    The first step has the highest of the blocks alone, or one more where the stage before trained just that.
    """
    if stage.thaw == "at_once":
        return [replace(stage, train=tuple(learning), freeze=None)]
    learning = sorted(learning, key=names.index)  # a recipe may write the top first
    first = 2 if above is not None and list(above) == list(learning[-1:]) else 1
    steps = [tuple(learning[-count:]) for count in range(min(first, len(learning)), len(learning) + 1)]
    return [
        replace(
            stage,
            name=stage.name if len(steps) == 1 else f"{stage.name} {i}",
            train=train,
            freeze=None,
            thaw="at_once",
            multipliers=_only(stage.multipliers, train, learning),
            batch_norm=_only(stage.batch_norm, train, learning)
            if isinstance(stage.batch_norm, dict)
            else stage.batch_norm,
        )
        for i, train in enumerate(steps, 1)
    ]


def _only(table: Any, train: Sequence[str], learning: Sequence[str]) -> Any:
    """A table by block without those blocks that learn in a later step only."""
    later = set(learning) - set(train)
    return table and {name: value for name, value in table.items() if name not in later}


def _settings(recipe: Recipe, own: Sequence[Plan]) -> list[StagePart]:
    """Epochs and optimizer for each of the user's plans: the recipe's stages, where there are as many.

    Otherwise each takes the last stage's; of several, the first takes those of the first stage (``head``) where it
    trains one block alone, which is what that stage is for.
    """
    stages = list(recipe.stages)
    last, several = stages[-1], len(stages) > 1
    if len(own) == 1:
        return [last]
    alone = sum(not row.frozen for row in own[0].rows) == 1
    if len(own) == len(stages) and (alone or stages[0].train != ("top",)):
        return stages
    head = stages[:1] if alone and several else []
    return head + [replace(last, name=f"{last.name} {i + 1}") for i in range(len(own) - len(head))]


def _as_planned(stage: StagePart, plan: Plan) -> StagePart:
    """A stage that says what a plan says."""
    rows = [row for row in plan.rows if not row.frozen]
    return replace(
        stage,
        train=tuple(row.block.name for row in rows),
        freeze=None,
        thaw="at_once",
        layer_decay=None,
        multipliers={row.block.name: row.rate for row in rows},
        batch_norm={row.block.name: row.batch_norm for row in plan.rows if row.batch_norm and _said(row)} or "frozen",
    )


def _said(row: Row) -> bool:
    """Whether a row's batch-norm mode has to be said: frozen blocks are ``frozen`` by themselves."""
    return row.batch_norm is not None and (not row.frozen or row.batch_norm == "adapt")


def idle_options(options: Options, stages: Sequence[StagePart], plans: Sequence[Plan]) -> list[str]:
    """Notes on options of the last stage that change nothing, given what learns in it."""
    learning = [row for row in plans[-1].rows if not row.frozen]
    notes, name = [], stages[-1].name
    if options.layer_decay is not None and len(learning) < 2:
        notes.append(f"layer_decay changes nothing: '{learning[0].block.name}' alone learns in the stage '{name}'")
    if options.thaw == "by_block" and len(learning) < 2:
        notes.append(f"thaw changes nothing: '{learning[0].block.name}' alone learns in the stage '{name}'")
    adapting = any(row.batch_norm == "adapt" for row in plans[-1].rows)
    if options.batch_norm is not None and not adapting and not any(row.batch_norm for row in learning):
        notes.append(f"batch_norm changes nothing: no block that learns in the stage '{name}' has batch normalization")
    return notes


def _patterns(model: keras.Model, card: Card) -> tuple[BlockPattern, ...]:
    """The card's blocks that are still there after the surgery."""
    names = [layer.name for layer in model.layers]
    return tuple(p for p in card.blocks if any(re.fullmatch(p.layers, name) for name in names))


def _with_top_named(stage: StagePart, top: str) -> StagePart:
    """A stage in which ``top``, which stands for the network's top whatever that is called, has its name.

    Where both are named, ``top`` is a block of the pretrained network itself, such as EfficientNet's.
    """

    def named(names: Any) -> dict[str, str]:
        return {name: top if name == "top" and top not in names else name for name in names}

    def keyed(table: Any) -> Any:
        return {named(table)[k]: v for k, v in table.items()} if isinstance(table, dict) else table

    train = None if stage.train is None else tuple(named(stage.train).values())
    return replace(stage, train=train, multipliers=keyed(stage.multipliers), batch_norm=keyed(stage.batch_norm))


def _learning(stage: StagePart, names: list[str]) -> list[str]:
    """The blocks that learn in a stage, bottom to top."""
    if stage.train is not None:
        return list(stage.train)
    if stage.freeze == FREEZE_NONE:
        return names
    if stage.freeze == FREEZE_ALL:
        return names[-1:]
    if stage.freeze == "half":
        return names[(len(names) - 1) // 2 :]
    if stage.freeze not in names:
        what = f"The network has no block '{stage.freeze}' to freeze up to."
        raise SurgeryError(what, fix=close_matches(str(stage.freeze), [*names, FREEZE_ALL, FREEZE_NONE]))
    return names[names.index(stage.freeze) + 1 :]
