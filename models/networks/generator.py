"""The ResNet generator of CycleGAN (arXiv 1703.10593, Sec. 7.2, after Johnson et al. 2016).

The modules stand in one nn.Sequential in the order, and so under the names, of the reference code's released
weights: `model.1`, `model.4`, `model.7`, `model.{10..}.conv_block.{1,5}`, then the two ups and the last
convolution. Pure functions of their input: instance norm keeps no running statistics and has no affine part.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.initialise import freeze_idle_biases, normal_
from models.networks.normalise import InstanceNorm2d
from models.networks.padding import ReflectConv2d, ReflectPad2d


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), reflect-padded, no activation after the sum.

    Shape: [N, C, H, W] -> [N, C, H, W], H and W at least 2.
    """

    recomputable = True  # train.recompute: its activations may be computed again instead of kept

    def __init__(self, channels: int, dropout: float = 0.0):
        super().__init__()
        self.conv_block = nn.Sequential(
            ReflectPad2d(1),
            nn.Conv2d(channels, channels, 3),
            InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(dropout)] if dropout else []),
            ReflectPad2d(1),
            nn.Conv2d(channels, channels, 3),
            InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResizeConv2d(ReflectConv2d):
    """Bilinear x2, then a 3 x 3 convolution (Odena et al. 2016, "Deconvolution and checkerboard artifacts"): every
    output pixel is made by the same number of taps. Bilinear and not nearest, because pixels that come in equal
    pairs still let a convolution draw a pattern of two pixels.

    Shape: [N, in, H, W] -> [N, out, 2H, 2W].
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))


def transposed_conv(in_channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)


UPSAMPLE = {"transposed": transposed_conv, "resize": ResizeConv2d}


class ResnetGenerator(nn.Module):
    """Shape: [N, 3, H, W] in [-1, 1] -> the same; H and W multiples of 4 and at least 8.

    Args:
        channels: width of the first layer (64 in the paper); the bottleneck has four times as many.
        blocks: residual blocks (9 for 256 px: 11,378,179 parameters; 6 for 128 px: 7,837,699).
        upsample: "transposed" (the paper) or "resize" (see ResizeConv2d).
        dropout: probability inside the residual blocks.
        skips: add the encoder's features to the decoder's of the same resolution, as a U-Net does (Ronneberger et al.
            2015, arXiv 1505.04597): fine detail need not pass the bottleneck, so it stays sharp from the first steps
            and is repainted less. The same weights under the same names.
    """

    def __init__(
        self,
        channels: int = 64,
        blocks: int = 9,
        upsample: str = "transposed",
        dropout: float = 0.0,
        skips: bool = False,
    ):
        super().__init__()
        c, up = channels, UPSAMPLE[upsample]
        self.skips = skips
        self.model = nn.Sequential(
            *[ReflectPad2d(3), nn.Conv2d(3, c, 7), *_norm_relu(c)],
            *[nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), *_norm_relu(2 * c)],
            *[nn.Conv2d(2 * c, 4 * c, 3, stride=2, padding=1), *_norm_relu(4 * c)],
            *[ResidualBlock(4 * c, dropout) for _ in range(blocks)],
            *[up(4 * c, 2 * c), *_norm_relu(2 * c)],
            *[up(2 * c, c), *_norm_relu(c)],
            *[ReflectPad2d(3), nn.Conv2d(c, 3, 7), nn.Tanh()],
        )
        self.apply(normal_)
        freeze_idle_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        if not self.skips:
            return self.model(x)
        full = self.model[:4](x)
        half = self.model[4:7](full)
        quarter = self.model[7:-9](half)  # the second stride-2 convolution and the blocks
        half = half + self.model[-9:-6](quarter)
        full = full + self.model[-6:-3](half)
        return self.model[-3:](full)


def _norm_relu(channels: int) -> list[nn.Module]:
    return [InstanceNorm2d(channels), nn.ReLU(inplace=True)]
