"""Stochastic weight averaging: training ends with the mean of its late weights."""

import math
import re
import warnings
from typing import Any, Literal

import keras
import numpy as np

from .adaptation import adapt
from .batch_norms import adapt_batch_norm
from .errors import RecipeError
from .flattening import flat
from .graph import operations
from .layers import Inference
from .layers.scalars import number, whole
from .plan import is_batch_norm, leaf_layers
from .stage_network import StageNetwork


class WeightAveraging(keras.callbacks.Callback):
    r"""Stochastic weight averaging (SWA): at the end of training, the mean of the weights at the ends of late epochs.

    .. math:: w_{\text{SWA}} = \frac{1}{n} \sum_{i=1}^{n} w_i

    over the trainable weights, summed in float64. Frozen weights are not touched. What batch normalization knows of its
    inputs is then of other weights; so the moving statistics that training would have moved are re-estimated on ``x``:
    pooled over all of it, as :func:`zoo.adapt_batch_norm` does. ``x`` is taken as it is, not augmented.

    Keep the learning rate from falling to nothing before and while it averages: weights that no longer move have no
    mean worth taking. The figures of each epoch, checkpoints and early stopping see the plain weights; an
    ``EarlyStopping`` that restores the best weights must come before this callback in the list, or it replaces the
    mean.

    Keras's ``SwapEMAWeights`` and ``use_ema`` keep an exponential average over the last steps, along a rate that
    decays: no second pass for batch normalization, and its statistics stay those of the plain weights.

    Args:
        start: From when on: a share of the epochs, 0 to below 1 (the paper's 0.75), or the number of the first epoch to
            count, from 1.
        every: How many epochs, or steps, lie between the weights that count. Epochs are counted back from the last one;
            under a cyclic schedule let it be the length of a cycle. Steps are counted from the start.
        unit: ``"epoch"`` or ``"step"``, a call of ``on_train_batch_end``.
        x: The training inputs, for batch normalization: as the model takes them, or a data set of
            :func:`zoo.open_data`. Without live batch normalization there is no need of them.

    Raises:
        RecipeError: if an argument cannot be used; when training begins, if the optimizer averages too, ``start`` lies
            after the last epoch, or ``x`` is missing.

    Reference:
        Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, "Averaging Weights Leads to Wider Optima and Better
        Generalization", 2018, algorithm 1.

    Example:
        >>> import keras, numpy as np, zoo
        >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> net.compile("sgd", "mse")
        >>> x, y = np.ones((8, 2)), np.ones((8, 1))
        >>> late = zoo.WeightAveraging(start=0.5)
        >>> _ = net.fit(x, y, epochs=6, callbacks=[late], verbose=0)
        >>> late.averaged
        3
    """

    def __init__(self, start: float = 0.75, every: int = 1, *, unit: Literal["epoch", "step"] = "epoch", x: Any = None):
        super().__init__()
        usable = (number(start, 0) and start < 1) or whole(start, 1)
        _check("start", start, usable, "0 to below 1, or an epoch's number")
        _check("every", every, whole(every, 1), "a whole number, 1 or more")
        _check("unit", unit, unit in ("epoch", "step"), '"epoch" or "step"')
        self.start, self.every, self.unit, self.x = start, every, unit, x
        #: How many weights the mean is of, so far.
        self.averaged = 0

    @property
    def watches_steps(self) -> bool:
        """Whether zoo's own loop has to tell of every step."""
        return self.unit == "step" or type(self) is not WeightAveraging

    def first_epoch(self, epochs: int) -> int:
        """The first epoch that counts, from 0.

        Args:
            epochs: How many training has.

        Raises:
            RecipeError: if that one lies after the last.
        """
        first = math.floor(self.start * epochs + 1e-9) if self.start < 1 else int(self.start) - 1
        if first >= epochs:
            what = f"Weight averaging would start in epoch {first + 1}, and training has {epochs}."
            raise RecipeError(what, fix="Give `start` as a share, such as 0.75.")
        return first

    def on_train_begin(self, logs: Any = None) -> None:
        """Starts anew."""
        self.averaged = self._steps = 0
        self._epochs = int((self.params or {})["epochs"])
        self._first = self.first_epoch(self._epochs)
        model: Any = self.model
        if _averages(model.optimizer):
            what = "The optimizer keeps an average of the weights itself, and ends training with it."
            raise RecipeError(what, fix="Leave WeightAveraging out, or the optimizer's average (use_ema=False).")
        self._norms = live_batch_norms(model)
        if self._norms and self.x is None:
            what = f"Averaged weights need new batch-norm statistics, of {len(self._norms)} layers here."
            raise RecipeError(what, fix="Give the training inputs: WeightAveraging(..., x=x_train).")
        self._weights = list(model.trainable_variables)
        self._sums = [np.zeros(v.shape) for v in self._weights]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keeps the epoch's number for its steps."""
        self._counts = epoch >= self._first

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Adds the weights, where steps count."""
        if self.unit == "step" and self._counts:
            self._steps += 1
            if self._steps % self.every == 0:
                self._add()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the weights, where epochs count."""
        if self.unit == "epoch" and self._counts and (self._epochs - 1 - epoch) % self.every == 0:
            self._add()

    def on_train_end(self, logs: Any = None) -> None:
        """Sets the mean, and the statistics that belong to it."""
        if not self.averaged:
            what = "WeightAveraging averaged nothing: training ended before it started. The weights are the last ones."
            warnings.warn(what, stacklevel=2)
            return
        for variable, total in zip(self._weights, self._sums, strict=True):
            variable.assign((total / self.averaged).astype("float32" if variable.dtype != "float64" else "float64"))
        if self._norms:
            _adapt(self.model, self._norms, self.x)  # pyright: ignore[reportArgumentType]
        del self._weights, self._sums

    def _add(self) -> None:
        _ = self.model  # on JAX, reading it brings the weights of the running epoch
        for variable, total in zip(self._weights, self._sums, strict=True):
            total += np.asarray(keras.ops.convert_to_numpy(variable), "float64")
        self.averaged += 1


def live_batch_norms(model: keras.Model) -> list[str]:
    """The names, in the flat network, of the batch normalizations whose statistics training moves.

    Args:
        model: A Keras model, or what zoo trains in a stage.

    Raises:
        RecipeError: if one is a part of another layer, where its statistics cannot be re-estimated.
    """
    names = []
    for operation in operations(flat(model.head if isinstance(model, StageNetwork) else model)):
        if isinstance(operation, Inference) or not isinstance(operation, keras.layers.Layer):
            continue
        live = [leaf for leaf in leaf_layers([operation]) if is_batch_norm(leaf) and leaf.trainable]
        if live and not is_batch_norm(operation):
            what = f"The statistics inside '{operation.name}' cannot be re-estimated: they are a part of that layer."
            raise RecipeError(what, fix="Freeze it, or average nothing.")
        names.extend(leaf.name for leaf in live)
    return names


def _adapt(model: keras.Model, names: list[str], x: Any) -> None:
    graph = flat((model.network or model.head) if isinstance(model, StageNetwork) else model)
    if hasattr(x, "read"):  # a side of zoo's own loop
        adapt(graph, names, x.read, len(x))
    else:
        adapt_batch_norm(graph, x, layers="|".join(map(re.escape, names)))


def _averages(optimizer: Any) -> bool:
    """Whether an optimizer ends training with an average of its own."""
    inner = [getattr(optimizer, "inner_optimizer", optimizer), *getattr(optimizer, "optimizers", [])]
    return any(getattr(o, "use_ema", False) or isinstance(o, keras.optimizers.ScheduleFreeAdamW) for o in inner)


def _check(name: str, value: Any, fits: bool, expected: str) -> None:
    if not fits:
        what = f"Weight averaging cannot use its `{name}`."
        raise RecipeError(what, expected=expected, received=repr(value))
