"""What to do about a layer that is not well: the fix, and the call or option that applies it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from .verdict import Verdict

#: Above this spread an input is raw, such as pixels from 0 to 255.
RAW = 10.0

_SCALE = (
    "First scale the input, which spreads {spread:.0f}, to about 1, and look again: keras.layers.Rescaling or "
    "Normalization as the lowest layer (zoo.insert_layer). "
)
_CALMER = "train again at a lower --learning-rate, with --global-clipnorm 1"
_BEFORE = "go back to weights from before; then " + _CALMER
_SLOPE = "an activation that has a slope below zero ('elu', 'leaky_relu')"

#: Their outputs have a mean far from 0, which each layer's weights turn into an offset: with small weights the signal
#: is lost beside it, with large ones the units saturate. No initializer mends that.
_OFF_CENTRE = ("sigmoid", "hard_sigmoid", "sparse_sigmoid")

#: Verdicts that say the same of a layer, by their rank: no numbers, too large, too small. Any other stands alone.
_KINDS = ((0, 1, 2), (3, 6), (7, 8))


@dataclass(frozen=True)
class Setting:
    """What a remedy depends on beside the verdict.

    Attributes:
        activation: The activation that follows the layer; empty for none.
        normalized: Whether a normalization lies between the two.
        spread: The input's, between examples.
        fresh: The verdict on the same layer, freshly initialized; ``None`` if that is not known.
        alike: Whether all values of the layer's kernels are equal.
    """

    activation: str = ""
    normalized: bool = False
    spread: float = 1.0
    fresh: Verdict | None = None
    alike: bool = False


def remedy(judged: Verdict, setting: Setting) -> str:
    """Advice on one layer.

    Whether a freshly initialized layer suffers from the same decides where the fault lies: in how the network is built
    and initialized, or in the weights that it has now.

    Args:
        judged: The layer's verdict.
        setting: What else it depends on.

    Returns:
        A sentence or a few; empty for a healthy layer.

    Example:
        >>> from zoo.verdict import Figures, judge
        >>> print(remedy(judge(Figures(dead=0.9)), Setting("relu", fresh=judge(Figures()))))
        A fresh network does not have it. Train again at a lower --learning-rate, with --global-clipnorm 1, or use an
        activation that has a slope below zero ('elu', 'leaky_relu').
    """
    if judged.name == "healthy":
        return ""
    learned = setting.fresh is not None and setting.fresh.name == "healthy"
    raw = setting.spread > RAW and judged.rank in (3, 5, 9)
    return (
        (_SCALE.format(spread=setting.spread) if raw else "")
        + _origin(judged, setting.fresh)
        + _fix(judged, setting, learned)
    )


def _origin(judged: Verdict, fresh: Verdict | None) -> str:
    if fresh is None:
        return ""
    if _kind(fresh) == _kind(judged):
        return "A fresh network has it too. "
    # What is no number at least is none because of the weights, whatever else ails a fresh network.
    return "A fresh network does not have it. " if fresh.name == "healthy" or judged.rank in _KINDS[0] else ""


def _kind(verdict: Verdict) -> tuple[int, ...]:
    return next((kind for kind in _KINDS if verdict.rank in kind), (verdict.rank,))


def _fix(judged: Verdict, setting: Setting, learned: bool) -> str:
    if judged.rank in _KINDS[0]:
        built = setting.fresh is not None and _kind(setting.fresh) == _kind(judged)
        return _first(_no_number(judged, setting.fresh.rank if built and setting.fresh else None))
    if setting.alike and judged.rank in (3, 4, 5, 6, 7):
        return _first(_alike(setting, learned))
    if judged.rank == 8:
        return "Look above it: a layer whose units are all off, or a gradient that is stopped, lets nothing through."
    if judged.rank == 9:
        return "Lower the rate (--learning-rate), or clip the gradients: --global-clipnorm 1."
    fixes: dict[str, Callable[[Setting, bool], str]] = {
        "exploding": _exploding,
        "dead": _dead,
        "saturated": _saturated,
        "vanishing": _vanishing,
    }
    return _first(fixes[judged.name](setting, learned))


def _no_number(judged: Verdict, fresh: int | None) -> str:
    """Where NaN and infinity come from; ``fresh`` is the rank of a fresh network's, where that has them too."""
    if fresh is None and judged.rank == 0:
        return f"start again from weights that are numbers; then {_CALMER}."
    if fresh is None:
        return f"look for a layer whose weights are NaN; where there is none, values outgrow 32 bits: {_BEFORE}."
    if fresh == 2:
        return (
            "it is not the weights. Look above it for an operation that has no finite slope where it is used, such as "
            "a root, a norm or a logarithm at 0; then at the loss and its targets."
        )
    return (
        "it is not the weights. Look at it and below it for an operation that gives no number, such as a logarithm or "
        "a root below 0 or a quotient by 0, for an initializer that draws none, and for values that outgrow 32 bits."
    )


def _alike(setting: Setting, learned: bool) -> str:
    """Units that start as copies of one stay so: they get the same gradient (Goodfellow et al., 2016, section 8.4)."""
    if learned:
        return "all of its weights are equal: load the right file, or train fresh ones: --from-scratch."
    how = f"kernel_initializer=zoo.layers.for_activation('{setting.activation or 'linear'}')"
    return (
        f"draw its weights at random, {how}: all of them are equal, so that its units are copies of one and stay so, "
        "and behind zeros nothing gets through."
    )


def _exploding(setting: Setting, learned: bool) -> str:
    return f"{_CALMER} or --weight-decay 0.0001." if learned else f"{_start(setting)}."


def _dead(setting: Setting, learned: bool) -> str:
    if learned:
        return f"{_CALMER}, or use {_SLOPE}."
    return f"use {_SLOPE}, and let biases start at 0."


def _saturated(setting: Setting, learned: bool) -> str:
    if learned:
        return f"{_CALMER} or --weight-decay 0.0001."
    other = "" if setting.activation in _OFF_CENTRE else "; or use an activation that does not saturate ('elu')"
    return f"{_start(setting)}{other}."


def _vanishing(setting: Setting, learned: bool) -> str:
    if learned:
        return (
            "bring its weights, or those of a layer near it, back to their size: zoo.lsuv(model, x); or train fresh "
            "ones: --from-scratch."
        )
    return f"{_start(setting)}."


def _start(setting: Setting) -> str:
    """How to begin with signals that neither grow nor shrink."""
    if setting.activation in _OFF_CENTRE:
        how = "use 'elu' with kernel_initializer=zoo.layers.for_activation('elu') in its place"
    else:
        how = (
            f"give each layer kernel_initializer=zoo.layers.for_activation('{setting.activation or 'linear'}'), or "
            "scale what it has: zoo.lsuv(model, x)"
        )
    return how if setting.normalized else f"{how}; or put keras.layers.BatchNormalization() before each activation"


def _first(text: str) -> str:
    return text[0].upper() + text[1:]
