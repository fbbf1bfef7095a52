"""Kernel inception distance: squared maximum mean discrepancy of two sets of features (Binkowski et al. 2018)."""

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

SUBSETS = 100
SUBSET_SIZE = 1000  # at most; of fewer pictures half, so that subsets differ


def subset_size(a: Tensor, b: Tensor) -> int:
    return min(SUBSET_SIZE, len(a) // 2, len(b) // 2)


def kernel_distances(a: Tensor, b: Tensor, seed: int = 0) -> Tensor:
    """The unbiased estimate of the distance in each of SUBSETS pairs of subsets, float64 [SUBSETS]; kernel
    (x y / D + 1)^3. Their mean is the distance, near 0 (of either sign) for sets of one distribution, whatever their
    sizes; torchmetrics' own class would draw the subsets from the global generator.

    Shape: [N, D] and [M, D], N and M at least 4.
    """
    a, b = a.double(), b.double()
    size = subset_size(a, b)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(SUBSETS):
        drawn = [x[torch.randperm(len(x), generator=generator)[:size]] for x in (a, b)]
        found.append(poly_mmd(*drawn))
    return torch.stack(found)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    return float(kernel_distances(a, b).mean())


def standard_error(a: Tensor, b: Tensor) -> float:
    """Of the distance: the delete-d jackknife (Shao and Wu 1989) over the same subsets."""
    size, count = subset_size(a, b), min(len(a), len(b))
    return float(kernel_distances(a, b).std()) * (size / (count - size)) ** 0.5


def kernel_distance_x1000(a: Tensor, b: Tensor) -> float:
    """As it is usually written."""
    return 1000 * kernel_distance(a, b)


def standard_error_x1000(a: Tensor, b: Tensor) -> float:
    return 1000 * standard_error(a, b)
