"""Is ``head(trunk(x)) == model(x)``, for every network of keras.applications and every cut between its blocks?

Each network is built in a process of its own, at the smallest input that it takes, with random weights and five logits.
A fresh network may be dead, as a whole or in its blocks, so that a fault would pass. So batch normalization gets the
statistics of one pass over 32 random images, and ConvNeXt's layer scales, 1e-6 when fresh, are set to 1. The spread of
a network is the largest standard deviation of a logit over 8 of these images; every difference is the largest of any
logit and image, divided by it. A network whose spread is below a thousandth of its logits' mean size is refused.

Every cut between blocks is tried, and in addition up to 32 cuts after single layers, evenly spread from bottom to
top: most of these go through a block, so that skip connections cross them. At every cut two faults are planted in the
head, one at a time, to see whether the comparison would find them:

- a channel off by 1%: of the head's lowest kernel, the strongest channel whose change shows by more than 1e-5; where
  none of the eight strongest does, as behind dead units, the one that shows most;
- a wrong tensor: one of those that cross, where it has the shape of another, is put in the other's place.

The table has the least difference that either made at any cut. Exit code 1 where a split differs by more than 1e-6, a
planted fault does not, or the trunk does not hold all of the parameters that the plan freezes.
"""

import argparse
import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    import zoo

SIZES = (32, 64, 71, 75, 96, 128, 224, 331)
CLASSES = 5
CALIBRATE, COMPARE = 32, 8
INSIDE = 32
ALIVE, EQUAL = 1e-3, 1e-6


@dataclass(frozen=True)
class Cut:
    """What one cut gave: how many tensors cross, how many frozen parameters are missing in the trunk, differences."""

    name: str
    crossing: int
    missing: int
    difference: float
    channel: float
    wrong_tensor: float | None


@dataclass(frozen=True)
class Row:
    """One network: the spread of its logits relative to their mean size, its cuts between and inside blocks."""

    network: str
    size: int
    parameters: int
    spread: float
    seconds: float
    between: list[Cut] = field(default_factory=list)
    inside: list[Cut] = field(default_factory=list)

    @property
    def cuts(self) -> list[Cut]:
        """All cuts."""
        return self.between + self.inside

    @property
    def faults(self) -> list[str]:
        """Why this row is not what it should be; empty where it is."""
        found = []
        if self.spread < ALIVE:
            found.append(f"dead: its logits' spread is {self.spread:.1e} of their size")
        for cut in self.cuts:
            seen = [f for f in (cut.channel, cut.wrong_tensor) if f is not None]
            if not cut.difference <= EQUAL:  # also where it is not a number
                found.append(f"{cut.name}: the split differs by {cut.difference:.1e}")
            if cut.missing:
                found.append(f"{cut.name}: {cut.missing} frozen parameters are not in the trunk")
            if not min(seen) > EQUAL:
                found.append(f"{cut.name}: a planted fault passes, it makes {min(seen):.1e} only")
        return found


def main() -> None:
    """Prints the table, and writes it where it is asked to."""
    options = _arguments()
    if options.one:
        print(json.dumps(asdict(measure(options.one))))
        return
    rows, right = [], True
    for name in options.only or networks():
        row = _in_a_process(name)
        complaints = row.faults if row else ["not measured"]
        rows += [row] if row else []
        right = right and not complaints
        print("; ".join(_cells(row)) if row else name, *complaints, sep="\n  ", file=sys.stderr, flush=True)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    if options.write and right:
        write_section(options.write, "applications", table(rows))
    sys.exit(not right)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NETWORK", help="these networks instead of all")
    parser.add_argument("--json", type=Path, help="write every cut's figures here")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    parser.add_argument("--one", metavar="NETWORK", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write takes the table of all networks: leave --only out")
    return options


def _in_a_process(name: str) -> Row | None:
    """A process gives its memory back when it ends; Keras alone does not."""
    done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr, flush=True)
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    cuts = {side: [Cut(**cut) for cut in found.pop(side)] for side in ("between", "inside")}
    return Row(**found, **cuts)


def networks() -> dict[str, Callable[..., "keras.Model"]]:
    """Every network that keras.applications exports, by its name."""
    from zoo.commands.starting import quietly

    with quietly():
        import keras

    return {name: made for name, made in vars(keras.applications).items() if inspect.isfunction(made)}


def measure(name: str, inside: int = INSIDE) -> Row:
    """Builds a network, makes it live, and compares it with its two parts at every cut.

    Args:
        name: One of :func:`networks`.
        inside: The largest number of cuts after single layers.
    """
    made = networks()[name]
    import keras

    start = time.perf_counter()
    keras.utils.set_random_seed(0)
    model = smallest(made)
    x = pictures(CALIBRATE, model.input_shape[1])
    make_live(model, x)
    x = x[:COMPARE]
    whole = np.asarray(model(x, training=False), "float64")
    between = [compare(model, plan, x, whole) for plan in between_blocks(model)]
    within = [compare(model, plan, x, whole) for plan in inside_blocks(model, inside)]
    relative = spread_of(whole) / float(np.abs(whole).mean())
    seconds = time.perf_counter() - start
    return Row(name, model.input_shape[1], model.count_params(), relative, seconds, between, within)


def smallest(made: Callable[..., "keras.Model"]) -> "keras.Model":
    """A network with random weights and logits, at the smallest input that it takes."""
    for size in SIZES[:-1]:
        try:
            return made(weights=None, classes=CLASSES, classifier_activation=None, input_shape=(size, size, 3))
        except ValueError:  # too small for it
            continue
    return made(weights=None, classes=CLASSES, classifier_activation=None, input_shape=(SIZES[-1], SIZES[-1], 3))


def pictures(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Random images, 0 to 255: coarse patches under fine noise, so that their averages differ as well.

    Averaged over space, as at the top of these networks, pure noise is the same grey each time.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, 4, 3))
    each = -(-size // 4)
    patches = coarse.repeat(each, axis=1).repeat(each, axis=2)[:, :size, :size]
    return (0.7 * patches + 0.3 * rng.uniform(0, 255, patches.shape)).astype("float32")


def make_live(model: "keras.Model", x: np.ndarray) -> None:
    """Gives batch normalization the statistics of one pass over ``x``, and layer scales the value 1.

    Nothing is dropped in that pass: statistics that do not fit inference let a few images run away in deep networks.
    """
    import keras

    inside = list(model._flatten_layers())
    for layer in inside:
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(keras.ops.ones_like(layer.gamma))
    switches = [(norm, "momentum") for norm in inside if isinstance(norm, keras.layers.BatchNormalization)]
    switches += [(drop, "rate") for drop in inside if isinstance(drop, keras.layers.Dropout)]
    before = [getattr(layer, switch) for layer, switch in switches]
    for layer, switch in switches:
        setattr(layer, switch, 0.0)
    model(x, training=True)
    for (layer, switch), value in zip(switches, before, strict=True):
        setattr(layer, switch, value)


def between_blocks(model: "keras.Model") -> Iterator["zoo.Plan"]:
    """A plan for every cut between two blocks."""
    import zoo

    for block in zoo.blocks(model)[:-1]:
        yield zoo.freeze(model, upto=block.name)


def inside_blocks(model: "keras.Model", most: int) -> Iterator["zoo.Plan"]:
    """A plan for the cuts after single layers with weights, ``most`` of them, evenly spread from bottom to top."""
    import zoo
    from zoo.card import BlockPattern

    order = [name for block in zoo.blocks(model) for name in block.layers]
    holding = {layer.name for layer in model._flatten_layers() if layer.weights}
    ends = [i for i, name in enumerate(order) if name in holding][:-1]
    chosen = sorted({ends[round(i)] for i in np.linspace(0, len(ends) - 1, min(most, len(ends)))})
    for end in chosen:
        parts = (order[: end + 1], order[end + 1 :])
        names = (f"up to {order[end]}", "above")
        patterns = [BlockPattern(n, "|".join(map(re.escape, part))) for n, part in zip(names, parts, strict=True)]
        yield zoo.freeze(model, upto=names[0], blocks_of=patterns)


def compare(model: "keras.Model", plan: "zoo.Plan", x: np.ndarray, whole: np.ndarray) -> Cut:
    """Splits at a plan's boundary, and compares; then again with each of the faults planted.

    Args:
        model: A live network.
        plan: What is frozen.
        x: Images.
        whole: What the network says of them.
    """
    import zoo

    trunk, head = zoo.split(model, plan)
    crossing = trunk(x, training=False)
    tensors = crossing if isinstance(crossing, list) else [crossing]

    def difference() -> float:
        given = tensors if len(tensors) > 1 else tensors[0]
        return gap(whole, np.asarray(head(given, training=False), "float64"))

    right = difference()
    kernel = next(v for v in head.trainable_variables if len(v.shape) > 1)
    kept = kernel.numpy()
    channel = 0.0
    for changed in _off_by_one_percent(kept):
        kernel.assign(changed)
        channel = max(channel, difference())
        if channel > 10 * EQUAL:  # else hardly any image excites what the channel feeds
            break
    kernel.assign(kept)
    tensors = _one_in_anothers_place(tensors)
    wrong = difference() if tensors else None
    frozen = [row.block for row in plan.rows if row.frozen]
    missing = sum(block.parameters for block in frozen) - trunk.count_params()
    return Cut(frozen[-1].name, len(plan.crossings), missing, right, channel, wrong)


def _off_by_one_percent(kernel: np.ndarray, most: int = 8) -> Iterator[np.ndarray]:
    """A kernel with one channel 1% too large, the strongest first; a depthwise kernel has them on its third axis."""
    axis = max(i for i, n in enumerate(kernel.shape) if n > 1)
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    for strongest in np.square(kernel).sum(axis=others).argsort()[::-1][:most]:
        scale = np.ones(kernel.shape[axis], kernel.dtype)
        scale[strongest] = 1.01
        yield kernel * np.expand_dims(scale, others)


def _one_in_anothers_place(tensors: list[Any]) -> list[Any]:
    """The crossing tensors with one of them twice, at the cost of another of its shape; none where there is no such."""
    for i, one in enumerate(tensors):
        for j, other in enumerate(tensors[:i]):
            if one.shape == other.shape and bool(np.any(np.asarray(one) != np.asarray(other))):
                return [*tensors[:i], tensors[j], *tensors[i + 1 :]]
    return []


def spread_of(outputs: np.ndarray) -> float:
    """How much outputs differ from image to image: the largest standard deviation of any."""
    return float(outputs.std(axis=0).max())


def gap(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, relative to the spread."""
    return float(np.abs(one - other).max()) / spread_of(one)


HEADINGS = (
    "network", "input", "parameters", "spread", "cuts between blocks", "inside", "tensors crossing",
    "worst difference", "a channel off by 1%", "a wrong tensor", "seconds",
)  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    crossing = [cut.crossing for cut in row.cuts]
    wrong = [cut.wrong_tensor for cut in row.cuts if cut.wrong_tensor is not None]
    return (
        row.network,
        f"{row.size}x{row.size}",
        f"{row.parameters / 1e6:.1f} M",
        f"{row.spread:.2g}",
        str(len(row.between)),
        str(len(row.inside)),
        f"{min(crossing)} to {max(crossing)}",
        _figure(max(cut.difference for cut in row.cuts)),
        _figure(min(cut.channel for cut in row.cuts)),
        _figure(min(wrong)) if wrong else "-",
        f"{row.seconds:.0f}",
    )


def _figure(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, with what they were measured on above it."""
    cuts = sum(len(row.cuts) for row in rows)
    minutes = sum(row.seconds for row in rows) / 60
    head = f"{len(rows)} networks, {cuts:,} cuts, {minutes:.0f} minutes on {machine()}."
    return f"{head}\n\n{markdown(HEADINGS, [_cells(row) for row in rows])}"


def machine() -> str:
    """What figures were measured on."""
    return f"{os.cpu_count()} processor cores with Keras {version('keras')} and TensorFlow {version('tensorflow')}"


def markdown(headings: tuple[str, ...], rows: list[tuple[str, ...]], text: int = 1) -> str:
    """A Markdown table whose first columns, ``text`` of them, are text, and whose others are figures."""
    rule = ("---" if i < text else "---:" for i in range(len(headings)))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))


def write_section(page: Path, name: str, text: str) -> None:
    """Puts text between a page's two comments ``<!-- NAME -->`` and ``<!-- end of NAME -->``."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    if end not in rest:
        sys.exit(f"{page} has no lines '{begin}' and '{end}' to put the table between.")
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
