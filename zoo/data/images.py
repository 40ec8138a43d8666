"""Images as a network takes them: the one implementation, for training, evaluation and prediction."""

from pathlib import Path
from stat import S_ISREG

import numpy as np
import PIL
from PIL import Image

from zoo.data.dataset import InputForm
from zoo.data.decoding import ACCEPTED, MAX_BYTES, UnreadableImage, decode
from zoo.errors import DataError

VERSION = 1
"""Raised whenever a change of ours changes a pixel."""
DECODER = f"pillow-{PIL.__version__}+zoo-{VERSION}"
"""What decodes and resamples: named in cards and runs, since another version may change the last bits."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read_image(source: str | Path | bytes, form: InputForm) -> np.ndarray:
    """Read one image file as a network takes it.

    Args:
        source: The file's path, or its bytes.
        form: Height, width and channels, the resampling filter, and what happens to another aspect ratio.

    Returns:
        float32 ``form.shape``, 0 to 255.

    Raises:
        DataError: The file cannot be read, is damaged, or is not an accepted image.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("L", (4, 4), 200).save(file, "PNG")
        >>> read_image(file.getvalue(), InputForm("image", (2, 2, 3)))[0, 0]
        array([200., 200., 200.], dtype=float32)
    """
    try:
        return fit_image(decode(source if isinstance(source, bytes) else read_bytes(source)), form)
    except UnreadableImage as error:
        what = f"The image {'' if isinstance(source, bytes) else repr(str(source)) + ' '}cannot be read: {error}."
        raise DataError(what, expected=ACCEPTED, fix="Repair it, convert it, or leave it out.") from error


def read_bytes(path: str | Path) -> bytes:
    """A file's bytes, or an `UnreadableImage` that says why not."""
    try:
        status = Path(path).stat()
        if not S_ISREG(status.st_mode):
            what = "it is not a regular file"
            raise UnreadableImage(what)
        if status.st_size > MAX_BYTES:
            what = f"the file is larger than {MAX_BYTES // 2**20} MiB"
            raise UnreadableImage(what)
        return Path(path).read_bytes()
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise UnreadableImage(what) from error


def fit_image(pixels: np.ndarray, form: InputForm) -> np.ndarray:
    """Bring decoded pixels to a form: channels first, then size.

    Colour becomes grey by the ITU-R 601 luma, ``0.299 R + 0.587 G + 0.114 B``; grey becomes RGB by repetition. The size
    is changed by Pillow's filters with antialiasing, in float32; overshoot is cut at 0 and 255. Pixels that need
    neither come through unchanged.

    Args:
        pixels: ``(height, width, 1 or 3)``, uint8 or float32, 0 to 255.
        form: What the network takes.

    Returns:
        float32 ``form.shape``.
    """
    height, width, channels = _image_shape(form)
    pixels = _channels(pixels, channels)
    if form.fit == "pad" and pixels.shape[:2] != (height, width):
        return _padded(pixels, height, width, form.resample)
    box = _centre(pixels.shape[0], pixels.shape[1], height, width) if form.fit == "crop" else None
    return _resized(pixels, height, width, form.resample, box)


def _image_shape(form: InputForm) -> tuple[int, int, int]:
    if form.kind != "image" or len(form.shape) != 3 or form.shape[2] not in (1, 3) or min(form.shape) < 1:
        what = f"The form {form.kind} {form.shape} is not one that images can take."
        raise DataError(what, expected="an image form (height, width, 1 or 3)")
    height, width, channels = form.shape
    return height, width, channels


def _channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[..., None]
    return pixels @ np.array([[0.299], [0.587], [0.114]], np.float32)


def _resized(
    pixels: np.ndarray, height: int, width: int, resample: str, box: tuple[float, float, float, float] | None
) -> np.ndarray:
    values = pixels.astype(np.float32)
    if pixels.shape[:2] == (height, width):
        return values
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), _FILTERS[resample], box=box))
        for plane in np.moveaxis(values, 2, 0)
    ]
    return np.clip(np.stack(planes, axis=2), 0, 255)


def _centre(rows: int, columns: int, height: int, width: int) -> tuple[float, float, float, float]:
    """The largest box of the wanted aspect ratio, in the centre: left, upper, right, lower."""
    scale = min(rows / height, columns / width)
    tall, wide = min(scale * height, rows), min(scale * width, columns)
    upper, left = (rows - tall) / 2, (columns - wide) / 2
    if scale == 1:  # whole pixels: nothing is to be resampled
        upper, left = upper // 1, left // 1
    return left, upper, left + wide, upper + tall


def _padded(pixels: np.ndarray, height: int, width: int, resample: str) -> np.ndarray:
    rows, columns = pixels.shape[:2]
    scale = min(height / rows, width / columns)
    tall, wide = min(height, max(1, round(rows * scale))), min(width, max(1, round(columns * scale)))
    out = np.zeros((height, width, pixels.shape[2]), np.float32)
    upper, left = (height - tall) // 2, (width - wide) // 2
    out[upper : upper + tall, left : left + wide] = _resized(pixels, tall, wide, resample, None)
    return out
