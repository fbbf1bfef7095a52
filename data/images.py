"""Pictures on disk <-> pictures in memory: the only place that knows 0..255, and the only one that decodes.

Everything is read by Pillow: other decoders crash the process on files that Pillow refuses with an error.
"""

import contextlib
import hashlib
import os
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # decoders allowed, whatever the extension
ORIENTATION = 0x0112  # of EXIF: from 5 on a picture lies on its side
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LONGEST = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}  # px of a side that the format, or its library, can write
MAX_PIXELS = 179_000_000  # checked in the header, before anything is decoded

Image.init()  # else Pillow knows only five formats by heart
# Above half of its own limit Pillow warns; ours is an error at MAX_PIXELS and silence below.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Pixels that come from `bytes` are read here and never written.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
# Damaged EXIF is passed over; Pillow tells of every tag.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")


class PictureError(ValueError):
    """One file could not be read or written; the message names it."""

    exit_code = 2

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


def find_pictures(root: Path) -> list[str]:
    """Paths below `root`, relative to it, of every file with one of EXTENSIONS, sorted; a folder that is
    reached twice through symbolic links is searched once."""
    return sorted(_walk(root))


def _refuse(error: OSError) -> None:
    raise PictureError(error.filename, f"this folder cannot be read ({error.strerror})") from error


def _walk(root: Path) -> Iterator[str]:
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        identity = os.path.realpath(folder)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders.sort()
        below = os.path.relpath(folder, root)
        prefix = "" if below == "." else below + os.sep
        for name in files:
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield prefix + name


def open_picture(path: str | Path, draft: int = 0) -> Image.Image:
    """`decode` of a file; raises PictureError."""
    with naming(path), open_regular(path) as file:
        return decode(file, path, draft)


def open_regular(path: str | Path) -> BinaryIO:
    """To open a pipe would be to wait for whoever writes into it; raises PictureError for that, and OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise PictureError(path, "is no regular file")
    return open(path, "rb")


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Makes what goes wrong with opening and reading a file a PictureError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise PictureError(path, "no such file") from None
    except PictureError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a byte that no path can hold
        raise PictureError(path, getattr(error, "strerror", None) or str(error)) from error


def decode(file: BinaryIO, path: str | Path, draft: int = 0) -> Image.Image:
    """One picture, upright and RGB.

    EXIF orientation is applied, transparency is composited over white, 16-bit and float values are scaled to
    8 bits (not clipped), CMYK is converted, and of an animation the first frame is taken.

    Args:
        path: stands in the message of an error.
        draft: if not 0, a JPEG whose sides are four times this or more comes at a half, a quarter or an eighth of
            its size, but with no side below twice `draft` px: libjpeg leaves out what the resize would throw away.

    Raises:
        PictureError: whatever is wrong with the file.
    """
    with opened(file, path) as image:
        if draft and image.format == "JPEG":
            image.draft(None, (2 * draft, 2 * draft))
        image.load()
        return to_rgb(upright(image))


def upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says. Pillow's own exif_transpose writes the rest of EXIF anew besides, and refuses pictures for a
    damaged tag that nobody asks for."""
    turn = TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged: Pillow raises almost anything
        return 1
    return found if isinstance(found, int) else 1


@contextlib.contextmanager
def opened(file: BinaryIO, path: str | Path) -> Iterator[Image.Image]:
    """A picture whose header is read; whatever is wrong with it, then or later in the block, is a PictureError that
    names `path`."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(path, f"{image.width} x {image.height} px is above {MAX_PIXELS} px")
            yield image
    except PictureError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise PictureError(path, _reason(error, file)) from error


def picture_size(path: str | Path) -> tuple[int, int]:
    """Width and height in px of a picture, upright, by its header alone; raises PictureError."""
    with naming(path), open_regular(path) as file, opened(file, path) as image:
        width, height = image.size
        return (height, width) if 5 <= _orientation(image) <= 8 else (width, height)


def upright_size(file: BinaryIO, decoded: Image.Image) -> tuple[int, int]:
    """Width and height in px of a picture as its header says, the way up that `decode` has turned it."""
    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
    return (width, height) if (width < height) == (decoded.width < decoded.height) else (height, width)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow's to RGB, as open_picture's docstring says."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_to_8_bits(np.asarray(image), image.mode))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy


def _to_8_bits(values: np.ndarray, mode: str) -> np.ndarray:
    values = values.astype(np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(values).all():
        return np.zeros(values.shape, np.uint8)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0  # 16 bits, also when they arrive as mode "I"
    elif mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled = (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12)
    return np.rint(scaled * 255).astype(np.uint8)


def save_picture(image: Image.Image, path: Path, quality: int = 0) -> None:
    """Write in the format of the extension, under a temporary name first: `path` is there whole or not at all.

    Args:
        quality: 1 to 100, of JPEG and WebP; 0 is 95 for JPEG and lossless for WebP. Other formats lose nothing.

    Raises:
        ValueError: the format knows no such size.
    """
    lossy = {"quality": quality or 95}
    longest = LONGEST.get(path.suffix.lower())
    if longest and max(image.size) > longest:
        raise ValueError(f"{image.width} x {image.height} px: {path.suffix[1:]} holds {longest} px a side")
    settings = {".jpg": lossy, ".jpeg": lossy, ".webp": lossy if quality else {"lossless": True}}
    # Short, whatever the name: one of 255 bytes is allowed.
    temporary = path.with_name(f".{temporary_stem(path)}.{os.getpid()}.tmp{path.suffix}")
    try:
        image.save(temporary, **settings.get(path.suffix.lower(), {}))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def resize(image: Image.Image, width: int, height: int) -> np.ndarray:
    """RGB picture -> uint8 [height, width, 4], bicubic, antialiased; the fourth channel is of no use.

    To within one grey level what Pillow's own resize makes, in a quarter of its time: torch resamples four channels
    side by side, and four bytes a pixel is how Pillow stores RGB. To part the channels would cost a worker more than
    all the rest that it does between decoding and sending, so it is left to the device (`planes`).
    """
    pixels = np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8).reshape(1, image.height, image.width, 4)
    if image.size == (width, height):
        return pixels[0]
    # With these strides, the batch's among them, torch knows the channels for interleaved and does not copy them apart.
    interleaved = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    resized = functional.interpolate(interleaved, (height, width), mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def is_leftover(name: str) -> bool:
    """The name is that of a temporary file of save_picture's."""
    return re.fullmatch(r"\.[0-9a-f]{12}\.\d+\.tmp\.\w+", name) is not None


def temporary_stem(path: Path) -> str:
    """What the name of a temporary file beside `path` begins with, after a dot."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]


def to_tensor(image: Image.Image | np.ndarray) -> Tensor:
    """RGB picture or uint8 [H, W, 3] -> uint8 [3, H, W]."""
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)


def planes(pixels: Tensor) -> Tensor:
    """uint8 [N, H, W, 4] as `resize` makes them -> [N, 3, H, W], a view."""
    return pixels[..., :3].permute(0, 3, 1, 2)


def normalise(pictures: Tensor) -> Tensor:
    """uint8 of any shape -> float32 in [-1, 1], on the same device, contiguous."""
    return pictures.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)


def on_device(pixels: Tensor, device: torch.device) -> Tensor:
    """uint8 [N, H, W, 4] as workers send them -> [N, 3, H, W] in [-1, 1]. Pictures travel as bytes and become floats
    where they are used: a quarter of the traffic."""
    return normalise(planes(pixels.to(device, non_blocking=True)))


def denormalise(pictures: Tensor) -> Tensor:
    """[-1, 1] of any shape -> uint8, rounded to nearest (truncation would darken by half a level)."""
    return pictures.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def to_picture(tensor: Tensor) -> Image.Image:
    """[3, H, W] in [-1, 1] -> RGB picture."""
    return Image.fromarray(denormalise(tensor).permute(1, 2, 0).cpu().numpy())


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """The middle square of a picture at size x size: shorter side to `size` (bicubic, antialiased, aspect
    kept), then a centre crop. How held-out pictures are brought to the size of training."""
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def _reason(error: Exception, file: BinaryIO) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture in an allowed format" if file.seek(0, os.SEEK_END) else "the file is empty"
    return " ".join(str(error).split()) or type(error).__name__
