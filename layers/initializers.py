r"""Initializers by activation: the chapter's table, and what theory says where the two differ.

Everything here is Keras's ``VarianceScaling``, so that a saved network loads in plain Keras. Its ``scale`` is the
variance of a weight times the fan: :math:`\sigma^2 = \text{scale} / n`. A factor on :math:`\sigma`, as the chapter
writes it, is squared to become a scale.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import keras

from zoo.errors import RecipeError, close_matches

from .activations import Activation, activation_name
from .rrelu import LOWER, UPPER
from .scalars import number

Distribution = Literal["normal", "uniform"]
Fan = Literal["fan_in", "fan_avg", "fan_out"]

#: What Keras calls each distribution. Of its two normals the truncated one is used, see :func:`for_activation`.
_KERAS: Mapping[str, str] = {"normal": "truncated_normal", "uniform": "uniform"}
_FANS = ("fan_in", "fan_avg", "fan_out")

#: The chapter's rows: the factor on sigma, and on r.
_CHAPTER: dict[str, float] = {
    "logistic": 1.0,
    "sigmoid": 1.0,
    "tanh": 4.0,
    **dict.fromkeys(("relu", "leaky_relu", "very_leaky_relu", "rrelu", "prelu", "elu"), 2**0.5),
}


def _rectifier(square: float) -> float:
    """He's scale for a rectifier whose slope below zero has this square (its mean, where it is drawn)."""
    return 2.0 / (1.0 + square)


def _mean_square(lower: float, upper: float) -> float:
    """Of a slope drawn uniformly from a range."""
    return (lower**2 + lower * upper + upper**2) / 3


#: Activations that let through what is above zero: half of the values are lost, so the others carry twice the variance.
_RECTIFIERS = (
    *("relu", "relu6", "leaky_relu", "very_leaky_relu", "prelu", "rrelu", "elu", "celu"),
    *("gelu", "silu", "swish", "mish", "hard_silu", "hard_swish"),
    *("softplus", "log_sigmoid", "squareplus", "sparse_plus"),
)

#: The scale that theory gives each activation, by name; :func:`for_activation` says where each comes from.
SCALES: dict[str, float] = {
    # A unit near 0 passes its input on, times its slope there: 1/4 for the logistic function, so sigma takes factor 4.
    "logistic": 16.0,
    "sigmoid": 16.0,
    "sparse_sigmoid": 4.0,
    "hard_sigmoid": 36.0,
    **dict.fromkeys(("linear", "tanh", "hard_tanh", "softsign", "softmax", "log_softmax", "sparsemax"), 1.0),
    **dict.fromkeys(_RECTIFIERS, 2.0),
    "leaky_relu": _rectifier(0.01**2),
    "very_leaky_relu": _rectifier(0.2**2),
    "prelu": _rectifier(0.25**2),
    "rrelu": _rectifier(_mean_square(LOWER, UPPER)),
    "selu": 1.0,
}


def chapter_table(
    activation: str, *, distribution: Distribution = "normal", mode: Fan = "fan_avg", seed: int | None = None
) -> keras.initializers.VarianceScaling:
    r"""The chapter's table: a factor for the activation on Xavier's spread.

    With fan-in n and fan-out m, and factor f = 1 (logistic), 4 (tanh) or :math:`\sqrt 2` (ReLU and its variants):

    .. math:: \sigma = f \sqrt{\frac{2}{n + m}} \qquad r = f \sqrt{\frac{6}{n + m}}

    and, where n and m are about equal, the shorter :math:`\sigma = f / \sqrt n`, :math:`r = f \sqrt{3 / n}`. By theory
    the factor 4 belongs to the logistic function and 1 to tanh: use this table to repeat the chapter, and
    :func:`for_activation` to train.

    Args:
        activation: ``logistic`` (or ``sigmoid``), ``tanh``, ``relu``, ``leaky_relu``, ``very_leaky_relu``, ``rrelu``,
            ``prelu`` or ``elu``.
        distribution: ``normal`` (sigma) or ``uniform`` (from -r to r).
        mode: ``fan_avg`` for the full forms, ``fan_in`` for the shorter ones.
        seed: The same seed gives the same weights; by default Keras draws one.

    Returns:
        Keras's initializer.

    Raises:
        RecipeError: if the table has no such row, or there is no such distribution or mode.

    Reference:
        X. Glorot, Y. Bengio (2010), Understanding the difficulty of training deep feedforward neural networks,
        equations 12 and 16.

    Example:
        >>> chapter_table("tanh").scale, chapter_table("elu", mode="fan_in").mode
        (16.0, 'fan_in')
    """
    if activation not in _CHAPTER:
        what = f"The chapter's table has no row for '{activation}'."
        fix = f"Use for_activation({activation!r})." if activation in SCALES else close_matches(activation, _CHAPTER)
        raise RecipeError(what, expected=" | ".join(_CHAPTER), fix=fix)
    return _scaled(round(_CHAPTER[activation] ** 2, 12), distribution, mode, seed)


def scale_of(activation: Activation) -> float:
    r"""The scale that theory gives an activation, with its arguments; :func:`for_activation` has the table.

    What counts is the slope below zero: ``negative_slope`` of ``relu`` and its leaky kin, ``initial`` of ``prelu``, and
    the mean square over the range from ``lower`` to ``upper`` of ``rrelu``. The ``alpha`` of ``elu`` and ``celu`` does
    not: whatever it is, large sums are cut off at ``-alpha`` below zero, so that with scale 2 the signal's mean square
    grows by at most :math:`\alpha^2` a layer, and not by a factor.

    Args:
        activation: A name, or a table such as ``{"name": "rrelu", "lower": 0.1, "upper": 0.5}``.

    Raises:
        RecipeError: if no initializer is known to suit it, or its slope is no number.

    Example:
        >>> scale_of("relu"), scale_of({"name": "relu", "negative_slope": 1.0}), scale_of({"name": "elu", "alpha": 3.0})
        (2.0, 1.0, 2.0)
    """
    table = {"name": activation} if isinstance(activation, str) else activation
    name = table.get("name")
    if name not in SCALES:
        what = f"No initializer is known to suit the activation '{name}'."
        known = close_matches(str(name), SCALES)
        raise RecipeError(what, fix=f"{known} Or choose one yourself: keras.initializers.VarianceScaling(scale=...).")
    if name == "rrelu":
        return _rectifier(_mean_square(_slope(table, "lower", LOWER), _slope(table, "upper", UPPER)))
    if name in _SLOPES and _SLOPES[name] in table:
        return _rectifier(_slope(table, _SLOPES[name]) ** 2)
    return SCALES[name]


#: What the slope below zero is called.
_SLOPES = {
    "prelu": "initial",
    **dict.fromkeys(("relu", "leaky_relu", "very_leaky_relu"), "negative_slope"),
}


def _slope(table: Mapping[str, Any], argument: str, usual: float = 0.0) -> float:
    value = table.get(argument, usual)
    if not number(value):
        what = f"The slope of '{table['name']}' cannot be used."
        raise RecipeError(what, expected="a finite number", received=f"{argument}={value!r}")
    return float(value)


def for_activation(
    activation: Activation,
    *,
    distribution: Distribution = "normal",
    mode: Fan = "fan_in",
    slope: float | None = None,
    seed: int | None = None,
) -> keras.initializers.VarianceScaling:
    r"""The initializer that suits an activation by theory: :math:`\sigma = \sqrt{s / n}`, :math:`r = \sqrt{3 s / n}`.

    ======================================== ====================== ================================================
    activation                               s                      source
    ======================================== ====================== ================================================
    ``linear``, ``tanh``, ``softsign``,      1                      slope 1 at zero (LeCun 1998; Glorot 2010)
    ``hard_tanh``
    ``softmax`` and its kin                  1                      an output, as a linear one
    ``logistic`` = ``sigmoid``               16 (factor 4 on σ)     slope 1/4 at zero (Glorot 2010)
    ``hard_sigmoid``, ``sparse_sigmoid``     36, 4                  slopes 1/6 and 1/2 at zero, likewise
    ``relu``, ``relu6``                      2                      He 2015, equation 10
    ``leaky_relu`` and the like, slope a     :math:`2/(1+a^2)`      He 2015, equation 15
    ``elu``, ``celu``                        2                      Clevert 2016 trains with He's
    ``gelu``, ``silu``, ``mish``,            2                      customary, as for ReLU; see below
    ``hard_silu``
    ``softplus``, ``squareplus``,            2                      customary, as for ReLU; see below
    ``sparse_plus``, ``log_sigmoid``
    ``selu``                                 1                      Klambauer 2017, section 3: the fixed point
    ======================================== ====================== ================================================

    The slopes a are 0.01 for ``leaky_relu``, 0.2 for ``very_leaky_relu``, 0.25 (the initial one) for ``prelu``, and for
    ``rrelu`` the root mean square of the range from 1/8 to 1/3.

    Where 2 is customary, it does not hold the signal in a deep plain stack with biases of 0. In the twentieth wide
    layer the mean square of the weighted sums is 6e-5 for ``gelu``, 7e-6 for ``silu``, 4e-6 for ``hard_silu``, 0.02 for
    ``mish``, 11 for ``elu`` and 12 for ``softplus``, where it was 1 in the first: the scale at which it would neither
    grow nor shrink lies within 2% of 2, but needs random biases as well (Roberts 2022, section 5.3). Deep networks of
    these need normalization, residual connections or :func:`zoo.lsuv`.

    A normal draw is Keras's ``truncated_normal``: cut at two standard deviations and widened before, so that sigma is
    what comes out after the cut. ``he_normal``, ``glorot_normal`` and ``lecun_normal`` draw it too, and it has no
    outliers: none beyond 2.274 sigma. ``untruncated_normal`` has the same sigma, and one weight in 44 beyond that. (A
    bare ``keras.initializers.TruncatedNormal(stddev=s)`` is cut but not widened: its spread is 0.880 s.)

    Args:
        activation: A name above, ``swish`` or ``hard_swish``; or a table with a name and its arguments, whose slope
            below zero counts (:func:`scale_of`).
        distribution: ``normal`` or ``uniform``.
        mode: What n is: ``fan_in`` (keeps the variance of the signals), ``fan_avg`` (a compromise with that of the
            gradients) or ``fan_out``.
        slope: For ``leaky_relu`` and ``prelu``: the slope below zero, if it is another one.
        seed: The same seed gives the same weights; by default Keras draws one. An initializer gives two kernels of one
            shape the same values: make one for each layer, with a seed of its own.

    Returns:
        Keras's initializer. Its fans are those of dense layers and convolutions: for a depthwise kernel Keras takes n
        ``channels`` times too large, and for a transposed convolution it takes fan-out for fan-in.

    Raises:
        RecipeError: if no initializer is known to suit it, it has no slope, or there is no such distribution or mode.

    Reference:
        K. He et al. (2015), Delving Deep into Rectifiers, equations 10 and 15. X. Glorot, Y. Bengio (2010),
        Understanding the difficulty of training deep feedforward neural networks. Y. LeCun et al. (1998), Efficient
        BackProp, section 4.6. G. Klambauer et al. (2017), Self-Normalizing Neural Networks. D.-A. Clevert et al.
        (2016), Fast and Accurate Deep Network Learning by Exponential Linear Units. D. Roberts, S. Yaida, B. Hanin
        (2022), The Principles of Deep Learning Theory.

    Example:
        >>> kernel = for_activation("elu", seed=7)
        >>> kernel.scale, kernel.mode, kernel.distribution
        (2.0, 'fan_in', 'truncated_normal')
    """
    if slope is not None:
        name = activation if isinstance(activation, str) else activation.get("name")
        if name not in ("leaky_relu", "prelu"):
            what = f"The slope of '{name}' cannot be chosen."
            raise RecipeError(what, received=f"slope={slope}", fix="Use 'leaky_relu' or 'prelu', or leave it out.")
        activation = {"name": name, _SLOPES[name]: slope}
    return _scaled(scale_of(activation), distribution, mode, seed)


def default_for(activation: Activation, *, seed: int | None = None) -> keras.initializers.VarianceScaling:
    """What zoo's own networks and tops start hidden kernels from, where nothing else is said.

    He's for rectifiers, with the slope below zero that they have; LeCun's for SELU; Glorot's, which is Keras's default,
    for all others. Theory's for the logistic function is four times as wide: ask for it by :func:`for_activation`.

    Args:
        activation: A name, or a table with its arguments.
        seed: The same seed gives the same weights.

    Raises:
        CardError: if there is no such activation.
        RecipeError: if its slope is no number.

    Example:
        >>> [type(default_for(name)).__name__ for name in ("elu", "selu", "tanh")]
        ['HeNormal', 'LecunNormal', 'GlorotUniform']
        >>> default_for({"name": "leaky_relu", "negative_slope": 1.0}).scale
        1.0
    """
    name = activation_name(activation)
    if name == "selu":
        return keras.initializers.LecunNormal(seed)
    if name not in _RECTIFIERS:
        return keras.initializers.GlorotUniform(seed)
    return keras.initializers.HeNormal(seed) if scale_of(activation) == 2 else for_activation(activation, seed=seed)


def _scaled(scale: float, distribution: str, mode: str, seed: int | None) -> keras.initializers.VarianceScaling:
    _check("distribution", distribution, _KERAS)
    _check("mode", mode, _FANS)
    return keras.initializers.VarianceScaling(scale, mode, _KERAS[distribution], seed=seed)


def _check(argument: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        what = f"An initializer has no {argument} '{value}'."
        raise RecipeError(what, expected=" | ".join(known))
