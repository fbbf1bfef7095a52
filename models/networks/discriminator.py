"""The PatchGAN discriminator of Isola et al. 2017 (arXiv 1611.07004), as CycleGAN uses it, and several of them for
several scales (pix2pixHD: Wang et al., CVPR 2018, arXiv 1711.11585)."""

from collections.abc import Sequence

import torch.nn.functional as functional
from torch import Tensor, nn

from models.networks.blur import BlurDown
from models.networks.initialise import INITIALISE, freeze_idle_biases
from models.networks.normalise import NORMS


class PatchDiscriminator(nn.Module):
    """One score for every patch (70 x 70 px with three layers); no sigmoid, the losses know the scale.

    Shape: [N, 3, H, W] in [-1, 1] -> [N, 1, h, w]; 256 px -> 30 x 30 with three layers. Weights stand under
    `model.{0, 2, 5, 8, 11}`, as in the reference code; 2,764,737 parameters.

    Args:
        channels: width of the first layer (64 in the paper), doubled by every layer up to eight times.
        layers: convolutions that halve the size.
        downsample: "strided" (the papers), or "blur" as CUT's: a convolution of stride 1, then BlurDown.
        initialise: a key of INITIALISE.
        norm: a key of NORMS.

    smallest_side: of pictures that it can judge; its last instance norm then sees four places.
    """

    def __init__(
        self,
        channels: int = 64,
        layers: int = 3,
        downsample: str = "strided",
        initialise: str = "normal",
        norm: str = "instance",
    ):
        super().__init__()
        self.smallest_side = 3 * 2**layers
        self.sized_by = f"method.discriminator.layers = {layers}"
        blur = [BlurDown()] if downsample == "blur" else []
        stride = 1 if blur else 2
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        stages = [nn.Conv2d(3, channels, 4, stride, padding=1), nn.LeakyReLU(0.2, inplace=True), *blur]
        for i in range(1, layers + 1):
            halves = i < layers
            stages += [
                nn.Conv2d(widths[i - 1], widths[i], 4, stride if halves else 1, padding=1),
                NORMS[norm](widths[i]),
                nn.LeakyReLU(0.2, inplace=True),
                *(blur if halves else []),
            ]
        self.model = nn.Sequential(*stages, nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1))
        self.apply(INITIALISE[initialise])
        freeze_idle_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class MultiScaleDiscriminator(nn.Module):
    """The same judges at several scales: each sees the picture at half the size of the one before (Sec. 3.2), averaged
    over 3 x 3 px, and knows nothing of the others.

    Shape: [N, 3, H, W] in [-1, 1] -> for each scale [N, 1, h, w], the largest picture's first.

    smallest_side: of pictures of which the smallest scale can still be judged.
    """

    def __init__(self, judges: Sequence[PatchDiscriminator]):
        super().__init__()
        self.scales = nn.ModuleList(judges)
        self.smallest_side = judges[-1].smallest_side
        for _ in judges[1:]:
            self.smallest_side = 2 * self.smallest_side - 1  # half of which is rounded up
        self.sized_by = f"method.discriminator.scales = {len(judges)} with {judges[0].sized_by}"

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        scores = []
        for i, judge in enumerate(self.scales):
            x = functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False) if i else x
            scores.append(judge(x))
        return tuple(scores)
