"""What surgery on large networks costs, in time and memory, beside plain Keras.

ResNet152 and EfficientNetB7, with random weights, at their native input sizes. Each operation has a process of its own,
which builds the network and then calls the operation five times. The time is the median of the processor time, all
threads together: other programs that run meanwhile hardly count. The memory is that of the first call: how far the
process's resident set rises at its peak above what it was before, with what the result holds, weights included. Linux
keeps that peak, and memory that was freed but kept by the process is handed back first.

Beside each operation stands what one would write with Keras alone for the same result: ``keras.Model(inputs, tensor)``
for a cut, and ``clone_model`` with ``set_weights`` where the weights are copied. Keras alone has no blocks and no plan.

- blocks, freeze (up to the middle block), split (above the middle block): these copy no weights
- drop_above: down to the layer below the classifier
- replace_top: a classifier of ten classes on that layer
- replace_layer: the middle block's highest activation, by GELU
- insert_layer: dropout above the middle block
"""

import argparse
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from split_applications import machine, markdown, write_section

import zoo

if TYPE_CHECKING:
    import keras

NETWORKS = ("ResNet152", "EfficientNetB7")
CALLS = 5
MB = 1e6


class Subject:
    """A network, and where it is cut and edited: found out before anything is measured."""

    def __init__(self, name: str) -> None:
        import keras

        self.model: keras.Model = getattr(keras.applications, name)(weights=None)
        found = zoo.blocks(self.model)
        middle = found[len(found) // 2]
        self.block = middle.name
        self.end = middle.layers[-1]
        layers = [self.model.get_layer(name) for name in middle.layers]
        self.activation = [layer.name for layer in layers if isinstance(layer, keras.layers.Activation)][-1]
        self.features = self.model.layers[-2].name
        self.plan = zoo.freeze(self.model, upto=self.block)

    def output_of(self, layer: str) -> Any:
        """A layer's output in the network."""
        return self.model.get_layer(layer).output


@dataclass(frozen=True)
class Cost:
    """Median processor seconds of a call, and the megabytes by which the first one raised the resident set."""

    seconds: float
    memory: float


def main() -> None:
    """Prints the table, and writes it where it is asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS, help="these networks")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(*options.one))))
        return
    if options.write and options.only != NETWORKS:
        parser.error("--write takes the table of both networks: leave --only out")
    text = table([row for network in options.only for row in _rows(network)])
    print(text)
    if options.write:
        write_section(options.write, "surgery", text)


def _rows(network: str) -> list[tuple[str, ...]]:
    rows = []
    for operation, (_, plain) in OPERATIONS.items():
        if hasattr(zoo, operation):
            ours = _in_a_process(network, operation, "zoo")
            theirs = _in_a_process(network, operation, "plain") if plain else None
            rows.append((network, f"`zoo.{operation}`", *_cells(ours), *_cells(theirs)))
            print("; ".join(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _cells(cost: Cost | None) -> tuple[str, str]:
    return (f"{cost.seconds:.3f}", f"{cost.memory:.0f}") if cost else ("-", "-")


def _in_a_process(*what: str) -> Cost:
    """What a process has once held hides what the next operation needs."""
    done = subprocess.run([sys.executable, __file__, "--one", *what], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(what)} failed:\n{done.stderr}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def measure(network: str, operation: str, side: str) -> Cost:
    """Calls an operation several times.

    Args:
        network: One of ``NETWORKS``.
        operation: One of ``OPERATIONS``.
        side: ``zoo`` or ``plain``.
    """
    from zoo.commands.starting import quietly

    with quietly():
        subject = Subject(network)
    call = OPERATIONS[operation][side == "plain"]
    before = _start_of_peak()
    seconds, peak = [], 0.0
    for _ in range(CALLS):
        start = time.process_time()
        result = call(subject)
        seconds.append(time.process_time() - start)
        peak = peak or _status("VmHWM")
        del result
        gc.collect()
    return Cost(statistics.median(seconds), (peak - before) / MB)


def _start_of_peak() -> float:
    """Hands unused memory back, lets the peak begin at what is left, and gives that, in bytes."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _status(key: str) -> float:
    """A figure of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * float(next(line for line in lines if line.startswith(f"{key}:")).split()[1])


def _plain_split(subject: Subject) -> Any:
    import keras

    crossing = subject.output_of(subject.end)
    return keras.Model(subject.model.inputs, crossing), keras.Model(crossing, subject.model.outputs)


def _plain_copy(model: "keras.Model", **how: Any) -> "keras.Model":
    import keras

    copy = keras.models.clone_model(model, **how)
    copy.set_weights(model.get_weights())
    return copy


def _plain_drop_above(subject: Subject) -> "keras.Model":
    import keras

    return _plain_copy(keras.Model(subject.model.inputs, subject.output_of(subject.features)))


def _plain_replace_top(subject: Subject) -> "keras.Model":
    import keras

    base = _plain_drop_above(subject)
    return keras.Model(base.inputs, keras.layers.Dense(10, activation="softmax")(base.outputs[0]))


def _gelu() -> "keras.layers.Layer":
    import keras

    return keras.layers.Activation("gelu", name="new_activation")


def _dropout() -> "keras.layers.Layer":
    import keras

    return keras.layers.Dropout(0.2, name="new_dropout")


def _plain_replace_layer(subject: Subject) -> "keras.Model":
    def made(layer: "keras.layers.Layer") -> "keras.layers.Layer":
        return _gelu() if layer.name == subject.activation else layer.__class__.from_config(layer.get_config())

    return _plain_copy(subject.model, clone_function=made)


def _plain_insert_layer(subject: Subject) -> "keras.Model":
    def called(layer: "keras.layers.Layer", *args: Any, **kwargs: Any) -> Any:
        output = layer(*args, **kwargs)
        return _dropout()(output) if layer.name == subject.end else output

    def made(layer: "keras.layers.Layer") -> "keras.layers.Layer":
        return layer.__class__.from_config(layer.get_config())

    return _plain_copy(subject.model, clone_function=made, call_function=called)


#: By name: what zoo does, and the same in plain Keras where there is such a thing.
OPERATIONS: dict[str, tuple[Callable[[Subject], Any], Callable[[Subject], Any] | None]] = {
    "blocks": (lambda s: zoo.blocks(s.model), None),
    "freeze": (lambda s: zoo.freeze(s.model, upto=s.block), None),
    "split": (lambda s: zoo.split(s.model, s.plan), _plain_split),
    "drop_above": (lambda s: zoo.drop_above(s.model, s.features), _plain_drop_above),
    "replace_top": (lambda s: zoo.replace_top(s.model, cut=s.features, classes=10), _plain_replace_top),
    "replace_layer": (lambda s: zoo.replace_layer(s.model, s.activation, _gelu()), _plain_replace_layer),
    "insert_layer": (lambda s: zoo.insert_layer(s.model, _dropout(), above=s.end), _plain_insert_layer),
}

HEADINGS = ("network", "operation", "seconds", "memory, MB", "Keras alone: seconds", "memory, MB")


def table(rows: list[tuple[str, ...]]) -> str:
    """The rows as a Markdown table, with what they were measured on above it."""
    return f"Measured on {machine()}.\n\n{markdown(HEADINGS, rows, text=2)}"


if __name__ == "__main__":
    main()
