"""Do the edges stand in the same places?"""

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.luma import luma


def gradient_correlation(pictures: Tensor, partners: Tensor) -> Tensor:
    """Pearson correlation of the Sobel gradient magnitudes of the luma.

    [N, 3, H, W] in [-1, 1], twice -> [N] in [-1, 1]; 1 means the same edges at the same relative strength. A
    picture without any edge correlates with nothing: 0.
    """
    a, b = (_gradient_magnitude(luma(x)).flatten(1) for x in (pictures, partners))
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    norm = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(norm > 1e-8, (a * b).sum(dim=1) / norm.clamp_min(1e-8), 0.0)


def _gradient_magnitude(x: Tensor) -> Tensor:
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack([sobel, sobel.T]).unsqueeze(1).to(x)
    # Replicated edges: zeros outside the picture would draw a frame around it.
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernels).norm(dim=1)
