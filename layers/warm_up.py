"""A linear warm-up before any schedule; of Keras's, only the cosine without restarts has one."""

from typing import Any

import keras

from zoo.errors import RecipeError

ops: Any = keras.ops
Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable(package="zoo")
class WarmUp(Schedule):
    r"""Rises in a straight line to where a schedule begins, then follows it.

    .. math::

        \eta(t) = \begin{cases}
        \eta_w + (f(0) - \eta_w)\, t / w & t < w \\
        f(t - w) & t \ge w
        \end{cases}

    Args:
        after: f: the schedule that follows, or a number for a constant rate.
        steps: w: how many steps the rise takes; the first step of the schedule is step w.
        start: :math:`\eta_w`: the rate of the first step. At 0 it learns nothing.

    Raises:
        RecipeError: if ``steps`` is not above 0, or ``start`` is below it.

    Reference:
        Goyal et al., 2017, section 2.2 ("gradual warmup").

    Example:
        >>> rate = WarmUp(keras.optimizers.schedules.CosineDecayRestarts(0.1, first_decay_steps=10), steps=4)
        >>> [round(float(rate(step)), 3) for step in (0, 2, 4, 9, 14)]
        [0.0, 0.05, 0.1, 0.05, 0.1]
    """

    def __init__(self, after: Schedule | float, steps: int, start: float = 0.0):
        super().__init__()
        if not (steps > 0 and start >= 0):
            what = "A warm-up cannot be made of these numbers."
            raise RecipeError(what, expected="steps above 0, start 0 or more", received=f"steps={steps}, start={start}")
        self.after, self.steps, self.start = after, steps, start

    def _followed(self, step: Any) -> Any:
        return self.after(step) if isinstance(self.after, Schedule) else ops.convert_to_tensor(float(self.after))

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        step = ops.convert_to_tensor(step)
        passed = ops.cast(step, "float32")
        share = passed / float(self.steps)
        rising = float(self.start) * (1.0 - share) + ops.cast(self._followed(ops.zeros_like(step)), "float32") * share
        followed = ops.cast(self._followed(ops.maximum(ops.subtract(step, self.steps), 0)), "float32")
        return ops.where(passed < self.steps, rising, followed)

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        serialize = keras.optimizers.schedules.serialize
        after = serialize(self.after) if isinstance(self.after, Schedule) else self.after
        return {"after": after, "steps": self.steps, "start": self.start}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """The same schedule again."""
        after = config["after"]
        if isinstance(after, dict):
            after = keras.optimizers.schedules.deserialize(after)
        return cls(**{**config, "after": after})
