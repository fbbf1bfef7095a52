"""Augmentation of training pictures; the only door to albumentations."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from data.images import resize
from data.options import AugmentOptions

# Without it albumentations asks the package index for updates whenever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

GREY = 128  # of what is cut out
LONGEST = 8  # times load_size, of a picture that keeps its aspect: one of 1 x 9,000 px would become a giant

_Pipeline = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Augmentation:
    """A function (RGB picture, draws) -> uint8 [size, size, 4] as `images.resize` makes it. It can be sent to another
    process: from Python 3.14 on a loader's workers are not forked.

    warp, recolour: what is done before and after the crop, if anything.
    """

    size: int
    load_size: int
    flip: bool
    keep_aspect: bool
    warp: _Pipeline | None
    recolour: _Pipeline | None

    def calm(self) -> "Augmentation":
        """The same without jitter: what is resized to `size` leaves the crop no choice (but along the longer side of a
        picture that keeps its aspect)."""
        return replace(self, load_size=self.size)

    def __call__(self, image: Image.Image, draws: np.random.Generator) -> np.ndarray:
        width, height = (self.load_size, self.load_size)
        if self.keep_aspect:
            width, height = _brought_to(self.load_size, image.size)
        pixels = resize(image, width, height)
        if self.warp:
            pixels = self.warp(pixels, draws)
        top, left = draws.integers(height - self.size + 1), draws.integers(width - self.size + 1)
        pixels = _cut(pixels, top, left, self.size, mirrored=self.flip and draws.random() < 0.5)
        if self.recolour:
            pixels = self.recolour(pixels, draws)
        return pixels


def build_augmentation(
    size: int,
    load_size: int,
    flip: bool = True,
    keep_aspect: bool = False,
    options: AugmentOptions | None = None,
) -> Augmentation:
    """The recipe of CycleGAN, resize - random crop - random flip, and around the crop whatever `options` add.

    Args:
        size: px, side of what comes out.
        load_size: px; pictures are stretched to load_size x load_size, as in the reference code, or, with
            `keep_aspect`, brought to this shorter side.

    Every draw comes from the `draws` of the picture: albumentations' own seeding repeats itself in every worker of a
    loader and in every epoch.
    """
    options = options or AugmentOptions()
    return Augmentation(size, load_size, flip, keep_aspect, _warp(options), _recolour(options, size))


def _cut(pixels: np.ndarray, top: int, left: int, size: int, mirrored: bool) -> np.ndarray:
    whole = pixels.view(np.uint32)[..., 0]  # a pixel a number: numpy copies those ten times faster than four bytes
    cut = whole[top : top + size, left : left + size]
    return np.ascontiguousarray(cut[:, ::-1] if mirrored else cut).view(np.uint8).reshape(size, size, 4)


def _brought_to(shorter_side: int, size: tuple[int, int]) -> tuple[int, int]:
    width, height = (min(round(side * shorter_side / min(size)), LONGEST * shorter_side) for side in size)
    return width, height


def _warp(options: AugmentOptions) -> _Pipeline | None:
    """Rotation and scale in one resampling; what comes from beyond the border is mirrored."""
    if not (options.rotation or options.scale):
        return None
    import albumentations  # seconds and hundreds of megabytes: only where it is asked for
    import cv2

    affine = albumentations.Affine(
        rotate=(-options.rotation, options.rotation),
        scale=(1 - options.scale, 1 + options.scale),
        keep_ratio=True,
        interpolation=cv2.INTER_CUBIC,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1,
    )
    return _Seeded(albumentations.Compose([affine]))


def _recolour(options: AugmentOptions, size: int) -> _Pipeline | None:
    jitter = {name: getattr(options, name) for name in ("brightness", "contrast", "saturation", "hue")}
    if not (any(jitter.values()) or options.cutout):
        return None
    import albumentations

    steps = [albumentations.ColorJitter(**jitter, p=1)] if any(jitter.values()) else []
    if options.cutout:
        side = max(1, round(options.cutout * size))
        steps.append(
            albumentations.CoarseDropout(
                num_holes_range=(1, 1), hole_height_range=(side, side), hole_width_range=(side, side), fill=GREY, p=1
            )
        )
    return _Seeded(albumentations.Compose(steps))


@dataclass(frozen=True)
class _Seeded:
    """A pipeline of albumentations whose draws are ours."""

    pipeline: Callable

    def __call__(self, pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        self.pipeline.set_random_seed(int(draws.integers(2**31)))
        changed = self.pipeline(image=np.ascontiguousarray(pixels[..., :3]))["image"]
        return np.concatenate([changed, pixels[..., :1]], axis=2)
