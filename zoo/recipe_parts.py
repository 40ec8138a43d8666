"""The tables of a recipe but its stages: what each key is called, what it may hold, and what it is without being said.

One list of keys for each table is what a recipe is read by, what editors are told, and what ``zoo recipe new`` writes.
"""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from .keras_names import AUGMENTATION_LAYERS
from .key_form import Choice, Either, Flag, Form, Key, Keys, ListOf, Range, TableOf, Text
from .strict_toml import REQUIRED
from .trunk_options import CACHES, ENGINES, FEATURE_DTYPES, TRUNK_PRECISIONS

#: Presets for images, for both kinds (`none`, `mixup`), and for vectors (the last two).
AUGMENTATIONS = ("none", "light", "standard", "strong", "cutmix", "mixup", "noise", "feature_dropout")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
TARGETS = ("auto", "classes", "labels", "numbers")
LOSSES = (
    "auto",
    "categorical_crossentropy",
    "binary_crossentropy",
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
)


@dataclass(frozen=True)
class ModelPart:
    """``[model]``: which network, where it is cut, and whether it starts from random weights.

    ``args`` are the builder's arguments, over the card's; only with ``from_scratch``.
    """

    name: str
    cut: str | None = None
    from_scratch: bool = False
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataPart:
    """``[data]``: which data, how it is split, and how it is fed.

    ``val`` and ``test`` are shares of the whole; ``test = "rest"`` makes everything that is not labelled the test side,
    and ``val`` a share of the labelled. ``limit_per_class`` counts training and validation together. ``views`` is how
    many views of each augmented example there are; with 0 it looks different in every epoch.
    """

    path: str
    val: float = 0.1
    test: float | str = 0.2
    limit_per_class: int | None = None
    augment: str | tuple[dict[str, Any], ...] = "none"
    views: int = 0
    batch_size: int = 32
    class_weights: str | dict[str, float] = "none"
    target: str = "auto"
    label_column: tuple[str, ...] = ()
    path_column: str | None = None
    text_column: str | None = None
    feature_columns: tuple[str, ...] = ()
    skip_bad: bool = False


@dataclass(frozen=True)
class TopPart:
    """``[top]``: the fresh layers, and the loss."""

    hidden: tuple[int, ...] = ()
    activation: str | dict[str, Any] = "elu"
    dropout: float = 0.0
    loss: str = "auto"
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class ComputePart:
    """``[compute]``: how it is computed; ``threads = 0`` means as many as the machine has, up to 8: the run says.

    ``engine`` and ``trunk_precision`` are for what is frozen; ``cache``, ``cache_size`` and ``feature_dtype`` for what
    it gives. ``checkpoint_every`` is the seconds between the checkpoints within a stage, 0 for none; by default as
    often as costs little, and every five minutes at least.
    """

    engine: str = "auto"
    trunk_precision: str = "float32"
    cache: str = "disk"
    cache_size: str | None = None
    feature_dtype: str = "float32"
    precision: str = "float32"
    threads: int = 0
    device: str = "auto"
    checkpoint_every: float | None = None


def keys_of(part: type, rows: dict[str, tuple[Form, str]]) -> Keys:
    """A table's keys, with the defaults of its part."""
    defaults: dict[str, Any] = {}
    for one in fields(part):
        made = one.default_factory() if one.default_factory is not MISSING else one.default
        defaults[one.name] = REQUIRED if made is MISSING else made
    return Keys(tuple(Key(name, form, says, defaults[name]) for name, (form, says) in rows.items()))


SEED = Key("seed", Range("0 to 2**63 - 1", 0, 2**63 - 1, whole=True), "every random choice follows from it", 0)

MODEL = keys_of(
    ModelPart,
    {
        "name": (Text(), "a name that `zoo list` shows, or a path"),
        "cut": (Text(), "the layer kept as the last; everything above it is dropped"),
        "from_scratch": (Flag(), "start from random weights"),
        "args": (TableOf(), "the builder's arguments, over the card's; only with from_scratch"),
    },
)

_SHARE = Range(least=0, below=1)
_WEIGHT = Range(least=0)
_TEST = 'a share from 0 to below 1, or "rest"'
_AUGMENT = f'{" | ".join(AUGMENTATIONS)}, or a list of layers: [{{ name = "RandomFlip", ... }}]'
_LAYER = TableOf(needed=("name",), words={"name": Choice(AUGMENTATION_LAYERS)})
_NAMED = TableOf(needed=("name",), words={"name": Text()})

DATA = keys_of(
    DataPart,
    {
        "path": (Text(), "a folder of class folders, a .csv, an .npz, or a built-in name: digits, characters"),
        "val": (
            Range("0 or more, and below 1 together with test", 0, below=1),
            "the share for validation; of the labelled, with test = 'rest'",
        ),
        "test": (Either((_SHARE, Choice(("rest",))), _TEST), "the share for the test, or 'rest': all not labelled"),
        "limit_per_class": (Range("1 or more", 1, whole=True), "labels a class to use, validation included"),
        "augment": (
            Either(
                (Choice(AUGMENTATIONS), ListOf(_LAYER, _AUGMENT)),
                _AUGMENT,
                (*AUGMENTATIONS, *AUGMENTATION_LAYERS),
                lambda value: value or "none",
            ),
            "random changes of the training examples",
        ),
        "views": (
            Range("0 or more", 0, whole=True),
            "so many views of each augmented example, kept; 0: new ones in every epoch",
        ),
        "batch_size": (Range("1 or more", 1, whole=True), "examples in a step"),
        "class_weights": (
            Either(
                (Choice(("none", "balanced")), TableOf(inner=_WEIGHT)),
                "none | balanced, or a table of class = weight, 0 or more",
                convert=lambda value: value or "none",
            ),
            "weigh rare classes more",
        ),
        "target": (Choice(TARGETS), "what is to be predicted"),
        "label_column": (ListOf(Text(), "a list of strings"), "CSV: the target's columns"),
        "path_column": (Text(), "CSV: the column of image paths"),
        "text_column": (Text(), "CSV: the column of texts"),
        "feature_columns": (ListOf(Text(), "a list of strings"), "CSV: the numeric columns"),
        "skip_bad": (Flag(), "leave out files that cannot be read"),
    },
)

_ACTIVATION = 'a name, or a table such as { name = "elu", alpha = 0.5 }'
_WIDTH = Range(least=1, whole=True)

TOP = keys_of(
    TopPart,
    {
        "hidden": (
            ListOf(_WIDTH, "a list of whole numbers", "widths of 1 or more"),
            "widths of the new hidden layers, bottom to top",
        ),
        "activation": (Either((Text(), _NAMED), _ACTIVATION), "of the hidden layers"),
        "dropout": (Range("0 to below 1", 0, below=1), "share of their units dropped; without any, of the features"),
        "loss": (Choice(LOSSES), "auto: by the target"),
        "label_smoothing": (Range("0 to below 1", 0, below=1), "share of each label spread over the other classes"),
    },
)

#: What :func:`zoo.byte_size.size_of` reads.
_SIZE = r"\s*[0-9]+(?:\.[0-9]+)?\s*[KMGTkmgt]?[Bb]?\s*"

COMPUTE = keys_of(
    ComputePart,
    {
        "engine": (Choice(ENGINES), "what runs the frozen layers; auto: the fastest that is equal"),
        "trunk_precision": (Choice(TRUNK_PRECISIONS), "what they are computed in"),
        "cache": (Choice(CACHES), "keep what they give on the disk, while the run lasts, or not at all"),
        "cache_size": (Text(_SIZE, "a size, such as 20 GB"), "what the cache may take on the disk"),
        "feature_dtype": (Choice(FEATURE_DTYPES), "what is kept of what they give"),
        "precision": (Choice(PRECISIONS), "how training computes"),
        "threads": (Range("0 to 1024", 0, 1024, whole=True), "CPU threads; 0: all, up to 8"),
        "device": (Text(r"auto|cpu|gpu(:\d+)?", "auto, cpu, gpu or gpu:N"), "where it computes"),
        "checkpoint_every": (Range("seconds, 0 or more", 0), "seconds between checkpoints within a stage; 0: none"),
    },
)


def table_of(part: Any) -> dict[str, Any]:
    """A part as a table; what is ``None`` or an empty table is left out: TOML has no word for it.

    Example:
        >>> table_of(ModelPart("glyphs"))
        {'name': 'glyphs', 'from_scratch': False}
    """
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v is not None and v != {}}
