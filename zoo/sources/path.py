"""Networks from local paths: a ``.keras`` file, safetensors with a card beside them, a card, or a run folder."""

from pathlib import Path
from typing import Any

from ..card import KERAS_FILE, Card, WeightsFile, plain_name, read_card
from ..errors import CardError, close_matches
from ..input_form import InputForm

ENDINGS = (".keras", ".safetensors", ".toml")


def looks_like_path(name: str) -> bool:
    """Whether a model's name is meant as a path: it has a slash, or the ending of a model file.

    Example:
        >>> looks_like_path("runs/demo"), looks_like_path("glyphs.v1"), looks_like_path("net.keras")
        (True, False, True)
    """
    return "/" in name or "\\" in name or name.endswith(ENDINGS) or name in (".", "..")


def card_at(path: Path) -> Card:
    """The card of the network at a path.

    Args:
        path: A run folder (or any folder with a ``card.toml``), a card, a ``.keras`` file (with or without a card of
            the same name beside it), or a ``.safetensors`` file with a card of the same name beside it.

    Raises:
        CardError: if there is no network there.
    """
    if not exists(path):
        what = f"There is no network at {path}."
        raise CardError(what, fix=_near(path) or "Check the path.")
    if path.is_dir():
        if not (path / "card.toml").exists():
            what = f"The folder {path} holds no network."
            raise CardError(
                what, expected="a run folder, or any folder with a card.toml", fix="A run that failed has none."
            )
        return read_card(path / "card.toml")
    if path.suffix == ".toml":
        return read_card(path)
    sidecar = path.with_suffix(".toml")
    if path.suffix == ".keras":
        return _card_beside(path, sidecar) if sidecar.exists() else _card_of_keras_file(path)
    if path.suffix == ".safetensors" and sidecar.exists():
        return _card_beside(path, sidecar)
    if path.suffix == ".safetensors":
        what = f"{path} holds weights only."
        raise CardError(
            what, expected=f"a card beside it: {sidecar.name}", fix="Write one; docs/layout.md shows its form."
        )
    what = f"{path} is not a form of network that zoo reads."
    expected = "a run folder, .keras, .safetensors with a card, or a card (.toml)"
    fix = (
        "Load it in Keras and save it as .keras; weights alone go into a model of yours: zoo.load_weights(model, FILE)."
    )
    raise CardError(what, expected=expected, fix=fix if path.suffix in (".h5", ".hdf5", ".npz") else None)


def _card_beside(path: Path, sidecar: Path) -> Card:
    try:
        return read_card(sidecar)
    except CardError as reason:
        what = f"{sidecar.name} was read as the card of {path.name}, since it lies beside it, and is none. {reason}"
        fix = f"If it is another file, such as a recipe, rename it; if it is the card of {path.name}, mend it."
        raise CardError(what, fix=fix) from None


def exists(path: Path) -> bool:
    """Whether something is there; a name that no file can have, or a folder that may not be looked into, is not."""
    try:
        return path.exists()
    except OSError:
        return False


def _near(path: Path) -> str:
    """A sentence that names the files beside it that come close; empty where none does."""
    try:
        siblings = [p.name for p in path.parent.iterdir()]
    except OSError:
        return ""
    found = close_matches(path.name, siblings)
    return found if found.startswith("Did") else ""


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; of one that has not changed since it was last asked for, the same."""
    import hashlib

    with path.open("rb") as file:
        stamp = _stamp(file.fileno())
        if stamp is None or stamp not in _DIGESTS:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if stamp is None or stamp != _stamp(file.fileno()):
                return found
            _DIGESTS[stamp] = found
        return _DIGESTS[stamp]


#: The digests of files that were read, by what the system says of them.
_DIGESTS: dict[tuple[int, ...], str] = {}
#: Seconds for which a file must have been left alone: within one tick of its clock it may change and look the same.
_SETTLED = 2.0


def _stamp(file: int) -> tuple[int, ...] | None:
    """What tells a file from another one, and from itself changed; ``None`` where it was changed just now."""
    import os
    import time

    now = os.fstat(file)
    if time.time() - max(now.st_mtime, now.st_ctime) < _SETTLED:
        return None
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def _card_of_keras_file(path: Path) -> Card:
    shapes = _input_shapes(_config(path), path)
    if len(shapes) != 1:
        what = f"{path}: a network with {len(shapes)} inputs cannot be fine-tuned by name."
        raise CardError(
            what, expected="one input of known shape", fix="Load it with keras, and give the model to zoo.finetune."
        )
    shape, dtype = shapes[0]
    return Card(
        name=plain_name(path.stem),
        tag="",
        builder=KERAS_FILE,
        task="classification",
        summary="a Keras file",
        source=path.name,
        input=input_form_of(path, shape, dtype),
        weights=WeightsFile(path.name, digest_of(path), path.stat().st_size),
        folder=path.parent,
    )


def _config(path: Path) -> dict[str, Any]:
    import json
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        if not isinstance(config, dict):
            what = "its config.json is not an object"
            raise ValueError(what)
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, RuntimeError) as reason:
        what = f"{path} is not a Keras file: {str(reason).strip(chr(34))}."
        raise CardError(what, expected="a .keras file as model.save() writes it") from None
    return config


def _input_shapes(config: dict[str, Any], path: Path) -> list[tuple[list[int | None], str]]:
    """Shape (without the batch) and dtype of each input of a model, from its configuration; not of inner models."""
    found = []
    try:
        for layer in config.get("config", {}).get("layers", []):
            if layer.get("class_name") == "InputLayer":
                inner = layer["config"]
                shape = inner.get("batch_shape") or inner["batch_input_shape"]
                found.append((list(shape[1:]), str(inner.get("dtype", "float32"))))
        shape = config.get("build_config", {}).get("input_shape")
        if not found and isinstance(shape, list) and not any(isinstance(inner, list) for inner in shape):
            found.append((shape[1:], "float32"))
    except (KeyError, TypeError, AttributeError) as reason:
        what = f"{path}: its configuration is not one that Keras writes ({type(reason).__name__}: {reason})."
        raise CardError(what, expected="a .keras file as model.save() writes it") from None
    return found


def input_form_of(path: Path | str, shape: list[int | None], dtype: str) -> InputForm:
    """The input form that a network's input stands for.

    Args:
        path: What errors call the network.
        shape: The input's shape without the batch.
        dtype: The input's type; ``string`` means texts.

    Raises:
        CardError: if a size is not fixed.
    """
    if dtype == "string":
        return InputForm("text", ())
    if None in shape:
        what = f"{path}: the network takes inputs of any size: {tuple(shape)}."
        raise CardError(
            what, expected="a fixed input shape", fix="Give it one in Keras, or write a card beside the file."
        )
    fixed = tuple(int(n) for n in shape if n is not None)
    if len(fixed) == 3 and fixed[-1] in (1, 3):
        return InputForm("image", fixed)
    return InputForm("vector" if len(fixed) == 1 else "array", fixed)
