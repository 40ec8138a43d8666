"""When a stage slows down, when it ends, and with which weights: the last, the best, or an average."""

from collections.abc import Sequence
from typing import Any

import keras

from .epochs import rate_of
from .errors import RecipeError, close_matches
from .progress import Progress
from .recipe_stage import StagePart, averaged_by_the_optimizer, averages
from .stage_conflicts import conflicts
from .weight_averaging import WeightAveraging


def check_monitor(stage: StagePart, metrics: Sequence[str]) -> None:
    """Refuses to watch a figure that nobody measures, and settings that exclude each other, before anything is trained.

    Args:
        stage: The stage.
        metrics: The names of the metrics that are measured beside the loss.

    Raises:
        RecipeError: if there is no such figure; if early stopping is to keep one epoch's weights and something else an
            average; if two set the rate, or two average.
    """
    measured = ["loss", *metrics]
    known = [*measured, *(f"val_{name}" for name in measured)]
    for key, who in (("early_stopping", "Early stopping"), ("reduce_on_plateau", "Performance scheduling")):
        watched = (getattr(stage, key) or {}).get("monitor")
        if watched is not None and watched not in known:
            what = f"{who} cannot watch '{watched}': nobody measures it."
            raise RecipeError(what, expected=" | ".join(known), fix=close_matches(watched, known))
    for _, what, received, fix in conflicts(stage, averages(stage), averaged_by_the_optimizer(stage)):
        raise RecipeError(what, received=received, fix=fix)


def check_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuses what is no callback before anything is prepared.

    Raises:
        RecipeError: if it is not a list of callbacks.
    """
    several = isinstance(callbacks, (list, tuple))
    if not several or not all(isinstance(one, keras.callbacks.Callback) for one in callbacks):
        what = "These are not callbacks."
        raise RecipeError(what, expected="a list of keras.callbacks.Callback objects", received=repr(callbacks)[:80])


def check_averaging(stage: StagePart, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuses an averaging of the user's own that somebody else would undo, before anything is trained.

    Args:
        stage: The stage.
        callbacks: The user's own.

    Raises:
        RecipeError: if the stage, or a callback after it, ends with one epoch's weights; if two average; if averaging
            would begin after the last epoch.
    """
    own = [i for i, callback in enumerate(callbacks) if isinstance(callback, WeightAveraging)]
    if not own:
        return
    if stage.early_stopping is not None:
        what = (
            f"The stage '{stage.name}' stops early and ends with one epoch's weights; the callback WeightAveraging, "
            "with the average of several."
        )
        fix = "Leave one of them out: the stage's early_stopping (patience), or the callback."
        raise RecipeError(what, received=f"early_stopping = {stage.early_stopping}", fix=fix)
    if averages(stage) or len(own) > 1:
        who = "weight_averaging" if stage.weight_averaging is not None else f"the optimizer {stage.optimizer['name']}"
        others = who if averages(stage) else f"{len(own)} callbacks"
        what = f"The stage '{stage.name}' averages its weights twice."
        raise RecipeError(what, received=f"the callback WeightAveraging, and {others}", fix="Leave one of them out.")
    if any(_restores(callback) for callback in callbacks[own[0] + 1 :]):
        what = "An EarlyStopping that restores the best weights would replace the average of WeightAveraging before it."
        raise RecipeError(what, fix="Put it before WeightAveraging in the list of callbacks.")
    callbacks[own[0]].first_epoch(stage.epochs)  # pyright: ignore[reportAttributeAccessIssue]


def _restores(callback: keras.callbacks.Callback) -> bool:
    return isinstance(callback, keras.callbacks.EarlyStopping) and callback.restore_best_weights


def early_stopping(stage: StagePart, validated: bool) -> list[keras.callbacks.EarlyStopping]:
    """A stage's early stopping, where it has any and what it watches is measured; the best weights are restored."""
    spec = _measured(stage.early_stopping, validated)
    return [keras.callbacks.EarlyStopping(**spec, restore_best_weights=True)] if spec else []


def performance_scheduling(
    stage: StagePart, validated: bool, progress: Progress
) -> list[keras.callbacks.ReduceLROnPlateau]:
    """A stage's performance scheduling, where it has any and what it watches is measured; it says when it acts."""
    spec = _measured(stage.reduce_on_plateau, validated)
    return [_Lowering(stage.name, progress, **spec)] if spec else []


class _Lowering(keras.callbacks.ReduceLROnPlateau):
    """Keras's own, with a line each time that it lowers the rate."""

    def __init__(self, stage: str, progress: Progress, **spec: Any):
        super().__init__(**spec)
        self.stage, self.progress = stage, progress

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        before = rate_of(self.model)
        super().on_epoch_end(epoch, logs)
        after = rate_of(self.model)
        if after != before:
            still = f"{self.monitor} stood still for {self.patience} epochs"
            rates = f"the rate goes from {before:g} to {after:g}"
            self.progress.line(f"stage {self.stage}, after epoch {epoch + 1}: {still}, {rates}")


def _measured(spec: dict[str, Any] | None, validated: bool) -> dict[str, Any] | None:
    """What a callback is told, where the figure that it watches is measured."""
    return None if spec is None or (spec["monitor"].startswith("val_") and not validated) else spec
