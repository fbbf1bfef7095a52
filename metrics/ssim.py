"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004)."""

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from metrics.luma import luma


def ssim(pictures: Tensor, partners: Tensor) -> Tensor:
    """SSIM of the luma: 11 x 11 Gaussian window of sigma 1.5, K = (0.01, 0.03).

    [N, 3, H, W] in [-1, 1], H and W at least 12, twice -> [N] in [-1, 1]; 1 means identical.
    """
    return structural_similarity_index_measure(
        luma(pictures), luma(partners), sigma=1.5, kernel_size=11, data_range=2.0, reduction="none"
    ).reshape(len(pictures))
