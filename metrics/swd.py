"""Sliced Wasserstein distance between patches of two sets, over a Laplacian pyramid (Karras et al. 2018, Sec. 5).

7 x 7 patches, 128 a picture, 512 random directions, at every level from the full size down to 16 px. Departure:
the paper normalises the colour of each set by itself, which hides a wrong palette; here both are normalised
by the real set's mean and deviation, so that a shift of colour counts.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.sets import to_unit

PATCH = 7  # px
PATCHES_PER_PICTURE = 128
DIRECTIONS = 512
SMALLEST_LEVEL = 16  # px
PICTURES_AT_ONCE = 64  # thousands of pictures fill the memory as bytes already
DIRECTIONS_AT_ONCE = 64


def sliced_wasserstein(pictures: Tensor, real: Tensor, seed: int = 0) -> dict[str, float]:
    """The distance at each level, times 1000, by the level's side ("64 px"); their mean is what is usually given. Lower
    is closer, and sets of n pictures never reach 0.

    [N, 3, H, W] and [M, 3, H, W], uint8 or in [-1, 1]. Patches and directions are drawn by `seed`; of unequal sets the
    first min(N, M) pictures count.
    """
    count = min(len(pictures), len(real))
    distances = {}
    for level, side in enumerate(_sides(min(pictures.shape[-2:]))):
        generator = torch.Generator().manual_seed(seed * 100_003 + side)
        patches = [_patches(x[:count], level, generator) for x in (pictures, real)]
        mean, deviation = patches[1].mean(dim=(0, 2)), patches[1].std(dim=(0, 2)).clamp_min(1e-8)
        points = [((p - mean[:, None]) / deviation[:, None]).flatten(1) for p in patches]
        distances[f"{side} px"] = 1000 * sliced_distance(points[0], points[1], DIRECTIONS, generator)
    return distances


def _sides(side: int) -> list[int]:
    """Of the pyramid's levels, in px."""
    sides = [side]
    while sides[-1] // 2 >= SMALLEST_LEVEL:
        sides.append(-(-sides[-1] // 2))
    return sides


def sliced_distance(a: Tensor, b: Tensor, directions: int, generator: torch.Generator) -> float:
    """Mean Wasserstein-1 distance of two point sets of equal size, each [K, D], over random directions."""
    axes = torch.randn(a.shape[1], directions, generator=generator)
    axes = (axes / axes.norm(dim=0)).to(a).T
    # On a line the optimal transport pairs the sorted points.
    parts = [(_sorted(some @ a.T) - _sorted(some @ b.T)).abs().mean(dim=1) for some in axes.split(DIRECTIONS_AT_ONCE)]
    return float(torch.cat(parts).double().mean())


def _sorted(x: Tensor) -> Tensor:
    """Each row sorted. On the CPU by NumPy, whose vectorised sort is six times faster than torch's."""
    return x.sort(dim=1).values if x.is_cuda else torch.from_numpy(np.sort(x.numpy(), axis=1))


def laplacian_pyramid(x: Tensor) -> list[Tensor]:
    """Band-pass levels from fine to coarse; the last one keeps the low frequencies."""
    levels = []
    while min(x.shape[-2:]) // 2 >= SMALLEST_LEVEL:
        smaller = _blur(x)[..., ::2, ::2]
        levels.append(x - _expand(smaller, x.shape))
        x = smaller
    return [*levels, x]


def _expand(smaller: Tensor, shape: torch.Size) -> Tensor:
    """Back to twice the size (Burt and Adelson 1983): zeros between the pixels, then the same blur times four."""
    larger = smaller.new_zeros(shape)
    larger[..., ::2, ::2] = smaller
    return 4 * _blur(larger)


def _blur(x: Tensor) -> Tensor:
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device, dtype=x.dtype) / 16
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=x.shape[1])


def _patches(pictures: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """[N, 3, H, W] -> [N * PATCHES_PER_PICTURE, 3, PATCH * PATCH] from random places of a level of the pyramid."""
    height, width = laplacian_pyramid(_floating(pictures[:1]))[level].shape[-2:]
    n = len(pictures)
    top = torch.randint(height - PATCH + 1, (n, PATCHES_PER_PICTURE, 1, 1), generator=generator)
    left = torch.randint(width - PATCH + 1, (n, PATCHES_PER_PICTURE, 1, 1), generator=generator)
    rows, columns = top + torch.arange(PATCH).view(1, 1, -1, 1), left + torch.arange(PATCH).view(1, 1, 1, -1)
    found = []
    for chunk, r, c in zip(*(x.split(PICTURES_AT_ONCE) for x in (pictures, rows, columns)), strict=True):
        x = laplacian_pyramid(_floating(chunk))[level]
        # An index beside a slice comes first: [N, patches, 7, 7, 3].
        found.append(x[torch.arange(len(x)).view(-1, 1, 1, 1), :, r, c].flatten(0, 1).flatten(1, 2).transpose(1, 2))
    return torch.cat(found)


def _floating(pictures: Tensor) -> Tensor:
    return to_unit(pictures) if pictures.dtype == torch.uint8 else pictures
