"""Activations by name: for every name a layer, Keras's own wherever Keras has one.

Slopes are explicit, because Keras's defaults differ: the name ``leaky_relu`` means 0.2 to ``keras.activations``, and
the layer ``LeakyReLU`` has 0.3. Here ``leaky_relu`` is 0.01 and ``very_leaky_relu`` 0.2, as in the chapter.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import keras

from zoo.errors import CardError, close_matches

from .rrelu import RReLU

#: An activation's name, or a table with its name and its arguments: ``{"name": "elu", "alpha": 0.5}``.
Activation = str | Mapping[str, Any]

#: Names that zoo adds to Keras's, or whose meaning it fixes.
OURS = ("leaky_relu", "very_leaky_relu", "rrelu", "prelu", "logistic")

#: What these are made of: a layer of its own, and the arguments that the name stands for.
_LAYERS: dict[str, tuple[type[keras.layers.Layer], dict[str, Any]]] = {
    "leaky_relu": (keras.layers.LeakyReLU, {"negative_slope": 0.01}),
    "very_leaky_relu": (keras.layers.LeakyReLU, {"negative_slope": 0.2}),
    "rrelu": (RReLU, {}),
}

#: Where arguments are given, the layers of Keras that take them.
_WITH_ARGUMENTS: dict[str, type[keras.layers.Layer]] = {
    "elu": keras.layers.ELU,
    "relu": keras.layers.ReLU,
    "softmax": keras.layers.Softmax,
}

_SHARED = ("space", "all", "none")


@cache
def names() -> tuple[str, ...]:
    """Every name that :func:`activation` takes: Keras's and ours, sorted."""
    left_out = ("get", "serialize", "deserialize")
    keras_names = [n for n in dir(keras.activations) if n.islower() and not n.startswith("_") and n not in left_out]
    return tuple(sorted({*keras_names, *OURS}))


def activation_name(spec: Activation) -> str:
    """The name in a spec, checked; ``logistic`` is ``sigmoid``.

    Raises:
        CardError: if there is no such activation.

    Example:
        >>> activation_name({"name": "logistic"})
        'sigmoid'
    """
    name = spec.get("name") if isinstance(spec, Mapping) else spec
    if not isinstance(name, str) or name not in names():
        what = f"Keras has no activation {name!r}."
        raise CardError(what, fix=close_matches(str(name), names()))
    return "sigmoid" if name == "logistic" else name


def activation(
    spec: Activation, *, rank: int | None = None, name: str | None = None, seed: int | None = None, **arguments: Any
) -> keras.layers.Layer:
    """The layer that an activation's name stands for.

    Plain Keras layers, so that a saved network loads in plain Keras; ``rrelu`` alone, and a function of Keras's with
    arguments that ``keras.layers.Activation`` cannot keep (``gelu`` with ``approximate=True``), are layers of ours.

    =================== =============================================================================================
    Name                Is
    =================== =============================================================================================
    ``leaky_relu``      ``LeakyReLU``, slope 0.01
    ``very_leaky_relu`` ``LeakyReLU``, slope 0.2
    ``rrelu``           :class:`RReLU`, slope drawn from 1/8 to 1/3; ``lower``, ``upper``
    ``prelu``           ``PReLU``, slope learned from ``initial=0.25``; ``shared="space"`` (one slope a channel),
                        ``"all"`` (one a layer) or ``"none"`` (one an element); needs ``rank``
    ``elu``, ``celu``   ``alpha=1``
    ``selu``            see :func:`check_selu` for what it asks of the rest of the network
    ``gelu``            exact, by the error function; ``approximate=True`` for the tanh form
    ``logistic``        ``sigmoid``
    any other           the function of that name in ``keras.activations``, with its own arguments
    =================== =============================================================================================

    Args:
        spec: A name, or a table such as ``{"name": "elu", "alpha": 0.5}``.
        rank: The number of the input's axes with the batch: 2 for dense layers, 4 for images. Only ``prelu`` needs it.
        name: The layer's name.
        seed: Of the slopes of ``rrelu``.
        **arguments: The activation's own, and ``dtype``; those of a table come first.

    Returns:
        A new layer.

    Raises:
        CardError: if there is no such activation, or it does not take the arguments.

    Reference:
        B. Xu et al. (2015), Empirical Evaluation of Rectified Activations in Convolutional Network (RReLU). K. He et
        al. (2015), Delving Deep into Rectifiers, equation 1 (PReLU). D.-A. Clevert et al. (2016), Fast and Accurate
        Deep Network Learning by Exponential Linear Units, equation 15. G. Klambauer et al. (2017), Self-Normalizing
        Neural Networks, equation 2.

    Example:
        >>> activation("leaky_relu").negative_slope, activation({"name": "elu", "alpha": 0.5}).alpha
        (0.01, 0.5)
        >>> activation("prelu", rank=4).shared_axes
        [1, 2]
    """
    called = activation_name(spec)
    given = {k: v for k, v in spec.items() if k != "name"} if isinstance(spec, Mapping) else {}
    given = {**arguments, **given}
    base = {"name": name, **({"dtype": given.pop("dtype")} if "dtype" in given else {})}
    if called == "prelu":
        return _prelu(rank, base, **_known(called, given, _prelu, ("rank", "base")))
    if called == "rrelu":
        base = {**base, "seed": seed}
    if called in _LAYERS:
        made, fixed = _LAYERS[called]
        return _made(called, made, {**fixed, **_known(called, given, made)}, base)
    if called in _WITH_ARGUMENTS and given:
        made = _WITH_ARGUMENTS[called]
        return _made(called, made, _known(called, given, made), base)
    function = getattr(keras.activations, called)
    needed = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty][1:]
    if missing := [argument for argument in needed if argument not in given]:
        what = f"The activation '{called}' needs arguments."
        raise CardError(what, expected=", ".join(needed), received=f"no {', '.join(missing)}")
    if given:
        return _made(called, Function, {"function": called, "arguments": _known(called, given, function)}, base)
    return keras.layers.Activation(called, **base)


def _known(called: str, given: dict[str, Any], taker: Callable[..., Any], hidden: tuple[str, ...] = ()) -> dict:
    """The arguments, once it is known that the taker has them."""
    left_out = ("self", "kwargs", "x", "name", "seed", *hidden)
    known = [p for p in inspect.signature(taker).parameters if p not in left_out]
    for argument in given:
        if argument not in known:
            what = f"The activation '{called}' has no argument '{argument}'."
            raise CardError(what, fix=close_matches(argument, known) if known else "It takes none.")
    return given


def _made(called: str, made: type[keras.layers.Layer], given: dict[str, Any], base: dict[str, Any]) -> Any:
    try:
        return made(**given, **base)
    except (TypeError, ValueError) as reason:
        what = f"The activation '{called}' refuses its arguments: {str(reason).splitlines()[0]}"
        raise CardError(what, received=str(given)) from None


def _prelu(rank: int | None, base: dict[str, Any], *, shared: str = "space", initial: float = 0.25) -> Any:
    """Keras's PReLU; without shared axes it would learn a slope for every pixel, and fix the image's size."""
    if rank is None or rank < 2:
        what = "PReLU shares its slopes over some of its input's axes, and has to know how many there are."
        raise CardError(what, expected="rank = 2 for vectors, 4 for images", received=f"rank = {rank}")
    if shared not in _SHARED:
        what = "PReLU's slopes cannot be shared like that."
        raise CardError(what, expected=" | ".join(_SHARED), received=repr(shared))
    axes = {"space": range(1, rank - 1), "all": range(1, rank), "none": ()}[shared]
    start: Any = keras.initializers.Constant(initial)  # Keras annotates a name, and takes any
    return keras.layers.PReLU(alpha_initializer=start, shared_axes=list(axes) or None, **base)


@keras.saving.register_keras_serializable(package="zoo")
class Function(keras.layers.Layer):
    """A function of ``keras.activations`` with arguments, which ``keras.layers.Activation`` cannot keep in a file.

    Args:
        function: Its name.
        arguments: Its arguments by name.
        **kwargs: Those of every Keras layer.

    Call arguments:
        inputs: A tensor.

    Example:
        >>> import numpy as np
        >>> Function("celu", {"alpha": 2.0})(np.array([-50.0, 3.0])).numpy().tolist()
        [-2.0, 3.0]
    """

    def __init__(self, function: str, arguments: Mapping[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.function = function
        self.arguments = dict(arguments)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Calls the function."""
        return getattr(keras.activations, self.function)(inputs, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        """The function's name and its arguments."""
        return {**super().get_config(), "function": self.function, "arguments": dict(self.arguments)}
