"""Initial weights of the GAN networks."""

from torch import nn


def normal_(module: nn.Module, std: float = 0.02) -> None:
    """Convolution weights from N(0, std^2), biases 0 (CycleGAN, Sec. 7.1); for `network.apply(normal_)`."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, std)
        nn.init.zeros_(module.bias)
