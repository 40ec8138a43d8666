"""One cycle: the rate up and down again once, and the momentum down and up."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from zoo.errors import RecipeError

ops: Any = keras.ops
Schedule = keras.optimizers.schedules.LearningRateSchedule
ANNEALING = ("cos", "linear")


class _Cycle(Schedule):
    """What rate and momentum have in common: when the phases end, and how one value goes over into the next."""

    def __init__(self, steps: int, pct_start: float, anneal: str, three_phase: bool):
        super().__init__()
        # Each phase takes at least a part of a step: the way up, the way down, and what is left.
        if not (1 < pct_start * steps and (2 if three_phase else 1) * (pct_start * steps - 1) < steps - 1):
            what = "One cycle cannot be made of these numbers: a phase would take no step."
            share = "below a half" if three_phase else "below 1"
            received = f"steps={steps}, pct_start={pct_start}"
            raise RecipeError(what, expected=f"pct_start {share}, and more than 1 / steps", received=received)
        if anneal not in ANNEALING:
            what = f"One cycle cannot anneal by '{anneal}'."
            raise RecipeError(what, expected=" | ".join(ANNEALING), received=repr(anneal))
        self.steps, self.pct_start, self.anneal, self.three_phase = steps, pct_start, anneal, three_phase

    def _through(self, values: Sequence[float], step: Any) -> Any:
        """Goes from value to value, phase by phase; after the last step it stays at the last value."""
        top = self.pct_start * self.steps - 1
        ends = [top, 2 * top, self.steps - 1.0] if self.three_phase else [top, self.steps - 1.0]
        now = ops.cast(step, "float32")
        value = ops.zeros_like(now) + values[-1]
        for i in reversed(range(len(ends))):
            begin, end = ends[i - 1] if i else 0.0, ends[i]
            phase = self._between(values[i], values[i + 1], (now - begin) / (end - begin))
            value = ops.where(now < end, phase, value)
        return value

    def _between(self, first: float, last: float, share: Any) -> Any:
        if self.anneal == "cos":
            share = (1.0 - ops.cos(share * math.pi)) / 2.0
        return first + (last - first) * share

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        names = ("steps", "pct_start", "anneal", "three_phase")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="zoo")
class OneCycle(_Cycle):
    r"""Smith's one-cycle policy: the rate rises to its maximum, falls again, and ends far below where it began.

    With N steps and the share p of them that rise, from :math:`\eta_0 = \eta_{max} / d` the rate reaches
    :math:`\eta_{max}` at step pN - 1 and :math:`\eta_0 / f` at step N - 1. Between a and b, with x the share of the
    phase that has passed, it is

    .. math::

        a + (b - a)\, \frac{1 - \cos \pi x}{2} \quad\text{(cos)} \qquad\text{or}\qquad a + (b - a)\, x
        \quad\text{(linear)}

    In three phases it is back at :math:`\eta_0` at step 2(pN - 1), and falls to the end from there, as in the paper.
    The phases, names and defaults are those of PyTorch's ``OneCycleLR``.

    Args:
        max_learning_rate: :math:`\eta_{max}`: a rate that the network just bears, ten times the usual one or more.
        steps: N, the steps of the whole cycle; afterwards the rate stays where it is.
        pct_start: p, above 0 and below 1.
        div_factor: d.
        final_div_factor: f.
        anneal: ``cos`` or ``linear``.
        three_phase: Whether the way down is as long as the way up, with a last phase after it.

    Raises:
        RecipeError: for numbers that make no cycle.

    Reference:
        Smith and Topin, 2019 (arXiv 1708.07120), section 2; Smith, 2018 (arXiv 1803.09820), section 4.3.

    Example:
        >>> rate = OneCycle(1.0, steps=12, pct_start=0.5, div_factor=10.0, anneal="linear")
        >>> [round(float(rate(step)), 5) for step in (0, 5, 8, 11)]
        [0.1, 1.0, 0.50001, 1e-05]
    """

    def __init__(
        self,
        max_learning_rate: float,
        steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        anneal: str = "cos",
        three_phase: bool = False,
    ):
        super().__init__(steps, pct_start, anneal, three_phase)
        if not all(value > 0 for value in (max_learning_rate, div_factor, final_div_factor)):
            what = "One cycle of a rate is made of numbers above 0."
            received = f"max_learning_rate={max_learning_rate}, div_factor={div_factor}"
            raise RecipeError(what, received=f"{received}, final_div_factor={final_div_factor}")
        self.max_learning_rate, self.div_factor, self.final_div_factor = max_learning_rate, div_factor, final_div_factor

    def __call__(self, step: Any) -> Any:
        """The rate of a step, counted from 0."""
        first = self.max_learning_rate / self.div_factor
        last = first / self.final_div_factor
        back = [first] if self.three_phase else []
        return self._through([first, self.max_learning_rate, *back, last], step)

    def momentum(self, base_momentum: float = 0.85, max_momentum: float = 0.95) -> "OneCycleMomentum":
        """The momentum that goes with it, over the same phases."""
        return OneCycleMomentum(self.steps, base_momentum, max_momentum, self.pct_start, self.anneal, self.three_phase)

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        names = ("max_learning_rate", "div_factor", "final_div_factor")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="zoo")
class OneCycleMomentum(_Cycle):
    """The momentum of one cycle: low while the rate is high, and high at both of its ends.

    From ``max_momentum`` it falls to ``base_momentum`` while the rate rises, and back while the rate falls.

    Args:
        steps: The steps of the whole cycle.
        base_momentum: The lowest.
        max_momentum: The highest; below 1.
        pct_start: As in ``OneCycle``.
        anneal: ``cos`` or ``linear``.
        three_phase: As in ``OneCycle``: it is back at the second phase's end, and stays.

    Raises:
        RecipeError: for numbers that make no cycle.

    Reference:
        Smith, 2018 (arXiv 1803.09820), section 4.3 ("cyclical momentum").

    Example:
        >>> momentum = OneCycleMomentum(steps=12, pct_start=0.5, anneal="linear")
        >>> [round(float(momentum(step)), 3) for step in (0, 5, 8, 11)]
        [0.95, 0.85, 0.9, 0.95]
    """

    def __init__(
        self,
        steps: int,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        pct_start: float = 0.3,
        anneal: str = "cos",
        three_phase: bool = False,
    ):
        super().__init__(steps, pct_start, anneal, three_phase)
        if not 0 <= base_momentum <= max_momentum < 1:
            what = "One cycle of a momentum goes between two numbers from 0 to below 1, the lower one first."
            raise RecipeError(what, received=f"base_momentum={base_momentum}, max_momentum={max_momentum}")
        self.base_momentum, self.max_momentum = base_momentum, max_momentum

    def __call__(self, step: Any) -> Any:
        """The momentum of a step, counted from 0."""
        back = [self.max_momentum] if self.three_phase else []
        return self._through([self.max_momentum, self.base_momentum, *back, self.max_momentum], step)

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        return {**super().get_config(), "base_momentum": self.base_momentum, "max_momentum": self.max_momentum}
