"""Intel's OpenVINO, from the graph of constants that TensorFlow's engine runs; the extra ``[openvino]``."""

import importlib
import importlib.util
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..byte_size import size_said
from ..errors import DeviceError
from ..framework_error import said_by
from ..precision import computing_in
from .bfloat16 import no_bfloat16
from .constants import folded, has_functions, with_constants
from .inputs import as_arrays, not_dense, open_shape
from .interface import CannotRun, Engine, Setup, as_rows

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINOEngine(Engine):
    """Runs a trunk by OpenVINO, on as many threads as TensorFlow has."""

    name = "openvino"
    packages = ("keras", "tensorflow", "openvino")

    def __init__(self, trunk: keras.Model, setup: Setup) -> None:
        super().__init__(trunk, setup)
        ready = folded(trunk)
        self._folded, self.note = ready.count, ready.note
        with keras.device(setup.device):
            function = with_constants(ready.network, setup.batch)
        self._names = [tensor.name for tensor in function.inputs]
        self._compiled: Any = _compile(function, setup)
        self._taken = {name for port in self._compiled.inputs for name in port.get_names()}

    @classmethod
    def refusal(cls, trunk: keras.Model, setup: Setup) -> str | None:
        if keras.backend.backend() != "tensorflow":
            return f"Keras computes by {keras.backend.backend()}, and it takes TensorFlow's graphs"
        if not is_installed():
            return 'it is not installed: pip install "transfer-zoo[openvino]"'
        if setup.on_gpu:
            return f"it runs on the processor, and the device is {setup.device}"
        if "mixed_bfloat16" in computing_in(trunk):
            return "its layers compute under the policy mixed_bfloat16, which OpenVINO does not take from TensorFlow"
        return not_dense(trunk) or open_shape(trunk) or no_bfloat16(setup)

    @property
    def details(self) -> dict[str, Any]:
        return {"folded": self._folded}

    def _start(self, inputs: Any) -> Callable[[], list[np.ndarray]]:
        arrays = as_arrays(self.trunk, inputs, self.setup.batch)
        given = {name: array for name, array in zip(self._names, arrays, strict=True) if name in self._taken}
        results = self._compiled(given, share_inputs=True)
        rows = [as_rows(results[i]) for i in range(len(self._compiled.outputs))]
        return lambda: rows


def is_installed() -> bool:
    """Whether OpenVINO is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


@cache
def openvino() -> Any:
    """OpenVINO, imported without its telemetry, which would report the import and every conversion to its makers."""
    telemetry = "openvino_telemetry"
    if telemetry in sys.modules or "openvino" in sys.modules:  # the user's own program has decided
        return importlib.import_module("openvino")
    sys.modules[telemetry] = None  # pyright: ignore[reportArgumentType] - how Python is told that there is none
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[telemetry]


def _compile(function: Any, setup: Setup) -> Any:
    if has_functions(function):
        what = "it has a loop, as of a recurrent layer, which OpenVINO does not take from TensorFlow"
        raise CannotRun(what)
    ov = openvino()
    hints = {
        "INFERENCE_PRECISION_HINT": _HINTS[setup.precision],
        "INFERENCE_NUM_THREADS": setup.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    try:
        return ov.Core().compile_model(_read(function), "CPU", hints)
    except (DeviceError, MemoryError):  # as it is now, not as the network is
        raise
    except Exception as reason:  # whatever OpenVINO raises on an operation that it does not know
        raise CannotRun(_told(reason)) from reason


def _read(function: Any) -> Any:
    """The graph as OpenVINO's reader of TensorFlow's files gives it: its converter of graphs in memory takes longer."""
    reader = importlib.import_module("openvino.frontend").FrontEndManager().load_by_framework("tf")
    graph = function.graph.as_graph_def().SerializeToString()
    with _file_of(graph) as file:
        read = reader.load(str(file))
        read.override_all_outputs([read.get_place_by_tensor_name(tensor.name) for tensor in function.outputs])
        return reader.convert(read)


@contextmanager
def _file_of(graph: bytes) -> Iterator[Path]:
    """A file for a moment.

    Raises:
        DeviceError: if it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "graph.pb"
            file.write_bytes(graph)
            yield file
    except OSError as reason:
        what = f"OpenVINO is handed the network in a file, and that cannot be written: {reason.strerror or reason}."
        expected = f"{size_said(len(graph))} where files of the moment are put"
        raise DeviceError(
            what, expected=expected, fix="Make room there, set TMPDIR, or use another engine."
        ) from reason


def _told(reason: Exception) -> str:
    """What an error of OpenVINO says, without where in its code it stands."""
    unknown = re.search(r"(?:Conversion is failed for|No conversion rule found for operations): (.+)", str(reason))
    if unknown:
        return f"it does not know {unknown[1].strip()}"
    lines = [line for line in str(reason).splitlines() if not line.startswith(("Check '", "Exception from", "While "))]
    return said_by(RuntimeError("\n".join(lines) or str(reason))).rstrip(".")
