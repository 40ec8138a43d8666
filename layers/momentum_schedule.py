"""A momentum that changes from step to step, under Keras's optimizers, which know a constant one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import keras

from zoo.errors import RecipeError

from .by_name import keras_name
from .schedule_numbers import Schedule, check_momenta

ops: Any = keras.ops


class _Scheduled:
    """What every optimizer with a scheduled momentum has.

    Outside a step the argument (``momentum`` or ``beta_1``) is the schedule. Keras's own code of the step reads the
    argument, and finds there what the step needs: a tensor computed from the count of steps, so that a compiled step
    has no number baked in. So it cannot be set, as a learning rate cannot that follows a schedule.
    """

    argument = "beta_1"
    #: What Keras's constructor is given in its place: it checks for a number.
    _placeholder = 0.9
    _schedule: Any = None
    _standing: Any = None  # what Keras's code reads while it runs

    @property
    def _followed(self) -> Any:
        return self._schedule if self._standing is None else self._standing

    @_followed.setter
    def _followed(self, value: Any) -> None:
        if self._schedule is not None:
            what = f"The {self.argument} of this optimizer follows a schedule, and cannot be set."
            fix = f"Make it anew: zoo.layers.optimizer(..., {self.argument}=...)."
            raise RecipeError(what, received=repr(value), fix=fix)
        self._standing = value

    @contextmanager
    def _reads(self, value: Any) -> Iterator[None]:
        self._standing = value
        try:
            yield
        finally:
            self._standing = None

    def scheduled(self, dtype: Any = "float32") -> Any:
        """The momentum of the next step; like the learning rate it counts batches, accumulated ones too."""
        return ops.cast(self._schedule(self._iterations), dtype)  # type: ignore[attr-defined]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        with self._reads(self.scheduled(variable.dtype)):
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        schedule = keras.optimizers.schedules.serialize(self._schedule)  # type: ignore[attr-defined]
        return {**super().get_config(), self.argument: schedule}  # type: ignore[misc]

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        schedule = keras.optimizers.schedules.deserialize(config[cls.argument], custom_objects)
        made = super().from_config({**config, cls.argument: cls._placeholder}, custom_objects)  # type: ignore[misc]
        made._schedule, made._standing = schedule, None
        return made


class _Damping(_Scheduled):
    """SGD and RMSprop: they compare their momentum with 0 in Python, which no tensor bears in a compiled step.

    So Keras's step reads 1, and the velocity is damped before it: 1 (mu m) - eta g is mu m - eta g.
    """

    argument = "momentum"

    def build(self, variables: Sequence[Any]) -> None:
        with self._reads(1.0):  # whatever the schedule starts with, there is a velocity
            super().build(variables)  # type: ignore[misc]

    def _velocity(self, variable: Any) -> Any:
        slots = getattr(self, "_momentums" if hasattr(self, "_momentums") else "momentums")
        return slots[self._get_variable_index(variable)]  # type: ignore[attr-defined]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        momentum, velocity = self.scheduled(variable.dtype), self._velocity(variable)
        velocity.assign(velocity * momentum)
        with self._reads(1.0):
            super(_Scheduled, self).update_step(gradient, variable, learning_rate)  # type: ignore[misc]
        if getattr(self, "nesterov", False):
            # Nesterov's step is mu m - eta g with the new m; Keras has just gone 1 m - eta g.
            variable.assign(variable - (1.0 - momentum) * velocity)


class _Heavy(_Scheduled):
    """Muon: a momentum that is never compared, and never corrected for its start."""

    argument = "momentum"


class _Corrected(_Scheduled):
    r"""Adam, AdamW and Adamax: they correct the mean of the gradients for its start at 0 by :math:`1 - \beta_1^t`.

    That is the weight of all gradients in the mean while beta_1 stays the same; in general it is 1 minus the product of
    the beta_1 of all steps. The step is proportional to the rate, so the difference goes into the rate.
    """

    def build(self, variables: Sequence[Any]) -> None:
        super().build(variables)  # type: ignore[misc]
        self._product = self.add_variable((), "ones", "float32", name="beta_1_product")  # type: ignore[attr-defined]

    def _backend_update_step(self, gradients: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
        momentum = self.scheduled()
        product = self._product * momentum
        self._product.assign(product)
        power = ops.power(momentum, ops.cast(self.iterations + 1, "float32"))  # type: ignore[attr-defined]
        corrected = ops.cast(learning_rate, "float32") * (1.0 - power) / (1.0 - product)
        super()._backend_update_step(gradients, variables, corrected)  # type: ignore[misc]


class _OwnProduct(_Scheduled):
    """Nadam, which keeps the product of its momenta itself, once a step for all variables."""

    def _backend_update_step(self, gradients: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
        with self._reads(self.scheduled()):
            super()._backend_update_step(gradients, variables, learning_rate)  # type: ignore[misc]


#: How each optimizer takes a scheduled momentum. Lamb divides its step by its norm, correction and all; Lion has none.
#: Not ScheduleFreeAdamW: it finds one of its two points back from the other by beta_1, which must be the same then.
_HOW: dict[type, type[_Scheduled]] = {
    keras.optimizers.SGD: _Damping,
    keras.optimizers.RMSprop: _Damping,
    keras.optimizers.Muon: _Heavy,
    keras.optimizers.Adam: _Corrected,
    keras.optimizers.AdamW: _Corrected,
    keras.optimizers.Adamax: _Corrected,
    keras.optimizers.Nadam: _OwnProduct,
    keras.optimizers.Lamb: _Scheduled,
    keras.optimizers.Lion: _Scheduled,
}


def momentum_argument(optimizer: type) -> str | None:
    """What the argument is called that may be scheduled: ``momentum`` or ``beta_1``; ``None`` where there is none."""
    return _HOW[optimizer].argument if optimizer in _HOW else None


@cache
def scheduling(plain: type) -> type:
    """The class of an optimizer whose momentum is scheduled, registered for saved files."""
    how = _HOW[plain]
    body = {"__module__": __name__, how.argument: how._followed}
    made = type(f"{plain.__name__}MomentumSchedule", (how, plain), body)
    return keras.saving.register_keras_serializable(package="zoo")(made)


def with_momentum(
    plain: keras.optimizers.Optimizer, schedule: Schedule, *, steps: int | None = None
) -> keras.optimizers.Optimizer:
    r"""The same optimizer with a momentum that follows a schedule, as one cycle needs it.

    It is ``momentum`` of SGD, RMSprop and Muon, and ``beta_1`` of Adam, AdamW, Adamax, Nadam, Lamb and Lion. The
    schedule is computed in each step from the number of batches seen, as the learning rate is, so that the two stay in
    step: under gradient accumulation both count batches, not updates.

    Adam, AdamW and Adamax correct the mean of the gradients by :math:`1 - \prod_{i \le t} \beta_1(i)`, the weight that
    the gradients really have in it; for a constant momentum that is their usual :math:`1 - \beta_1^t`.

    Args:
        plain: One of these optimizers, not built yet; its own momentum is not used.
        schedule: Of the momentum, from 0 to below 1, by step.
        steps: How many steps training takes: it is tried over these, by default over its own length.

    Returns:
        The optimizer; its momentum cannot be set. A compiled model with it loads where ``zoo.layers`` has been
        imported.

    Raises:
        RecipeError: if the optimizer has no momentum to schedule, or the schedule leaves 0 to below 1.

    Reference:
        Smith, 2018 (arXiv 1803.09820), section 4.3; for the correction, Kingma and Ba, 2015, section 3.

    Example:
        >>> import keras
        >>> falls = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.9, 0.5])
        >>> variable, made = keras.Variable([0.0]), with_momentum(keras.optimizers.SGD(1.0), falls)
        >>> for _ in range(3):
        ...     made.apply([keras.ops.ones(1)], [variable])
        >>> variable.numpy()  # velocities 1, 0.5 * 1 + 1 and 0.5 * 1.5 + 1
        array([-4.25], dtype=float32)
    """
    if momentum_argument(type(plain)) is None:  # pyright: ignore[reportArgumentType]
        what = f"The optimizer '{keras_name(type(plain))}' has no momentum that a schedule can change."
        takers = ", ".join(sorted(one.__name__.lower() for one in _HOW))
        raise RecipeError(what, expected=takers)
    check_momenta(schedule, steps)
    made = scheduling(type(plain))  # pyright: ignore[reportArgumentType]
    config = {**plain.get_config(), made.argument: keras.optimizers.schedules.serialize(schedule)}  # type: ignore[attr-defined]
    return made.from_config(config)  # type: ignore[attr-defined]
