"""Files that are no pictures, and pictures that are hard to read: a maker for every kind that is met in the wild."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Maker = Callable[[Path], None]


def picture(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    """Noise: no two seeds make the same picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def png(*chunks: tuple[bytes, bytes], size: tuple[int, int] = (24, 16), spoil: bytes = b"") -> bytes:
    """An RGB PNG with extra chunks in front of its pixels; the chunk `spoil` gets a wrong checksum."""
    width, height = size
    rows = b"".join(b"\0" + bytes(3 * width) for _ in range(height)) if width * height < 10**6 else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        checksum = zlib.crc32(name + data) ^ (name == spoil)
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)
    return content


def _bytes(content: Callable[[], bytes]) -> Maker:
    return lambda path: path.write_bytes(content())  # type: ignore[func-returns-value]


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere.jpg")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


# What cannot be read -> a maker, and a word of the reason that must be given. The letters are those of the promises.
BAD: dict[str, tuple[Maker, str]] = {
    "D1 truncated JPEG": (_bytes(lambda: encoded(picture(64, 64), "JPEG")[:900]), "truncated"),
    "D1 truncated PNG": (_bytes(lambda: encoded(picture(64, 64), "PNG")[:-5000]), "truncated"),
    "D1 truncated WebP": (_bytes(lambda: encoded(picture(64, 64), "WEBP")[:300]), ""),
    "D1 JPEG header alone": (_bytes(lambda: encoded(picture(), "JPEG")[:200]), ""),
    "D3 zero bytes": (_bytes(lambda: b""), "empty"),
    "D4 text": (_bytes(lambda: b"milk, bread, butter\n"), "not a picture"),
    "D4 web page": (_bytes(lambda: b"<!DOCTYPE html><title>404 Not Found</title>"), "not a picture"),
    "D5 SVG": (_bytes(lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><circle r='1'/></svg>"), "not a picture"),
    "D6 PNG with a bad checksum": (_bytes(lambda: png(spoil=b"IHDR")), ""),
    "D6 PNG with bad pixels": (_bytes(lambda: png((b"IDAT", b"\xff" * 50))), ""),
    "D7 PNG with a giant text": (
        _bytes(lambda: png((b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80 * 2**20))))),
        "too large",
    ),
    "D14 decompression bomb": (_bytes(lambda: png(size=(40_000, 40_000))), "exceeds limit"),
    "D15 a format not allowed": (_bytes(lambda: encoded(picture(), "PPM")), "not a picture"),
    "D17 link to itself": (_loop, "symbolic link"),
    "D17 dangling link": (_dangling, "o such file"),
    "T18 a pipe": (lambda path: os.mkfifo(path), "no regular file"),
}


def _sixteen_bits(path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 384, dtype=np.uint16).reshape(16, 24)).save(path, "PNG")


def _palette(path: Path) -> None:
    image = Image.new("RGB", (24, 16), (9, 99, 9)).quantize(2)
    image.save(path, "PNG", transparency=image.getpixel((0, 0)))


def _ycck(path: Path) -> None:
    """Stored as (Y, Cb, Cr, K) = (200, 128, 128, 255) with inks inverted, which is a grey of 55."""
    content = encoded(Image.new("CMYK", (24, 16), (55, 127, 127, 0)), "JPEG", quality=100)
    marker = content.index(b"Adobe") + 11  # the colour transform, behind the version and two words of flags
    path.write_bytes(content[:marker] + b"\x02" + content[marker + 1 :])


def _animated(kind: str) -> Maker:
    def make(path: Path) -> None:
        frames = [Image.new("RGB", (24, 16), colour) for colour in ((0, 0, 254), (254, 0, 0))]
        settings = {"lossless": True} if kind == "WEBP" else {}
        frames[0].save(path, kind, save_all=True, append_images=frames[1:], **settings)

    return make


# What is odd and must be read all the same.
ODD: dict[str, Maker] = {
    "D8 CMYK": lambda path: Image.new("CMYK", (24, 16), (0, 200, 200, 0)).save(path, "JPEG"),
    "D8 YCCK": _ycck,
    "D9 16 bits": _sixteen_bits,
    "D9 float": lambda path: Image.fromarray(np.linspace(0, 1, 384, dtype=np.float32).reshape(16, 24)).save(
        path, "TIFF"
    ),
    "D10 alpha": lambda path: Image.new("RGBA", (24, 16), (200, 0, 0, 100)).save(path, "PNG"),
    "D10 palette": _palette,
    "D10 grey and alpha": lambda path: Image.new("LA", (24, 16), (9, 100)).save(path, "PNG"),
    "D12 animated GIF": _animated("GIF"),
    "D12 animated WebP": _animated("WEBP"),
    "D12 animated PNG": _animated("PNG"),
    "D15 WebP": lambda path: picture().save(path, "WEBP"),
    "D15 BMP": lambda path: picture().save(path, "BMP"),
}
