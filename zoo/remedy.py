"""What to do about a layer that is not well: the fix, and the call or option that applies it. Pure."""

from .verdict import Verdict

_STEEP = "zoo.layers.for_activation('{activation}')"
_FROM_SCRATCH = "zoo finetune MODEL DATA --from-scratch"


def remedy(judged: Verdict, activation: str, normalized: bool, fresh: Verdict | None) -> str:
    """Advice on one layer.

    Whether a freshly initialized layer suffers from the same decides where the fault lies: in how the network is built
    and initialized, or in the weights that it has now.

    Args:
        judged: Its verdict.
        activation: The activation that follows it; empty for none.
        normalized: Whether a normalization lies between the two.
        fresh: The verdict on the same layer, freshly initialized; ``None`` if that is not known.

    Returns:
        A sentence or two; empty for a healthy layer.

    Example:
        >>> from zoo.verdict import Figures, judge
        >>> dead = judge(Figures(dead=0.9))
        >>> remedy(dead, "relu", False, None)[:46]
        'Use an activation that has a slope below zero:'
    """
    if judged.name == "healthy":
        return ""
    built = fresh is not None and fresh.name == judged.name
    learned = fresh is not None and fresh.name == "healthy"
    since = "A fresh network has it too. " if built else "A fresh network does not have it. " if learned else ""
    if judged.rank in _UNSTABLE:
        return since + _UNSTABLE[judged.rank]
    return since + {"exploding": _exploding, "dead": _dead, "saturated": _saturated, "vanishing": _vanishing}[
        judged.name
    ](activation or "relu", normalized, learned)


_NOT_NUMBERS = (
    "Start again from weights that are numbers, at a lower --learning-rate, or clip the gradients: --global-clipnorm 1."
)
#: By rank: what does not depend on the activation.
_UNSTABLE = {
    **dict.fromkeys((0, 1, 2), _NOT_NUMBERS),
    8: "Lower the rate (--learning-rate), or clip the gradients: --global-clipnorm 1.",
}


def _exploding(activation: str, normalized: bool, learned: bool) -> str:
    if learned:
        return (
            "Its weights have grown: train again with a lower --learning-rate, --global-clipnorm 1 or --weight-decay."
        )
    return f"Initialize by the activation: {_initializer(activation)}{_or_normalize(normalized)}."


def _dead(activation: str, normalized: bool, learned: bool) -> str:
    advice = (
        "Use an activation that has a slope below zero: zoo.replace_layer(model, NAME, keras.layers.ELU()), or "
        "activation = 'elu' in [model.args]"
    )
    if learned:
        return f"{advice}; and train it again with a lower --learning-rate."
    return f"{advice}; let biases start at 0."


def _saturated(activation: str, normalized: bool, learned: bool) -> str:
    scale = "Scale the input to about -1 to 1 (keras.layers.Rescaling or Normalization as the lowest layer)"
    if learned:
        return f"{scale} if it is not, and train again with a lower --learning-rate or --weight-decay."
    return f"{scale} if it is not; initialize by the activation: {_initializer(activation)}{_or_normalize(normalized)}."


def _vanishing(activation: str, normalized: bool, learned: bool) -> str:
    if learned:
        return "Its weights, or those of a layer near it, are far smaller than fresh ones: train them anew."
    gentle = (
        "" if activation not in ("sigmoid", "tanh", "hard_sigmoid", "softsign") else "use 'elu' or 'selu' instead of "
    )
    start = f"{gentle}{f'{chr(39)}{activation}{chr(39)}, and ' if gentle else ''}"
    how = _initializer("elu" if gentle else activation)
    text = f"{start}initialize by the activation: {how}{_or_normalize(normalized)}."
    return text[0].upper() + text[1:]


def _initializer(activation: str) -> str:
    return f"kernel_initializer = zoo.layers.for_activation('{activation}')"


def _or_normalize(normalized: bool) -> str:
    return "" if normalized else "; or normalize in front of each activation: batch_norm = true in [model.args]"
