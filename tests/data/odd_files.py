"""One of each odd file that a folder of images holds in practice, and what is known about it without our reader.

``python -m tests.data.odd_files`` writes `docs/odd-files.md` anew; a test checks that it is true.
"""

import io
import os
import struct
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "odd-files.md"
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@dataclass(frozen=True)
class Odd:
    """One odd file: its name, what it is, its bytes, and the pixels that must come out (``None``: it must not)."""

    name: str
    what: str
    content: bytes = field(repr=False)
    pixels: np.ndarray | None = field(default=None, repr=False)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """An image file's bytes."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def grey(rows) -> np.ndarray:
    """Expected grey pixels, ``(h, w, 1)``."""
    return np.array(rows, np.float32)[..., None]


def flat(colour: tuple[int, ...], height: int, width: int) -> np.ndarray:
    """Expected pixels of one colour."""
    return np.broadcast_to(np.array(colour, np.float32), (height, width, len(colour))).copy()


def png(width: int, height: int, depth: int, colour_type: int, raw: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand, so that what it holds is known without Pillow."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    middle = b"".join(chunk(name, body) for name, body in extra)
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def oriented(orientation: int) -> Image.Exif:
    """EXIF that says how the image is turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def without_segment(jpeg: bytes, marker: int) -> bytes:
    """A JPEG with one kind of segment cut out."""
    out, place = jpeg[:2], 2
    while jpeg[place + 1] != 0xDA:
        length = 2 + struct.unpack(">H", jpeg[place + 2 : place + 4])[0]
        if jpeg[place + 1] != marker:
            out += jpeg[place : place + length]
        place += length
    return out + jpeg[place:]


def good_files() -> list[Odd]:
    """What is accepted."""
    return [*_plain(), *_converted(), *_named()]


def _plain() -> list[Odd]:
    steps = np.array([[0, 85], [170, 255]], np.uint8)
    colours = np.array([[RED, GREEN], [BLUE, (255, 255, 255)]], np.uint8)
    image = Image.fromarray(colours)
    moving = [Image.new("P", (2, 2), 0), Image.new("P", (2, 2), 1)]
    for frame in moving:
        frame.putpalette([*RED, *BLUE])
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)]
    return [
        Odd("grey.png", "8-bit grey", png(2, 2, 8, 0, b"\0\0\x55\0\xaa\xff"), grey(steps)),
        Odd("colour.png", "8-bit RGB", encoded(image, "PNG"), colours),
        Odd("colour.bmp", "BMP, 24 bits", encoded(image, "BMP"), colours),
        Odd("lossless.webp", "WebP, lossless", encoded(image, "WEBP", lossless=True), colours),
        Odd("moving.gif", "GIF of two frames, red then blue",
            encoded(moving[0], "GIF", save_all=True, append_images=moving[1:]), flat(RED, 2, 2)),
        Odd("moving.webp", "WebP of two frames, red then blue",
            encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), flat(RED, 4, 4)),
    ]  # fmt: skip


def _converted() -> list[Odd]:
    cyan = encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=100)
    palette = (b"PLTE", bytes([*RED, *GREEN, *BLUE]))
    half = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 8, 0).repeat(8, 1))  # left black, right white
    turned = np.repeat(grey([[0] * 8, [255] * 8]), 8, axis=0)  # upright: above black, below white
    opaque = struct.pack(">HHHH", 0, 0x8000, 0x0101, 0xFFFF)
    return [
        Odd("cmyk-adobe.jpg", "CMYK as Adobe stores it, inverted; pure cyan", cyan, flat((0, 255, 255), 8, 8)),
        Odd("cmyk-plain.jpg", "CMYK that is not inverted; white where the other is inked",
            without_segment(cyan, 0xEE), flat((0, 0, 0), 8, 8)),
        Odd("palette.png", "palette of red, green, blue", png(3, 1, 8, 3, b"\0\0\1\2", palette),
            np.array([[RED, GREEN, BLUE]])),
        Odd("palette-transparent.png", "the same, green transparent",
            png(3, 1, 8, 3, b"\0\0\1\2", palette, (b"tRNS", b"\xff\0")),
            np.array([[RED, (255, 255, 255), BLUE]])),
        Odd("16-bit.png", "16-bit grey: 0, 32768, 257, 65535", png(4, 1, 16, 0, b"\0" + opaque),
            grey([[0, 32768 / 257, 1, 255]])),
        Odd("16-bit-transparent.png", "the same, 32768 transparent",
            png(4, 1, 16, 0, b"\0" + opaque, (b"tRNS", b"\x80\0")), grey([[0, 255, 1, 255]])),
        Odd("1-bit.png", "black and white", png(2, 1, 1, 0, b"\0\x40"), grey([[0, 255]])),
        Odd("grey-alpha.png", "grey 100, opaque and fully transparent", png(2, 1, 8, 4, b"\0\x64\xff\x64\0"),
            grey([[100, 255]])),
        Odd("transparent.png", "red: opaque, two fifths, no", png(3, 1, 8, 6, b"\0\xff\0\0\xff\xff\0\0\x66\xff\0\0\0"),
            np.array([[RED, (255, 153, 153), (255, 255, 255)]])),
        Odd("rotated.jpg", "stored on its side, EXIF orientation 6", encoded(half, "JPEG", exif=oriented(6)), turned),
        Odd("nonsense-exif.png", "EXIF that is none, beside an intact image",
            png(2, 1, 8, 0, b"\0\x64\xff", (b"eXIf", b"neither II nor MM")), grey([[100, 255]])),
        Odd("bad-exif.jpg", "damaged EXIF beside an intact image",
            encoded(Image.new("L", (8, 8), 128), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"), flat((128,), 8, 8)),
    ]  # fmt: skip


def _named() -> list[Odd]:
    jpeg = encoded(Image.new("L", (8, 8), 128), "JPEG")
    even = flat((128,), 8, 8)
    names = {
        "UPPER.JPG": "extension in capitals",
        "photo.jpe": "JPEG with the extension .jpe",
        "photo.jfif": "JPEG with the extension .jfif",
        "really-a-jpeg.png": "JPEG with the extension of a PNG",
        "no-extension": "JPEG without extension",
        "photo.jpg.download": "JPEG with another extension",
        "한글 사진.jpg": "a name that is not ASCII",
    }
    return [Odd(name, what, jpeg, even) for name, what in names.items()]


def bad_files() -> list[Odd]:
    """What stops the run, or is skipped when asked."""
    jpeg = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)), "JPEG")
    noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)), "PNG")
    image = Image.new("RGB", (4, 4), RED)
    ratio = png(8000, 7000, 1, 0, zlib.compress(b""))
    return [
        Odd("zero-byte.jpg", "nothing in it", b""),
        Odd("text.jpg", "a text that is called .jpg", b"this is no image\n" * 10),
        Odd("cut-short.jpg", "the first half of a JPEG", jpeg[: len(jpeg) // 2]),
        Odd("cut-short.png", "the first half of a PNG", noise[: len(noise) // 2]),
        Odd("cut-short.bmp", "the first half of a BMP", encoded(image, "BMP")[:70]),
        Odd("cut-short.gif", "a GIF without its last bytes", encoded(image.convert("P"), "GIF")[:-8]),
        Odd("cut-short.webp", "the first half of a WebP", encoded(image, "WEBP")[:40]),
        Odd("corrupt.png", "a PNG with a wrong checksum", noise[:-20] + bytes([noise[-20] ^ 255]) + noise[-19:]),
        Odd("header-only.jpg", "three bytes of a JPEG", jpeg[:3]),
        Odd("bomb.png", "a header of 60000 x 60000 pixels", png(60000, 60000, 8, 0, b"\0" * 100)),
        Odd("thin-bomb.png", "56 million pixels announced in under 100 bytes", ratio),
        Odd("scan.tif", "TIFF", encoded(image, "TIFF")),
        Odd("really-a-tiff.jpg", "TIFF that is called .jpg", encoded(image, "TIFF")),
        Odd("phone.heic", "HEIC", b"\0\0\0\x18ftypheic" + bytes(20)),
    ]


def ignored_files() -> list[Odd]:
    """What is not looked at; with a note, unless it is hidden or a file manager's."""
    jpeg = encoded(Image.new("L", (8, 8), 128), "JPEG")
    return [
        Odd(".hidden.jpg", "a hidden file", jpeg),
        Odd("._photo.jpg", "what macOS leaves beside a file", b"\0\5\x16\7"),
        Odd("Thumbs.db", "what Windows leaves in a folder", b"\xd0\xcf\x11\xe0"),
        Odd("desktop.ini", "what Windows leaves in a folder", b"[.ShellClassInfo]"),
        Odd("notes.txt", "a text", b"BM was here\n"),
    ]


def make_odd_files(folder: Path) -> list[Odd]:
    """Write one of each odd file into a folder, and say what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [*good_files(), *bad_files(), *ignored_files()]
    for odd in files:
        (folder / odd.name).write_bytes(odd.content)
    return files


def picture(path: Path, level: int = 0) -> None:
    """A small grey PNG, whose content is known by its level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(2, 1, 8, 0, bytes([0, level % 256, level // 256])))


def page() -> str:
    """The documentation page, made by opening each file."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return "\n".join([*_head(), *_file_rows(), "", *_folder_head(), *_folder_rows(), ""])
        finally:
            os.chdir(before)


def _head() -> list[str]:
    from zoo.data import DECODER

    return [
        "# Odd files",
        "",
        "What comes out of each odd file that folders of images hold in practice. A file that cannot be read stops the",
        "run before training, together with all others; with `--skip-bad` it is left out and listed in the run.",
        f"This page is made by `python -m tests.data.odd_files`, with {DECODER}, and a test checks that it is true.",
        "",
        "| file | what it is | accepted | what comes out, or the message |",
        "|---|---|---|---|",
    ]


def _file_rows() -> list[str]:
    from zoo.data import open_data
    from zoo.errors import DataError

    rows = []
    for odd in [*good_files(), *bad_files(), *ignored_files()]:
        folder = Path("photos") / "cat"
        picture(folder / "other.png")
        (folder / odd.name).write_bytes(odd.content)
        try:
            data = open_data("photos")
            taken = [i for i in range(len(data)) if data.name_of(i) == f"cat/{odd.name}"]
            told = " ".join(note for note in data.notes if "one example" not in note)
            result = ("yes", f"{_pixels(data, taken[0])} {told}") if taken else ("ignored", told or "no note")
        except DataError as error:
            result = ("no", str(error).splitlines()[1].split(": ", 1)[1])
        rows.append(f"| `{odd.name}` | {odd.what} | {result[0]} | {result[1].strip()} |")
        (folder / odd.name).unlink()
    return rows


def _pixels(data, index: int) -> str:
    from zoo.data.decoding import decode

    pixels = decode(data.path_of(index).read_bytes())
    height, width, channels = pixels.shape
    first = ", ".join(f"{value:g}" for value in pixels[0, 0])
    return f"{height} x {width} {'grey' if channels == 1 else 'RGB'}, first pixel {first}."


def _folder_head() -> list[str]:
    return ["## Odd folders", "", "| folder | outcome | the message or note |", "|---|---|---|"]


def _folder_rows() -> list[str]:
    from zoo.data import open_data, split
    from zoo.errors import DataError

    rows = []
    for number, (what, files) in enumerate(ODD_FOLDERS.items()):
        root = Path(f"data{number}") / "photos"
        for level, name in enumerate(files):
            picture(root / name, level) if not name.endswith("/") else (root / name).mkdir(parents=True)
        try:
            data = open_data(str(root))
            split(data, seed=0, val=0, test=0)
            result = ("read", " ".join(data.notes) or "no note")
        except DataError as error:
            result = ("error", str(error).replace(f"data{number}{os.sep}", ""))
        rows.append(f"| {what} | {result[0]} | {result[1]} |")
    return rows


ODD_FOLDERS = {
    "an empty class": ["cat/1.png", "cat/2.png", "dog/"],
    "a class with one example": ["cat/1.png", "cat/2.png", "dog/1.png"],
    "one class only": ["cat/1.png", "cat/2.png"],
    "a label in test that is missing from training": ["train/cat/1.png", "train/dog/1.png", "test/cow/1.png"],
    "images beside the class folders": ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png", "stray.png"],
    "images without class folders": ["1.png", "2.png"],
    "no images": ["cat/", "dog/"],
    "other folders beside the sides": ["train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "more/1.png"],
    "a class folder named in two Unicode forms": ["caf\u00e9/1.png", "cafe\u0301/2.png", "tea/1.png", "tea/2.png"],
}


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
