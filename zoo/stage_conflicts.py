"""What a stage cannot be, whatever network and data it is for: settings of one recipe that exclude each other."""

from collections.abc import Iterator
from typing import Any

from .keras_names import CLIPPING
from .strict_toml import Table


def check_conflicts(table: Table, stage: Any, averages: bool, averaged_by_the_optimizer: bool) -> None:
    """Refuses settings of a stage that exclude each other.

    Args:
        table: The stage's table, for file and key.
        stage: What was read: a :class:`zoo.recipe_stage.StagePart`.
        averages: Whether it ends with an average of its weights.
        averaged_by_the_optimizer: Whether that is its optimizer's.

    Raises:
        ZooError: of the table's class, naming file, key and stage.
    """
    said = f"The stage '{stage.name}'"
    if stage.thaw == "by_block" and (stage.freeze == "all" or (stage.train and len(stage.train) == 1)):
        alone = f"'{stage.train[0]}'" if stage.train else "the top"
        what = f"{said} has nothing to thaw one after another: {alone} alone learns in it."
        table.refuse("thaw", what, received="thaw = 'by_block'", fix="Let more blocks learn, or leave thaw out.")
    for key, what, received, fix in conflicts(stage, averages, averaged_by_the_optimizer):
        table.refuse(key, what, received=received, fix=fix)
    clips = [key for key in CLIPPING if stage.optimizer.get(key) is not None]
    if len(clips) > 1:
        what = f"Only one of {', '.join(f'`{key}`' for key in CLIPPING[:-1])} and `{CLIPPING[-1]}` can be set."
        table.refuse(f"optimizer.{clips[1]}", what, received=" and ".join(clips), fix="Leave one of them out.")
    _check_patience(table, stage)


def conflicts(
    stage: Any, averages: bool, averaged_by_the_optimizer: bool
) -> Iterator[tuple[str, str, str | None, str]]:
    """The settings of a stage that exclude each other, whoever made it: key, what, received, fix.

    Args:
        stage: A :class:`zoo.recipe_stage.StagePart`.
        averages: Whether it ends with an average of its weights.
        averaged_by_the_optimizer: Whether that is its optimizer's.
    """
    said, fix = f"The stage '{stage.name}'", "Leave one of them out."
    if stage.early_stopping is not None and averages:
        what = f"{said} ends with the average of its weights, and early stopping with one epoch's."
        yield "early_stopping", what, None, fix
    if stage.weight_averaging is not None and averaged_by_the_optimizer:
        what = f"{said} averages its weights twice: by its optimizer, and by weight_averaging."
        yield "weight_averaging", what, f"the optimizer {stage.optimizer}", fix
    rate = stage.optimizer.get("learning_rate")
    if stage.reduce_on_plateau is not None and isinstance(rate, dict):
        what = f"{said} has two who set its rate: a schedule, and reduce_on_plateau."
        fix = "Give learning_rate a number, or leave reduce_on_plateau out."
        yield "reduce_on_plateau", what, f"learning_rate = {rate}", fix


def _check_patience(table: Table, stage: Any) -> None:
    """Refuses performance scheduling that early stopping always comes before."""
    slower, stop = stage.reduce_on_plateau, stage.early_stopping
    if slower is None or stop is None or slower["monitor"] != stop["monitor"] or slower["patience"] < stop["patience"]:
        return
    if slower["min_delta"] > stop["min_delta"]:  # it may stand still for one and still improve for the other
        return
    what = f"In the stage '{stage.name}' the rate would never fall: early stopping ends it first."
    received = f"patience = {slower['patience']} for reduce_on_plateau, {stop['patience']} for early_stopping"
    fix = "Raise --patience, or lower the patience of reduce_on_plateau."
    expected = "the shorter patience for reduce_on_plateau"
    table.refuse("reduce_on_plateau.patience", what, expected=expected, received=received, fix=fix)
