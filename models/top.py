"""The top that every builder puts on its features, and what all builders share: activations, dropout, checks."""

from typing import Any, Literal

import keras

from zoo.errors import CardError, RecipeError, close_matches

from ..layers.activations import Activation, activation, activation_name
from ..layers.initializers import default_for, for_activation
from ..layers.selu import dropout_after
from .seeding import Initializer, Seeds

Output = Literal["softmax", "sigmoid", "linear"]
OUTPUTS = ("softmax", "sigmoid", "linear")


def with_top(
    inputs: Any,
    features: Any,
    classes: int | None,
    *,
    output: Output,
    dropout: keras.layers.Layer | None,
    seeds: Seeds,
    name: str,
) -> keras.Model:
    """The finished network: dropout on the features, then one dense layer (``top_output``).

    The output is computed in float32 whatever the precision of the rest, as softmax and losses need it.

    Args:
        inputs: The network's symbolic input.
        features: Its last tensor below the top, shape ``(batch, n)``.
        classes: The number of outputs; ``None`` for a network that ends in its features.
        output: ``softmax`` (one of several), ``sigmoid`` (any of several) or ``linear`` (numbers, or logits).
        dropout: The layer that drops some of the features, from :func:`dropout_layer`; ``None`` for none.
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
    x = dropout(features) if dropout is not None else features
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


def activated(x: Any, spec: Activation, seeds: Seeds, name: str) -> Any:
    """An activation's layer on a tensor; see :func:`zoo.layers.activation`. Only ``rrelu`` takes a seed."""
    seed = seeds.next() if activation_name(spec) == "rrelu" else None
    return activation(spec, rank=len(x.shape), seed=seed, name=name)(x)


def dropout_layer(rate: float, spec: Activation, seeds: Seeds, name: str) -> keras.layers.Layer | None:
    """The dropout that suits the activation below it, or ``None`` at rate 0."""
    return dropout_after(spec, rate, seed=seeds.next(), name=name) if rate else None


def kernel_start(initializer: Initializer | None, spec: Activation) -> Initializer:
    """The initializer of hidden kernels: the one given; for ``None`` what suits the activation; ``auto`` by theory.

    Args:
        initializer: A Keras name or configuration, ``auto`` for :func:`zoo.layers.for_activation`, or ``None`` for
            He's, LeCun's or Glorot's (``default_for`` in ``layers/initializers.py``).
        spec: The activation that follows.

    Raises:
        CardError: if it is ``auto``, and no initializer is known to suit the activation.

    Example:
        >>> kernel_start(None, "elu")["class_name"], kernel_start("glorot_uniform", "selu")
        ('HeNormal', 'glorot_uniform')
        >>> kernel_start("auto", "tanh")["config"]["scale"]
        1.0
    """
    activation_name(spec)
    if initializer not in (None, "auto"):
        return initializer
    try:
        found = default_for(spec) if initializer is None else for_activation(spec)
    except RecipeError as reason:
        raise CardError(str(reason)) from None
    return {"class_name": type(found).__name__, "config": found.get_config()}
