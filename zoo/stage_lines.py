"""What a run says about its stages before it trains anything."""

from collections.abc import Sequence
from typing import Any

import keras

from .data import Split
from .enforcement import silenced
from .momentum_cycle import argument_of
from .origins import Origins
from .plan import Plan
from .recipe_stage import StagePart, averages
from .unscheduled import unscheduled

#: Below this multiple of the rate a block is as good as frozen.
_IDLE = 1e-3


def stage_lines(
    stage: StagePart, plan: Plan, graph: keras.Model, sides: Split, origins: Origins | None = None
) -> list[str]:
    """What a stage does: how fast and how long, the plan, and what else happens in it.

    Args:
        stage: The stage.
        plan: Its plan.
        graph: The flat network.
        sides: The split.
        origins: Which layers are reused and which are new, where a stage pulls the reused ones to their start.
    """
    lines = [f"stage {stage.name}: {stage.epochs} epochs, {stage.optimizer['name']} at {_rate(stage)}"]
    lines.extend(f"  {line}" for line in str(plan).splitlines())
    lines.extend(f"  {line}" for line in _settings(stage, origins))
    adapt = [row.block.name for row in plan.rows if row.batch_norm == "adapt"]
    if adapt:
        examples = f"{len(sides.train)} training examples"
        lines.append(f"  first the batch-norm statistics of {', '.join(adapt)} are re-estimated on {examples}")
    off = silenced(plan, graph)
    if off:
        lines.append(f"  off, since their blocks are frozen: {', '.join(off)}")
    return lines


def _settings(stage: StagePart, origins: Origins | None) -> list[str]:
    """What regularizes a stage, and what sets its rate while it lasts."""
    lines = []
    if stage.l2_sp:
        alpha = stage.l2_sp["alpha"]
        new = _new(origins.new if origins else (), stage.l2_sp["beta"])
        lines.append(f"the reused weights are pulled to their pretrained values (alpha {alpha:g}); {new}")
    if stage.reduce_on_plateau:
        p = stage.reduce_on_plateau
        still = f"{p['monitor']} stands still for {p['patience']} epoch{'' if p['patience'] == 1 else 's'}"
        lines.append(f"the rate is multiplied by {p['factor']:g} when {still}")
    if stage.weight_averaging:
        w = stage.weight_averaging
        every = "epoch" if w["every"] == 1 else f"{w['every']} epochs"
        lines.append(f"it ends with the mean of its weights, every {every} from {w['start']:.0%} of them on")
    return lines


def _new(layers: Sequence[str], beta: float) -> str:
    """What becomes of the layers that have no pretrained values."""
    if not layers:
        return "no layer is new"
    shown = f"{', '.join(layers[:3])}{f' and {len(layers) - 3} more' if len(layers) > 3 else ''}"
    be = "is" if len(layers) == 1 else "are"
    return f"{shown} {be} new, and {f'pulled to 0 (beta {beta:g})' if beta else 'not pulled'}"


def _rate(stage: StagePart) -> str:
    """A stage's learning rate, for the user: also the one that its optimizer has by default; and its momentum."""
    rate, argument = stage.optimizer.get("learning_rate"), argument_of(stage.optimizer)
    if rate is None:
        shown = f"{float(unscheduled(stage.optimizer).learning_rate):g}, its default in Keras"
    else:
        shown = _value(rate)
    momentum = stage.optimizer.get(argument) if argument else None
    return shown if momentum is None else f"{shown}, {argument} {_value(momentum)}"


def _value(value: Any) -> str:
    """A number, or a schedule with what it says."""
    if not isinstance(value, dict):
        return str(value)
    arguments = ", ".join(f"{key} {said}" for key, said in value.items() if key != "name")
    return f"the schedule {value.get('name')}{f' ({arguments})' if arguments else ''}"


def stage_notes(
    stages: Sequence[StagePart], plans: Sequence[Plan], sides: Split, origins: Origins | None = None
) -> list[str]:
    """What the user should know about the stages beside their plans."""
    return [*_slow_notes(stages, plans), *_pulling_notes(stages, plans, origins), *_stopping_notes(stages, sides)]


def patience_notes(patience: int | None, stages: Sequence[StagePart]) -> list[str]:
    """Which stages the option for early stopping leaves out."""
    out = [stage.name for stage in stages if averages(stage)]
    if patience is None or not out:
        return []
    return [f"patience is for the other stages: an average is what ends {', '.join(out)}, and not one epoch's weights"]


def _pulling_notes(stages: Sequence[StagePart], plans: Sequence[Plan], origins: Origins | None) -> list[str]:
    """Pulls that pull nothing, or against another."""
    notes = []
    for stage, plan in zip(stages, plans, strict=True):
        learning = {name for row in plan.rows if not row.frozen for name in row.block.layers}
        if stage.l2_sp and origins and not stage.l2_sp["beta"] and learning.isdisjoint(origins.reused):
            notes.append(f"l2_sp changes nothing in the stage '{stage.name}': no reused weight learns there")
        decays = stage.optimizer.get("weight_decay", str(stage.optimizer["name"]).lower() == "adamw")
        if stage.l2_sp and origins and stage.l2_sp["beta"] and not origins.new:
            notes.append(f"beta changes nothing in the stage '{stage.name}': l2_sp finds no new layer to pull to 0")
        if stage.l2_sp and decays:
            notes.append(f"in the stage '{stage.name}' l2_sp pulls weights to their start, and weight_decay to 0")
    return notes


def _slow_notes(stages: Sequence[StagePart], plans: Sequence[Plan]) -> list[str]:
    """Blocks that learn in name only: a decay over many blocks leaves nothing for the lowest."""
    notes = []
    for stage, plan in zip(stages, plans, strict=True):
        slow = [row for row in plan.rows if 0 < row.rate < _IDLE]
        if slow:
            least, name = min(row.rate for row in slow), slow[0].block.name
            notes.append(
                f"{len(slow)} blocks hardly learn in the stage '{stage.name}' ('{name}' at x{least:.0e} of the rate): "
                "a layer_decay nearer to 1 spreads it"
            )
    return notes


def _stopping_notes(stages: Sequence[StagePart], sides: Split) -> list[str]:
    """What a stage cannot watch without a validation side."""
    if len(sides.val):
        return []
    notes = []
    for key, what in (("early_stopping", "early stopping"), ("reduce_on_plateau", "performance scheduling")):
        idle = [s.name for s in stages if (getattr(s, key) or {}).get("monitor", "").startswith("val_")]
        if idle:
            notes.append(f"no validation examples: {what} is off in {', '.join(idle)}")
    return notes
