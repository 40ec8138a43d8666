"""What zoo knows about a network beside the network: a card, strictly parsed from TOML.

A card is data: its builder is looked up in a closed table of ``zoo.models``, never by an arbitrary path. Reading one
needs neither NumPy nor Keras.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import strict_toml
from .errors import CardError
from .input_form import FITS, KINDS, RESAMPLES, InputForm
from .strict_toml import REQUIRED, Table

#: The builder of a card whose ``.keras`` file holds its own architecture.
KERAS_FILE = "keras"

TASKS = ("classification", "labels", "regression", "features")


@dataclass(frozen=True)
class BlockPattern:
    """A named block of a card: ``layers`` is a regular expression that a layer's whole name must match."""

    name: str
    layers: str


@dataclass(frozen=True)
class WeightsFile:
    """A weights file beside its card, known by its digest."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Card:
    """One network: what builds it, where its weights are, what it takes, and how it is divided.

    ``cut`` names the layer kept as the last when the top is dropped; ``blocks`` run bottom to top; ``labels`` are the
    names of the outputs; ``results`` are measured figures with how they were measured; ``folder`` is where the card's
    files lie. A card without weights is an architecture: it can only be trained from random weights.
    """

    name: str
    tag: str
    builder: str
    task: str
    summary: str
    input: InputForm | None
    license: str = ""
    source: str = ""
    cut: str | None = None
    decoder: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    weights: WeightsFile | None = None
    blocks: tuple[BlockPattern, ...] = ()
    labels: tuple[str, ...] = ()
    results: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = field(default=None, compare=False)

    @property
    def full_name(self) -> str:
        """``name.tag``: the architecture apart from its checkpoint."""
        return f"{self.name}.{self.tag}" if self.tag else self.name

    @property
    def weights_path(self) -> Path:
        """Where the weights file lies.

        Raises:
            CardError: if the card has no weights.
        """
        if self.weights is None or self.folder is None:
            what = f"'{self.full_name}' is an architecture without weights."
            raise CardError(what, fix="Train it from random weights: --from-scratch.")
        return self.folder / self.weights.file


def read_card(file: Path) -> Card:
    """Reads a card from a TOML file.

    Args:
        file: The card's path.

    Returns:
        The card, its ``folder`` set to the file's.

    Raises:
        CardError: if the file is missing, is not TOML, or has unknown, missing or wrong keys.
    """
    return replace(_read(strict_toml.read(file, CardError)), folder=file.parent)


def parse_card(text: str, where: str = "card") -> Card:
    """Reads a card from TOML text; see :func:`read_card`."""
    return _read(strict_toml.parse(text, where, CardError))


def _read(table: Table) -> Card:
    fields: dict[str, Any] = {
        "name": _slug(table, "name"),
        "tag": _slug(table, "tag", ""),
        "builder": table.take("builder", str),
        "task": table.choice("task", TASKS),
        **{key: table.take(key, str, "") for key in ("summary", "license", "source")},
        "cut": table.take_any("cut"),
        "args": table.take("args", dict, {}),
        "results": table.take("results", dict, {}),
    }
    if fields["cut"] is not None and not isinstance(fields["cut"], str):
        table.fail("cut", "a layer's name", fields["cut"])
    if table.has("weights"):
        with table.table("weights") as inner:
            fields["weights"] = _read_weights(inner)
    with table.table("input", required=True) as inner:
        kind = inner.choice("kind", KINDS)
        fields["input"] = InputForm(
            kind,
            _read_shape(inner, kind),
            inner.choice("resample", RESAMPLES, "bilinear"),
            inner.choice("fit", FITS, "stretch"),
        )
        fields["decoder"] = inner.take("decoder", str, "")
        span = inner.numbers("range", [0.0, 255.0])
        if tuple(span) != (0.0, 255.0):
            inner.fail("range", "[0.0, 255.0]", list(span), "Put the rescaling inside the network.")
    fields["blocks"] = table.tables("block", _read_block)
    with table.table("labels") as inner:
        fields["labels"] = inner.strings("names", [])
    table.close()
    return Card(**fields)


def plain_name(text: str) -> str:
    """A text as a card's name: ASCII letters, digits, ``-`` and ``_``."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text).strip("-_") or "network"


def _slug(table: Table, key: str, default: Any = REQUIRED) -> str:
    """A name or a tag: part of a folder's name on the shelf."""
    value = table.take(key, str, default)
    if value != default and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
        table.fail(key, "letters, digits, '-' and '_'", value)
    return value


_SHAPES = {"image": "height, width, and 1 or 3 channels", "vector": "one length", "text": "[]", "array": "sizes"}


def _read_shape(table: Table, kind: str) -> tuple[int, ...]:
    shape = table.numbers("shape", whole=True)
    fits = {
        "image": len(shape) == 3 and shape[-1] in (1, 3),
        "vector": len(shape) == 1,
        "text": not shape,
        "array": bool(shape),
    }
    if not fits[kind] or any(size < 1 for size in shape):
        table.fail("shape", f"{_SHAPES[kind]} for kind = {kind!r}", list(shape))
    return shape


def _read_weights(table: Table) -> WeightsFile:
    weights = WeightsFile(table.take("file", str), table.take("sha256", str), table.take("bytes", int))
    name = weights.file
    if not name or name in (".", "..") or "/" in name or "\\" in name or name.endswith(".toml"):
        table.fail("file", "the name of a weights file beside the card", name)
    if weights.bytes < 0:
        table.fail("bytes", "0 or more", weights.bytes)
    if not re.fullmatch(r"[0-9a-f]{64}", weights.sha256):
        table.fail("sha256", "64 hexadecimal digits", weights.sha256)
    return weights


def _read_block(table: Table) -> BlockPattern:
    pattern = BlockPattern(table.take("name", str), table.take("layers", str))
    try:
        re.compile(pattern.layers)
    except re.error as reason:
        table.fail("layers", f"a regular expression ({reason})", pattern.layers)
    return pattern


def card_text(card: Card) -> str:
    """The card as TOML text; :func:`parse_card` gives it back."""
    import tomli_w

    data: dict[str, Any] = {
        "schema": 1,
        **{key: getattr(card, key) for key in ("name", "tag", "builder", "task", "summary", "license", "source")},
    }
    if card.cut is not None:
        data["cut"] = card.cut
    if card.args:
        data["args"] = card.args
    if card.weights:
        data["weights"] = {"file": card.weights.file, "sha256": card.weights.sha256, "bytes": card.weights.bytes}
    form = card.input
    if form is None:
        what = f"The card of '{card.full_name}' says no input."
        raise CardError(what, fix="Build the network for a data set first.")
    data["input"] = {
        "kind": form.kind,
        "shape": list(form.shape),
        "range": [0.0, 255.0],
        "resample": form.resample,
        "fit": form.fit,
        **({"decoder": card.decoder} if card.decoder else {}),
    }
    data["block"] = [{"name": b.name, "layers": b.layers} for b in card.blocks]
    if card.labels:
        data["labels"] = {"names": list(card.labels)}
    if card.results:
        data["results"] = card.results
    return tomli_w.dumps(data)
