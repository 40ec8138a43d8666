"""The default engine on TensorFlow: batch norms folded, variables as constants, one trace."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..framework_error import said_by
from .bfloat16 import no_bfloat16, under_policy
from .constants import called, folded, has_functions, specs, with_constants
from .inputs import as_arrays, not_dense
from .interface import CannotRun, Engine, Setup, as_rows
from .onednn_bfloat16 import in_bfloat16


class TensorFlowEngine(Engine):
    """Runs a trunk as one TensorFlow function.

    On a processor its weights are constants, and bfloat16 is oneDNN's. On a GPU it is compiled by XLA, in bfloat16
    under Keras's policy, and a batch is handed over while the one before is computed.
    """

    name = "tensorflow"
    packages = ("keras", "tensorflow")

    def __init__(self, trunk: keras.Model, setup: Setup) -> None:
        super().__init__(trunk, setup)
        ready = folded(trunk)
        self._folded, self.note = ready.count, ready.note
        with keras.device(setup.device):
            made = _compiled if setup.on_gpu else _constant
            self._function: Any = made(ready.network, setup)

    @classmethod
    def refusal(cls, trunk: keras.Model, setup: Setup) -> str | None:
        return not_dense(trunk) or no_bfloat16(setup)

    @property
    def details(self) -> dict[str, Any]:
        return {"folded": self._folded}

    @classmethod
    def fixed(cls, setup: Setup) -> dict[str, Any]:
        return {"xla": setup.on_gpu}

    def _start(self, inputs: Any) -> Callable[[], list[np.ndarray]]:
        arrays = as_arrays(self.trunk, inputs, self.setup.batch)
        with keras.device(self.setup.device):
            outputs = self._function(*map(tf.constant, arrays))
        return lambda: [as_rows(part.numpy()) for part in outputs]


def _constant(network: keras.Model, setup: Setup) -> Any:
    function = with_constants(network, setup.batch)
    if setup.precision == "float32":
        return function
    if has_functions(function):
        what = "it has a loop, as of a recurrent layer, which TensorFlow does not rewrite to bfloat16"
        raise CannotRun(what)
    function, casts = in_bfloat16(function)
    if not casts:
        what = "nothing in it can be computed in bfloat16"
        raise CannotRun(what)
    return function


def _compiled(network: keras.Model, setup: Setup) -> Any:
    """Compiled by XLA; the network's variables stay where they are."""
    if setup.precision == "bfloat16":
        network = under_policy(network)
    wanted = specs(network, setup.batch)
    try:
        function = tf.function(called(network), autograph=False, jit_compile=True).get_concrete_function(*wanted)
        function(*[tf.zeros(spec.shape, spec.dtype) for spec in wanted])  # XLA refuses when it compiles
    except tf.errors.ResourceExhaustedError:
        raise
    except Exception as reason:  # whatever a layer's own code, or XLA, raises
        raise CannotRun(said_by(reason).rstrip(".")) from reason
    return function
