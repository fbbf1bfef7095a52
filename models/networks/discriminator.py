"""The PatchGAN discriminator of Isola et al. 2017 (arXiv 1611.07004), as CycleGAN uses it."""

from torch import Tensor, nn

from models.networks.blur import BlurDown
from models.networks.initialise import INITIALISE, freeze_idle_biases
from models.networks.normalise import InstanceNorm2d


class PatchDiscriminator(nn.Module):
    """One score for every patch (70 x 70 px with three layers); no sigmoid, the losses know the scale.

    Shape: [N, 3, H, W] in [-1, 1] -> [N, 1, h, w]; 256 px -> 30 x 30 with three layers. Weights stand under
    `model.{0, 2, 5, 8, 11}`, as in the reference code; 2,764,737 parameters.

    Args:
        channels: width of the first layer (64 in the paper), doubled by every layer up to eight times.
        layers: convolutions that halve the size.
        downsample: "strided" (the papers), or "blur" as CUT's: a convolution of stride 1, then BlurDown.
        initialise: a key of INITIALISE.
    """

    def __init__(self, channels: int = 64, layers: int = 3, downsample: str = "strided", initialise: str = "normal"):
        super().__init__()
        blur = [BlurDown()] if downsample == "blur" else []
        stride = 1 if blur else 2
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        stages = [nn.Conv2d(3, channels, 4, stride, padding=1), nn.LeakyReLU(0.2, inplace=True), *blur]
        for i in range(1, layers + 1):
            halves = i < layers
            stages += [
                nn.Conv2d(widths[i - 1], widths[i], 4, stride if halves else 1, padding=1),
                InstanceNorm2d(widths[i]),
                nn.LeakyReLU(0.2, inplace=True),
                *(blur if halves else []),
            ]
        self.model = nn.Sequential(*stages, nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1))
        self.apply(INITIALISE[initialise])
        freeze_idle_biases(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)
