"""Self-attention between the places of a picture (SAGAN: Zhang et al., ICML 2019, arXiv 1805.08318)."""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x + gamma * attention(x): every place takes from all others what it finds there (Eq. 1 to 3). gamma begins at 0,
    so that a network first learns what is near.

    The paper's f, g, h and v are 1 x 1 convolutions; between them are an eighth of the channels.

    Shape: [N, C, H, W] -> the same. Time grows with (H W)^2, memory with H W where torch has a fused kernel.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 8)
        self.keys, self.queries, self.values = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.last = nn.Conv2d(inner, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        f, g, h = (_in_a_row(layer(x)) for layer in (self.keys, self.queries, self.values))
        found = functional.scaled_dot_product_attention(g, f, h, scale=1.0)  # Eq. 1, which does not scale
        found = found.squeeze(1).transpose(1, 2).reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        return x + self.gamma * self.last(found)  # Eq. 3


def _in_a_row(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, 1, H W, C]: one head, and a place after the other."""
    return x.flatten(2).transpose(1, 2).unsqueeze(1)
