"""The image transformation network of Johnson et al. 2016 (supplementary material, table 1)."""

import torch.nn.functional as functional
from torch import Tensor, nn

from models.networks.initialise import freeze_idle_biases
from models.networks.normalise import InstanceNorm2d
from models.networks.padding import ReflectConv2d


class Convolution(nn.Sequential):
    """Reflect padding, convolution, instance norm with affine, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, activated: bool = True):
        super().__init__(
            ReflectConv2d(channels_in, channels_out, kernel, stride),
            InstanceNorm2d(channels_out, affine=True),
            *([nn.ReLU(inplace=True)] if activated else []),
        )


class Residual(nn.Module):
    recomputable = True  # train.recompute: its activations may be computed again instead of kept

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            Convolution(channels, channels, 3), Convolution(channels, channels, 3, activated=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolutions(x)


class Up(nn.Module):
    """Nearest x2, then a convolution: no checkerboard (Odena et al. 2016)."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.convolution = Convolution(channels_in, channels_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class TransformNetwork(nn.Module):
    """Shape: [N, 3, H, W] in [-1, 1] -> the same; H and W multiples of 4, at least 16.

    Args:
        channels: width of the first layer (32 in the paper); the middle has four times as many.
        blocks: residual blocks (5 in the paper).
        skips: what the encoder has found is added where the decoder is at its size; not in the paper.
    """

    def __init__(self, channels: int = 32, blocks: int = 5, skips: bool = False):
        super().__init__()
        self.skips = skips
        self.down = nn.ModuleList(
            [
                Convolution(3, channels, 9),
                Convolution(channels, 2 * channels, 3, stride=2),
                Convolution(2 * channels, 4 * channels, 3, stride=2),
            ]
        )
        self.middle = nn.Sequential(*(Residual(4 * channels) for _ in range(blocks)))
        self.up = nn.ModuleList([Up(4 * channels, 2 * channels), Up(2 * channels, channels)])
        freeze_idle_biases(self)
        self.last = nn.Sequential(ReflectConv2d(channels, 3, 9), nn.Tanh())

    def forward(self, pictures: Tensor) -> Tensor:
        x, passed = pictures, []
        for layer in self.down:
            x = layer(x)
            passed.append(x)
        x = self.middle(x)
        for layer, before in zip(self.up, reversed(passed[:-1]), strict=True):
            x = layer(x) + before if self.skips else layer(x)
        return self.last(x)
