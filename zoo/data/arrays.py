"""Data in memory."""

import hashlib
from collections.abc import Sequence
from math import prod

import numpy as np

from zoo.data.dataset import Dataset, InputForm, Kind
from zoo.data.decoded import Decoded
from zoo.data.decoding import over_white
from zoo.data.images import fit_image
from zoo.data.targets import find_target
from zoo.errors import DataError

_NOT_IMAGES = "If these are not images, open them with zoo.data.ArrayData(x, y, kind='array')."


class ArrayData(Dataset):
    """Examples held in an array.

    Args:
        x: The examples, first axis the example. Rank 3 ``(n, height, width)``, or rank 4 with 1, 3 or 4 channels (grey,
            RGB, RGBA over white), are images: uint8 0 to 255, uint16 (scaled to that), bool (0 and 255), or other
            numbers within 0 to 255, taken as they are. Rank 2 are vectors; strings are texts; all else is ``array``.
        y: Whole numbers or strings (classes), 0/1 columns (labels), numbers (regression), or nothing.
        classes: The classes that whole numbers index, or the names of y's columns.
        target: ``auto``, or what y is said to be: ``classes``, ``labels``, ``numbers``, ``none``.
        kind: What the examples are, where it shall not be found from the rank.
        names: How the examples are named in reports; ``row 17``, counted from 0, where left out.
        source: How the data is named in reports.

    Raises:
        DataError: x is empty, not numbers or strings, not finite, or out of range; y does not fit.

    Example:
        >>> data = ArrayData(np.zeros((3, 8, 8), np.uint8), np.array([5, 7, 5]))
        >>> data.kind, data.classes, data.native_shape()
        ('image', ('5', '7'), (8, 8, 1))
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray | None = None,
        *,
        classes: Sequence[str] | None = None,
        target: str = "auto",
        kind: Kind | None = None,
        names: Sequence[str] | None = None,
        source: str = "arrays",
    ):
        x = _checked(np.asarray(x))
        self.source = source
        self.kind = kind or _kind(x)
        notes: list[str] = []
        if self.kind == "image":
            x, notes = _images(x)
        self.x = x
        self._names = names
        self.target, found = find_target(y, len(x), asked=target, names=classes)
        self.notes = (*notes, *found)
        self._decoded = Decoded(lambda index, form: fit_image(_pixels(self.x[index]), form))

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.x)

    def name_of(self, index: int) -> str:
        """The name that was given, else ``row 17``."""
        return self._names[int(index)] if self._names else f"row {int(index)}"

    def digest(self, index: int) -> str:
        """The SHA-256 (hex) of one example: its type, shape and values; of a text, its UTF-8."""
        row = self.x[index]
        if self.kind == "text":
            return hashlib.sha256(str(row).encode()).hexdigest()
        row = np.ascontiguousarray(row, row.dtype.newbyteorder("<"))
        return hashlib.sha256(f"{row.dtype.str} {row.shape} ".encode() + row.tobytes()).hexdigest()

    def native_shape(self) -> tuple[int, ...] | None:
        """The shape of every example; images with opacity count as RGB."""
        if self.kind == "image":
            return (*self.x.shape[1:3], 3 if self.x.shape[3] == 4 else self.x.shape[3])
        return self.x.shape[1:]

    def batch(self, indices: Sequence[int] | np.ndarray, form: InputForm) -> np.ndarray:
        """The examples as float32 ``(len(indices), *form.shape)``; texts as an object array of ``str``.

        Images are resampled to an image form; they are flattened to a vector form of as many values.
        """
        indices = np.asarray(indices, np.int64)
        if self.kind == "text" and form.kind == "text":
            return np.array([str(text) for text in self.x[indices]], object)
        if self.kind == "image" and form.kind == "image" and form.shape != self.native_shape():
            return self._decoded.batch(indices, form)
        native = self.native_shape() or ()
        if (self.kind == "text") != (form.kind == "text") or prod(native) != prod(form.shape):
            what = f"These examples cannot take the form that the network wants: {form.kind} {form.shape}."
            raise DataError(what, received=f"{self.kind} {native}")
        rows = self.x[indices]
        rows = _pixels(rows) if self.kind == "image" else rows
        return rows.astype(np.float32).reshape(len(rows), *form.shape)


def _checked(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "O" and x.ndim == 1 and all(isinstance(text, str) for text in x):
        kind = "U"
    else:
        kind = x.dtype.kind
    if kind not in "biufUS":
        what = "The examples x are neither numbers nor strings."
        raise DataError(what, received=str(x.dtype), fix="Store them as a plain array, all of one shape.")
    if x.ndim == 0 or x.size == 0:
        what = "The examples x are empty."
        raise DataError(what, expected="at least one example", received=f"shape {x.shape}")
    if kind in "US":
        if x.ndim != 1:
            what = "The texts x have more than one dimension."
            raise DataError(what, expected="one string for each example", received=f"shape {x.shape}")
        return _decoded_texts(x) if kind == "S" else x
    if x.ndim == 1:
        x = x[:, None]
    if x.dtype.kind == "f":
        bad = ~(np.abs(x) <= np.finfo(np.float32).max).reshape(len(x), -1).all(axis=1)
        if bad.any():
            some = "1 example holds" if bad.sum() == 1 else f"{int(bad.sum())} examples hold"
            what = f"{some} NaN, infinity or what float32 cannot hold; the first is row {int(bad.argmax())}."
            raise DataError(what, fix="Fill the values in, or leave those examples out.")
    return x


def _decoded_texts(x: np.ndarray) -> np.ndarray:
    try:
        return np.char.decode(x, "utf-8")
    except UnicodeDecodeError as error:
        what = "The texts x are bytes that are not UTF-8."
        raise DataError(what, received=str(error), fix="Store them as strings.") from error


def _kind(x: np.ndarray) -> Kind:
    if x.dtype.kind in "UO":
        return "text"
    if x.ndim == 3 or (x.ndim == 4 and x.shape[3] in (1, 3, 4)):
        return "image"
    return "vector" if x.ndim == 2 else "array"


def _images(x: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Images as ``(n, height, width, channels)``, their range checked."""
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[3] not in (1, 3, 4):
        what = "The images x are of a shape that images do not have."
        raise DataError(what, expected="(n, height, width) or (n, height, width, 1, 3 or 4)", received=str(x.shape))
    if x.dtype == np.uint16:
        return x, ["16-bit images: 0 to 65535 is scaled to 0 to 255."]
    if x.dtype.kind == "b":
        return x, ["True and False are taken as 255 and 0."]
    if x.dtype != np.uint8 and (x.min() < 0 or x.max() > 255):
        what = "The images x are out of range."
        received = f"{x.min():g} to {x.max():g}"
        raise DataError(what, expected="0 to 255", received=received, fix=f"Rescale them. {_NOT_IMAGES}")
    if x.max() <= 1 and x.max() > 0:
        hint = "multiply by 255 if 1 is meant as white"
        return x, [f"The images' values end at {x.max():g}; 0 to 255 is expected. They are taken as they are: {hint}."]
    return x, []


def _pixels(x: np.ndarray) -> np.ndarray:
    """Stored values as pixels of 1 or 3 channels, uint8 or float32, 0 to 255."""
    if x.dtype == np.uint16:
        x = x.astype(np.float32) / np.float32(257)
    elif x.dtype.kind == "b":
        x = x.astype(np.uint8) * np.uint8(255)
    elif x.dtype != np.uint8:
        x = x.astype(np.float32)
    return over_white(x) if x.shape[-1] == 4 else x
