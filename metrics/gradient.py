"""Do the edges stand in the same places?"""

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.luma import luma

EDGE_SHARE = 0.1  # of the pixels
TOLERANCE = 1  # px


def gradient_correlation(pictures: Tensor, partners: Tensor) -> Tensor:
    """Pearson correlation of the Sobel gradient magnitudes of the luma.

    [N, 3, H, W] in [-1, 1], twice -> [N] in [-1, 1]; 1 means the same edges at the same relative strength. A
    picture without any edge correlates with nothing: 0.
    """
    a, b = (_gradient_magnitude(luma(x)).flatten(1) for x in (pictures, partners))
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    norm = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(norm > 1e-8, (a * b).sum(dim=1) / norm.clamp_min(1e-8), 0.0)


def edge_f1(pictures: Tensor, partners: Tensor) -> Tensor:
    """F1 of the partners' edges found again: pixels whose gradient is among the strongest tenth of their picture, and
    those that lie at most TOLERANCE px from such a pixel of the other (as Martin, Fowlkes, Malik 2004 match borders).

    [N, 3, H, W] in [-1, 1], twice -> [N] in [0, 1]. Flat pictures have no edges and score 0.
    """
    a, b = (_edges(x) for x in (pictures, partners))
    precision, recall = (_share_near(x, y) for x, y in ((a, b), (b, a)))
    return 2 * precision * recall / (precision + recall).clamp_min(1e-8)


def _edges(x: Tensor) -> Tensor:
    """float [N, 1, H, W] of 0 and 1."""
    magnitude = _gradient_magnitude(luma(x)).unsqueeze(1)
    below = int((1 - EDGE_SHARE) * magnitude[0].numel())
    threshold = magnitude.flatten(1).kthvalue(below, dim=1).values.view(-1, 1, 1, 1)
    return ((magnitude > threshold) & (magnitude > 1e-3)).float()


def _share_near(x: Tensor, y: Tensor) -> Tensor:
    """[N]: of the edges of x those near one of y."""
    near = F.max_pool2d(y, 2 * TOLERANCE + 1, stride=1, padding=TOLERANCE)
    return (x * near).sum(dim=(1, 2, 3)) / x.sum(dim=(1, 2, 3)).clamp_min(1)


def _gradient_magnitude(x: Tensor) -> Tensor:
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack([sobel, sobel.T]).unsqueeze(1).to(x)
    # Replicated edges: zeros outside the picture would draw a frame around it.
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernels).norm(dim=1)
