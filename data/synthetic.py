"""Drawn photographs and paintings as sources of pictures, with the true translation of every photograph.

Which scenes are whose (``open_synthetic``):

    training photographs      0, 2, 4, ...             even scenes
    training paintings        1, 3, 5, ...             odd scenes: nothing is ever seen in both domains
    held-out photographs      1_000_000 + 0, 2, 4, ...
    held-out paintings        1_000_000 + 1, 3, 5, ...  real paintings to compare distributions with

The held-out paintings are not of the scenes of the held-out photographs; those are ``counterpart()``: what a
perfect translation of the photographs would be, and all that a model must never train on.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from data.drawing.painting import painting
from data.drawing.photograph import photograph, working_scale
from data.drawing.rasterise import rasterise
from data.drawing.scene import compose
from data.options import SyntheticOptions

HELD_OUT_FIRST = 1_000_000  # SyntheticOptions keeps the training scenes below it
DOMAINS = ("photograph", "painting")
CACHE_PICTURES, CACHE_BYTES = 4096, 256 * 2**20

_Key = tuple[str, int, int, int, int]  # domain, seed, scene, size, variant
_cache: OrderedDict[_Key, np.ndarray] = OrderedDict()  # one per process; the last used at the end


@dataclass(frozen=True)
class SyntheticSource:
    """An indexable source of RGB pictures; each is a function of (seed, scene, size, variant) alone."""

    domain: str  # "photograph" or "painting"
    seed: int
    size: int  # px, square
    first: int  # scene of item 0
    count: int
    stride: int = 1  # item i shows scene first + i * stride
    variant: int = 0  # of a painting: which draw of its strokes

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise ValueError(f"unknown domain {self.domain!r}: use one of {', '.join(map(repr, DOMAINS))}")
        if self.size < 8 or self.count < 0 or self.stride < 1 or min(self.seed, self.first, self.variant) < 0:
            raise ValueError(f"size must be 8 or more, stride 1 or more, the others 0 or more: {self}")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image.Image:
        """Picture ``index`` as a PIL image, RGB, size x size; a fresh copy that the caller may change."""
        return Image.fromarray(_picture((self.domain, self.seed, self.scene(index), self.size, self.variant)))

    def scene(self, index: int) -> int:
        """Which scene item ``index`` shows."""
        if not 0 <= index < self.count:
            raise IndexError(f"item {index} of a source of {self.count} pictures")
        return self.first + index * self.stride

    def name(self, index: int) -> str:
        """File name of the picture, the same in both domains."""
        return f"scene_{self.scene(index):05d}.png"

    def drafted(self, side: int) -> SyntheticSource:
        return self

    def counterpart(self, variant: int = 0) -> SyntheticSource:
        """The same scenes in the other domain: the ground truth of a translation."""
        other = DOMAINS[1 - DOMAINS.index(self.domain)]
        return replace(self, domain=other, variant=variant)

    def materials(self, index: int) -> np.ndarray:
        """What is at each pixel's centre: uint8 [size, size], ids into ``data.drawing.scene.MATERIALS``."""
        scale = working_scale(self.size)
        layout = rasterise(compose(self.seed, self.scene(index)), self.size * scale)
        return layout.material[scale // 2 :: scale, scale // 2 :: scale].copy()


def open_synthetic(options: SyntheticOptions, domain: str, part: str) -> SyntheticSource:
    """The source that a recipe asks for.

    ``domain`` is "content" (photographs) or "style" (paintings), ``part`` "train" or "held_out". The two
    domains and the two parts never share a scene; the table at the top of this file says which is whose.
    """
    domains = {"content": (0, "photograph"), "style": (1, "painting")}
    parts = {"train": (0, options.scenes), "held_out": (HELD_OUT_FIRST, options.held_out)}
    if domain not in domains:
        raise ValueError(f"unknown domain {domain!r}: use one of {', '.join(map(repr, domains))}")
    if part not in parts:
        raise ValueError(f"unknown part {part!r}: use one of {', '.join(map(repr, parts))}")
    (offset, kind), (first, count) = domains[domain], parts[part]
    return SyntheticSource(kind, options.seed, options.size, first + offset, count, stride=2)


def _picture(key: _Key) -> np.ndarray:
    """Drawn once per process while it stays among the pictures used last. uint8 [size, size, 3]."""
    if key in _cache:
        _cache.move_to_end(key)
        return _cache[key]
    domain, seed, index, size, variant = key
    scene = compose(seed, index)
    picture = photograph(scene, size) if domain == "photograph" else painting(scene, size, variant)
    _cache[key] = picture
    room = min(CACHE_PICTURES, CACHE_BYTES // picture.nbytes)
    while len(_cache) > max(1, room):
        _cache.popitem(last=False)
    return picture
