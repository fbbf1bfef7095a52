"""Augmentation of training pictures: the only door to albumentations."""

import os
from collections.abc import Callable

import numpy as np
from PIL import Image

# Without it albumentations asks the package index for updates whenever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

Augmentation = Callable[[Image.Image, int], np.ndarray]


def build_augmentation(size: int, load_size: int, flip: bool) -> Augmentation:
    """The recipe of CycleGAN: resize to load_size x load_size, random crop of size x size, random flip.

    The resize is Pillow's bicubic, as in the reference code; albumentations' own does not antialias. The
    returned function takes (RGB picture, seed) and gives uint8 [size, size, 3]; its draws depend on the seed
    alone, because albumentations' own seeding repeats itself in every worker of a loader.
    """
    import albumentations  # seconds and hundreds of megabytes: only where pictures are trained on

    steps = [albumentations.RandomCrop(size, size)] if load_size > size else []
    steps += [albumentations.HorizontalFlip(p=0.5)] if flip else []
    pipeline = albumentations.Compose(steps)

    def augment(image: Image.Image, seed: int) -> np.ndarray:
        if image.size != (load_size, load_size):
            image = image.resize((load_size, load_size), Image.Resampling.BICUBIC)
        pipeline.set_random_seed(seed)
        return pipeline(image=np.array(image))["image"]

    return augment
