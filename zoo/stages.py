"""From a recipe's stages to plans: which blocks learn in each."""

import re
from collections.abc import Sequence
from dataclasses import replace

import keras

from .block import blocks, top_block
from .card import BlockPattern, Card
from .errors import SurgeryError, close_matches
from .options import Options
from .plan import Plan, Row, freeze
from .recipe import FREEZE_ALL, FREEZE_NONE, Recipe, StagePart


def planned(
    recipe: Recipe, model: keras.Model, card: Card, plan: Plan | None
) -> tuple[tuple[StagePart, ...], tuple[Plan, ...]]:
    """Each stage with the blocks that learn written out, and its plan.

    Args:
        recipe: Its stages; with a plan, the last of them.
        model: The network to train.
        card: Its blocks are the network's, where it names any.
        plan: The user's own plan: it is trained in one stage.

    Raises:
        SurgeryError: if a block does not exist.
        PlanError: if a stage contradicts itself.
    """
    if plan is not None:
        rows = [row for row in plan.rows if not row.frozen]
        stage = replace(
            recipe.stages[-1],
            train=tuple(row.block.name for row in rows),
            freeze=None,
            layer_decay=None,
            multipliers={row.block.name: row.rate for row in rows},
            batch_norm={row.block.name: row.batch_norm for row in plan.rows if _said(row)} or "frozen",
        )
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


def _said(row: Row) -> bool:
    """Whether a row's batch-norm mode has to be said: frozen blocks are ``frozen`` by themselves."""
    return row.batch_norm is not None and (not row.frozen or row.batch_norm == "adapt")


def idle_options(options: Options, stages: Sequence[StagePart], plans: Sequence[Plan]) -> list[str]:
    """Notes on options of the last stage that change nothing, given what learns in it."""
    learning = [row for row in plans[-1].rows if not row.frozen]
    notes, name = [], stages[-1].name
    if options.layer_decay is not None and len(learning) < 2:
        notes.append(f"layer_decay changes nothing: '{learning[0].block.name}' alone learns in the stage '{name}'")
    adapting = any(row.batch_norm == "adapt" for row in plans[-1].rows)
    if options.batch_norm is not None and not adapting and not any(row.batch_norm for row in learning):
        notes.append(f"batch_norm changes nothing: no block that learns in the stage '{name}' has batch normalization")
    return notes


def _patterns(model: keras.Model, card: Card) -> tuple[BlockPattern, ...]:
    """The card's blocks that are still there after the surgery."""
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
        what = f"The network has no block '{stage.freeze}' to freeze up to."
        raise SurgeryError(what, fix=close_matches(str(stage.freeze), [*names, FREEZE_ALL, FREEZE_NONE]))
    return names[names.index(stage.freeze) + 1 :]
