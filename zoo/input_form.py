"""How an example becomes the array that a network takes: part of a card, and of every run."""

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["image", "vector", "text", "array"]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]
Fit = Literal["stretch", "crop", "pad"]

KINDS: tuple[str, ...] = get_args(Kind)
RESAMPLES: tuple[str, ...] = get_args(Resample)
FITS: tuple[str, ...] = get_args(Fit)


@dataclass(frozen=True)
class InputForm:
    """What a network takes, and how a file becomes it.

    ``shape`` is height, width, channels for images (1 grey, 3 RGB), the length for vectors, ``()`` for text. ``fit``
    says what happens to another aspect ratio: ``stretch`` it, ``crop`` the centre, or ``pad`` with black. Image values
    are 0 to 255: rescaling and normalization live inside the network.

    Example:
        >>> InputForm("image", (8, 8, 1)).resample
        'bilinear'
    """

    kind: Kind
    shape: tuple[int, ...]
    resample: Resample = "bilinear"
    fit: Fit = "stretch"
