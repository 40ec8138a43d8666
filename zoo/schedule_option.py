"""What ``--schedule NAME`` makes of a stage: a schedule around its learning rate, or performance scheduling."""

from dataclasses import replace
from typing import Any

from .errors import RecipeError, close_matches
from .recipe_stage import StagePart

#: What can be said by a name alone; all of them last as long as the stage. Others need a recipe's table.
SCHEDULES = (
    "constant",
    "performance",
    "exponential",
    "power",
    "cosine",
    "cosine_restarts",
    "one_cycle",
)
#: The momentum that one cycle moves against the rate, by optimizer.
_MOMENTUM = {
    "sgd": "momentum",
    "muon": "momentum",
    **dict.fromkeys(("adam", "adamw", "adamax", "nadam", "lamb", "lion"), "beta_1"),
}
#: What performance scheduling does unless a recipe says otherwise.
_PLATEAU = {"monitor": "val_loss", "factor": 0.1, "patience": 5, "min_delta": 0.0, "cooldown": 0, "min_lr": 0.0}


def scheduled(stage: StagePart, schedule: Any) -> StagePart:
    """A stage whose rate follows a schedule; the rate that it has becomes the schedule's highest.

    Args:
        stage: The stage; its optimizer has a learning rate.
        schedule: One of ``SCHEDULES``, or a table as a recipe's ``learning_rate`` has it.

    Returns:
        The stage. With ``one_cycle`` the momentum cycles too, where the optimizer has one.

    Raises:
        RecipeError: if there is no such schedule, or the stage has no rate to start from.

    Example:
        >>> stage = StagePart("s", 5, {"name": "adam", "learning_rate": 0.01})
        >>> scheduled(stage, "cosine").optimizer["learning_rate"]
        {'name': 'cosine', 'initial_learning_rate': 0.01}
    """
    optimizer = dict(stage.optimizer)
    if isinstance(schedule, dict):
        return replace(stage, optimizer={**optimizer, "learning_rate": schedule}, reduce_on_plateau=None)
    if schedule not in SCHEDULES:
        what = f"There is no schedule {schedule!r} that a name alone can say."
        raise RecipeError(what, expected=" | ".join(SCHEDULES), fix=close_matches(str(schedule), SCHEDULES))
    rate = _rate(stage, schedule)
    momentum = _MOMENTUM.get(str(optimizer["name"]).lower())
    if momentum and isinstance(optimizer.get(momentum), dict):
        del optimizer[momentum]  # the cycle of an earlier schedule
    if schedule in ("constant", "performance"):
        plateau = (stage.reduce_on_plateau or _PLATEAU) if schedule == "performance" else None
        return replace(stage, optimizer={**optimizer, "learning_rate": rate}, reduce_on_plateau=plateau)
    highest = "max_learning_rate" if schedule == "one_cycle" else "initial_learning_rate"
    optimizer["learning_rate"] = {"name": schedule, highest: rate}
    if schedule == "one_cycle" and momentum:
        optimizer[momentum] = {"name": "one_cycle_momentum"}
    return replace(stage, optimizer=optimizer, reduce_on_plateau=None)


def _rate(stage: StagePart, schedule: str) -> float:
    """The number that a stage's rate is, or starts from."""
    rate = stage.optimizer.get("learning_rate")
    if isinstance(rate, dict):
        rate = rate.get("max_learning_rate", rate.get("initial_learning_rate"))
    if not isinstance(rate, (int, float)):
        what = f"The schedule '{schedule}' needs a learning rate to start from."
        fix = "Say it too: --learning-rate 1e-3, or learning_rate=1e-3."
        raise RecipeError(what, received=f"the optimizer {stage.optimizer}", fix=fix)
    return float(rate)
