"""Seeded views: a few augmented copies of every example, each a pure function of what it is made of.

Keras's augmentation draws for a whole batch from one state, so what an example becomes depends on its neighbours. Here
every example is augmented alone, from states of its own; what a frozen trunk gives for it can then be kept.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from .engines.interface import versions
from .errors import RecipeError
from .graph import is_seed_state, takes_training
from .read_ahead import Read
from .seeds import derive

#: Raised whenever a change of ours changes a view: how states are derived, how layers are called, what ours draw.
FORM = 1


def view_of(epoch: int, count: int) -> int:
    """The view that an epoch trains on: one after the other, then again from the first.

    Args:
        epoch: The epoch's number, from 0.
        count: How many views there are.

    Example:
        >>> [view_of(epoch, 3) for epoch in range(5)]
        [0, 1, 2, 0, 1]
    """
    return epoch % count


def views_refusal(layers: Sequence[Any], mixes: bool) -> str | None:
    """Why there can be no views of examples under an augmentation, or ``None`` where there can be.

    Args:
        layers: What augments an example alone.
        mixes: Whether examples are mixed with others too, as :func:`zoo.layers.mixing` does.

    Example:
        >>> from zoo.layers import augmentation
        >>> views_refusal(augmentation("mixup"), mixes=True)
        'MixUp and CutMix mix an example with others of its batch, so it has no views of its own'
        >>> views_refusal(augmentation("light"), mixes=False) is None
        True
    """
    if mixes:
        return "MixUp and CutMix mix an example with others of its batch, so it has no views of its own"
    if not layers:
        return "nothing augments the examples, so all views of one would be the same"
    for layer in layers:
        if isinstance(layer, keras.layers.AugMix):
            return f"the layer '{layer.name}' (AugMix) chooses its operations by Python's generator, which no seed sets"
        if takes_training(layer) and not any(map(is_seed_state, layer.variables)):
            kind = type(layer).__name__
            return (
                f"the layer '{layer.name}' ({kind}) does something else in training, and keeps no seed that can be set"
            )
    return None


class Views:
    """K seeded views of every example, to be kept as features are: epoch after epoch another one is trained on.

    A view is a pure function of the seed, the example's content, the view's number and the augmentation. It does not
    depend on the other examples, nor on where this one lies: one more example costs its own views only.

    Rows count view after view: row ``view * examples + example``.

    Args:
        layers: Augmentation on raw inputs, as :func:`zoo.layers.augmentation` makes it. Their own states stay.
        what: Which augmentation that is, in plain data (the spec, the moments): the digests depend on it. Arrays may
            stand in it.
        seed: The run's seed.
        count: How many views each example has, 1 or more.

    Raises:
        RecipeError: if there is no such number of views, or there can be none; see :func:`views_refusal`.

    Example:
        >>> from hashlib import sha256
        >>> from zoo.layers import augmentation
        >>> x = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
        >>> examples = [sha256(row.tobytes()).hexdigest() for row in x]
        >>> views = Views(augmentation("noise", "vector"), "noise", seed=0, count=3)
        >>> read = views.reader(lambda indices: x[indices], examples)
        >>> read(np.arange(6)).shape, bool((read(np.array([5, 1]))[0] == read(np.arange(6))[5]).all())
        ((6, 2), True)
        >>> len(set(views.digests(examples)))
        6
    """

    def __init__(self, layers: Sequence[Any], what: Any, seed: int, count: int):
        if not isinstance(count, int) or count < 1:
            problem = "There is no such number of views."
            raise RecipeError(problem, expected="a whole number, 1 or more", received=repr(count))
        reason = views_refusal(layers, mixes=False)
        if reason is not None:
            raise _none(reason)
        self.seed, self.count = seed, count
        self._what = what
        self._alone = _Alone(layers)

    def digests(self, examples: Sequence[str]) -> list[str]:
        """What each view is known by, row after row.

        Args:
            examples: The digest of each example's content, hexadecimal.

        Returns:
            A SHA-256, hexadecimal, of the example's digest, the augmentation, the seed, the view's number, and the
            versions of what draws and computes.
        """
        found: list[str] = []
        for view in range(self.count):
            start = hashlib.sha256(self._text(view).encode())
            for example in examples:
                whole = start.copy()
                whole.update(example.encode())
                found.append(whole.hexdigest())
        return found

    def _text(self, view: int) -> str:
        """All that a view depends on but the example."""
        computed = [keras.backend.backend(), versions(("keras", keras.backend.backend()))]
        kinds = [[type(layer).__name__, layer.compute_dtype] for layer in self._alone.augment]
        whole = [FORM, self._what, self.seed, view, kinds, computed]
        return json.dumps(whole, sort_keys=True, default=_plain)

    def reader(self, read: Read, examples: Sequence[str]) -> Read:
        """Reads views.

        Args:
            read: Gives the inputs of the examples of some indices: one array of floating-point numbers.
            examples: The digest of each example's content, hexadecimal.

        Returns:
            Gives the views of some rows, ``(rows, ...)``, in the type of what ``read`` gives. It raises a
            ``RecipeError`` if a layer draws from anything but its own seeds, or the inputs are not of floating point.
        """
        known = list(examples)

        def read_views(rows: np.ndarray) -> np.ndarray:
            view, example = np.divmod(np.asarray(rows, "int64"), max(len(known), 1))
            if len(view) and not 0 <= view.min() <= view.max() < self.count:
                what = f"there are {self.count} views of {len(known)} examples; received the rows {rows}"
                raise IndexError(what)
            different, place = np.unique(example, return_inverse=True)  # decoding a file costs more than a view
            x = np.asarray(read(different))
            if x.dtype.kind != "f":
                what = "Views are made of floating-point inputs: others would be rounded, example by example."
                raise RecipeError(what, expected="float32", received=str(x.dtype))
            draws = [self._draws(known[e], v) for e, v in zip(example.tolist(), view.tolist(), strict=True)]
            return self._alone.each(x[place], np.asarray(draws, "int64")).astype(x.dtype)

        return read_views

    def _draws(self, example: str, view: int) -> list[int]:
        """What the state of each random generator is set to, in the order of the states."""
        return [derive(self.seed, "view", example, view, f"augment{i}") for i in range(len(self._alone.states))]


class _Alone(keras.Model):
    """Augments every example of a batch by itself, from states of its own.

    Nothing is assigned: the states are handed to the layers, so examples can be computed side by side, and the states
    of layers that a network trains with do not move. On TensorFlow a batch is one call of a compiled loop.
    """

    def __init__(self, layers: Sequence[Any]):
        super().__init__(name="views", dtype="float32", autocast=False)
        self.augment = list(layers)
        self.states = [v for layer in layers for v in layer.variables if is_seed_state(v)]
        self.built = True
        self._checked = False
        plain: Any = False
        self.compile(jit_compile=plain)  # XLA draws other numbers than the layers do when they are called

    def each(self, x: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """The augmented examples, ``(batch, ...)``, by draws ``(batch, states)``."""
        if len(x) and not self._checked:
            self._check(x[0], draws[0])
            self._checked = True
        if len(x) and keras.backend.backend() == "tensorflow":
            return np.asarray(self.predict_on_batch((x, draws)))
        ones = [self._computed(*pair) for pair in zip(x, draws, strict=True)]
        return np.stack(ones) if ones else x

    def call(self, inputs: Any) -> Any:
        """One example after another."""
        return keras.ops.map(lambda pair: self._one(*pair), inputs)

    def _one(self, x: Any, draws: Any) -> Any:
        """What the layers give in training for a batch of this example alone."""
        ops: Any = keras.ops
        draws = ops.convert_to_tensor(draws)
        begun = [(v, ops.stack([draws[i], ops.zeros_like(draws[i])])) for i, v in enumerate(self.states)]
        with keras.StatelessScope(begun) as scope:
            x = ops.convert_to_tensor(x)[None]
            for layer in self.augment:
                x = layer(x, training=True)
        if len(scope.state_mapping) > len(begun):
            reason = "a layer draws from a generator that is not its own, or learns while it is called"
            raise _none(reason)
        return x[0]

    def _computed(self, x: np.ndarray, draws: np.ndarray) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(self._one(x, draws)))

    def _check(self, x: np.ndarray, draws: np.ndarray) -> None:
        """Calls the layers before they are traced: what they draw elsewhere would become a constant."""
        one, other = self._computed(x, draws), self._computed(x, draws)
        if one.tobytes() != other.tobytes():
            reason = "from the same seeds the layers give something else every time: one of them draws elsewhere"
            raise _none(reason)


def _none(reason: str) -> RecipeError:
    return RecipeError(f"There are no views of these examples: {reason}.", fix="Train without views.")


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy for JSON: exact, with their types."""
    if isinstance(value, (np.ndarray, np.generic)):
        return [str(value.dtype), value.tolist()]
    what = f"{type(value).__name__} is no plain data: it cannot be hashed"
    raise TypeError(what)
