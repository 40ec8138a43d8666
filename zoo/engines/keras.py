"""The engine that every backend has, and that the others are measured against: Keras's own ``predict_on_batch``."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from .bfloat16 import no_bfloat16, under_policy
from .inputs import network_inputs
from .interface import Engine, Setup, as_rows
from .retracing import traces_meant


class KerasEngine(Engine):
    """Runs a trunk by ``predict_on_batch``; in bfloat16 under Keras's policy ``mixed_bfloat16``."""

    name = "keras"
    packages = ("keras", keras.backend.backend())

    def __init__(self, trunk: keras.Model, setup: Setup) -> None:
        super().__init__(trunk, setup)
        self._network = trunk if setup.precision == "float32" else under_policy(trunk)
        self._own = self._network.predict_function is None

    @classmethod
    def refusal(cls, trunk: keras.Model, setup: Setup) -> str | None:
        return no_bfloat16(setup)

    def _start(self, inputs: Any) -> Callable[[], list[np.ndarray]]:
        with keras.device(self.setup.device), traces_meant():
            result = self._network.predict_on_batch(network_inputs(self._network, inputs))
        rows = [as_rows(part) for part in keras.tree.flatten(result)]
        return lambda: rows

    def close(self) -> None:
        if self._own:  # what was compiled here hangs on the user's network
            self._network.predict_function = None
        super().close()
