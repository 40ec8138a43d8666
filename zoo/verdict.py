"""From a layer's figures to a verdict and its remedy. Pure: nothing is measured here.

The thresholds, and where they come from:

``VANISHED``, ``EXPLODED``: a thousandth, a thousandfold
    A sound start leaves both signals at about their size: that is what Glorot and Bengio (2010, section 4.2) initialize
    for, and what Pascanu et al. (2013) call vanishing and exploding is growth by a constant factor a layer. Sound
    networks still differ by chance and by design: the logarithm of the gradient's norm has a variance of about the sum
    of 1/width (Hanin and Nica, 2020), so 20 layers of 100 units reach factors of about 10; fresh batch normalization
    grows gradients by about 1.21 a ReLU layer (Yang et al., 2019), a factor of 37 over 20 layers. A thousand is far
    outside of both.
``FLAT``, ``SATURATED``: a tenth of the slope, a quarter of the values
    A value of a bounded activation counts as saturated where the slope is below a tenth of the largest: for tanh, above
    0.949 in size. The notion, and that many such values mark a network that does not learn, is that of Rakitianskaia
    and Engelbrecht (2015). A tanh layer whose sums have variance 1 has 7% of them; with weights four times as large it
    has about 60%. A quarter lies between.
``DEAD``: half of the units
    Units of the ReLU family that give the same for every example learn nothing. A sound layer has some; half of them is
    where the chapter puts "a large part of the network".
``STEP``: the size of the weights
    A step longer than the weights themselves leaves nothing of them (You et al., 2017, section 3, whose healthy ratios
    are around 0.001).
"""

import math
from dataclasses import dataclass
from typing import Literal

VANISHED = 1e-3
EXPLODED = 1e3
FLAT = 0.1
SATURATED = 0.25
DEAD = 0.5
STEP = 1.0

Name = Literal["exploding", "dead", "saturated", "vanishing", "healthy"]


@dataclass(frozen=True)
class Figures:
    """What was measured of one layer; ``None`` where there is nothing to measure.

    Attributes:
        mean: Of the outputs, over examples, places and units.
        std: The same values' standard deviation.
        spread: Between examples: each unit's own variance over the sample, the mean over units, and its root.
        forward: ``spread``, relative to that of what the lowest layers take.
        backward: The norm of the loss's gradient by an example's outputs (root mean square over examples), relative to
            that of the highest hidden layer.
        saturated: The share of values where a bounded activation is flat; NaN where its slopes are no numbers.
        dead: The share of units off for every example and place; NaN likewise.
        gradient: The norm of the loss's gradient by the layer's kernels.
        step: How far one step of plain gradient descent moves the kernels, relative to their norm.
        weights: The kernels' norm.
        alike: Whether all values of the kernels are equal.
        finite: Whether all outputs are numbers.
        weights_finite: Whether the layer's own weights are.
        output: Whether the layer gives the network's outputs: no layer with weights lies above it.
    """

    mean: float | None = None
    std: float | None = None
    spread: float | None = None
    forward: float | None = None
    backward: float | None = None
    saturated: float | None = None
    dead: float | None = None
    gradient: float | None = None
    step: float | None = None
    weights: float | None = None
    alike: bool = False
    finite: bool = True
    weights_finite: bool = True
    output: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a layer suffers from, and the figure that says so.

    ``rank`` orders verdicts: the lower, the nearer to the cause. Where several hold, the layer's own ills come before
    those that it has from others.
    """

    name: Name
    why: str
    rank: int


def judge(figures: Figures) -> Verdict:
    """The verdict on one layer.

    The first that holds, in this order: weights, outputs or gradients that are not numbers (exploding); outputs that
    spread more than a thousandfold (exploding); dead; saturated; a gradient more than a thousand times (exploding) or
    less than a thousandth (vanishing) of what the highest hidden layer gets; outputs that hardly differ between
    examples (vanishing); no gradient at all (vanishing); a step longer than the weights (exploding). Spreads are judged
    against the input's and against 1, that of a normalized input, whichever is the more lenient. Of the network's
    outputs, saturation, dead units and whatever vanishes are not judged: certain outputs are meant to be flat, and a
    fresh top may start at 0.

    Example:
        >>> judge(Figures(spread=0.4, forward=1.1, backward=2e-5)).name
        'vanishing'
        >>> judge(Figures(spread=0.4, forward=1.1, backward=2e-5, saturated=0.6)).why
        '60% of its values are saturated'
    """
    f = figures
    if not f.weights_finite:
        return Verdict("exploding", "its weights hold NaN or infinity", 0)
    if not f.finite:
        return Verdict("exploding", "it gives NaN or infinity", 1)
    if not all(math.isfinite(value) for value in (f.backward, f.gradient) if value is not None):
        return Verdict("exploding", "the gradient that it gets is NaN or infinity", 2)
    # The more lenient of two yardsticks: raw inputs can be of any size, and normalization inside resets it to 1.
    sizes = [size for size in (f.spread, f.forward) if size is not None]
    if sizes and min(sizes) > EXPLODED:
        return Verdict("exploding", f"its outputs spread {_times(min(sizes))} as far as the input", 3)
    if not f.output and f.dead is not None and f.dead >= DEAD:
        return Verdict("dead", f"{f.dead:.0%} of its units are off for every example", 4)
    if not f.output and f.saturated is not None and f.saturated >= SATURATED:
        return Verdict("saturated", f"{f.saturated:.0%} of its values are saturated", 5)
    return _judge_signals(f, sizes)


def _judge_signals(f: Figures, sizes: list[float]) -> Verdict:
    """What a layer has from those above and below it."""
    if not f.output and f.backward is not None:
        if f.backward > EXPLODED:
            return Verdict("exploding", f"it gets {_times(f.backward)} the gradient of the highest hidden layer", 6)
        if 0 < f.backward < VANISHED:
            return Verdict("vanishing", f"it gets {_times(f.backward)} the gradient of the highest hidden layer", 7)
    if not f.output and sizes and max(sizes) < VANISHED:
        return Verdict("vanishing", f"its outputs spread {_times(max(sizes))} as far as the input", 7)
    if not f.output and f.backward == 0:
        return Verdict("vanishing", "no gradient reaches it", 8)
    if f.step is not None and f.step > STEP:
        return Verdict("exploding", f"one step moves its weights by {_times(f.step)} their size", 9)
    return Verdict("healthy", "", 10)


def _times(factor: float) -> str:
    return f"{short(factor)} times" if math.isfinite(factor) else "infinitely many times"


def short(value: float | None) -> str:
    """Two digits, or one where a power of ten has to be said; nothing for ``None``.

    Example:
        >>> [short(value) for value in (0.12345, 0.00212, 3.2e-8, 123.4, 4e10, None)]
        ['0.12', '0.0021', '3e-8', '123', '4e10', '']
    """
    if value is None:
        return ""
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
