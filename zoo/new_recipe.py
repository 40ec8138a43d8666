"""A recipe to start from, for a network and data: what was found in them, and what one is likely to change."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .card import Card
from .default_stages import scratch_stages, transfer_stages
from .key_form import Choice, Key, Keys
from .recipe_parts import COMPUTE, DATA, MODEL, SEED, TOP, table_of
from .recipe_stage import STAGE, StagePart

#: What one is likely to change; the others are on the page of recipes.
_SHOWN = {
    "data": ("path", "val", "test", "limit_per_class", "augment", "batch_size", "class_weights"),
    "top": ("hidden", "activation", "dropout", "label_smoothing"),
    "compute": ("precision", "device", "threads", "engine", "cache"),
}
_WORTH = {"limit_per_class": 20, "cut": "features", "patience": 5}
_STAGE = ("name", "train", "freeze", "epochs", "optimizer", "layer_decay", "batch_norm")


def new_recipe(network: str, data: str) -> str:
    """The text of a recipe to start from; it runs as it is.

    Args:
        network: A name that ``zoo list`` shows, or a path.
        data: A built-in name, or a path.

    Returns:
        TOML with comments: what network and data hold, and each key with its default.

    Raises:
        CardError: if there is no such network.
        DataError: if the data cannot be read, has nothing to learn, or is not what the network takes.

    Example:
        >>> from zoo.recipe import parse_recipe
        >>> text = new_recipe("glyphs", "digits")
        >>> "# 1,797 examples: image 8x8x1" in text, parse_recipe(text).data.path
        (True, 'digits')
    """
    from . import registry
    from .data import open_data

    card, opened = registry.find(network), open_data(data)
    _check(card, opened)
    found = _blocks(card)
    scratch = card.weights is None
    stages = scratch_stages() if scratch else transfer_stages(None)
    target = opened.target
    lines = [
        _comment(f"{card.full_name} on {opened.source}: a recipe to start from. Run it: zoo run FILE --out runs/NAME"),
        "# Keys that are commented out have the value shown, or an example where they have none.",
        "schema = 1",
        _line(SEED, SEED.default),
        "",
        *_model_lines(network, card, found, scratch),
        "",
        "[data]",
        *_data_lines(opened),
        *_lines(DATA, _SHOWN["data"], {"path": data}),
        "",
        "[top]",
        f"# a fresh top of {target.size} outputs; hidden layers come before it",
        *_lines(TOP, _SHOWN["top"], {}),
        "",
        "[compute]",
        *_lines(COMPUTE, _SHOWN["compute"], {}),
        *(line for stage in stages for line in ("", *_stage_lines(stage))),
    ]
    return "\n".join(lines) + "\n"


def _check(card: Card, data: Any) -> None:
    """Refuses what could not be trained at all, before a file is written."""
    from .errors import DataError

    if data.target.kind == "none":
        what = f"'{data.source}' has no targets to learn."
        raise DataError(what, expected="class folders, a label column, or y in the .npz")
    if card.input is not None:
        from .fitting_form import check_form

        check_form(card.input, data)


def _model_lines(network: str, card: Card, found: Mapping[str, int | None], scratch: bool) -> list[str]:
    form = card.input
    takes = "what the data has" if form is None else f"{form.kind} {'x'.join(map(str, form.shape)) or 'of any length'}"
    lines = ["[model]", _comment(f"{card.full_name}: {card.summary}"), f"# takes {takes}"]
    if found:
        shown = [f"{name} ({count:,} parameters)" if count else name for name, count in found.items()]
        lines += _wrapped("blocks, bottom to top: ", [*shown, "top (new)"])
    lines.append(_line(MODEL.keys[0], network))
    given = {"cut": card.cut} if card.cut else {}
    if not scratch:
        lines += _lines(MODEL, ("cut",), given, commented=True)
    return [*lines, _line(MODEL.keys[2], True) if scratch else f"# {_line(MODEL.keys[2], False)}"]


def _data_lines(data: Any) -> list[str]:
    target, shape = data.target, data.native_shape()
    size = " of several sizes" if shape is None and data.kind == "image" else f" {'x'.join(map(str, shape or ()))}"
    lines = [f"# {len(data):,} examples: {data.kind}{size.rstrip()}"]
    if target.kind == "classes":
        counts = [int((target.values == i).sum()) for i in range(target.size)]
        shown = [f"{name} ({count:,})" for name, count in zip(target.names, counts, strict=True)]
        return [*lines, *_wrapped(f"{target.size} classes: ", shown)]
    return [*lines, *_wrapped(f"{target.size} {target.kind}: ", list(target.names))]


def _comment(text: str) -> str:
    """A comment of one line, whatever is in it: a line break would end it."""
    return "# " + re.sub(r"[\x00-\x1f\x7f]", "?", text)


def _wrapped(start: str, items: Sequence[str], most: int = 60, width: int = 110) -> list[str]:
    """Items in comment lines; of very many, the first."""
    words = [_comment(item)[2:] for item in items[:most]]
    words += [f"and {len(items) - most:,} more"] if len(items) > most else []
    lines, line = [], f"# {start}"
    for i, word in enumerate(words):
        piece = word + (", " if i < len(words) - 1 else "")
        if len(line) + len(piece) > width and line.strip("# "):
            lines.append(line.rstrip())
            line = "#   "
        line += piece
    return [*lines, line.rstrip()]


def _lines(keys: Keys, names: Sequence[str], given: Mapping[str, Any], commented: bool = False) -> list[str]:
    """A line for each key: with its value, or commented out where nothing is the default."""
    known = {key.name: key for key in keys.keys}
    lines = []
    for name in names:
        key, value = known[name], given.get(name, known[name].default)
        absent = value is None
        value = _WORTH.get(name) if absent else value
        lines.append(f"{'# ' if absent or commented else ''}{_line(key, value)}")
    return [line for line in lines if not line.endswith("= None")]


def _stage_lines(stage: StagePart) -> list[str]:
    known = {key.name: key for key in STAGE.keys}
    table = table_of(stage)
    lines = [_line(known[name], table[name]) for name in _STAGE if name in table]
    stopping = '# early_stopping = { monitor = "val_loss", patience = 5 }'
    return ["[[stage]]", *lines, f"{stopping}  # {known['early_stopping'].says}"]


def _line(key: Key, value: Any) -> str:
    choices = f": {' | '.join(key.form.words)}" if isinstance(key.form, Choice) else ""
    return f"{key.name} = {_toml(value)}  # {key.says}{choices}"


def _toml(value: Any) -> str:
    """A value on one line."""
    import tomli_w

    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(inner)}' for key, inner in value.items())} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return tomli_w.dumps({"v": value}).strip().removeprefix("v = ")


def must_be_loaded(card: Card) -> bool:
    """Whether only the network itself says what its blocks are, which takes the framework.

    Example:
        >>> from zoo.registry import find
        >>> must_be_loaded(find("glyphs")), must_be_loaded(find("dnn"))
        (False, False)
    """
    return card.weights is not None and not card.blocks


def _blocks(card: Card) -> dict[str, int | None]:
    """The blocks that the fresh top goes on, bottom to top, each with its parameters where the file's header says them.

    Where the card names none, the network is loaded, which takes the framework.
    """
    if card.weights is None:
        return {}
    if card.blocks and card.weights.file.endswith(".safetensors"):
        from .formats.safetensors import read_header

        sizes = {name: math.prod(shape) for name, shape in read_header(card.weights_path).items()}

        def count(layers: str) -> int:
            return sum(size for name, size in sizes.items() if re.fullmatch(layers, name.split("/")[0]))

        return {block.name: count(block.layers) for block in card.blocks}
    if card.blocks:
        return {block.name: None for block in card.blocks if block.name != "top"}
    from .block import blocks, top_block
    from .network import load

    found = blocks(load(card))
    return {block.name: block.parameters for block in found if block.name != top_block(found)}
