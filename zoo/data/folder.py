"""A folder of class folders, with or without sides; or a flat folder of images, unlabelled."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

import numpy as np

from zoo.data.dataset import Side
from zoo.data.decoded import Step
from zoo.data.decoding import image_format
from zoo.data.files import EXTENSIONS, ImageEntry, ImageFiles, readable, shown_name
from zoo.data.targets import NoTargets, find_target, no_target
from zoo.errors import DataError

SIDES: dict[str, Side] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Folders of these names, when there are no others beside them, divide the data."""
IGNORED = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"))
"""What file managers leave behind; names that begin with a dot are ignored too."""
_UNSUPPORTED = frozenset(("TIFF", "HEIC", "AVIF"))


def read_folder(
    path: str | Path, *, skip_bad: bool = False, target: str = "auto", step: Step | None = None
) -> ImageFiles:
    """Read a folder of images.

    Folders in it are classes, named by the folder (Unicode NFC) and ordered by code point; folders below a class are
    part of it. Where they are named train, val and test, the classes are inside them. Images without any folder are
    unlabelled.

    Args:
        path: The folder.
        skip_bad: Leave out files that cannot be read, instead of stopping.
        target: ``auto`` or ``classes``; ``none`` takes all images below the folder as unlabelled.
        step: Told how many files have been read, and of how many.

    Returns:
        The images, in the order of their names.

    Raises:
        DataError: There are no images, a class has none, a label is missing from training, or files cannot be read.
    """
    root = Path(path)
    if target not in ("auto", "classes", "none"):
        what = f"The folder '{path}' cannot have {target} as its target."
        raise DataError(what, expected="classes, named by folders", fix="Use a .csv with a path and label columns.")
    notes: list[str] = []
    entries, folders = _listed(root, target, notes)
    if not entries:
        what = f"The folder '{path}' holds no images."
        raise DataError(what, expected="images, or a folder of images for each class", received=" ".join(notes) or None)
    _check_classes(root, entries, folders, notes)
    entries, seen, bad = readable(str(path), entries, skip_bad=skip_bad, step=step)
    if bad:
        _check_classes(root, entries, folders, [])
    given: list[Side | None] = [entry.side for entry in entries]
    sides = given if any(given) else None
    if entries[0].label is None:
        if target == "classes":
            what = f"The folder '{path}' has no class folders."
            raise NoTargets(what, expected="a folder of images for each class")
        why = "as was asked" if target == "none" else "they are in no class folders"
        notes.append(f"The images are unlabelled: {why}.")
        unlabelled = no_target(len(entries))
        return ImageFiles(str(path), entries, seen, unlabelled, skipped=bad, notes=notes, sides=sides)
    found, more = find_target(np.array([entry.label for entry in entries]), len(entries))
    return ImageFiles(str(path), entries, seen, found, skipped=bad, notes=[*notes, *more], sides=sides)


def _listed(root: Path, target: str, notes: list[str]) -> tuple[list[ImageEntry], dict[Side | None, list[str]]]:
    """All images with label and side, and the class folders of each side."""
    tops = _subfolders(root)
    if target == "none" or not tops:
        return [ImageEntry(str(file), _relative(file, root)) for file in _images(root, notes)], {}
    sides = _sides(root, tops, notes)
    parts: list[tuple[Path, Side | None]] = [(tops[name], side) for name, side in sides.items()] or [(root, None)]
    flat = sides and not any(_subfolders(part) for part, _ in parts)
    entries: list[ImageEntry] = []
    folders: dict[Side | None, list[str]] = {}
    for part, side in parts:
        if flat:
            entries += [ImageEntry(str(file), _relative(file, root), None, side) for file in _images(part, notes)]
            continue
        _mention_strays(part, root, side, notes)
        classes = _subfolders(part)
        if side and not classes:
            notes.append(f"The folder '{shown_name(part.name)}' is empty.")
        folders[side] = sorted({shown_name(name) for name in classes})
        if len(folders[side]) < len(classes):
            notes.append("Folders whose names differ only in their Unicode form are taken as one class.")
        for name, folder in classes.items():
            files = _images(folder, notes)
            entries += [ImageEntry(str(file), _relative(file, root), shown_name(name), side) for file in files]
    return sorted(entries, key=lambda entry: (entry.side or "", entry.label or "", entry.name)), folders


def _sides(root: Path, tops: dict[str, Path], notes: list[str]) -> dict[str, Side]:
    """The folders that are sides; none where they are classes."""
    sides: dict[str, Side] = {name: SIDES[name.casefold()] for name in tops if name.casefold() in SIDES}
    others = [shown_name(name) for name in tops if name not in sides]
    if others and len(sides) > 1 and "train" in sides.values():
        what = f"The folder '{root}' has other folders beside {', '.join(sorted(sides))}."
        raise DataError(what, received=", ".join(others[:10]), fix="Move them into the sides, or elsewhere.")
    if others:
        notes += [f"The folder '{name}' is taken as a class: there are others beside it." for name in sides]
        return {}
    for side, count in Counter(sides.values()).items():
        if count > 1:
            what = f"The folder '{root}' has {count} folders for {side}."
            raise DataError(what, received=", ".join(sorted(name for name in sides if sides[name] == side)))
    return sides


def _check_classes(
    root: Path, entries: list[ImageEntry], folders: dict[Side | None, list[str]], notes: list[str]
) -> None:
    """Every class folder has an image; every label of validation and test is in training."""
    trained = {entry.label for entry in entries if entry.side in (None, "train")}
    for side, classes in folders.items():
        have = {entry.label for entry in entries if entry.side == side}
        empty = [name for name in classes if name not in have]
        if empty and side in (None, "train"):
            what = f"The class {', '.join(map(repr, empty))} of '{root}' is empty: its folder holds no readable image."
            raise DataError(what, expected="at least one image", fix="Add images, or remove the folder.")
        if empty:
            notes.append(f"In {side}, the class {', '.join(map(repr, empty))} has no images.")
        strange = sorted(name for name in have if name and name not in trained)
        if strange and "train" in folders:
            what = f"The label {', '.join(map(repr, strange))} is in {side} of '{root}', but not in train."
            raise DataError(what, expected="every label among the training examples", fix="Add it there, or remove it.")


def _mention_strays(part: Path, root: Path, side: Side | None, notes: list[str]) -> None:
    """Images beside the class folders belong to none."""
    strays = [file for file in _entries(part) if not os.path.isdir(file) and _is_image(file)]
    if strays and side is not None and not _subfolders(part):
        what = f"'{part}' holds images without class folders, unlike the other sides."
        raise DataError(what, fix="Move them into a folder for each class, or elsewhere: zoo predict labels them.")
    if strays:
        named = ", ".join(_relative(file, root) for file in strays[:5]) + (", ..." if len(strays) > 5 else "")
        some = "1 image beside the class folders is" if len(strays) == 1 else f"{len(strays)} images beside them are"
        notes.append(f"{some} in no class and left out: {named}.")
    classes = _subfolders(part)
    if len(classes) == 1:
        (only,) = classes.values()
        if _subfolders(only) and not any(_is_image(file) for file in _entries(only) if not os.path.isdir(file)):
            notes.append(
                f"All images are one class, '{shown_name(only.name)}'. If its folders are classes, open '{only}'."
            )


def _images(folder: Path, notes: list[str]) -> list[Path]:
    """The image files below a folder, by name; what is ignored is noted."""
    images, ignored = [], []
    for file in _walk(folder, (), notes):
        (images if _is_image(file) else ignored).append(file)
    if ignored:
        named = ", ".join(_relative(file, folder) for file in ignored[:5]) + (", ..." if len(ignored) > 5 else "")
        some = "1 file that is no image is" if len(ignored) == 1 else f"{len(ignored)} files that are no images are"
        notes.append(f"In '{shown_name(folder.name)}', {some} ignored: {named}.")
    return sorted(images, key=lambda file: _relative(file, folder))


def _walk(folder: Path, above: tuple[tuple[int, int], ...], notes: list[str]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        notes.append(f"The link '{shown_name(folder)}' leads back to a folder that it is in: not followed.")
        return
    for file in _entries(folder):
        if os.path.isdir(file):
            yield from _walk(file, (*above, here), notes)
        else:
            yield file


def _entries(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        what = f"The folder '{folder}' cannot be read."
        raise DataError(what, received=error.strerror) from error
    return [folder / name for name in names if not name.startswith(".") and name.casefold() not in IGNORED]


def _subfolders(folder: Path) -> dict[str, Path]:
    return {file.name: file for file in _entries(folder) if os.path.isdir(file)}


def _is_image(file: Path) -> bool:
    """Whether a file is meant as an image: by its extension, else by its first bytes."""
    if file.suffix.lower() in EXTENSIONS:
        return True
    try:
        if not S_ISREG(file.stat().st_mode):
            return False
        with file.open("rb") as opened:
            return image_format(opened.read(32)) not in (None, *_UNSUPPORTED)
    except OSError:  # it cannot be opened and does not look like an image: noted as ignored
        return False


def _relative(file: Path, root: Path) -> str:
    return shown_name(file.relative_to(root))
