"""How fast a frozen trunk runs: each of zoo's engines, ``model.predict`` and ONNX Runtime, on the same images.

ResNet50 and MobileNetV2 without their tops, at 224x224, with seeded random weights, made live: batch normalization gets
the statistics of one pass over random images. Each network has a process of its own. There, every runner takes the same
64 images in turn, round after round; the figures are medians over the rounds, and so are the ratios, each taken within
one round: both sides suffer alike from whatever else the machine does.

- predict: ``model.predict`` of plain Keras, with its default batches of 32
- tensorflow, openvino: zoo's engines, in the batches that a run takes
- onnxruntime: ONNX Runtime on the graph of the engine ``tensorflow`` (batch norms folded) for all 64 images, converted
  by tf2onnx.
  Neither belongs to zoo: ``pip install onnxruntime tf2onnx`` to have it in the table

Speeds are by the clock. The processor column counts processor seconds instead, all threads together, as if nothing else
ran. The difference is that from Keras in float32, on the first images: root mean square, relative to the spread between
images; networks of random weights magnify it. The peak is that of TensorFlow's own product of two matrices of 4096x4096
in float32 and in bfloat16, taken in the same rounds; the share is that of the arithmetic of the network's convolutions.

Run it as ``python -m benchmarks.trunk_throughput``.
"""

import argparse
import importlib.util
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.own_process import in_a_process
from benchmarks.split_applications import machine, make_live, markdown, pictures

if TYPE_CHECKING:
    import keras

NETWORKS = ("ResNet50", "MobileNetV2")
SIZE, IMAGES, ROUNDS, SIDE = 224, 64, 5, 4096
ENGINES = (("tensorflow", "float32"), ("tensorflow", "bfloat16"), ("openvino", "float32"), ("openvino", "bfloat16"))

Run = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """A runner on a network: medians; what it differs from Keras by; or why it did not run."""

    network: str
    runner: str
    precision: str
    images_per_second: float = 0.0
    over_predict: float = 0.0
    processor_over_predict: float = 0.0
    share_of_peak: float = 0.0
    difference: float = 0.0
    why_not: str = ""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS, help="these networks")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each runner is timed (default: 5)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: as zoo chooses them)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps([asdict(row) for row in measure(options.one, options.rounds, options.threads)]))
        return
    how = ("--rounds", str(options.rounds), "--threads", str(options.threads))
    measured = [in_a_process("benchmarks.trunk_throughput", "--one", name, *how) for name in options.only]
    rows = [Row(**row) for network in measured for row in network]
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def measure(name: str, rounds: int = ROUNDS, threads: int = 0, size: int = SIZE) -> list[Row]:
    """Times every runner on a network.

    Args:
        name: Of ``keras.applications``.
        rounds: How often each is timed, after a call that warms it up.
        threads: CPU threads; 0 for what zoo chooses.
        size: The height and width of the images.
    """
    import keras

    from zoo.batch_shape import batch_of
    from zoo.device import prepare
    from zoo.engine import build
    from zoo.engine_difference import difference
    from zoo.engines.interface import Setup
    from zoo.errors import DeviceError

    threads = prepare("cpu", threads).threads
    keras.utils.set_random_seed(0)
    made = getattr(keras.applications, name)
    model = made(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3))
    x = pictures(IMAGES, size)
    make_live(model, x[: IMAGES // 2])
    runs: dict[tuple[str, str], Run] = {("predict", "float32"): lambda: [model.predict(x, verbose=0)]}
    rows: dict[tuple[str, str], Row] = {}
    for runner, precision in ENGINES:
        try:
            runs[runner, precision] = _bound(build(model, runner, Setup(precision, batch_of(model), threads)), x)
        except DeviceError as reason:
            rows[runner, precision] = Row(name, runner, precision, why_not=str(reason))
    reason = onnx_runtime(model, x, threads, runs)
    if reason:
        rows["onnxruntime", "float32"] = Row(name, "onnxruntime", "float32", why_not=reason)
    theirs = runs["predict", "float32"]()
    off = {key: difference(run(), theirs).typical for key, run in runs.items()}
    peaks = [("peak", precision) for precision in ("float32", "bfloat16")]
    clock, busy = _times({**runs, **{key: product(key[1]) for key in peaks}}, rounds)
    work, plain = 2 * multiplications(model) * IMAGES, ("predict", "float32")
    for key in runs:
        peak = [2 * SIDE**3 / seconds for seconds in clock["peak", key[1]]]
        rows[key] = Row(
            name,
            *key,
            images_per_second=IMAGES / statistics.median(clock[key]),
            over_predict=_ratio(clock[plain], clock[key]),
            processor_over_predict=_ratio(busy[plain], busy[key]),
            share_of_peak=statistics.median(
                work / seconds / most for seconds, most in zip(clock[key], peak, strict=True)
            ),
            difference=off[key],
        )
    return list(rows.values())


def _bound(engine: Any, x: np.ndarray) -> Run:
    size = engine.setup.batch

    def run() -> Any:
        calls = [engine.run(x[start : start + size]) for start in range(0, len(x), size)]
        return [np.concatenate(parts) for parts in zip(*calls, strict=True)]

    return run


def _ratio(before: list[float], after: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(before, after, strict=True))


def _times(runs: dict[tuple[str, str], Run], rounds: int) -> tuple[dict[Any, list[float]], dict[Any, list[float]]]:
    """The seconds of each runner in each round, by the clock and of the processor."""
    clock: dict[Any, list[float]] = {key: [] for key in runs}
    busy: dict[Any, list[float]] = {key: [] for key in runs}
    for i in range(rounds + 1):
        for key, run in runs.items():
            start, used = time.perf_counter(), time.process_time()
            run()
            if i:  # the first warms up
                clock[key].append(time.perf_counter() - start)
                busy[key].append(time.process_time() - used)
    return clock, busy


def product(precision: str) -> Run:
    """A product of two square matrices."""
    import tensorflow as tf

    a, b = (tf.cast(tf.random.stateless_normal((SIDE, SIDE), (0, i)), precision) for i in (1, 2))
    return lambda: tf.linalg.matmul(a, b)


def multiplications(model: "keras.Model") -> int:
    """How many multiplications a network's convolutions and dense layers take for an example."""
    import keras

    total = 0
    for layer in model._flatten_layers():
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            total += int(layer.kernel.shape.num_elements()) * math.prod(layer.output.shape[1:3])
        elif isinstance(layer, keras.layers.Dense):
            total += int(layer.kernel.shape.num_elements())
    return total


def onnx_runtime(model: "keras.Model", x: np.ndarray, threads: int, runs: dict[tuple[str, str], Run]) -> str:
    """Adds ONNX Runtime to the runners, or says why it does not run."""
    missing = [name for name in ("onnxruntime", "tf2onnx") if importlib.util.find_spec(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    import onnxruntime
    import tf2onnx

    from zoo.engines.constants import folded, with_constants

    function = with_constants(folded(model).network, len(x))
    names = [[tensor.name for tensor in tensors] for tensors in (function.inputs, function.outputs)]
    try:
        graph = function.graph.as_graph_def()
        made, _ = tf2onnx.convert.from_graph_def(graph, input_names=names[0], output_names=names[1], opset=17)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as reason:  # whatever the converter raises
        return f"not converted: {str(reason).splitlines()[0]}"
    runs["onnxruntime", "float32"] = lambda: session.run(names[1], {names[0][0]: x})
    return ""


HEADINGS = (
    "network", "runner", "precision", "images/s", "over predict", "by processor time", "share of peak", "difference",
)  # fmt: skip


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, with what they were measured on above it."""
    cells = []
    for row in rows:
        figures = (
            f"{row.images_per_second:.1f}",
            f"{row.over_predict:.2f}",
            f"{row.processor_over_predict:.2f}",
            f"{row.share_of_peak:.0%}",
            f"{row.difference:.0e}",
        )
        cells.append(
            (row.network, row.runner, row.precision, *((row.why_not, "", "", "", "") if row.why_not else figures))
        )
    return f"Measured on {machine()}.\n\n{markdown(HEADINGS, cells, text=3)}"


if __name__ == "__main__":
    main()
