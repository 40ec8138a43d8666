"""Augmentation of vectors: noise, and features left out, each in the feature's own units."""

import reprlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from zoo.errors import RecipeError

from .scalars import number


@keras.saving.register_keras_serializable(package="zoo")
class FeatureNoise(keras.layers.Layer):
    r"""Adds Gaussian noise to each feature while training, as a multiple of the feature's own spread.

    .. math:: y_j = x_j + \sigma s_j \varepsilon_j, \qquad \varepsilon_j \sim \mathcal{N}(0, 1)

    Where the features are standardized, ``s`` is 1 and this is ``keras.layers.GaussianNoise``. It stands before the
    network's own normalization, on raw numbers; so it must know their spread. A constant feature, of spread 0, stays as
    it is. Give the columns of a one-hot code a spread of 0: there is nothing between two categories.

    Args:
        stddev: The noise's standard deviation ``sigma``, in units of each feature's spread; 0 or more.
        spread: Each feature's standard deviation ``s`` over the training data, ``(features,)``; ``None`` for 1.
        seed: An integer; the same one gives the same draws.
        **kwargs: A layer's own, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Vectors, ``(batch, features)``.
        training: Whether noise is added.

    Raises:
        RecipeError: if an argument cannot be used.

    Reference:
        Bishop, "Training with Noise is Equivalent to Tikhonov Regularization", 1995; Vincent et al., "Stacked Denoising
        Autoencoders", 2010, section 3.3.

    Example:
        >>> import numpy as np
        >>> noise = FeatureNoise(0.1, spread=[1.0, 0.0], seed=1)
        >>> x = np.array([[3.0, 7.0]], "float32")
        >>> moved = np.asarray(noise(x, training=True)) != x
        >>> moved.tolist()
        [[True, False]]
    """

    def __init__(self, stddev: float, spread: Sequence[float] | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not number(stddev, 0):
            what = "FeatureNoise cannot use its `stddev`."
            raise RecipeError(what, expected="a number, 0 or more", received=repr(stddev))
        self.stddev = float(stddev)
        self.spread = _by_feature("FeatureNoise", "spread", spread)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Any) -> None:
        """Checks that there is a number for each feature."""
        _check_width("FeatureNoise", "spread", self.spread, input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Adds the noise."""
        ops: Any = keras.ops
        x = ops.cast(inputs, self.compute_dtype)
        if not training:
            return x
        drawn = keras.random.normal(ops.shape(x), dtype=self.compute_dtype, seed=self.seed_generator)
        scale = 1.0 if self.spread is None else ops.convert_to_tensor(self.spread, self.compute_dtype)
        return x + self.stddev * scale * drawn

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        own = {"stddev": self.stddev, "spread": _listed(self.spread), "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="zoo")
class FeatureDropout(keras.layers.Layer):
    r"""Sets features of an example to their means while training, each by itself with some probability.

    .. math:: y_j = (1 - b_j) x_j + b_j m_j, \qquad b_j \sim \text{Bernoulli}(p)

    This is the masking noise of denoising autoencoders: a feature that is missing, for which its mean stands. The
    others are **not** divided by ``1 - p`` as dropout does: a number that was measured stays the number it is, and the
    network sees whole vectors in inference.

    Args:
        rate: The probability ``p`` that a feature is left out, 0 to below 1.
        fill: What stands for it, each feature's mean ``m`` over the training data, ``(features,)``; ``None`` for 0, the
            mean of standardized features.
        seed: An integer; the same one gives the same draws.
        **kwargs: A layer's own, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: Vectors, ``(batch, features)``.
        training: Whether features are left out.

    Raises:
        RecipeError: if an argument cannot be used.

    Reference:
        Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked Denoising Autoencoders", 2010, section 3.3.

    Example:
        >>> import numpy as np
        >>> dropping = FeatureDropout(0.5, fill=[10.0, 20.0], seed=1)
        >>> y = np.asarray(dropping(np.zeros((100, 2), "float32"), training=True))
        >>> sorted(set(y[:, 1].tolist()))
        [0.0, 20.0]
    """

    def __init__(self, rate: float, fill: Sequence[float] | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not number(rate, 0) or rate >= 1:
            what = "FeatureDropout cannot use its `rate`."
            raise RecipeError(what, expected="0 to below 1", received=repr(rate))
        self.rate = float(rate)
        self.fill = _by_feature("FeatureDropout", "fill", fill)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Any) -> None:
        """Checks that there is a number for each feature."""
        _check_width("FeatureDropout", "fill", self.fill, input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Leaves features out."""
        ops: Any = keras.ops
        x = ops.cast(inputs, self.compute_dtype)
        if not training:
            return x
        # Drawn in 32 bits whatever the policy: 16-bit numbers fall on the rate itself too often.
        left_out = keras.random.uniform(ops.shape(x), dtype="float32", seed=self.seed_generator) < self.rate
        fill = 0.0 if self.fill is None else self.fill
        return ops.where(left_out, ops.convert_to_tensor(fill, self.compute_dtype), x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        return {**super().get_config(), "rate": self.rate, "fill": _listed(self.fill), "seed": self.seed}


def _by_feature(layer: str, name: str, values: Any) -> tuple[float, ...] | None:
    if values is None:
        return None
    what = f"{layer} cannot use its `{name}`."
    expected = "one finite number for each feature"
    try:
        found = np.asarray(values, "float64")
    except (TypeError, ValueError):
        raise RecipeError(what, expected=expected, received=reprlib.repr(values)) from None
    if found.ndim != 1:
        raise RecipeError(what, expected=expected, received=f"shape {found.shape}")
    if (wrong := np.flatnonzero(~np.isfinite(found))).size:
        raise RecipeError(what, expected=expected, received=f"{found[wrong[0]]} for feature {wrong[0]}")
    return tuple(float(v) for v in found)


def _check_width(layer: str, name: str, values: tuple[float, ...] | None, input_shape: Any) -> None:
    if values is not None and input_shape[-1] is not None and len(values) not in (1, input_shape[-1]):
        what = f"{layer}'s `{name}` does not fit its input."
        raise RecipeError(what, expected=f"{input_shape[-1]} features", received=str(len(values)))


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
