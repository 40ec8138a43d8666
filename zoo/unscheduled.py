"""A stage's optimizer where nobody knows how many steps it takes: schedules, which need them, are left out."""

from collections.abc import Mapping
from typing import Any

import keras

from .layers.optimizers import optimizer


def unscheduled(spec: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    """An optimizer of which no argument follows a schedule: Keras's defaults stand in, and for a ``momentum`` 0.9.

    Args:
        spec: A stage's optimizer: its name and arguments.

    Returns:
        The optimizer.

    Raises:
        RecipeError: if there is no such optimizer or argument, or it makes no sense.

    Example:
        >>> made = unscheduled({"name": "sgd", "learning_rate": {"name": "cosine"}, "momentum": {"name": "piecewise"}})
        >>> round(float(made.learning_rate), 3), made.momentum
        (0.01, 0.9)
    """
    plain = {key: value for key, value in spec.items() if not isinstance(value, Mapping)}
    if isinstance(spec.get("momentum"), Mapping):
        plain["momentum"] = 0.9  # any but none will do
    return optimizer(plain.pop("name"), **plain)
