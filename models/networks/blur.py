"""Sampling down and up without aliases: what is made smaller is blurred first (Zhang, ICML 2019, arXiv 1904.11486).

A convolution of stride 2 takes every second value and lets through what is finer than two pixels, as false patterns
that jump when the picture moves by one. CUT's networks have these layers instead.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from models.networks.padding import reflect_pad


class BlurDown(nn.Module):
    """Half the size: [1, 2, 1] / 4 in both directions, reflect-padded, every second value.

    Shape: [N, C, H, W] -> [N, C, H / 2, W / 2], rounded up; H and W at least 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        return blur_down(reflect_pad(x, 1))


def blur_down(padded: Tensor) -> Tensor:
    """[N, C, H + 2, W + 2] -> [N, C, H / 2, W / 2], rounded up."""
    channels = padded.shape[1]
    line = padded.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3)
    return functional.conv2d(padded, kernel, stride=2, groups=channels)


class BlurUpConv2d(nn.Conv2d):
    """Twice the size, by [1, 3, 3, 1] / 4 in both directions with the border repeated, which is bilinear; then a 3 x 3
    convolution, zero-padded as CUT's.

    Shape: [N, in, H, W] -> [N, out, 2H, 2W].
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
