"""How a run trained its network, as far as the guidelines ask: what was frozen, by which optimizer, at what rate."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras

from .errors import ZooError
from .plan import Plan
from .run import Run
from .stages import planned
from .unscheduled import unscheduled


@dataclass(frozen=True)
class TrainedAs:
    """The last stage of a run; ``None`` for what is not known.

    Attributes:
        plan: What was frozen, and what batch normalization did.
        optimizer: The optimizer, at a constant rate.
        learning_rate: Its rate; ``None`` under a schedule.
        note: What the user should know.
    """

    plan: Plan | None = None
    optimizer: keras.optimizers.Optimizer | None = None
    learning_rate: float | None = None
    note: str = ""


def trained_as(run: Run, network: keras.Model) -> TrainedAs:
    """How the last stage of a run trained its network.

    Args:
        run: The run.
        network: Its result.

    Example:
        >>> import zoo
        >>> how = {"from_scratch": True, "limit_per_class": 3, "epochs": 1, "optimizer": "sgd", "learning_rate": 0.1}
        >>> run = zoo.finetune("dnn", "digits", out=tmp / "run", **how)
        >>> found = trained_as(run, run.model)
        >>> found.learning_rate, type(found.optimizer).__name__, any(row.frozen for row in found.plan.rows)
        (0.1, 'SGD', False)
    """
    spec = run.recipe.stages[-1].optimizer
    made, rate, plan, note = unscheduled(spec), spec.get("learning_rate"), None, ""
    try:
        plan = planned(run.recipe, network, run.card)[1][-1]
    except ZooError as reason:
        note = f"what the run froze cannot be told any more: {reason}"
    if rate is None:
        rate = made.learning_rate
    return TrainedAs(plan, made, None if isinstance(rate, Mapping) else float(rate), note)
