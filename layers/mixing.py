"""MixUp and CutMix: examples of a batch mixed in pairs, and their targets with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from zoo.errors import DataError, RecipeError, close_matches

from .augmentation import Spec, split_spec
from .scalars import number


@dataclass(frozen=True)
class Mix:
    """How one batch is mixed: three arrays, so that inputs and targets can be mixed at different places.

    ``partner`` is the number of the example that each is mixed with, ``(batch,)``; ``keep`` is what each value keeps of
    its own, 0 to 1, ``(batch, 1, ...)`` or ``(batch, height, width, 1)``; ``share`` is what the target keeps,
    ``(batch,)``: the mean of ``keep``.
    """

    partner: np.ndarray
    keep: np.ndarray
    share: np.ndarray

    def inputs(self, x: Any) -> Any:
        """Mixes a batch, on any Keras backend; see :func:`mixed`."""
        return mixed(x, self.partner, self.keep)

    def targets(
        self, targets: Any, weights: Any = None, *, classes: int | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        r"""Mixes a batch's targets and its examples' weights, so that the loss is that of both parts.

        .. math:: w = \lambda w_i + (1 - \lambda) w_j, \qquad
            y = \frac{\lambda w_i y_i + (1 - \lambda) w_j y_j}{w}

        For every loss that is linear in the target, as cross-entropies are, ``w`` times the loss on ``y`` is exactly
        ``lambda w_i`` times the loss on ``y_i`` and ``(1 - lambda) w_j`` times that on ``y_j``.

        Args:
            targets: ``(batch, columns)``: one column for each class or label, or numbers; ``(batch,)`` of floats for a
                single number or label; ``(batch,)`` of whole numbers, which are classes, with ``classes``.
            weights: The weight of each example, ``(batch,)``.
            classes: How many classes there are.

        Returns:
            The targets, float32, and the weights; ``None`` where none were given.

        Raises:
            DataError: if whole numbers are given without the number of classes, or targets of more axes.
        """
        y = _as_numbers(np.asarray(targets), classes)
        one = self.share.reshape(-1, *[1] * (y.ndim - 1))
        if weights is None:
            return (one * y + (1 - one) * y[self.partner]).astype("float32"), None
        w = np.asarray(weights, "float64")
        own, other = self.share * w, (1 - self.share) * w[self.partner]
        part = np.divide(own, own + other, out=self.share.copy(), where=own + other > 0).reshape(one.shape)
        return (part * y + (1 - part) * y[self.partner]).astype("float32"), (own + other).astype("float32")


class Mixing:
    """Draws how batches are mixed; where there are several ways, each batch takes one of them, all equally likely.

    Made by :func:`mixing`.
    """

    def __init__(self, tables: Sequence[Mapping[str, Any]]):
        self._ways = [_way(dict(table)) for table in tables]

    def draw(self, count: int, shape: Sequence[int], seed: int) -> Mix:
        """How a batch is mixed: a pure function of the arguments.

        Args:
            count: The examples of the batch; a single one is mixed with itself.
            shape: The shape of an example: ``(height, width, channels)`` or ``(features,)``.
            seed: An integer; another one for every batch.
        """
        rng = np.random.Generator(np.random.Philox(seed))
        name, alpha = self._ways[rng.integers(len(self._ways))]
        partner = rng.permutation(count)
        ratio = rng.beta(alpha, alpha, count)
        keep = _blend(ratio, shape) if name == "MixUp" else _patches(rng, ratio, shape)
        return Mix(partner, keep.astype("float32"), keep.reshape(count, -1).mean(axis=1, dtype="float64"))

    def __call__(
        self, inputs: Any, targets: Any, weights: Any = None, *, seed: int, classes: int | None = None
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Mixes a batch of raw inputs and its targets; see :meth:`draw` and :meth:`Mix.targets`.

        Returns:
            Inputs (NumPy's, if they were), targets and weights.
        """
        mix = self.draw(len(inputs), inputs.shape[1:], seed)
        x = mix.inputs(inputs)
        x = keras.ops.convert_to_numpy(x) if isinstance(inputs, np.ndarray) else x
        return (x, *mix.targets(targets, weights, classes=classes))


def mixing(spec: Spec, kind: str = "image") -> Mixing | None:
    r"""What a preset, or a list of tables, says of mixing examples with their targets.

    MixUp blends two examples, CutMix puts a rectangle of one into the other; the targets keep the same shares:

    .. math:: x = m \odot x_i + (1 - m) \odot x_j, \qquad y = \lambda y_i + (1 - \lambda) y_j, \qquad
        \lambda \sim \text{Beta}(\alpha, \alpha)

    MixUp has ``m = lambda`` everywhere. CutMix has ``m = 0`` in a rectangle around a uniform centre, of the image's
    proportions and ``1 - lambda`` of its area; what lies outside the image is cut off, and lambda is then the share of
    pixels that are left, exactly. Both draw for each example by itself, as Keras does; the papers' code draws once a
    batch.

    Mix after the layers of :func:`zoo.layers.augmentation`: a shift after CutMix would move what the target counts.
    While training, accuracy on mixed targets says little: the class with the larger share counts as right, and labels
    that are neither 0 nor 1 as wrong.

    Keras's own ``MixUp`` and ``CutMix`` layers draw inside the network, where the targets are not; they take no
    weights, and no labels but one-hot ones; and ``CutMix`` counts fractions of pixels in its rectangles, which the
    image has not.

    Args:
        spec: As :func:`zoo.layers.augmentation` takes it: ``mixup``, ``cutmix``, or tables, ``{"name": "MixUp",
            "alpha": 0.2}``, ``{"name": "CutMix", "alpha": 1.0}`` (these are the defaults).
        kind: What an example is; vectors have MixUp only.

    Returns:
        What mixes batches; ``None`` where the spec mixes nothing.

    Raises:
        RecipeError: if an alpha is not above 0, or the spec cannot be used.

    Reference:
        Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018, equation 1 and figure 1.
        Yun et al., "CutMix", 2019, equations 1 and 2.

    Example:
        >>> import numpy as np
        >>> mix = mixing([{"name": "MixUp", "alpha": 0.4}])
        >>> images, classes = np.zeros((3, 8, 8, 1), "float32"), np.eye(3)
        >>> x, y, _ = mix(images, classes, seed=7)
        >>> y.sum(axis=1).tolist()
        [1.0, 1.0, 1.0]
        >>> mixing("light") is None
        True
    """
    _, tables = split_spec(spec, kind)
    return Mixing(tables) if tables else None


def mixed(x: Any, partner: Any, keep: Any) -> Any:
    """Mixes a batch: ``keep * x + (1 - keep) * x[partner]``, float32 at least.

    Args:
        x: A batch, ``(batch, ...)``.
        partner: Whole numbers, ``(batch,)``.
        keep: In a shape that broadcasts to that of ``x``.
    """
    ops: Any = keras.ops
    x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    keep = ops.cast(keep, x.dtype)
    return keep * x + (1 - keep) * ops.take(x, partner, axis=0)


_ALPHAS = {"MixUp": 0.2, "CutMix": 1.0}


def _way(arguments: dict[str, Any]) -> tuple[str, float]:
    name = arguments.pop("name")
    alpha = arguments.pop("alpha", _ALPHAS[name])
    for argument in arguments:
        what = f"{name} has no argument '{argument}'."
        raise RecipeError(what, fix=close_matches(argument, ["alpha"]))
    if not number(alpha) or alpha <= 0:
        what = f"{name} cannot use its `alpha`."
        raise RecipeError(what, expected="a number above 0", received=repr(alpha))
    return name, float(alpha)


def _blend(ratio: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return ratio.reshape(-1, *[1] * len(shape))


def _patches(rng: np.random.Generator, ratio: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """For each example an image of ones, with a rectangle of zeros around a uniform pixel."""
    height, width = int(shape[0]), int(shape[1])
    side = np.sqrt(1 - ratio)
    inside = np.ones((len(ratio), height, width), bool)
    for axis, size in enumerate((height, width), 1):
        length = (side * size).astype(int)
        first = rng.integers(size, size=len(ratio)) - length // 2
        at = np.arange(size).reshape(1, -1)
        along = (at >= first[:, None]) & (at < (first + length)[:, None])
        inside &= np.expand_dims(along, 3 - axis)
    return 1.0 - inside[..., None]


def _as_numbers(targets: np.ndarray, classes: int | None) -> np.ndarray:
    if targets.ndim == 1 and targets.dtype.kind in "iu":
        if classes is None:
            what = "Class numbers cannot be mixed: there is no class between two."
            raise DataError(what, fix="Give one column for each class, or the number of classes: classes=10.")
        return np.eye(classes)[targets]
    if targets.ndim not in (1, 2) or targets.dtype.kind not in "fiub":
        what = "These targets cannot be mixed."
        expected = "one number, or one row of numbers, for each example"
        raise DataError(what, expected=expected, received=f"{targets.dtype}, shape {targets.shape}")
    return targets.astype("float64")
