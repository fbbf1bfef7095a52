"""The ResNet generator of CycleGAN (arXiv 1703.10593, Sec. 7.2, after Johnson et al. 2016).

The modules stand in one nn.Sequential in the order, and so under the names, of the reference code's released
weights: `model.1`, `model.4`, `model.7`, `model.{10..}.conv_block.{1,5}`, then the two ups and the last
convolution. Pure functions of their input: norms keep no running statistics and have no affine part.
"""

from itertools import accumulate, pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.attention import SelfAttention
from models.networks.blur import BlurDown, BlurUpConv2d
from models.networks.initialise import INITIALISE, freeze_idle_biases
from models.networks.normalise import NORMS
from models.networks.padding import ReflectConv2d, ReflectPad2d


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), reflect-padded, no activation after the sum.

    Shape: [N, C, H, W] -> [N, C, H, W], H and W at least 2.
    """

    recomputable = True  # train.recompute: its activations may be computed again instead of kept

    def __init__(self, channels: int, dropout: float = 0.0, norm: str = "instance"):
        super().__init__()
        self.conv_block = nn.Sequential(
            ReflectPad2d(1),
            nn.Conv2d(channels, channels, 3),
            NORMS[norm](channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(dropout)] if dropout else []),
            ReflectPad2d(1),
            nn.Conv2d(channels, channels, 3),
            NORMS[norm](channels),
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


UPSAMPLE = {"transposed": transposed_conv, "resize": ResizeConv2d, "blur": BlurUpConv2d}
FEATURE_BLOCKS = (1, 5)  # residual blocks whose output CUT compares, counted from 1
FEATURES = 5  # places in a generator that CUT compares

Give = Literal["picture", "features", "both"]
Features = tuple[Tensor, ...]


class ResnetGenerator(nn.Module):
    """Shape: [N, 3, H, W] in [-1, 1] -> the same; H and W multiples of 4 and at least 8.

    Args:
        channels: width of the first layer (64 in the paper); the bottleneck has four times as many.
        blocks: residual blocks (9 for 256 px: 11,378,179 parameters; 6 for 128 px: 7,837,699).
        upsample: "transposed" (the paper), "resize" (see ResizeConv2d) or "blur" (BlurUpConv2d).
        dropout: probability inside the residual blocks.
        skips: add the encoder's features to the decoder's of the same resolution, as a U-Net does (Ronneberger et al.
            2015, arXiv 1505.04597): fine detail need not pass the bottleneck, so it stays sharp from the first steps
            and is repainted less. The same weights under the same names.
        downsample: "strided" (the paper) or "blur" (a convolution of stride 1, then BlurDown).
        initialise: a key of INITIALISE.
        attention: SelfAttention behind the residual blocks.
        norm: a key of NORMS.

    feature_channels: of what `features` gives, place by place. size_multiple, smallest_side: of the sides that it
        should be given (8 px would do, but a norm of so few places leaves little of a picture).
    """

    size_multiple = 4
    smallest_side = 16
    sized_by = "method.generator"

    def __init__(
        self,
        channels: int = 64,
        blocks: int = 9,
        upsample: str = "transposed",
        dropout: float = 0.0,
        skips: bool = False,
        downsample: str = "strided",
        initialise: str = "normal",
        attention: bool = False,
        norm: str = "instance",
    ):
        super().__init__()
        c, up, down = channels, UPSAMPLE[upsample], DOWNSAMPLE[downsample]
        self.skips = skips
        stages = [
            [ReflectPad2d(3), nn.Conv2d(3, c, 7), *_norm_relu(c, norm)],
            down(c, 2 * c, norm),
            down(2 * c, 4 * c, norm),
            [
                *(ResidualBlock(4 * c, dropout, norm) for _ in range(blocks)),
                *([SelfAttention(4 * c)] if attention else []),
            ],
            [up(4 * c, 2 * c), *_norm_relu(2 * c, norm)],
            [up(2 * c, c), *_norm_relu(c, norm)],
            [ReflectPad2d(3), nn.Conv2d(c, 3, 7), nn.Tanh()],
        ]
        self.model = nn.Sequential(*(layer for stage in stages for layer in stage))
        ends = list(accumulate(map(len, stages)))
        self.stages = tuple(pairwise([0, *ends]))  # of layers: first and end of each stage
        self.looked_at = (0, ends[0], ends[1], *(ends[2] - 1 + min(block, blocks) for block in FEATURE_BLOCKS))
        self.feature_channels = (3, 2 * c, 4 * c, 4 * c, 4 * c)
        self.apply(INITIALISE[initialise])
        freeze_idle_biases(self)

    @property
    def compared(self) -> tuple[nn.Module, ...]:
        """The layers whose raw outputs are the features."""
        return tuple(self.model[place] for place in self.looked_at)

    def forward(self, x: Tensor, give: Give = "picture") -> Tensor | Features | tuple[Tensor, Features]:
        """The picture, or what CUT compares, or both.

        Features (CUT's reference code): the reflect-padded picture, the raw outputs of the two convolutions that sample
        down, those of residual blocks 1 and 5 (the last, where there are fewer); each [N, C, h, w]. For them alone,
        the decoder is not passed.
        """
        if give == "picture":
            return self._decode(*self._encode(x, None))
        features: list[Tensor] = []
        encoded = self._encode(x, features)
        return tuple(features) if give == "features" else (self._decode(*encoded), tuple(features))

    def _encode(self, x: Tensor, features: list[Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """At full size, half, and a quarter; `features` takes what is looked at."""
        full = self._pass(x, 0, features)
        half = self._pass(full, 1, features)
        return full, half, self._pass(self._pass(half, 2, features), 3, features)

    def _decode(self, full: Tensor, half: Tensor, quarter: Tensor) -> Tensor:
        x = self._pass(quarter, 4)
        x = self._pass(half + x if self.skips else x, 5)
        return self._pass(full + x if self.skips else x, 6)

    def _pass(self, x: Tensor, stage: int, features: list[Tensor] | None = None) -> Tensor:
        for place in range(*self.stages[stage]):
            x = self.model[place](x)
            if features is not None:
                features += [x] * self.looked_at.count(place)
        return x


def _norm_relu(channels: int, norm: str) -> list[nn.Module]:
    return [NORMS[norm](channels), nn.ReLU(inplace=True)]


def _strided(channels_in: int, channels_out: int, norm: str) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), *_norm_relu(channels_out, norm)]


def _blurred(channels_in: int, channels_out: int, norm: str) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 3, padding=1), *_norm_relu(channels_out, norm), BlurDown()]


DOWNSAMPLE = {"strided": _strided, "blur": _blurred}
