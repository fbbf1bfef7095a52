"""A picture in overlapping tiles, bounded memory whatever its size.

A tile is translated with a margin as wide as the network looks, so that inside of it every pixel comes out as it would
in the whole picture; the margin ends at the picture's border, which the network then treats as ever. Where tiles meet
they are blended over a few pixels. Rows that no tile will touch any more are rounded to bytes at once, so that floats
exist for one row of tiles only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.images import denormalise, normalise
from engine.device import is_out_of_memory

SMALLEST = 64  # px: a tile that does not fit is halved down to this
BLEND = 8  # px to each side of a border

Translate = Callable[[Tensor], Tensor]  # [1, 3, H, W] in [-1, 1] -> the same
Progress = Callable[[int, int], object]  # pixels done, of how many


@dataclass(frozen=True)
class Tile:
    """What a tile answers for, in px of the picture: rows [top, bottom), columns [left, right). Its margin and what is
    blended are outside of it."""

    top: int
    bottom: int
    left: int
    right: int

    def halved(self) -> list["Tile"]:
        """Four tiles, or two of one that is a strip."""
        rows, columns = _parts(self.top, self.bottom, 2), _parts(self.left, self.right, 2)
        return [Tile(*row, *column) for row in rows for column in columns]

    @property
    def side(self) -> int:
        return max(self.bottom - self.top, self.right - self.left)

    @property
    def pixels(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass
class Tiler:
    """One picture, tile by tile.

    Args:
        translate: what a tile is translated by; may raise the device's out-of-memory error.
        tile: px, the side of a tile; margin: px around it; multiple: of which the network's sides are multiples.
        blend: px to each side of a border, at most half of the smallest tile, which is `smallest` px.
    """

    translate: Translate
    tile: int
    margin: int
    multiple: int
    device: torch.device
    blend: int = BLEND
    smallest: int = SMALLEST

    def __call__(self, pixels: np.ndarray, progress: Progress | None = None) -> np.ndarray:
        """uint8 [H, W, 3] -> the same."""
        height, width, _ = pixels.shape
        result, carried, first = np.empty_like(pixels), None, 0
        while first < height:
            end = _parts(first, height, -(-(height - first) // self.tile))[0][1]
            top, bottom = max(0, first - self.blend), min(height, end + self.blend)
            canvas = torch.zeros(3, bottom - top, width)
            if carried is not None:
                canvas[:, : carried.shape[1]] = carried
            self._fill(canvas, top, first, end, pixels, progress)
            finished = height if end == height else end - self.blend
            result[top:finished] = denormalise(canvas[:, : finished - top]).permute(1, 2, 0).numpy()
            carried, first = canvas[:, finished - top :].clone(), end
        return result

    def _fill(
        self, canvas: Tensor, top: int, first: int, end: int, pixels: np.ndarray, progress: Progress | None
    ) -> None:
        """Add the tiles of rows [first, end) to their canvas, which starts at row `top`."""
        height, width, _ = pixels.shape
        columns = _parts(0, width, -(-width // self.tile))
        waiting = [Tile(first, end, *column) for column in columns]
        done = first * width
        while waiting:
            tile = waiting.pop(0)
            if self._fits(canvas, top, tile, pixels):
                done += tile.pixels
                if progress:
                    progress(done, height * width)
            else:
                self.tile = min(self.tile, -(-tile.side // 2))
                waiting = [part for each in (tile, *waiting) for part in each.halved()]

    def _fits(self, canvas: Tensor, top: int, tile: Tile, pixels: np.ndarray) -> bool:
        """Add a tile to the canvas; False if the memory is too small for it, and smaller ones may do."""
        try:
            self._add(canvas, top, tile, pixels)
            return True
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or tile.side // 2 < self.smallest:
                raise
        # Here the error is gone, and with it what the attempt had allocated.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return False

    def _add(self, canvas: Tensor, top: int, tile: Tile, pixels: np.ndarray) -> None:
        height, width, _ = pixels.shape
        y0, y1 = self._window(tile.top, tile.bottom, height)
        x0, x1 = self._window(tile.left, tile.right, width)
        part = torch.from_numpy(np.ascontiguousarray(pixels[y0:y1, x0:x1])).to(self.device).permute(2, 0, 1)
        x = normalise(part).unsqueeze(0).contiguous(memory_format=torch.channels_last)  # a third faster on CPUs
        made = self.translate(x)[0].float().cpu()
        rows, down = self._ramp(tile.top, tile.bottom, height)
        columns, across = self._ramp(tile.left, tile.right, width)
        shown = made[:, rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        canvas[:, rows.start - top : rows.stop - top, columns.start : columns.stop] += shown * (
            down[:, None] * across[None, :]
        )

    def _window(self, first: int, end: int, side: int) -> tuple[int, int]:
        """What the network is given: the tile, what is blended, and the margin; whole multiples, but for the end of
        the picture, which the translator pads as it always does."""
        around = self.margin + self.blend
        start, stop = max(0, first - around), end + around
        return start - start % self.multiple, min(side, -(-stop // self.multiple) * self.multiple)

    def _ramp(self, first: int, end: int, side: int) -> tuple[range, Tensor]:
        """Where a tile is shown, along one side of the picture, and how much: neighbours add up to 1."""
        start, stop = max(0, first - self.blend), min(side, end + self.blend)
        place = torch.arange(start, stop) + 0.5
        share = torch.ones(len(place))
        if self.blend and first > 0:
            share *= ((place - first) / (2 * self.blend) + 0.5).clamp(0, 1)
        if self.blend and end < side:
            share *= ((end - place) / (2 * self.blend) + 0.5).clamp(0, 1)
        return range(start, stop), share


def _parts(first: int, end: int, count: int) -> list[tuple[int, int]]:
    """[first, end) in `count` parts of nearly one size, fewer where there are not so many places."""
    count = min(count, end - first)
    cuts = [first + (end - first) * i // count for i in range(count + 1)]
    return list(zip(cuts, cuts[1:], strict=False))
