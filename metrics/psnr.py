"""Peak signal-to-noise ratio."""

from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

MOST = 140.0  # dB; more than two different pictures of 8 bits and up to 8192 px can have


def psnr(pictures: Tensor, partners: Tensor) -> Tensor:
    """10 log10(peak^2 / MSE) in dB, over all channels. [N, 3, H, W] in [-1, 1], twice -> [N]; higher is closer.
    Identical pictures, whose ratio is infinite, get MOST."""
    return peak_signal_noise_ratio(
        pictures, partners, data_range=2.0, dim=(1, 2, 3), reduction="none"
    ).clamp_max(MOST)  # fmt: skip
