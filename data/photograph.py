"""A photograph as it comes to be translated: its colours, and what is laid over its translation again."""

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageCms

from data.images import naming, open_regular, opened, to_rgb, upright

SRGB = ImageCms.createProfile("sRGB")
WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")  # the formats that keep it


@dataclass(frozen=True)
class Photograph:
    """picture: RGB, upright, in sRGB, transparency composited over white, None once somebody has taken it who needs the
    memory; alpha: of the same size, None for one that is opaque all over."""

    picture: Image.Image | None
    alpha: Image.Image | None = None

    def resized(self, size: tuple[int, int]) -> "Photograph":
        """Brought to (width, height), bicubic, antialiased."""
        if size == self.picture.size:
            return self
        alpha = self.alpha and self.alpha.resize(size, Image.Resampling.BICUBIC)
        return replace(self, picture=self.picture.resize(size, Image.Resampling.BICUBIC), alpha=alpha)


def open_photograph(path: str | Path) -> Photograph:
    """`images.decode` of a file, and besides: the colours are brought to sRGB by the profile that the picture carries
    (one that is damaged, or is for another kind of picture, is passed over), and its transparency is kept.

    Raises:
        PictureError: whatever is wrong with the file.
    """
    with naming(path), open_regular(path) as file, opened(file, path) as image:
        image.load()
        profile = image.info.get("icc_profile")
        image = upright(image)
        alpha = _alpha(image)
        if image.mode == "CMYK" and profile:  # four inks, which only the profile knows
            return Photograph(_in_srgb(image, profile) or to_rgb(image), alpha)
        picture = to_rgb(image)
        return Photograph((profile and _in_srgb(picture, profile)) or picture, alpha)


def _alpha(image: Image.Image) -> Image.Image | None:
    has_one = image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    if not has_one and not ("transparency" in image.info and image.mode in ("1", "L", "P", "RGB")):
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return alpha if alpha.getextrema()[0] < 255 else None


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """None if the profile is of no use, or is sRGB's own."""
    try:
        given = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(given):
            return None
        return ImageCms.profileToProfile(image, given, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # TypeError: a TIFF's tag that holds no bytes
        return None


def lay_alpha(picture: Image.Image, alpha: Image.Image | None, path: Path) -> Image.Image:
    """The picture as transparent as the photograph was; over white in a format that knows no transparency."""
    if alpha is None:
        return picture
    if path.suffix.lower() in WITH_ALPHA:
        picture = picture.copy()
        picture.putalpha(alpha)
        return picture
    return Image.composite(picture, Image.new("RGB", picture.size, "white"), alpha)
