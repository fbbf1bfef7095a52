"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004)."""

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from metrics.luma import luma


def ssim(pictures: Tensor, partners: Tensor) -> Tensor:
    """SSIM of the luma: 11 x 11 Gaussian window of sigma 1.5, K = (0.01, 0.03).

    [N, 3, H, W] in [-1, 1], H and W at least 12, twice -> [N] in [-1, 1]; 1 means identical.
    """
    # SSIM's term of the means is made for brightness from 0 up; on [-1, 1] it would punish grey for being near 0.
    a, b = ((luma(x) + 1) / 2 for x in (pictures, partners))
    return structural_similarity_index_measure(
        a, b, sigma=1.5, kernel_size=11, data_range=1.0, reduction="none"
    ).reshape(len(pictures))
