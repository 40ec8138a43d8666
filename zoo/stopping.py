"""When a stage ends, and with which weights: the last, the best under early stopping, or an average."""

from collections.abc import Sequence

import keras

from .errors import RecipeError, close_matches
from .recipe_stage import StagePart


def check_monitor(stage: StagePart, metrics: Sequence[str]) -> None:
    """Refuses early stopping on a figure that nobody measures; known before anything is trained.

    Args:
        stage: The stage.
        metrics: The names of the metrics that are measured beside the loss.

    Raises:
        RecipeError: if there is no such figure, or the stage's weights are an average over epochs.
    """
    measured = ["loss", *metrics]
    known = [*measured, *(f"val_{name}" for name in measured)]
    watched = (stage.early_stopping or {}).get("monitor")
    if watched is not None and watched not in known:
        what = f"Early stopping cannot watch '{watched}': nobody measures it."
        raise RecipeError(what, expected=" | ".join(known), fix=close_matches(watched, known))
    if watched is not None and averages(stage):
        what = f"The stage '{stage.name}' ends with the average of its weights, and early stopping with one epoch's."
        raise RecipeError(what, fix="Leave one of them out.")


def check_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuses what is no callback before anything is prepared.

    Raises:
        RecipeError: if it is not a list of callbacks.
    """
    several = isinstance(callbacks, (list, tuple))
    if not several or not all(isinstance(one, keras.callbacks.Callback) for one in callbacks):
        what = "These are not callbacks."
        raise RecipeError(what, expected="a list of keras.callbacks.Callback objects", received=repr(callbacks)[:80])


def averages(stage: StagePart) -> bool:
    """Whether a stage's optimizer replaces the weights by an average of them when training ends."""
    return bool(stage.optimizer.get("use_ema")) or str(stage.optimizer["name"]).lower() == "schedulefreeadamw"


def early_stopping(stage: StagePart, validated: bool) -> list[keras.callbacks.EarlyStopping]:
    """A stage's early stopping, where it has any and what it watches is measured; the best weights are restored."""
    spec = stage.early_stopping
    if spec is None or (spec["monitor"].startswith("val_") and not validated):
        return []
    return [keras.callbacks.EarlyStopping(**spec, restore_best_weights=True)]
