"""How a frozen trunk is run: what crosses its boundary, once for every example.

Every call has one fixed, padded batch shape, because the last bits of a result depend on it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from . import trunk_options
from .device import out_of_memory
from .engines.inputs import as_input as as_input  # for those that read batches by it
from .engines.inputs import network_inputs
from .engines.interface import MEMORY, CannotRun, Engine, Setup
from .engines.keras import KerasEngine
from .engines.retracing import traces_meant
from .errors import DeviceError, close_matches

#: The examples of a call; the same for every data set, since the last bits of what an example gives depend on it.
BATCH = 64

Read = Callable[[np.ndarray], Any]

#: Every engine by its name, the reference first. Those of TensorFlow are imported when they are needed.
ENGINES = trunk_options.ENGINES[1:]


def kind_of(name: str) -> type[Engine]:
    """An engine's class, by its name.

    Raises:
        DeviceError: if there is no such engine.
    """
    if name == "keras":
        return KerasEngine
    if name in ENGINES and keras.backend.backend() == "tensorflow":
        if name == "tensorflow":
            from .engines.tensorflow import TensorFlowEngine

            return TensorFlowEngine
        from .engines.openvino import OpenVINOEngine

        return OpenVINOEngine
    if name in ENGINES:
        what = f"The engine '{name}' goes with TensorFlow."
        fix = "Use the engine keras, or KERAS_BACKEND=tensorflow."
        raise DeviceError(what, received=f"Keras on {keras.backend.backend()}", fix=fix)
    what = f"'{name}' is not an engine."
    raise DeviceError(what, fix=close_matches(name, ENGINES))


def refusals(trunk: keras.Model, setup: Setup) -> dict[str, str | None]:
    """Why each engine cannot run a trunk, or ``None`` where it can, as far as its form and the machine tell.

    Nothing is built: what only building shows, :func:`build` says.
    """
    if keras.backend.backend() != "tensorflow":
        other = f"Keras computes by {keras.backend.backend()}, and it goes with TensorFlow"
        return {name: KerasEngine.refusal(trunk, setup) if name == "keras" else other for name in ENGINES}
    return {name: kind_of(name).refusal(trunk, setup) for name in ENGINES}


def build(trunk: keras.Model, name: str, setup: Setup) -> Engine:
    """Makes an engine for a trunk.

    Args:
        trunk: A functional network, frozen: its values are copied into the engine.
        name: ``keras``, ``tensorflow`` or ``openvino``.
        setup: Precision, batch, threads and device.

    Returns:
        The engine; :meth:`~zoo.engines.interface.Engine.close` it to have its memory back.

    Raises:
        DeviceError: if it cannot run this trunk, with the reason.

    Example:
        >>> import keras, numpy as np
        >>> inputs = keras.Input((2,))
        >>> trunk = keras.Model(inputs, keras.layers.Dense(3, use_bias=False, kernel_initializer="ones")(inputs))
        >>> engine = build(trunk, "tensorflow", Setup(batch=4))
        >>> engine.run(np.ones((4, 2), "float32"))[0][0].tolist()
        [2.0, 2.0, 2.0]
    """
    try:
        return make(trunk, name, setup)
    except CannotRun as reason:
        what = f"The engine '{name}' cannot run the network '{trunk.name}': {reason}."
        raise DeviceError(what, fix=_instead(name, setup)) from reason


def make(trunk: keras.Model, name: str, setup: Setup) -> Engine:
    """Makes an engine; see :func:`build`.

    Raises:
        CannotRun: with the reason alone.
    """
    kind = kind_of(name)
    reason = kind.refusal(trunk, setup)
    if reason is not None:
        raise CannotRun(reason)
    with out_of_memory(setup.batch, fix=MEMORY):
        return kind(trunk, setup)


def _instead(name: str, setup: Setup) -> str:
    if setup.precision == "bfloat16":
        return "Use float32." if name == "keras" else "Use float32, or the engine auto."
    return "Use the engine auto, or keras, which runs every network."


def outputs(
    network: keras.Model,
    read: Read,
    count: int,
    *,
    batch_size: int = BATCH,
    step: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """Runs a network in inference on every example.

    Args:
        network: Any Keras model.
        read: Gives the inputs of the examples of some indices, counted from 0: an array, or a list of them.
        count: The number of examples.
        batch_size: The examples of a call; the last batch is filled up with copies of its last example.
        step: Told how many examples are done, of how many.

    Returns:
        One array for each of the network's outputs, ``(count, ...)``.
    """
    parts = list(batches(network, read, count, batch_size=batch_size, step=step))
    if not parts:
        return [np.zeros((0, *[n or 0 for n in out.shape[1:]]), "float32") for out in network.outputs]
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def batches(
    network: keras.Model,
    read: Read,
    count: int,
    *,
    batch_size: int = BATCH,
    step: Callable[[int, int], None] | None = None,
) -> Iterator[list[np.ndarray]]:
    """Runs a network in inference, batch by batch; see :func:`outputs`.

    Yields:
        One array for each of the network's outputs, with the examples of one call.
    """
    for start in range(0, count, batch_size):
        indices = np.minimum(np.arange(start, start + batch_size), count - 1)
        kept = min(batch_size, count - start)
        with out_of_memory(batch_size, fix=MEMORY), traces_meant():
            result = network.predict_on_batch(network_inputs(network, read(indices)))
        if step is not None:
            step(start + kept, count)
        yield [np.asarray(part)[:kept] for part in keras.tree.flatten(result)]


def rows_of(arrays: Sequence[np.ndarray]) -> Read:
    """Reads rows of arrays in memory: a single array as itself, several as a list."""

    def read(indices: np.ndarray) -> Any:
        taken = [array[indices] for array in arrays]
        return taken[0] if len(taken) == 1 else taken

    return read
