"""What an engine is: something that runs a frozen trunk on batches of one shape."""

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from ..device import out_of_memory
from ..processor import flags, processor_features, processor_name

#: Raised when zoo changes how an engine computes, so that features kept from before are not mixed in.
FORM = 1
#: What to do when memory runs out: the user does not choose the size of these batches.
MEMORY = "Free memory, or compute on the processor: --device cpu."
PRECISIONS = ("float32", "bfloat16")


class CannotRun(Exception):
    """Why an engine cannot run a trunk, in words that follow "cannot run this network: "."""


@dataclass(frozen=True)
class Setup:
    """How a trunk is to be run.

    Attributes:
        precision: ``float32``, or ``bfloat16`` where the processor has it.
        batch: The examples of every call.
        threads: CPU threads.
        device: Keras's name, such as ``cpu:0``.
    """

    precision: str = "float32"
    batch: int = 64
    threads: int = 1
    device: str = "cpu:0"

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("gpu")


class Engine(ABC):
    """Runs a trunk in inference on batches of one shape; made by :func:`zoo.engine.build`.

    Attributes:
        name: As a recipe calls it.
        trunk: The network.
        setup: Precision, batch, threads and device.
        note: What is to be said of how it was built, if anything.
    """

    name: ClassVar[str]
    #: The packages whose versions its results depend on.
    packages: ClassVar[tuple[str, ...]] = ("keras",)

    def __init__(self, trunk: keras.Model, setup: Setup) -> None:
        self.trunk = trunk
        self.setup = setup
        self.note = ""
        self._known: tuple[Any, list[np.ndarray]] | None = None

    @classmethod
    @abstractmethod
    def refusal(cls, trunk: keras.Model, setup: Setup) -> str | None:
        """Why it cannot run a trunk, as far as its form and the machine tell; ``None`` where it can. Builds nothing."""

    @abstractmethod
    def _start(self, inputs: Any) -> Callable[[], list[np.ndarray]]:
        """Starts a batch; what is given back waits for it."""

    def start(self, inputs: Any) -> Callable[[], list[np.ndarray]]:
        """Starts a batch; what is given back waits for it. On a GPU others can be started meanwhile."""
        known, self._known = self._known, None
        if known and _equal(known[0], inputs):
            return lambda: known[1]
        return self._start(inputs)

    def expect(self, inputs: Any, outputs: list[np.ndarray]) -> None:
        """Tells it what it gave for a batch: if that is the next one, it is not computed again."""
        self._known = (inputs, outputs)

    def run(self, inputs: Any) -> list[np.ndarray]:
        """Runs a batch.

        Args:
            inputs: Exactly ``setup.batch`` examples: an array, or a structure of them like the trunk's inputs.

        Returns:
            One array for each of the trunk's outputs, ``(batch, ...)``; bfloat16 comes as float32.

        Raises:
            DeviceError: if memory runs out.
        """
        with out_of_memory(self.setup.batch, fix=MEMORY):
            return self.start(inputs)()

    @property
    def settings(self) -> dict[str, Any]:
        """Everything beside trunk and inputs that the bits of its results depend on: for keys and the lock."""
        return settings(type(self), self.setup) | self.details

    @property
    def details(self) -> dict[str, Any]:
        """What ``settings`` says beside what holds for every engine."""
        return {}

    def close(self) -> None:
        """Gives its memory back; the engine must not be run any more."""
        self.__dict__.clear()


def _equal(one: Any, other: Any) -> bool:
    pairs = list(zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=False))
    return all(a is b or (a.dtype == b.dtype and np.array_equal(a, b)) for a, b in pairs)


def settings(kind: type[Engine], setup: Setup) -> dict[str, Any]:
    """What an engine's results depend on, as far as it is known before the engine is built."""
    return {
        "engine": kind.name,
        "form": FORM,
        "backend": keras.backend.backend(),
        **asdict(setup),
        "versions": versions(kind.packages),
        "processor": {"name": processor_name(), "features": processor_features()},
        "flags": flags(),
    }


def versions(packages: tuple[str, ...]) -> Mapping[str, str]:
    """The versions of packages that are installed; of a framework under another name, what it says itself."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            module: Any = importlib.import_module(package)
            found[package] = str(module.__version__)
    return found


def as_rows(part: Any) -> np.ndarray:
    """An output as a NumPy array, bfloat16 as float32, which holds it exactly."""
    array = np.asarray(part)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
