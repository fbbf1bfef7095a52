"""CycleGAN's networks as the field writes them: torch's own layers, nothing tuned. The other side of benchmarks.

They hold the weights of ours under the same names, so that one state_dict fits both.
"""

from torch import Tensor, nn

from models.networks.initialise import normal_


class PlainResidual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            *[nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels), nn.ReLU(True)],
            *[nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)],
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


def plain_generator(channels: int, blocks: int = 9) -> nn.Sequential:
    """[N, 3, H, W] in [-1, 1] -> the same."""
    c = channels
    layers = [
        *[nn.ReflectionPad2d(3), nn.Conv2d(3, c, 7), nn.InstanceNorm2d(c), nn.ReLU(True)],
        *[nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * c), nn.ReLU(True)],
        *[nn.Conv2d(2 * c, 4 * c, 3, stride=2, padding=1), nn.InstanceNorm2d(4 * c), nn.ReLU(True)],
        *[PlainResidual(4 * c) for _ in range(blocks)],
        *[nn.ConvTranspose2d(4 * c, 2 * c, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(2 * c), nn.ReLU(True)],
        *[nn.ConvTranspose2d(2 * c, c, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(c), nn.ReLU(True)],
        *[nn.ReflectionPad2d(3), nn.Conv2d(c, 3, 7), nn.Tanh()],
    ]
    return _started(layers)


def plain_discriminator(channels: int) -> nn.Sequential:
    """[N, 3, H, W] in [-1, 1] -> [N, 1, h, w], a score for every patch of 70 x 70 px."""
    c = channels
    layers = [
        *[nn.Conv2d(3, c, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)],
        *[nn.Conv2d(c, 2 * c, 4, stride=2, padding=1), nn.InstanceNorm2d(2 * c), nn.LeakyReLU(0.2, True)],
        *[nn.Conv2d(2 * c, 4 * c, 4, stride=2, padding=1), nn.InstanceNorm2d(4 * c), nn.LeakyReLU(0.2, True)],
        *[nn.Conv2d(4 * c, 8 * c, 4, stride=1, padding=1), nn.InstanceNorm2d(8 * c), nn.LeakyReLU(0.2, True)],
        nn.Conv2d(8 * c, 1, 4, stride=1, padding=1),
    ]
    return _started(layers)


def _started(layers: list[nn.Module]) -> nn.Sequential:
    network = nn.Sequential()
    network.model = nn.Sequential(*layers)  # "model.1.weight", as in the reference code
    return network.apply(normal_)
