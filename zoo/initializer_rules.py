"""Guidelines on how a network starts: the initializer by the activation that follows, and what SELU asks for."""

import math
from collections.abc import Iterator
from typing import Any

import keras

from .departure import Departure, names_of
from .layers.initializers import SCALES, scale_of
from .layers.normalizing import NORMALIZING
from .layers.selu import DROPPING, suits_selu
from .orthonormal import DEPTHWISE, SEPARABLE, TRANSPOSED
from .probing import S_SHAPED
from .wiring import WEIGHTED, Applied, Wiring

initializers = keras.initializers

#: How far from theory's scale a kernel's may be. Rectifiers: from well above LeCun's 1 (or Glorot's, for equal fans),
#: which halves the variance in each layer, to half as much again. Bounded activations hold larger ones; for tanh a
#: factor of 5/3 on sigma, a scale of 2.8, is usual. Of the logistic function the chapter's own Xavier is let pass.
_SOURCE = "He et al., 2015; Glorot and Bengio, 2010"
_RECTIFIER, _TANH, _LOGISTIC = (0.7, 1.55), (0.6, 3.0), (0.6 / 16, 2.0)


def initializer(wiring: Wiring) -> Iterator[Departure]:
    """A fresh kernel's variance against what its activation needs, where nothing normalizes in between."""
    groups: dict[tuple[str, Applied, bool], list[tuple[Any, float]]] = {}
    for node in wiring.of(WEIGHTED):
        layer, after = node.operation, wiring.following(node)
        applied = after.activation
        if applied is None or after.normalized or id(node) in wiring.top or id(node) in wiring.branches:
            continue
        if not layer.trainable or applied.name not in SCALES or applied.name == "selu":
            continue
        drawn, ratio = _ratio(layer, applied)
        if drawn is not None:
            miscounted = isinstance(layer, (*DEPTHWISE, *TRANSPOSED))
            groups.setdefault((drawn, applied, miscounted), []).append((node, ratio))
    for (drawn, applied, miscounted), found in groups.items():
        yield _misfit(wiring, f"{drawn} before {applied.name}", _fix(applied, miscounted), applied.name, found)


def _fix(applied: Applied, miscounted: bool) -> str:
    if miscounted:
        scale = f"keras.initializers.VarianceScaling({_wanted(applied):g}, input_axes=..., output_axes=...)"
        return f"{scale}, with the axes from the page on initializers: Keras miscounts this kernel's"
    slope = "" if applied.slope is None else f", slope={applied.slope:g}"
    return f'kernel_initializer=zoo.layers.for_activation("{applied.name}"{slope})'


def _misfit(wiring: Wiring, what: str, fix: str, name: str, found: list[tuple[Any, float]]) -> Departure:
    inside = {id(node) for node, _ in found}
    depth = wiring.most_in_a_row(lambda node: id(node) in inside)
    middle = math.exp(sum(math.log(ratio) for _, ratio in found) / len(found))
    effect = "shrink" if middle < 1 else "grow, or saturate the units"
    where = f"over {depth} such layers one above another signals {effect}" if depth > 1 else "in many layers it adds up"
    why = f"The weights have {middle:.2g} times the variance that '{name}' asks for; {where} ({_SOURCE})."
    return Departure("initializer", names_of(node for node, _ in found), what, why, fix, from_scratch=True)


def _ratio(layer: Any, applied: Applied) -> tuple[str | None, float]:
    """The initializer's name and how many times too large its variance is, where that is out of bounds."""
    drawn = _kernel_initializer(layer)
    kernel = layer.pointwise_kernel if isinstance(layer, SEPARABLE) else layer.kernel
    variance = _variance(drawn, tuple(kernel.shape))
    if not variance:
        return None, 1.0
    wanted = _wanted(applied)
    fan_in, fan_out = _fans(layer, tuple(kernel.shape))
    low, high = _LOGISTIC if applied.name in ("sigmoid", "hard_sigmoid", "sparse_sigmoid") else _TANH
    low, high = (low, high) if applied.name in S_SHAPED else _RECTIFIER
    ratios = [variance * fan / wanted for fan in (fan_in, (fan_in + fan_out) / 2, fan_out)]
    if any(low <= ratio <= high for ratio in ratios):
        return None, 1.0
    return type(drawn).__name__, ratios[0]


def _wanted(applied: Applied) -> float:
    name, slope = applied.name, applied.slope
    return scale_of(name if slope is None else {"name": name, "negative_slope": slope})


def _kernel_initializer(layer: Any) -> Any:
    for name in ("pointwise_initializer", "kernel_initializer", "depthwise_initializer"):
        if getattr(layer, name, None) is not None:
            return getattr(layer, name)
    return None


def _fans(layer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """How many inputs a unit of a layer has, and how many units take an input."""
    window = math.prod(shape[:-2])
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_fans(layer, shape)
    if isinstance(layer, DEPTHWISE):
        return window, window * shape[-1]
    inputs, outputs = shape[::-1][:2] if isinstance(layer, TRANSPOSED) else shape[-2:]
    return window * inputs, window * outputs / getattr(layer, "groups", 1)


def _einsum_fans(layer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    left, output = layer.equation.replace(" ", "").split("->")
    sizes = list(zip(left.split(",")[1], shape, strict=True))
    fan_in = math.prod(size for letter, size in sizes if letter not in output)
    fan_out = math.prod(size for letter, size in sizes if letter in output)
    return fan_in, fan_out


def _variance(drawn: Any, shape: tuple[int, ...]) -> float | None:
    """The variance of a weight that an initializer of Keras draws; ``None`` for others, and for one value for all."""
    if isinstance(drawn, initializers.VarianceScaling):
        # Keras's own count, right or wrong: it is what the kernel was drawn with.
        window, (inputs, outputs) = math.prod(shape[:-2]), shape[-2:]
        fans = {"fan_in": window * inputs, "fan_out": window * outputs, "fan_avg": window * (inputs + outputs) / 2}
        if drawn.input_axes is not None and drawn.output_axes is not None:
            fan_in, fan_out = (math.prod(shape[i] for i in axes) for axes in (drawn.input_axes, drawn.output_axes))
            fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        return drawn.scale / fans[drawn.mode]
    if isinstance(drawn, initializers.RandomNormal):
        return drawn.stddev**2
    if isinstance(drawn, initializers.TruncatedNormal):
        return (0.8796 * drawn.stddev) ** 2
    if isinstance(drawn, initializers.RandomUniform):
        return (drawn.maxval - drawn.minval) ** 2 / 12
    if isinstance(drawn, initializers.Orthogonal):
        return drawn.gain**2 / max(math.prod(shape[:-1]), shape[-1])
    return None


def constant_kernel(wiring: Wiring) -> Iterator[Departure]:
    """Hidden kernels that start with one value for all weights."""
    kinds = (initializers.Zeros, initializers.Ones, initializers.Constant)
    found = []
    for node in wiring.of(WEIGHTED):
        drawn = _kernel_initializer(node.operation)
        # Zeros on the last layer of a branch are meant: the branch starts as nothing (Zhang et al., 2019).
        meant = id(node) in wiring.top or (isinstance(drawn, initializers.Zeros) and id(node) in wiring.branches)
        if isinstance(drawn, kinds) and not meant and node.operation.trainable:
            found.append(node)
    if found:
        what = "all weights of the kernel start equal"
        why = (
            "All units of such a layer start as one; random weights are there to tell them apart, and behind zeros "
            "nothing gets through (Goodfellow et al., 2016, section 8.4)."
        )
        fix = "leave the initializer at its default, or kernel_initializer=zoo.layers.for_activation(ACTIVATION)"
        yield Departure("initializer", names_of(found), what, why, fix, from_scratch=True)


def selu(wiring: Wiring) -> Iterator[Departure]:
    """The conditions under which SELU normalizes itself (Klambauer et al., 2017)."""
    faults: dict[str, list[Any]] = {"starts": [], "dropped": [], "normalized": [], "skipped": []}
    for node in wiring.of(WEIGHTED):
        after = wiring.following(node)
        if after.activation is None or after.activation.name != "selu":
            continue
        if node.operation.trainable and not suits_selu(_kernel_initializer(node.operation)):
            faults["starts"].append(node)
        if after.normalized:
            faults["normalized"].append(node)
        if id(after.call) in wiring.branches:
            faults["skipped"].append(node)
        user = wiring.next(after.call)
        while user is not None and not isinstance(user.operation, WEIGHTED):
            if isinstance(user.operation, DROPPING) and user.operation.rate > 0:
                faults["dropped"].append(user)
            if isinstance(user.operation, NORMALIZING):
                faults["normalized"].append(user)
            user = wiring.next(user)
    why = "SELU keeps mean 0 and variance 1 from layer to layer only under its conditions (Klambauer et al., 2017): "
    for fault, nodes in faults.items():
        if nodes:
            what, reason, fix = _SELU[fault]
            yield Departure("selu", names_of(nodes), what, f"{why}{reason}", fix, fault == "starts")


_SELU = {
    "starts": (
        "a kernel before SELU that does not start as LeCun's",
        "weights start with variance 1 / fan-in.",
        'kernel_initializer=zoo.layers.for_activation("selu"), which is Keras\'s lecun_normal',
    ),
    "dropped": (
        "plain dropout after SELU",
        "what is dropped goes to the value that SELU tends to on the left, not to 0.",
        "keras.layers.AlphaDropout, at 0.05 to 0.1",
    ),
    "normalized": (
        "normalization beside SELU",
        "another normalization sets what SELU is there to keep.",
        "take the normalization out, or use 'elu' with it",
    ),
    "skipped": (
        "SELU in a branch that a skip connection goes around",
        "an addition adds the variances of its two sides.",
        "use 'elu' or 'relu' with batch normalization there",
    ),
}


def alpha_dropout(wiring: Wiring) -> Iterator[Departure]:
    """Alpha dropout behind anything but SELU."""
    others = []
    for node in wiring.of(WEIGHTED):
        after = wiring.following(node)
        if after.activation is None or after.activation.name == "selu":
            continue
        user = wiring.next(after.call)
        while user is not None and not isinstance(user.operation, WEIGHTED):
            if isinstance(user.operation, keras.layers.AlphaDropout) and user.operation.rate > 0:
                others.append(user)
            user = wiring.next(user)
    if others:
        what = "alpha dropout after another activation than SELU"
        why = "It sets what it drops to -1.76, the value that SELU tends to; elsewhere that is an outlier."
        yield Departure("alpha dropout", names_of(others), what, why, "keras.layers.Dropout")
