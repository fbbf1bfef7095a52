"""Augmentation of training pictures; the only door to albumentations."""

import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from data.images import resize
from data.options import AugmentOptions

# Without it albumentations asks the package index for updates whenever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

GREY = 128  # of what is cut out
LONGEST = 8  # times load_size, of a picture that keeps its aspect: one of 1 x 9,000 px would become a giant

Augmentation = Callable[[Image.Image, np.random.Generator], np.ndarray]
_Pipeline = Callable[[np.ndarray, np.random.Generator], np.ndarray]


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

    Returns a function (RGB picture, draws) -> uint8 [size, size, 4] as `images.resize` makes it. Every draw
    comes from `draws`: albumentations' own seeding repeats itself in every worker of a loader and in every epoch.
    """
    options = options or AugmentOptions()
    warp, recolour = _warp(options), _recolour(options, size)

    def augment(image: Image.Image, draws: np.random.Generator) -> np.ndarray:
        width, height = _brought_to(load_size, image.size) if keep_aspect else (load_size, load_size)
        pixels = resize(image, width, height)
        if warp:
            pixels = warp(pixels, draws)
        top, left = draws.integers(height - size + 1), draws.integers(width - size + 1)
        pixels = _cut(pixels, top, left, size, mirrored=flip and draws.random() < 0.5)
        if recolour:
            pixels = recolour(pixels, draws)
        return pixels

    return augment


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

    return _seeded(
        albumentations.Affine(
            rotate=(-options.rotation, options.rotation),
            scale=(1 - options.scale, 1 + options.scale),
            keep_ratio=True,
            interpolation=cv2.INTER_CUBIC,
            border_mode=cv2.BORDER_REFLECT_101,
            p=1,
        )
    )


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
    return _seeded(*steps)


def _seeded(*steps: object) -> _Pipeline:
    import albumentations

    pipeline = albumentations.Compose(list(steps))

    def run(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        pipeline.set_random_seed(int(draws.integers(2**31)))
        changed = pipeline(image=np.ascontiguousarray(pixels[..., :3]))["image"]
        return np.concatenate([changed, pixels[..., :1]], axis=2)

    return run
