"""Two sources -> unpaired items.

The items form one endless row: item t takes the t-th photograph and the t-th painting of two endless
shuffles. Each domain is shuffled anew whenever all its pictures have been seen (a "pass"), so the smaller
one simply comes round more often and every picture is seen equally often. (The reference code draws the
paintings with replacement instead.) An epoch is as many items as the larger domain has pictures.
"""

from copy import copy
from dataclasses import replace

import torch
from torch.utils.data import Dataset

from data.batch import Batch
from data.images import on_device
from data.source import DataError, Source
from data.stream import Picture, Stream, report, stack_pixels
from data.transforms import Augmentation


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
        self.content = Stream(content, 0, seed, augment_content)
        self.style = Stream(style, 1, seed, augment_style or augment_content)

    def calm_from(self, position: int) -> "Unpaired":
        """The same row, but without jitter from a position on: resized to `size`, and flipped as before."""
        calm = copy(self)
        calm.content, calm.style = (replace(stream, calm_from=position) for stream in (self.content, self.style))
        return calm

    @property
    def sources(self) -> dict[str, Source]:
        return {"content": self.content.source, "style": self.style.source}

    @property
    def items_per_epoch(self) -> int:
        return max(len(self.content.source), len(self.style.source))

    def __getitem__(self, position: int) -> tuple[Picture, Picture] | DataError:
        return report(lambda: (self.content.draw(position), self.style.draw(position)))

    @staticmethod
    def stack(items: list[tuple[Picture, Picture]]) -> dict:
        """Items -> all that makes a Batch, pictures still as uint8 [N, H, W, 4]."""
        content, style = zip(*items, strict=True)
        return {
            "content": stack_pixels(content),
            "style": stack_pixels(style),
            "content_names": tuple(picture.name for picture in content),
            "style_names": tuple(picture.name for picture in style),
            "unreadable": tuple(line for picture in (*content, *style) for line in picture.unreadable),
        }

    @staticmethod
    def batch(arrays: dict, device: torch.device) -> Batch:
        return Batch(**arrays | {name: on_device(arrays[name], device) for name in ("content", "style")})
