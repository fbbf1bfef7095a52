"""Two sources -> unpaired items. Every draw is a function of (seed, domain, pass, index); nothing is stored.

The items form one endless row: item t takes the t-th photograph and the t-th painting of two endless
shuffles. Each domain is shuffled anew whenever all its pictures have been seen (a "pass"), so the smaller
one simply comes round more often and every picture is seen equally often. (The reference code draws the
paintings with replacement instead.) An epoch is as many items as the larger domain has pictures.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from data.images import PictureError
from data.source import DataError, Source
from data.transforms import Augmentation

ATTEMPTS = 20  # pictures tried for one place before the run is stopped


@dataclass(frozen=True)
class Picture:
    """uint8 [H, W, 4], as `images.resize` makes it; its name; and what could not be read in its place."""

    pixels: np.ndarray
    name: str
    unreadable: tuple[str, ...] = ()


@dataclass
class _Stream:
    """One domain's endless shuffle."""

    source: Source
    number: int  # keeps the two domains' draws apart
    seed: int
    augment: Augmentation
    _shuffled: tuple[int, np.ndarray] = field(default=(-1, np.empty(0)), repr=False)

    def place(self, position: int) -> tuple[int, int]:
        """(pass, index of the picture) at a position of the row."""
        number, offset = divmod(position, len(self.source))
        if self._shuffled[0] != number:
            order = _generator(self.seed, self.number, number).permutation(len(self.source))
            self._shuffled = (number, order)
        return number, int(self._shuffled[1][offset])

    def draw(self, position: int) -> Picture:
        number, index = self.place(position)
        unreadable = []
        for attempt in range(ATTEMPTS):
            draws = _generator(self.seed, self.number, number, index, attempt + 1)
            try:
                pixels = self.augment(self.source[index], draws)
                return Picture(pixels, self.source.name(index), tuple(unreadable))
            except PictureError as error:
                unreadable.append(str(error))
                index = int(draws.integers(len(self.source)))
        raise DataError(f"{ATTEMPTS} pictures in a row could not be read; the last: {unreadable[-1]}")


class Unpaired(Dataset):
    """Item t of the row for t = 0, 1, 2, ...: a pair (photograph, painting) of Pictures that do not belong
    together. A picture that cannot be read is replaced by another one, chosen by the same draws on every
    run, and reported."""

    def __init__(
        self,
        content: Source,
        style: Source,
        seed: int,
        augment_content: Augmentation,
        augment_style: Augmentation | None = None,  # None: the same
        size: int = 256,  # px, side of what they make
    ):
        self.size = size
        self.content = _Stream(content, 0, seed, augment_content)
        self.style = _Stream(style, 1, seed, augment_style or augment_content)

    @property
    def sources(self) -> dict[str, Source]:
        return {"content": self.content.source, "style": self.style.source}

    @property
    def items_per_epoch(self) -> int:
        return max(len(self.content.source), len(self.style.source))

    def __getitem__(self, position: int) -> tuple[Picture, Picture] | DataError:
        """An error is returned and not raised: a loader's worker would wrap it in its own traceback."""
        try:
            return self.content.draw(position), self.style.draw(position)
        except DataError as error:
            return error


def stack(items: list[tuple[Picture, Picture] | DataError]) -> dict | DataError:
    """Items -> uint8 tensors [N, H, W, 4] and their names, all but ready to become a Batch; or the first error."""
    for item in items:
        if isinstance(item, DataError):
            return item
    content, style = zip(*items, strict=True)
    return {
        # In a worker this stacks into memory that the training process shares, without a copy on the way.
        "content": default_collate([torch.from_numpy(picture.pixels) for picture in content]),
        "style": default_collate([torch.from_numpy(picture.pixels) for picture in style]),
        "content_names": tuple(picture.name for picture in content),
        "style_names": tuple(picture.name for picture in style),
        "unreadable": tuple(line for picture in (*content, *style) for line in picture.unreadable),
    }


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)
