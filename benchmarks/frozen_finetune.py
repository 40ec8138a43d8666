"""What fine-tuning on a frozen trunk takes, from the first line to the test accuracy: plain Keras beside zoo.

600 JPEGs of 500x375 in five classes, at 224x224, in folders train, val and test: 480, 60 and 60 of them. The networks
are ResNet50 and MobileNetV2 of ``keras.applications`` without their tops, as ``.keras`` files: seeded random weights,
made live (batch normalization has the statistics of one pass over random images). Both sides take the same files, and
train a softmax layer with Adam at 0.001 in batches of 32 for 20 epochs; after every epoch the validation images are
measured, at the end those of the test. Plain Keras is what ``--print-plain`` shows, word for word.

- zoo, first run: ``ZOO_HOME`` is empty; what crosses the boundary is computed, stored, and trained on
- zoo, second run: the same again, with another run folder: everything is in the cache
- thawed: the upper block learns too, on both sides (conv5 of ResNet50, block_16 and what is above of MobileNetV2),
  with Adam at 0.0001 for fewer epochs, batch normalization in inference. zoo caches what crosses the boundary below

Each run has a process of its own, and everything that it imports is imported before its clock starts. For plain Keras
the clock runs from reading the folders to after the evaluation; for zoo it is all of ``zoo.finetune``, which also
writes the run folder: checkpoint, network, report. When it has stopped, the network is measured on 500 more images, of
another seed: of the 60 for testing one is 1.7 points. The pages of all files are in the operating system's cache. Rows
are run in turn, repeat after repeat; figures are medians, and so are the ratios, each taken within a repeat.

Run it as ``python -m benchmarks.frozen_finetune``; plain Keras takes most of the time.
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import tomllib
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.own_process import in_a_process
from benchmarks.split_applications import machine, make_live, markdown, pictures

if TYPE_CHECKING:
    from PIL import Image

#: Each network's name in ``keras.applications``, the block below which all is frozen in the thawed rows, and its last
#: layer.
NETWORKS = {
    "resnet50": ("ResNet50", "conv4", "conv4_block6_out"),
    "mobilenetv2": ("MobileNetV2", "block_15", "block_15_add"),
}
IMAGES, SIZE, EPOCHS, THAWED_EPOCHS, REPEATS, BATCH = 600, 224, 20, 5, 3, 32
#: Images that are measured when the clock has stopped: of the 60 for testing, one is 1.7 points.
MORE = 500
WIDTH, HEIGHT = 500, 375
CLASSES = ("rising", "standing", "lying", "dots", "triangles")
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
#: Times faster than plain Keras, with a frozen trunk: what was asked for, by network, run and precision.
TARGETS = {
    ("resnet50", "first", "float32"): 24, ("resnet50", "first", "bfloat16"): 40, ("resnet50", "second", "float32"): 200,
    ("mobilenetv2", "first", "float32"): 15, ("mobilenetv2", "first", "bfloat16"): 20,
    ("mobilenetv2", "second", "float32"): 60, ("resnet50", "second", "bfloat16"): 200,
    ("mobilenetv2", "second", "bfloat16"): 60,
}  # fmt: skip

PLAIN = """\
import json
import time

import keras
import tensorflow as tf

start, used = time.perf_counter(), time.process_time()
keras.utils.set_random_seed({seed})


def images(side):
    folder, size = f"{data}/{{side}}", ({size}, {size})
    read = keras.utils.image_dataset_from_directory
    return read(folder, image_size=size, batch_size={batch}, shuffle=side == "train").prefetch(tf.data.AUTOTUNE)


train, val, test = map(images, ("train", "val", "test"))
base = keras.models.load_model("{network}", compile=False)
{freeze}
inputs = keras.Input(({size}, {size}, 3))
outputs = keras.layers.Dense({classes}, activation="softmax")(base(inputs, training=False))
model = keras.Model(inputs, outputs)
model.compile(keras.optimizers.Adam({rate}), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(train, validation_data=val, epochs={epochs}, verbose=0)
_, accuracy = model.evaluate(test, verbose=0)

seconds, used = time.perf_counter() - start, time.process_time() - used
more = keras.utils.image_dataset_from_directory("{more}", image_size=({size}, {size}), batch_size={batch})
_, on_more = model.evaluate(more, verbose=0)
print(json.dumps({{"seconds": seconds, "processor_seconds": used, "accuracy": accuracy, "more": on_more}}))
"""
FROZEN = "base.trainable = False"
THAWED = """\
above = [layer.name for layer in base.layers].index("{last}") + 1
for i, layer in enumerate(base.layers):
    layer.trainable = i >= above and not isinstance(layer, keras.layers.BatchNormalization)"""

RECIPE = """\
schema = 1
[model]
name = "{network}"
[data]
path = "{data}"
[[stage]]
name = "thawed"
freeze = "{block}"
epochs = {epochs}
optimizer = {{ name = "adam", learning_rate = {rate} }}
"""


@dataclass(frozen=True)
class Way:
    """One way to fine-tune a network: by whom (``plain``, or zoo's ``first`` or ``second`` run), with which engine
    and precision, and whether the upper block learns too."""

    network: str
    run: str
    engine: str = ""
    precision: str = "float32"
    thawed: bool = False

    @property
    def plain(self) -> "Way":
        """What it is compared with."""
        return Way(self.network, "plain", thawed=self.thawed)

    @property
    def name(self) -> str:
        """As the table has it."""
        return "plain Keras" if self.run == "plain" else f"zoo, {self.run} run"


@dataclass
class Row:
    """A way with a figure for each repeat: seconds by the clock and of the processor, times faster than plain Keras in
    the same repeat, accuracy on the test images and on more of them; and the engine that zoo took."""

    way: Way
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    over_plain: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    more: list[float] = field(default_factory=list)
    engine: str = ""

    @property
    def target(self) -> int | None:
        """How many times faster it is meant to be."""
        if self.way.run == "plain":
            return None
        return 1 if self.way.thawed else TARGETS[self.way.network, self.way.run, self.way.precision]


def main() -> None:
    """Prints the table."""
    options = _arguments()
    if options.print_plain:
        print(plain_script(options, Path("."), options.network[0], thawed=False, seed=0))
        return
    if options.one:
        print(json.dumps(one_run(**json.loads(options.one))))
        return
    head = f"{surroundings()}\n"
    with tempfile.TemporaryDirectory() as folder:
        in_a_process("benchmarks.frozen_finetune", "--one", json.dumps({"what": "make", **_made(options, folder)}))
        rows = measure(options, Path(folder))
    print(head, table(rows), sep="\n")
    if options.json:
        text = json.dumps({"surroundings": head.strip(), "rows": [asdict(row) for row in rows]}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="these networks")
    add("--only", nargs="+", choices=("frozen", "thawed"), default=["frozen", "thawed"], help="these comparisons")
    add("--engines", nargs="+", default=_engines(), help="zoo's engines, `auto` among them (default: auto openvino)")
    add("--precisions", nargs="+", default=["float32", "bfloat16"], help="those of the trunk")
    add("--repeats", type=int, default=REPEATS, help=f"how often everything is run (default: {REPEATS})")
    add("--images", type=int, default=IMAGES, help=f"how many JPEGs (default: {IMAGES})")
    add("--more", type=int, default=MORE, help=f"how many more are measured untimed (default: {MORE})")
    add("--size", type=int, default=SIZE, help=f"the height and width that networks take (default: {SIZE})")
    add("--epochs", type=int, default=EPOCHS, help=f"of the frozen rows (default: {EPOCHS})")
    add("--thawed-epochs", type=int, default=THAWED_EPOCHS, help=f"of the thawed rows (default: {THAWED_EPOCHS})")
    add("--json", type=Path, metavar="FILE", help="write every figure here")
    add("--print-plain", action="store_true", help="print the script of plain Keras, and stop")
    add("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def _engines() -> list[str]:
    return ["auto", "openvino"] if importlib.util.find_spec("openvino") else ["auto"]


def _made(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    counts = {"images": options.images, "more": options.more}
    return {"folder": folder, "networks": options.network, "size": options.size, **counts}


def surroundings() -> str:
    """What the figures were measured on, and how busy it was before."""
    names = {"Keras": "keras", "TensorFlow": "tensorflow", "OpenVINO": "openvino", "Pillow": "pillow"}
    found = [
        f"{name} {version(package)}" for name, package in names.items() if importlib.util.find_spec(_module(package))
    ]
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = f"{model[0].partition(':')[2].strip()}, " if model else ""
    load = f"load average at the start {os.getloadavg()[0]:.2f}"
    return f"Measured on {processor}{machine().split(' with ')[0]}, {', '.join(found)}; {load}."


def _module(package: str) -> str:
    return "PIL" if package == "pillow" else package


def ways(options: argparse.Namespace) -> list[Way]:
    """What is measured, in the order in which it is run: a second run follows on the first runs of its precision."""
    found = []
    for network in options.network:
        if "frozen" in options.only:
            found.append(Way(network, "plain"))
            for precision in options.precisions:
                for engine in options.engines:
                    found += [Way(network, run, engine, precision) for run in ("first", "second")]
        if "thawed" in options.only:
            found.append(Way(network, "plain", thawed=True))
            found += [Way(network, run, "auto", thawed=True) for run in ("first", "second")]
    return found


def measure(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Runs every way in turn, repeat after repeat; each line goes to standard error too.

    Args:
        options: What :func:`main` was asked for.
        folder: Where images and networks are.
    """
    rows = {way: Row(way) for way in ways(options)}
    for repeat in range(options.repeats):
        for way, row in rows.items():
            figures = _measured(way, options, folder, repeat)
            row.seconds.append(figures["seconds"])
            row.processor_seconds.append(figures["processor_seconds"])
            row.over_plain.append(rows[way.plain].seconds[repeat] / figures["seconds"])
            row.accuracy.append(figures["accuracy"])
            row.more.append(figures["more"])
            row.engine = figures.get("engine", "")
            print(f"{way}: {figures}", file=sys.stderr, flush=True)
    return list(rows.values())


def _measured(way: Way, options: argparse.Namespace, folder: Path, seed: int) -> dict[str, Any]:
    """The figures of one run, in a process of its own."""
    if way.run == "plain":
        script = plain_script(options, folder, way.network, thawed=way.thawed, seed=seed)
        asked: dict[str, Any] = {"what": "plain", "script": script}
    else:
        asked = {"what": "zoo", "folder": str(folder), "way": asdict(way), "seed": seed}
        asked |= {"epochs": options.thawed_epochs if way.thawed else options.epochs}
    return in_a_process("benchmarks.frozen_finetune", "--one", json.dumps(asked))


def one_run(what: str, **how: Any) -> dict[str, Any]:
    """What a process of its own does: makes images and networks, or fine-tunes in one way."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if what == "plain":
        exec(compile(how["script"], "plain", "exec"), {"__name__": "__main__"})  # it prints its figures
        sys.exit()
    return make(**how) if what == "make" else by_zoo(**how)


def plain_script(options: argparse.Namespace, folder: Path, network: str, *, thawed: bool, seed: int) -> str:
    """The script of plain Keras."""
    return PLAIN.format(
        data=folder / "images",
        more=folder / "more" / "test",
        network=folder / f"{network}.keras",
        seed=seed,
        size=options.size,
        batch=BATCH,
        classes=len(CLASSES),
        freeze=THAWED.format(last=NETWORKS[network][2]) if thawed else FROZEN,
        rate=_rate(thawed),
        epochs=options.thawed_epochs if thawed else options.epochs,
    )


def _rate(thawed: bool) -> float:
    return 0.0001 if thawed else 0.001


def by_zoo(folder: str, way: dict[str, Any], seed: int, epochs: int) -> dict[str, Any]:
    """Fine-tunes by zoo; a first run starts without a cache, a second one with what the first has left."""
    asked, work = Way(**way), Path(folder)
    kind = "thawed" if asked.thawed else "frozen"
    home, out = work / f"home-{asked.network}-{kind}-{asked.engine}-{asked.precision}", work / "run"
    if asked.run == "first":
        shutil.rmtree(home, ignore_errors=True)
    os.environ["ZOO_HOME"] = str(home)
    import keras  # noqa: F401  (what is imported counts for no one)
    import tensorflow  # noqa: F401

    import zoo

    if asked.engine == "openvino":
        import openvino  # noqa: F401
    finetune = zoo.finetune
    network, data = str(work / f"{asked.network}.keras"), str(work / "images")
    how: dict[str, Any] = {"seed": seed, "engine": asked.engine, "trunk_precision": asked.precision}
    if asked.thawed:
        recipe = work / "recipe.toml"
        block, rate = NETWORKS[asked.network][1], _rate(True)
        recipe.write_text(RECIPE.format(network=network, data=data, block=block, epochs=epochs, rate=rate))
        how |= {"recipe": recipe}
    else:
        how |= {"freeze": "all", "head_epochs": epochs, "head_learning_rate": _rate(False), "batch_size": BATCH}
    start, used = time.perf_counter(), time.process_time()
    run = finetune(network, data, out=out, **how)
    accuracy = run.metrics["test"]["accuracy"]
    seconds, used = time.perf_counter() - start, time.process_time() - used
    lock = tomllib.loads((out / "recipe.lock").read_text(encoding="utf-8"))
    more = zoo.evaluate(out, str(work / "more" / "test"))["accuracy"]
    shutil.rmtree(out)
    engine = lock["stage"][0].get("features", {}).get("engine", "")
    return {"seconds": seconds, "processor_seconds": used, "accuracy": accuracy, "more": more, "engine": engine}


def make(folder: str, networks: list[str], size: int, images: int, more: int) -> dict[str, Any]:
    """Makes the images and the networks' files."""
    make_images(Path(folder) / "images", images, SHARES)
    make_images(Path(folder) / "more", more, {"test": 1.0}, seed=1)
    import keras

    for name in networks:
        keras.utils.set_random_seed(0)
        built = getattr(keras.applications, NETWORKS[name][0])
        model = built(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3))
        make_live(model, pictures(32, size))
        model.save(Path(folder) / f"{name}.keras")
    return {}


def make_images(folder: Path, count: int, shares: dict[str, float], seed: int = 0) -> None:
    """Writes JPEGs into folders of classes, in folders of sides."""
    rng = np.random.default_rng(seed)
    each = count // len(CLASSES)
    ends = np.rint(each * np.cumsum(list(shares.values()))).astype(int)
    for number, name in enumerate(CLASSES):
        for side, start, end in zip(shares, (0, *ends), ends, strict=False):
            part = folder / side / name
            part.mkdir(parents=True)
            for i in range(start, end):
                picture(number, rng).save(part / f"{i:04d}.jpg", quality=90)


def picture(number: int, rng: np.random.Generator) -> "Image.Image":
    """One image of a class: a pattern in two shades of a colour, all of them varied a little, on a ground of other
    colours, under noise.

    Classes differ in pattern, colour and brightness, so that a network of random weights tells them apart.
    """
    from PIL import Image, ImageDraw

    hue = 51 * number + rng.normal(0, 4)

    def shade(value: float) -> Any:
        colour = (int(hue + rng.normal(0, 3)) % 256, int(rng.uniform(200, 255)), int(value))
        return Image.new("HSV", (1, 1), colour).convert("RGB").getpixel((0, 0))

    dark, light = (shade(20 + 48 * number + rng.uniform(*more)) for more in ((0, 8), (32, 42)))
    image = Image.new("RGB", (WIDTH, HEIGHT), dark)
    draw, step = ImageDraw.Draw(image), int(rng.integers(26, 42))
    for x in range(-HEIGHT, WIDTH + HEIGHT, step):
        wide, r = x + step // 2, step // 3
        if number == 0:
            draw.polygon([(x, 0), (wide, 0), (wide + HEIGHT, HEIGHT), (x + HEIGHT, HEIGHT)], fill=light)
        elif number < 3:
            draw.rectangle((x, 0, wide, HEIGHT) if number == 1 else (0, x, WIDTH, wide), fill=light)
        else:
            for y in range(0, HEIGHT, step):
                if number == 3:
                    draw.ellipse((x - r, y - r, x + r, y + r), fill=light)
                else:
                    draw.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=light)
    ground = Image.fromarray(rng.integers(0, 256, (3, 4, 3), "uint8")).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    mixed = 0.93 * np.asarray(image, "float32") + 0.07 * np.asarray(ground, "float32")
    return Image.fromarray(np.clip(mixed + rng.normal(0, 15, mixed.shape), 0, 255).astype("uint8"))


HEADINGS = (
    "network", "trunk", "run", "precision", "engine", "seconds", "processor seconds", "times faster", "asked for",
    "test accuracy", "on more images",
)  # fmt: skip


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    cells = []
    for row in rows:
        way, middle = row.way, statistics.median
        asked = way.engine if way.engine in ("", row.engine) else f"{row.engine} ({way.engine})"
        cells.append(
            (
                NETWORKS[way.network][0],
                "upper block thawed" if way.thawed else "frozen",
                way.name,
                way.precision,
                asked,
                f"{middle(row.seconds):.1f}",
                f"{middle(row.processor_seconds):.1f}",
                f"{middle(row.over_plain):.1f}",
                str(row.target or ""),
                f"{middle(row.accuracy):.3f}",
                f"{middle(row.more):.3f}",
            )
        )
    return markdown(HEADINGS, cells, text=5)


if __name__ == "__main__":
    main()
