"""How the steps of a stage are run: a pure rule, so that one recipe always takes the same path."""

from collections.abc import Iterator
from typing import Any, Literal

import keras
import numpy as np

from .graph import is_seed_state
from .stage_network import StageNetwork

#: ``single``: one step a call, as Keras does; ``loop``: several steps a call; ``xla``: the same, compiled by XLA.
Way = Literal["single", "loop", "xla"]

#: Packages whose code a loop inside a compiled function is known to suit: it has no fixed number of examples, and
#: calls nothing outside of the framework.
_KNOWN = frozenset(("keras", "zoo", "tensorflow", "numpy", "builtins", "functools"))
#: Where Keras keeps the layers that XLA is faster on with a processor: matrix products and elementwise functions. Its
#: convolutions, pools and recurrent layers are slower there than the framework's own.
_BY_XLA = ("activations", "merging", "normalization", "regularization", "reshaping", "core.dense", "core.identity")
_AROUND = ("keras.src.layers.core.input_layer", "keras.src.models.functional", "keras.src.models.sequential")
_OF_KERAS = tuple(f"keras.src.layers.{part}" for part in _BY_XLA)
_OF_ZOO = tuple(f"zoo.layers.{part}" for part in ("activations", "batch_norm", "inference", "rrelu", "selu"))
#: From how many weights, each in one step, compiling by XLA pays: it takes a second or two more, and then saves 6
#: nanoseconds a weight and step, with batches of 32.
XLA_FROM = 2.5e8


def way_of(model: StageNetwork, example: Any, steps: int) -> Way:
    """How a network's steps are run.

    Args:
        model: What a stage trains, compiled.
        example: The inputs of one example, as they are read: an array, or a list of them.
        steps: How many steps the stage has at most.

    Returns:
        ``single`` where the network is run on raw texts, where something is drawn or mixed before it, where it holds
        code of the user's own (which may count on whole batches), and on other backends than TensorFlow. ``xla`` for a
        float32 network of dense layers and what goes with them, without dropout or noise, and enough steps for it to
        pay; on a GPU, where Keras itself would use it. ``loop`` for the rest.
    """
    arrays = example if isinstance(example, list) else [example]
    plain = all(isinstance(a, np.ndarray) and a.dtype.kind in "fiub" for a in arrays)
    if keras.backend.backend() != "tensorflow" or model.run_eagerly or not plain or _runs_before(model):
        return "single"
    if model._distribute_strategy is not None or not all(map(_is_known, _code(model))):
        return "single"
    if model.jit_compile:
        return "xla"
    weights = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    draws = any(map(is_seed_state, model.variables))  # XLA draws other numbers than the framework from the same seed
    dense = model.compute_dtype == "float32" and not draws and all(map(_suits_xla, _layers(model)))
    return "xla" if dense and weights * steps >= XLA_FROM else "loop"


def _runs_before(model: StageNetwork) -> bool:
    """Whether something is run before the network that learns."""
    return bool(model.trunk is not None or model.augment or model._mixes)


def _layers(model: StageNetwork) -> list[Any]:
    """All operations of the head, the models inside it too, and the layers inside its layers."""
    inside = list(model.head._flatten_layers(include_self=True))
    bare = [o for o in getattr(model.head, "operations", ()) if not isinstance(o, keras.layers.Layer)]
    return [*inside, *bare]


def _code(model: StageNetwork) -> Iterator[Any]:
    """What is called in a step: layers, the functions that they hold, the loss."""
    for layer in _layers(model):
        yield layer
        yield from (value for value in vars(layer).values() if callable(value))
    yield from (loss for loss in keras.tree.flatten(model.loss) if loss is not None and not isinstance(loss, str))


def _is_known(code: Any) -> bool:
    if isinstance(code, keras.layers.Lambda):
        return False
    named = code if hasattr(code, "__qualname__") else type(code)
    return str(named.__module__).split(".")[0] in _KNOWN


def _suits_xla(layer: Any) -> bool:
    place = type(layer).__module__
    dense = place.startswith((*_OF_KERAS, *_OF_ZOO)) and getattr(layer, "compute_dtype", None) == "float32"
    return dense or place in _AROUND
