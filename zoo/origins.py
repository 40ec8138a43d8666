"""Which layers of a network are reused, and which are new: those whose kernels are still as they were drawn."""

from typing import Any, NamedTuple

import keras
import numpy as np

from .flattening import flat
from .starting_point import kernels_by_name


class Origins(NamedTuple):
    """The names, in the flat network, of the layers that have kernels: the reused ones, and the new ones."""

    reused: tuple[str, ...]
    new: tuple[str, ...]


def origins(model: keras.Model) -> Origins:
    """Tells reused layers from new ones, such as the top that surgery made: nothing has trained those yet.

    A kernel is new if one of its layer's initializers draws just that; so it is known without a record of who made it,
    through copies and files. A layer is new if all its kernels are. An initializer that draws something else each time,
    or is not Keras's, tells nothing: its layer counts as reused.

    Args:
        model: A Keras model: the network itself, since an initializer without a seed draws something else in a copy.

    Example:
        >>> import zoo
        >>> net = zoo.replace_top(zoo.load("glyphs"), classes=10, hidden=[16])
        >>> origins(net).new
        ('top_dense1', 'top_output')
        >>> origins(zoo.load("glyphs")).new
        ()
    """
    drawn: dict[str, bool] = {}
    for name, (leaf, variable) in kernels_by_name(flat(model)).items():
        layer = name.rpartition("/")[0]
        drawn[layer] = drawn.get(layer, True) and _as_drawn(leaf, variable)
    return Origins(tuple(n for n, new in drawn.items() if not new), tuple(n for n, new in drawn.items() if new))


def _as_drawn(layer: keras.layers.Layer, variable: Any) -> bool:
    value = _as_numbers(variable)
    for initializer in filter(_repeats, vars(layer).values()):
        again = _as_numbers(initializer(variable.shape, dtype=variable.dtype))
        if isinstance(layer, keras.layers.EinsumDense) and np.linalg.norm(again) > 0:
            # It counts its fans by its equation, so that what it drew is wider or narrower by some factor.
            again *= np.linalg.norm(value) / np.linalg.norm(again)
        if np.allclose(again, value, rtol=1e-4, atol=1e-7):
            return True
    return False


def _as_numbers(tensor: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(tensor), "float32")


def _repeats(value: Any) -> bool:
    """Whether something is an initializer of Keras that draws the same every time."""
    if not isinstance(value, keras.initializers.Initializer) or not type(value).__module__.startswith("keras."):
        return False
    return not isinstance(getattr(value, "seed", None), keras.random.SeedGenerator)
