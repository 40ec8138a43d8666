"""From an image file's bytes to its pixels, as stored: strict, upright, without transparency."""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from zoo.errors import DataError

ACCEPTED = "a JPEG, PNG, BMP, GIF or WebP image"
MAX_PIXELS = 64_000_000
"""An image with more pixels than this is refused from its header."""
MAX_PIXELS_PER_BYTE = 10_000
"""An image of over `BOMB_FLOOR` pixels whose file is smaller than this ratio allows is refused from its header. A blank
1-bit page reaches about 8,000."""
BOMB_FLOOR = 4_000_000
MAX_BYTES = 512 * 2**20
"""A file larger than this is not even read."""

_READERS: dict[str, Callable[..., ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}
# What Pillow's decoders are known to raise on damaged bytes.
_FAULTS = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, MemoryError),
    *(AttributeError, NotImplementedError, struct.error, zlib.error, Image.DecompressionBombError),
)
_UPRIGHT = {  # EXIF orientation -> how the pixels become upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # of these, height and width change places
_ORIENTATION = 0x0112


class UnreadableImage(DataError):
    """An image that cannot be decoded; the message is the reason."""


def image_format(head: bytes) -> str | None:
    """The image format that a file's first 32 bytes announce, accepted or not; ``None`` if they announce none.

    Args:
        head: The first bytes of the file, 32 or more where it has as many.

    Returns:
        ``JPEG``, ``PNG``, ``BMP``, ``GIF``, ``WebP`` (accepted), ``TIFF``, ``HEIC``, ``AVIF`` (not), or ``None``.

    Example:
        >>> image_format(b"GIF89a")
        'GIF'
    """
    starts = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"))
    for magic, name in (*starts, (b"II*\0", "TIFF"), (b"MM\0*", "TIFF")):
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC"}.get(head[8:12])
    # "BM" alone is also how many a text begins: the size of BMP's second header must be one that exists.
    if head[:2] == b"BM" and head[14:18] in {struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124)}:
        return "BMP"
    return None


def decode(content: bytes) -> np.ndarray:
    """Decode one image: the first frame, upright by its EXIF orientation, transparency laid over white.

    16-bit grey is scaled to 0 to 255, not clipped. Palettes and CMYK become RGB (Pillow's plain conversion: colour
    profiles are not applied). 16-bit colour is reduced to 8 bits by Pillow.

    Args:
        content: The file's bytes.

    Returns:
        ``(height, width, 1 or 3)``, uint8, or float32 for 16-bit grey; 0 to 255.

    Raises:
        UnreadableImage: The bytes are not an accepted image, are damaged, or announce too many pixels.
    """
    return _decoded(content)[0]


def check_and_tell(content: bytes) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Whether `decode` can read one image, all of it.

    A JPEG is decoded at an eighth of its size, where that changes nothing but the pixels: every bit of the file is
    read and checked all the same, for about half the time.

    Args:
        content: The file's bytes.

    Returns:
        The shape of what `decode` returns, and what it has to do for it: ``16-bit grey, scaled to 0 to 255`` and the
        like.

    Raises:
        UnreadableImage: As `decode`.
    """
    pixels, told, size = _decoded(content, small=True)
    return (*size, pixels.shape[2]), told


def _decoded(content: bytes, *, small: bool = False) -> tuple[np.ndarray, tuple[str, ...], tuple[int, int]]:
    """The pixels, what was done for them, and the height and width of the upright image."""
    with strict_pillow():
        image = _open(content)
        try:
            animated = bool(getattr(image, "is_animated", False))
            width, height = image.size
            if small and image.format == "JPEG":
                image.draft(None, (1, 1))
            image.load()
            upright = _upright(image)
            pixels = _pixels(upright)
        except _FAULTS as error:
            raise UnreadableImage(_reason(error)) from error
    lies = upright is not image and image.getexif().get(_ORIENTATION) in _LYING
    told = {
        "16-bit grey, scaled to 0 to 255": image.mode.startswith("I"),
        "CMYK, converted to RGB without its colour profile": image.mode == "CMYK",
        "with transparency, laid over white": image.has_transparency_data,
        "turned upright, as EXIF says": upright is not image,
        "animated: the first frame is used": animated,
    }
    size = (width, height) if lies else (height, width)
    return pixels, tuple(text for text, true in told.items() if true), size


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Within it, Pillow completes no truncated image and prints no warning; safe in threads, and may be nested."""
    with _strict_lock:
        _strict_depth.append(None)
        if len(_strict_depth) == 1:
            _strict_stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _strict_stack.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        with _strict_lock:
            _strict_depth.pop()
            if not _strict_depth:
                _strict_stack.close()


_strict_lock = threading.Lock()
_strict_depth: list[None] = []
_strict_stack = ExitStack()


def _open(content: bytes) -> ImageFile.ImageFile:
    """Read the header, and refuse what it announces before anything is decoded."""
    if not content:
        what = "the file is empty"
        raise UnreadableImage(what)
    found = image_format(content[:32])
    if found not in _READERS:
        what = f"{found} is not accepted" if found else "its bytes are not those of an image"
        raise UnreadableImage(what)
    try:
        # Not Image.open, whose own check for bombs depends on a global of the user's and warns before we could refuse.
        image = _READERS[found](io.BytesIO(content))
    except _FAULTS as error:
        raise UnreadableImage(_reason(error)) from error
    _refuse_bomb(*image.size, len(content))
    return image


def _refuse_bomb(width: int, height: int, size: int) -> None:
    pixels = width * height
    if pixels > MAX_PIXELS:
        what = f"it announces {width} x {height} pixels, over the limit of {MAX_PIXELS // 10**6} million"
        raise UnreadableImage(what)
    if pixels > BOMB_FLOOR and pixels > MAX_PIXELS_PER_BYTE * size:
        what = f"it announces {width} x {height} pixels in {size} bytes, over {MAX_PIXELS_PER_BYTE} pixels a byte"
        raise UnreadableImage(what)


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _FAULTS:  # damaged EXIF beside an intact image: it says nothing, so nothing is turned
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info
    return turned


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        return _sixteen_bit(image)
    if image.mode in ("LA", "La"):
        return over_white(np.asarray(image.convert("LA")))
    if image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG as inverted, which is Adobe's way, and only its marker tells.
        image = image.point(lambda ink: 255 - ink)
    grey = image.mode in ("1", "L")
    if image.has_transparency_data:
        pixels = over_white(np.asarray(image.convert("RGBA")))
        return np.ascontiguousarray(pixels[..., :1]) if grey else pixels
    pixels = np.array(image.convert("L" if grey else "RGB"))
    return pixels[..., None] if grey else pixels


def _sixteen_bit(image: Image.Image) -> np.ndarray:
    stored = np.array(image)
    pixels = np.clip(stored.astype(np.float32) / np.float32(257), 0, 255)  # 65535 / 255 = 257
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        pixels[stored == transparent] = 255
    return pixels[..., None]


def over_white(pixels: np.ndarray) -> np.ndarray:
    """Lay pixels whose last channel is opacity over a white ground.

    ``out = 255 + (colour - 255) * opacity / 255``, rounded where the pixels are uint8.

    Args:
        pixels: ``(..., 2 or 4)``, grey or RGB and opacity, 0 to 255, uint8 or float.

    Returns:
        ``(..., 1 or 3)``, uint8 if the pixels were, else float32.
    """
    values = pixels.astype(np.float32)
    flat = 255 + (values[..., :-1] - 255) * (values[..., -1:] / np.float32(255))
    return np.rint(flat).astype(np.uint8) if pixels.dtype == np.uint8 else flat


def _reason(error: BaseException) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    return f"it is damaged or cut short ({text})"
