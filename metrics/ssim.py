"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004), also at several scales (with Bovik 2003)."""

from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from metrics.luma import luma


def ssim(pictures: Tensor, partners: Tensor) -> Tensor:
    """SSIM of the luma: 11 x 11 Gaussian window of sigma 1.5, K = (0.01, 0.03).

    [N, 3, H, W] in [-1, 1], H and W at least 12, twice -> [N] in [-1, 1]; 1 means identical.
    """
    return structural_similarity_index_measure(
        _brightness(pictures), _brightness(partners), sigma=1.5, kernel_size=11, data_range=1.0, reduction="none"
    ).reshape(len(pictures))


def ms_ssim(pictures: Tensor, partners: Tensor) -> Tensor:
    """MS-SSIM of the luma: the paper's five scales and weights, negative similarities cut to 0.

    [N, 3, H, W] in [-1, 1], H and W at least 176, twice -> [N] in [0, 1]; 1 means identical.
    """
    return multiscale_structural_similarity_index_measure(
        _brightness(pictures), _brightness(partners), sigma=1.5, kernel_size=11, data_range=1.0, reduction="none"
    ).reshape(len(pictures))


def _brightness(x: Tensor) -> Tensor:
    # SSIM's term of the means is made for brightness from 0 up; on [-1, 1] it would punish grey for being near 0.
    return (luma(x) + 1) / 2
