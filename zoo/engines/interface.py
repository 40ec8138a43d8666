"""What an engine is: something that runs a frozen trunk on batches of one shape; and what its results depend on."""

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import keras
import numpy as np

from ..device import out_of_memory
from ..precision import computing_in
from ..processor import flags, processor_features, processor_name
from .gpu import gpu_facts

#: Raised when zoo changes how an engine computes, so that features kept from before are not mixed in.
FORM = 3
#: What to do when memory runs out: the user does not choose the size of these batches.
MEMORY = "Free memory, or compute on the processor: --device cpu."


T = TypeVar("T")


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

    def stream(self, batches: Iterable[tuple[T, Any]]) -> Iterator[tuple[T, list[np.ndarray]]]:
        """Runs batch after batch; on a GPU the next one is read and handed over while this one is computed.

        Args:
            batches: The inputs of each, as :meth:`run` takes them, beside anything to know it by.

        Yields:
            What :meth:`run` gives for each, beside the same, in order.

        Raises:
            DeviceError: if memory runs out.

        Example:
            >>> from zoo.engine import build
            >>> inputs = keras.Input((1,))
            >>> engine = build(keras.Model(inputs, inputs * 2), "keras", Setup(batch=2))
            >>> batches = [("first", np.ones((2, 1))), ("second", np.zeros((2, 1)))]
            >>> [(name, outputs[0].ravel().tolist()) for name, outputs in engine.stream(batches)]
            [('first', [2.0, 2.0]), ('second', [0.0, 0.0])]
        """
        waiting: list[tuple[T, Callable[[], list[np.ndarray]]]] = []
        ahead = 1 if self.setup.on_gpu else 0
        for known_by, inputs in batches:
            with out_of_memory(self.setup.batch, fix=MEMORY):
                waiting.append((known_by, self.start(inputs)))
            if len(waiting) > ahead:
                yield self._finished(*waiting.pop(0))
        for one in waiting:
            yield self._finished(*one)

    def _finished(self, known_by: T, wait: Callable[[], list[np.ndarray]]) -> tuple[T, list[np.ndarray]]:
        with out_of_memory(self.setup.batch, fix=MEMORY):
            return known_by, wait()

    @property
    def settings(self) -> dict[str, Any]:
        """Everything beside trunk and inputs that the bits of its results depend on: for keys."""
        return settings(type(self), self.setup, self.trunk) | self.details

    @property
    def details(self) -> dict[str, Any]:
        """What ``settings`` says beside what is known before the engine is built."""
        return {}

    @classmethod
    def fixed(cls, setup: Setup) -> dict[str, Any]:
        """What ``settings`` says beside what holds for every engine, as far as the setup alone fixes it."""
        return {}

    def close(self) -> None:
        """Gives its memory back; the engine must not be run any more."""
        self.__dict__.clear()


def _equal(one: Any, other: Any) -> bool:
    ones, others = keras.tree.flatten(one), keras.tree.flatten(other)
    pairs = list(zip(ones, others, strict=False))
    same = (a is b or (a.dtype == b.dtype and np.array_equal(a, b)) for a, b in pairs)
    return len(ones) == len(others) and all(same)


def computes_in(trunk: keras.Model, setup: Setup) -> str:
    """What an engine computes a trunk in: ``bfloat16`` where that is asked for, else what the trunk's own layers do.

    A trunk cut from a network in mixed precision computes in ``mixed_bfloat16`` where ``float32`` is asked for.

    Example:
        >>> trunk = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, dtype="mixed_bfloat16")])
        >>> computes_in(trunk, Setup()), computes_in(trunk, Setup("bfloat16"))
        ('mixed_bfloat16', 'bfloat16')
    """
    if setup.precision != "float32":
        return setup.precision
    return " and ".join(computing_in(trunk)) or setup.precision


def settings(kind: type[Engine], setup: Setup, trunk: keras.Model | None = None) -> dict[str, Any]:
    """What an engine's results depend on, as far as it is known before the engine is built.

    Args:
        kind: The engine's class.
        setup: Precision, batch, threads and device. Its precision is what was asked for.
        trunk: The network, where what it computes in is to be told too.

    Returns:
        A table that JSON and TOML hold: of a GPU, what it is and its libraries.
    """
    gpu = gpu_facts(setup.device)
    return {
        "engine": kind.name,
        "form": FORM,
        "backend": keras.backend.backend(),
        **asdict(setup),
        **({} if trunk is None else {"computes": computes_in(trunk, setup)}),
        **kind.fixed(setup),
        "versions": versions(kind.packages),
        "processor": {"name": processor_name(), "features": processor_features()},
        **({"gpu": gpu} if gpu else {}),
        "flags": flags(),
    }


def choice_table(kind: type[Engine], setup: Setup, trunk: keras.Model | None = None) -> dict[str, Any]:
    """What a later run needs to run a trunk the same way, for the lock; nothing is built.

    Those of :func:`settings` that a lock says once for the whole run are left out: backend, processor, GPU and flags.

    Example:
        >>> from zoo.engines.keras import KerasEngine
        >>> sorted(choice_table(KerasEngine, Setup("bfloat16")))
        ['batch', 'device', 'engine', 'form', 'precision', 'threads', 'versions']
    """
    of_run = ("backend", "processor", "gpu", "flags")
    return {name: value for name, value in settings(kind, setup, trunk).items() if name not in of_run}


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
