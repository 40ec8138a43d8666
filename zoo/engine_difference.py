"""How far an engine's results are from Keras's, and whether that is no more than rounding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .copying import clone
from .engines.inputs import network_inputs
from .engines.interface import as_rows
from .errors import SurgeryError

#: The largest difference from Keras in float32, relative to the spread between inputs.
TOLERANCE = 1e-5
#: Where Keras itself is farther than that from the exact result, an engine may be so many times as far from it:
#: typically, and where it is farthest, which a few examples say less well.
AS_NEAR, AT_MOST = 2.0, 4.0
#: Where Keras itself is farther than that from float64, another network was computed in float64: one that holds more
#: than its configuration and its variables say.
PLAUSIBLE = 1e-2
#: How many examples are compared with Keras, and how many of them with float64.
EXAMPLES, EXACT_EXAMPLES = 4, 2


@dataclass(frozen=True)
class Difference:
    """How far results are from others, relative to how much those differ from input to input.

    Attributes:
        largest: The largest difference of any number.
        typical: The root mean square of all differences.
    """

    largest: float
    typical: float

    def __str__(self) -> str:
        return f"{self.typical:.1e} (at most {self.largest:.1e}) of the spread between inputs"


@dataclass(frozen=True)
class Verdict:
    """Whether an engine's results are Keras's.

    Attributes:
        within: Whether they are.
        difference: From Keras in float32.
        why: In words.
    """

    within: bool
    difference: Difference
    why: str


def difference(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Difference:
    r"""Compares results, tensor by tensor; the farthest tensor counts.

    With :math:`s` the root mean square, over a tensor's elements, of the standard deviation over the examples:
    :math:`\max |a - b| / s` and :math:`\mathrm{rms}(a - b) / s`. Of a single example, or where nothing depends on the
    input, :math:`s` is the root mean square of the values themselves. Whole numbers and masks must be equal.

    Args:
        ours: One array for each tensor, ``(examples, ...)``.
        theirs: What they are compared with, of the same shapes.
    """
    pairs = [_difference(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True)]
    return Difference(max((p.largest for p in pairs), default=0.0), max((p.typical for p in pairs), default=0.0))


def _difference(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    infinite = Difference(float("inf"), float("inf"))
    if ours.shape != theirs.shape:
        return infinite
    if not theirs.size:
        return Difference(0.0, 0.0)
    if theirs.dtype.kind != "f":
        return Difference(0.0, 0.0) if np.array_equal(ours, theirs) else infinite
    ours, theirs = ours.astype("float64"), theirs.astype("float64")
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True) or not np.isfinite(ours[finite]).all():
        return infinite
    gaps = np.abs(ours - theirs)[finite]
    if not gaps.size or not gaps.any():
        return Difference(0.0, 0.0)
    scale = _spread(np.where(finite, theirs, 0.0))
    if scale == 0.0:
        return infinite
    return Difference(float(gaps.max()) / scale, float(np.sqrt(np.mean(gaps**2))) / scale)


def _spread(values: np.ndarray) -> float:
    spread = float(np.sqrt(np.mean(np.var(values, axis=0)))) if len(values) > 1 else 0.0
    size = float(np.sqrt(np.mean(values**2)))
    return spread if spread > 1e-6 * size else size


def judge(trunk: keras.Model, inputs: Any, ours: Sequence[np.ndarray], count: int, *, exact: bool = True) -> Verdict:
    """Says whether an engine's results are Keras's, but for rounding.

    They are when they differ by no more than ``1e-5`` of the spread between inputs. Deep networks round more than that
    by themselves: Keras's own results then move by more when only the batch's size changes, and no other order of
    additions can come nearer. There some of the examples are computed in float64, and an engine's results are Keras's
    when they are typically no farther from that than twice as far as Keras's own are, and nowhere than four times; as
    long as Keras's own are within ``1e-2`` of it.

    Args:
        trunk: The network.
        inputs: The inputs of a batch.
        ours: What the engine gave for the batch.
        count: How many of its examples differ from one another: the first ones.
        exact: Whether float64 is asked, where it would decide.

    Returns:
        The verdict.
    """
    count = min(count, EXAMPLES)
    few = keras.tree.map_structure(lambda array: array[:count], inputs)
    theirs = in_inference(trunk, few)
    found = difference([part[:count] for part in ours], theirs)
    if found.largest <= TOLERANCE:
        return Verdict(True, found, f"within {TOLERANCE:.0e} of Keras")
    far = f"{found.largest:.1e} from Keras"
    if not exact or not np.isfinite(found.largest):
        return Verdict(False, found, far)
    count = min(count, EXACT_EXAMPLES)
    truth = in_float64(trunk, keras.tree.map_structure(lambda array: array[:count], few))
    if truth is None:
        return Verdict(False, found, f"{far}, and the network cannot be computed in float64 to say which is nearer")
    keras_off, ours_off = (difference([part[:count] for part in parts], truth) for parts in (theirs, ours))
    if keras_off.largest > PLAUSIBLE:
        what = f"its copy in float64 is another network: Keras is {keras_off.largest:.1e} from it"
        return Verdict(False, found, f"{far}, and {what}")
    within = as_near(ours_off, keras_off)
    compared = f"from float64 it is {ours_off.largest:.1e}, Keras itself {keras_off.largest:.1e}"
    return Verdict(within, found, f"{far}: rounding, since {compared}" if within else f"{far}; {compared}")


def as_near(ours: Difference, theirs: Difference) -> bool:
    """Whether results are about as near to the exact ones as others are: no farther than rounding explains.

    Args:
        ours: How far they are from the exact results.
        theirs: How far the others are.
    """
    typical, largest = AS_NEAR * theirs.typical, AT_MOST * theirs.largest
    return ours.largest <= TOLERANCE or (ours.typical <= typical and ours.largest <= largest)


def in_inference(trunk: keras.Model, inputs: Any) -> list[np.ndarray]:
    """What Keras gives for some inputs, without compiling anything."""
    outputs = trunk(network_inputs(trunk, inputs), training=False)
    return [as_rows(keras.ops.convert_to_numpy(part)) for part in keras.tree.flatten(outputs)]


def in_float64(trunk: keras.Model, inputs: Any) -> list[np.ndarray] | None:
    """What a network gives in float64; ``None`` where it cannot be computed so."""

    def rebuild(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = {**layer.get_config(), "dtype": "float64"}
        drawn = [key for key in config if key.endswith("_initializer") and config[key] is not None]
        return type(layer).from_config(config | dict.fromkeys(drawn, "zeros"))  # they are copied: drawing takes time

    wide = lambda array: array.astype("float64") if array.dtype.kind == "f" else array  # noqa: E731
    try:
        found = in_inference(clone(trunk, rebuild), keras.tree.map_structure(wide, inputs))
    except (SurgeryError, ValueError, TypeError, KeyError, NotImplementedError):
        return None
    return found if all(part.dtype.kind != "f" or part.dtype == "float64" for part in found) else None
