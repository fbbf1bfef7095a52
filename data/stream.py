"""One domain's endless row of pictures. Every draw is a function of (seed, domain, pass, index); nothing is stored."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from data.images import PictureError
from data.source import DataError, Source
from data.transforms import Augmentation

ATTEMPTS = 20  # pictures tried for one place before the run is stopped
Item = TypeVar("Item")


@dataclass(frozen=True)
class Picture:
    """uint8 [H, W, 4], as `images.resize` makes it; its name and place in the source; and what could not be read in
    its place."""

    pixels: np.ndarray
    name: str
    index: int
    unreadable: tuple[str, ...] = ()


@dataclass
class Stream:
    """One domain's endless shuffle.

    calm_from: the first position without jitter. It goes by the position, because a loader's workers read ahead.
    """

    source: Source
    number: int  # keeps the two domains' draws apart
    seed: int
    augment: Augmentation
    calm_from: float = math.inf
    _shuffled: tuple[int, np.ndarray] = field(default=(-1, np.empty(0)), repr=False)

    def place(self, position: int) -> tuple[int, int]:
        """(pass, index of the picture) at a position of the row."""
        number, offset = divmod(position, len(self.source))
        if self._shuffled[0] != number:
            order = generator(self.seed, self.number, number).permutation(len(self.source))
            self._shuffled = (number, order)
        return number, int(self._shuffled[1][offset])

    def draw(self, position: int) -> Picture:
        number, index = self.place(position)
        augment = self.augment if position < self.calm_from else self.augment.calm()
        unreadable = []
        for attempt in range(ATTEMPTS):
            draws = generator(self.seed, self.number, number, index, attempt + 1)
            try:
                pixels = augment(self.source[index], draws)
                return Picture(pixels, self.source.name(index), index, tuple(unreadable))
            except PictureError as error:
                unreadable.append(str(error))
                index = self.another(index, draws, attempt)
        raise DataError(f"{ATTEMPTS} pictures in a row could not be read; the last: {unreadable[-1]}")

    def another(self, index: int, draws: np.random.Generator, attempt: int) -> int:
        """What is tried in the place of a picture that cannot be read; attempts count from 0."""
        return int(draws.integers(len(self.source)))


def generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def report(make: Callable[[], Item]) -> Item | DataError:
    """An item, or the error of making it, returned and not raised: a loader's worker would wrap it in its own
    traceback."""
    try:
        return make()
    except DataError as error:
        return error


def stack_pixels(pictures: Sequence[Picture]) -> Tensor:
    """uint8 [N, H, W, 4]; in a worker in memory that the training process shares, without a copy on the way."""
    return default_collate([torch.from_numpy(picture.pixels) for picture in pictures])
