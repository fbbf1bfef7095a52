"""Sliced Wasserstein distance between patches of two sets, over a Laplacian pyramid (Karras et al. 2018, Sec. 5).

7 x 7 patches, 128 a picture, 512 random directions, at every level from the full size down to 16 px. Departure:
the paper normalises the colour of each set by itself, which hides a wrong palette; here both are normalised
by the real set's mean and deviation, so that a shift of colour counts.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 7  # px
PATCHES_PER_PICTURE = 128
DIRECTIONS = 512
SMALLEST_LEVEL = 16  # px


def sliced_wasserstein(pictures: Tensor, real: Tensor, seed: int = 0) -> dict[str, float]:
    """The distance at each level, times 1000, by the level's side ("64 px"); their mean is what is usually given. Lower
    is closer, and sets of n pictures never reach 0.

    [N, 3, H, W] and [M, 3, H, W] in [-1, 1]. Patches and directions are drawn by `seed`; of unequal sets the
    first min(N, M) pictures count.
    """
    count = min(len(pictures), len(real))
    distances = {}
    for a, b in zip(laplacian_pyramid(pictures[:count]), laplacian_pyramid(real[:count]), strict=True):
        side = min(a.shape[-2:])
        generator = torch.Generator().manual_seed(seed * 100_003 + side)
        patches = [_patches(level, generator) for level in (a, b)]
        mean, deviation = patches[1].mean(dim=(0, 2)), patches[1].std(dim=(0, 2)).clamp_min(1e-8)
        points = [((p - mean[:, None]) / deviation[:, None]).flatten(1) for p in patches]
        distances[f"{side} px"] = 1000 * sliced_distance(points[0], points[1], DIRECTIONS, generator)
    return distances


def sliced_distance(a: Tensor, b: Tensor, directions: int, generator: torch.Generator) -> float:
    """Mean Wasserstein-1 distance of two point sets of equal size, each [K, D], over random directions."""
    axes = torch.randn(a.shape[1], directions, generator=generator)
    axes = (axes / axes.norm(dim=0)).to(a).T
    # On a line the optimal transport pairs the sorted points.
    return float((_sorted(axes @ a.T) - _sorted(axes @ b.T)).abs().mean())


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


def _patches(x: Tensor, generator: torch.Generator) -> Tensor:
    """[N, 3, H, W] -> [N * PATCHES_PER_PICTURE, 3, PATCH * PATCH] from random places."""
    n, _, height, width = x.shape
    top = torch.randint(height - PATCH + 1, (n, PATCHES_PER_PICTURE, 1, 1), generator=generator)
    left = torch.randint(width - PATCH + 1, (n, PATCHES_PER_PICTURE, 1, 1), generator=generator)
    rows, columns = top + torch.arange(PATCH).view(1, 1, -1, 1), left + torch.arange(PATCH).view(1, 1, 1, -1)
    picture = torch.arange(n).view(-1, 1, 1, 1)
    # An index beside a slice comes first: [N, patches, 7, 7, 3].
    return x[picture, :, rows, columns].flatten(0, 1).flatten(1, 2).transpose(1, 2)
