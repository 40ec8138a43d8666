"""The starting point as the reference: every reused weight stays near its pretrained value (L2-SP)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .errors import RecipeError, SurgeryError
from .flattening import flat
from .graph import operations
from .layer_pattern import layers_matching
from .layers.regularizers import L2SP, usable_strength
from .plan import leaf_layers
from .retracing import forget_steps

#: Weights that are no kernels, by the ends of Keras's names for them; so is whatever has a single axis.
_NO_KERNELS = ("bias", "gamma", "beta", "alpha", "scale")


@dataclass(frozen=True)
class Pull:
    """What :func:`l2_sp` has set, and the way back; printed in one line.

    ``reused`` and ``fresh`` name the weights, ``LAYER/WEIGHT``. In a ``with`` statement, the end of the block takes
    everything off again.
    """

    alpha: float
    beta: float
    reused: tuple[str, ...]
    fresh: tuple[str, ...]
    _model: keras.Model
    _before: tuple[tuple[Any, Any], ...]

    def undo(self) -> None:
        """Puts the weights' own regularizers back."""
        for variable, regularizer in self._before:
            variable.regularizer = regularizer
        forget_steps(self._model)

    def __enter__(self) -> "Pull":
        return self

    def __exit__(self, *reason: object) -> None:
        self.undo()

    def __str__(self) -> str:
        fresh = f"; {len(self.fresh)} fresh ones to 0 (beta {self.beta:g})" if self.fresh else ""
        return f"{len(self.reused)} reused weights are pulled to their start (alpha {self.alpha:g}){fresh}"


def start_of(model: keras.Model, *, new: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The values of a network's kernels, by ``LAYER/WEIGHT``: what :func:`l2_sp` takes as a start later on.

    Args:
        model: A Keras model.
        new: The names of layers to leave out: :func:`l2_sp` takes what has no start for fresh.
    """
    found = kernels_by_name(flat(model)).items()
    return {name: np.array(variable.numpy()) for name, (_, variable) in found if _layer_of(name) not in new}


def l2_sp(
    model: keras.Model,
    alpha: float,
    beta: float = 0.0,
    *,
    start: keras.Model | Mapping[str, np.ndarray] | None = None,
    fresh: str | None = None,
    layers: str | None = None,
) -> Pull:
    r"""Pulls the reused weights of a network to where they started, and the fresh ones to zero.

    .. math:: \Omega(w) = \frac{\alpha}{2} \lVert w_S - w_S^0 \rVert_2^2
        + \frac{\beta}{2} \lVert w_{\bar S} \rVert_2^2

    As in the authors' code, weights are kernels (and embeddings): no biases, no scales and offsets of normalization. A
    frozen weight adds nothing until it is thawed. The regularizers stand on the variables, in place of their own, and
    in no configuration: the network is saved as the plain Keras network that it was. A copy of it has none.

    Leave an optimizer's weight decay off: it pulls the same weights to zero.

    Args:
        model: A Keras model; it is changed in place.
        alpha: The strength for reused weights; the authors' example has 0.1.
        beta: The strength for fresh weights; the authors' example has 0.01. 0 leaves them, and their own regularizers,
            alone.
        start: Where the weights are pulled to: ``None`` for where they are now; a network, whose layers of equal names
            and shapes were reused; or what :func:`start_of` gave.
        fresh: The layers that are new, a regular expression for the whole name. With a ``start`` of its own, weights
            that it has not are fresh too.
        layers: The layers to regularize, a regular expression; all by default.

    Returns:
        What was set; its ``undo()`` puts the weights' own regularizers back.

    Raises:
        RecipeError: if a strength is none.
        SurgeryError: if there is nothing to pull, or no layer has such a name.

    Reference:
        Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", 2018,
        equation 3; code: github.com/holyseven/TransferLearningClassification.

    Example:
        >>> import zoo
        >>> net = zoo.replace_top(zoo.load("glyphs"), classes=10)
        >>> pull = zoo.l2_sp(net, alpha=0.1, beta=0.01, fresh="top.*")
        >>> print(pull)
        6 reused weights are pulled to their start (alpha 0.1); 1 fresh ones to 0 (beta 0.01)
        >>> pull.undo()
    """
    alpha, beta = usable_strength("alpha", alpha), usable_strength("beta", beta)
    graph = flat(model)
    meant = layers_matching(graph, layers)
    new = layers_matching(graph, fresh) if fresh else frozenset()
    found = {name: v for name, (_, v) in kernels_by_name(graph).items() if _layer_of(name) in meant}
    starts = {name: v.numpy() for name, v in found.items()} if start is None else _given(start)
    reused = [n for n, v in found.items() if _held(n, v, starts) and _layer_of(n) not in new]
    if not reused:
        what = f"No weight of '{model.name}' has a start to stay near."
        fix = "Check `fresh`, `layers`, and that the layers of `start` have the same names."
        raise SurgeryError(what, fix=fix)
    others = [name for name in found if name not in reused and beta]
    before = tuple((found[name], found[name].regularizer) for name in (*reused, *others))
    for name in reused:
        dtype = "float64" if found[name].dtype == "float64" else "float32"
        found[name].regularizer = L2SP(alpha, starts[name], dtype)
    for name in others:
        found[name].regularizer = keras.regularizers.L2(beta / 2)
    forget_steps(model)
    return Pull(alpha, beta, tuple(reused), tuple(others), model, before)


def kernels_by_name(graph: keras.Model) -> dict[str, tuple[keras.layers.Layer, Any]]:
    """The kernels of a flat network, each once, by ``LAYER/WEIGHT``, with the layer that holds it.

    The name is of the layer that is called; a part of it, such as a projection of attention, may be what holds it.
    Weights are numbered where a layer has several of one name.
    """
    found: dict[str, tuple[keras.layers.Layer, Any]] = {}
    seen: set[int] = set()
    for operation in operations(graph):
        for leaf in leaf_layers([operation]):
            for variable in leaf._trainable_variables:
                if len(variable.shape) < 2 or variable.name.endswith(_NO_KERNELS) or id(variable) in seen:
                    continue
                seen.add(id(variable))
                name = f"{operation.name}/{variable.name}"
                count = sum(1 for known in found if known.split("#")[0] == name)
                found[f"{name}#{count + 1}" if count else name] = (leaf, variable)
    return found


def _given(start: Any) -> Mapping[str, np.ndarray]:
    if isinstance(start, keras.Model):
        return start_of(start)
    if not isinstance(start, Mapping):
        what = "This is no starting point."
        raise RecipeError(what, expected="a keras.Model, or what start_of gave", received=type(start).__name__)
    return start


def _held(name: str, variable: Any, starts: Mapping[str, np.ndarray]) -> bool:
    return name in starts and tuple(starts[name].shape) == tuple(variable.shape)


def _layer_of(weight: str) -> str:
    return weight.rpartition("/")[0]
