"""The top that every builder puts on its features, and the checks that all builders share."""

from typing import Any, Literal

import keras

from zoo.errors import CardError, close_matches

from .seeding import Seeds

Output = Literal["softmax", "sigmoid", "linear"]
OUTPUTS = ("softmax", "sigmoid", "linear")


def with_top(
    inputs: Any, features: Any, classes: int | None, *, output: Output, dropout: float, seeds: Seeds, name: str
) -> keras.Model:
    """The finished network: dropout on the features (``top_dropout``), then one dense layer (``top_output``).

    The output is computed in float32 whatever the precision of the rest, as softmax and losses need it.

    Args:
        inputs: The network's symbolic input.
        features: Its last tensor below the top, shape ``(batch, n)``.
        classes: The number of outputs; ``None`` for a network that ends in its features.
        output: ``softmax`` (one of several), ``sigmoid`` (any of several) or ``linear`` (numbers, or logits).
        dropout: The rate on the features, from 0 to below 1.
        seeds: Where the seeds come from.
        name: The network's name.

    Raises:
        CardError: ``classes`` or ``output`` cannot be used.
    """
    if output not in OUTPUTS:
        what = "The network's output is not known."
        received = repr(output)
        raise CardError(what, expected=" or ".join(OUTPUTS), received=received, fix=close_matches(str(output), OUTPUTS))
    if classes is None:
        return keras.Model(inputs, features, name=name)
    require_whole("classes", classes)
    if output == "softmax" and classes == 1:
        what = "A softmax over one class is always 1."
        raise CardError(what, received="classes = 1", fix="Use output = 'sigmoid', or 2 classes.")
    x = features
    if dropout:
        x = keras.layers.Dropout(dropout, seed=seeds.next(), name="top_dropout")(x)
    x = keras.layers.Dense(
        classes,
        activation=output,
        kernel_initializer=seeds.initializer("glorot_uniform"),
        dtype="float32",
        name="top_output",
    )(x)
    return keras.Model(inputs, x, name=name)


def require_whole(argument: str, *values: int) -> None:
    """Raises ``CardError`` unless every value is a whole number, 1 or more.

    Example:
        >>> require_whole("depth", 0)
        Traceback (most recent call last):
        zoo.errors.CardError: The network's `depth` cannot be used. Expected whole numbers, 1 or more; received 0.
    """
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            what = f"The network's `{argument}` cannot be used."
            raise CardError(what, expected="whole numbers, 1 or more", received=repr(value))


def require_rate(argument: str, value: float) -> None:
    """Raises ``CardError`` unless the value is a dropout rate: from 0 to below 1."""
    if not isinstance(value, int | float) or not 0 <= value < 1:
        what = f"The network's `{argument}` cannot be used."
        raise CardError(what, expected="a rate from 0 to below 1", received=repr(value))


def activations() -> list[str]:
    """The names of Keras's activations."""
    left_out = ("get", "serialize", "deserialize")
    return [n for n in dir(keras.activations) if n.islower() and not n.startswith("_") and n not in left_out]


def require_activation(name: str) -> None:
    """Raises ``CardError`` unless Keras has an activation of that name."""
    known = activations()
    if name not in known:
        what = "The network's activation is not known to Keras."
        raise CardError(what, received=repr(name), fix=close_matches(str(name), known))
