"""Find, list and suggest networks: shipped cards, the user's shelf, architectures, and paths."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import models
from .card import Card, card_text, read_card
from .errors import CardError, WeightsError, close_matches
from .sources.path import card_at, digest_of, exists, looks_like_path

#: Sources that a name may start with, and that this version cannot reach yet.
PLANNED_SCHEMES = ("keras", "hub", "hf", "kerashub", "https", "http")


def zoo_home() -> Path:
    """The folder of the user's shelf and caches: ``$ZOO_HOME``, or the platform's user cache folder."""
    if os.environ.get("ZOO_HOME"):
        return Path(os.environ["ZOO_HOME"]).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("zoo")


def shipped_folder() -> Path:
    """The folder of the cards and weights that come with zoo."""
    return Path(str(models.__file__)).parent / "shelf"


def user_shelf() -> Path:
    """The folder of the networks that the user added; it may not exist yet."""
    return zoo_home() / "shelf"


def shelf() -> list[Card]:
    """Every card with weights: the shipped ones, then the user's, each in the order of their names.

    A card on the user's shelf that cannot be read is left out; :func:`broken` has it.
    """
    own = [card for _, card in _own() if isinstance(card, Card)]
    return [*map(read_card, sorted(shipped_folder().glob("*.toml"))), *own]


def broken() -> dict[str, CardError]:
    """What is on the user's shelf with a card that cannot be read: each one's name there, and the error."""
    return {name: error for name, error in _own() if isinstance(error, CardError)}


def _own_files() -> list[Path]:
    """The cards of the user's shelf; a hidden folder is one that is being put there, or was left by a crash."""
    return sorted(file for file in user_shelf().glob("*/card.toml") if not file.parent.name.startswith("."))


def _own() -> Iterator[tuple[str, Card | CardError]]:
    """The names on the user's shelf, each with its card, or with why that cannot be read."""
    for file in _own_files():
        name = file.parent.name
        try:
            yield name, read_card(file)
        except CardError as reason:
            what = f"The card of '{name}' on your shelf cannot be used. {reason}"
            yield name, CardError(what, fix=f"Mend it, or remove it: zoo remove {name}.")


def architectures() -> list[Card]:
    """A card for each architecture that zoo builds: without weights, and with the input that the data has."""
    return [
        Card(name, "", builder=name, task="classification", summary=line, input=None)
        for name, line in models.ARCHITECTURES.items()
    ]


def find(name: str | os.PathLike[str]) -> Card:
    """The card that a name or a path stands for.

    Args:
        name: ``glyphs`` (its newest tag), ``glyphs.v1``, an architecture (``dnn``), or a path. A name on the shelf wins
            over a file of that name; write ``./glyphs`` for the file.

    Returns:
        The card.

    Raises:
        CardError: if nothing has that name; the message names what comes close.

    Example:
        >>> find("glyphs").full_name
        'glyphs.v1'
    """
    text = os.fspath(name)
    if isinstance(name, os.PathLike):
        return card_at(Path(text))
    if text.split(":", 1)[0] in PLANNED_SCHEMES and ":" in text:
        _refuse_scheme(text)
    if looks_like_path(text):
        return card_at(Path(text))
    known = [*shelf(), *architectures()]
    entries: list[tuple[str, Card | CardError]] = [*broken().items(), *((card.full_name, card) for card in known)]
    exact = [entry for full, entry in entries if text == full]
    tagged = sorted(((full, entry) for full, entry in entries if text == full.partition(".")[0]), key=_natural_tag)
    if exact or tagged:
        found = exact[-1] if exact else tagged[-1][1]
        if isinstance(found, CardError):
            raise found
        return found
    if text and exists(Path(text)):
        return card_at(Path(text))
    if ":" in text:
        _refuse_scheme(text)
    what = f"The zoo knows no network '{text}'."
    raise CardError(what, fix=close_matches(text, [c.name for c in known] + [c.full_name for c in known]))


def _refuse_scheme(text: str) -> None:
    scheme = text.split(":", 1)[0]
    if scheme in PLANNED_SCHEMES:
        what = f"This version of zoo cannot fetch '{text}' yet."
        expected = "a name that `zoo list` shows, or a path"
        raise CardError(what, expected=expected, fix="Save the model as .keras, and give its path.")
    what = f"'{text}' names no source that zoo knows."
    raise CardError(what, fix=close_matches(scheme, PLANNED_SCHEMES))


def _natural_tag(entry: tuple[str, Any]) -> list[tuple[int, str]]:
    """A full name's tag, to sort by: ``v10`` after ``v9``."""
    tag = entry[0].partition(".")[2]
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", tag)]


def add(path: Path, name: str | None = None) -> Card:
    """Puts a network on the user's shelf; nothing is overwritten.

    Args:
        path: Anything that :func:`zoo.sources.path.card_at` reads: a run folder, a ``.keras`` file, a card.
        name: The name on the shelf, ``NAME`` or ``NAME.TAG``; by default the card's own.

    Returns:
        The card as it stands on the shelf.

    Raises:
        CardError: if the name is taken or is not a name, or there is no network at the path.
        WeightsError: if the weights are missing, or not the ones that the card names.
    """
    card = card_at(path)
    if name is not None:
        parts = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_-]*)(?:\.([A-Za-z0-9_-]+))?", name)
        if parts is None:
            what = f"'{name}' cannot be a network's name."
            raise CardError(what, expected="letters, digits, '-' and '_', with an optional .TAG")
        card = replace(card, name=parts[1], tag=parts[2] or "")
    taken = [c for c in [*shelf(), *architectures()] if card.full_name in (c.full_name, c.name)]
    own = [name for name in broken() if card.full_name in (name, name.partition(".")[0])]
    if taken or own:
        what = f"The shelf has a network '{card.full_name}' already."
        own += [c.full_name for c in taken if c.folder is not None and c.folder.parent == user_shelf()]
        removing = f", or remove it: zoo remove {own[0]}" if own else "."
        raise CardError(what, fix=f"Choose another name (--name){removing}")
    return _place(card)


def _place(card: Card) -> Card:
    """Copies card and weights to the shelf, complete or not at all."""
    import shutil

    source = checked_weights(card)
    target = user_shelf() / card.full_name
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        shutil.copyfile(source, part / source.name)
        (part / "card.toml").write_text(card_text(card), encoding="utf-8")
        part.rename(target)
    except OSError as reason:
        what = f"The network could not be put on the shelf: {reason}."
        raise CardError(what, fix=f"Check that {user_shelf()} can be written and has room.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return replace(card, folder=target)


def checked_weights(card: Card) -> Path:
    """A card's weights file, after its bytes have been compared with the card's digest.

    Raises:
        CardError: if the card is an architecture without weights.
        WeightsError: if the file is missing, or not the one that the card names.
    """
    path = card.weights_path
    if not path.is_file():
        what = f"The weights of '{card.full_name}' are missing: {path}."
        raise WeightsError(what, fix="Install zoo again, or add the network again.")
    found = digest_of(path)
    if card.weights is not None and found != card.weights.sha256:
        what = f"The weights of '{card.full_name}' are not the ones that its card names: {path}."
        raise WeightsError(what, expected=f"SHA-256 {card.weights.sha256}", received=found, fix="Restore the file.")
    return path


def remove(name: str) -> str:
    """Removes a network from the user's shelf, even one whose card cannot be read.

    Args:
        name: ``NAME.TAG``, or ``NAME`` for its newest tag.

    Returns:
        The full name of what was removed.

    Raises:
        CardError: if it is shipped with zoo, or not on the shelf.
    """
    import shutil

    own = {file.parent.name: file.parent for file in _own_files()}
    folder = own.get(name) or find(name).folder
    if folder is None or folder.parent != user_shelf():
        shipped = folder is None or folder == shipped_folder()
        what = f"'{name}' is not on your shelf: it is {'part of zoo' if shipped else 'a path'}."
        raise CardError(what, fix=f"On your shelf: {', '.join(own) or 'nothing'}.")
    gone = folder.with_name(f".{folder.name}.removed-{os.getpid()}")
    folder.rename(gone)
    shutil.rmtree(gone)
    return folder.name
