"""Initial weights of the GAN networks."""

from itertools import pairwise

from torch import nn


def normal_(module: nn.Module, std: float = 0.02) -> None:
    """Convolution weights from N(0, std^2), biases 0 (CycleGAN, Sec. 7.1); for `network.apply(normal_)`."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, std)
        nn.init.zeros_(module.bias)


def freeze_idle_biases(network: nn.Module) -> None:
    """Leave the biases before instance norms at what they are: the norm takes every constant out again, so that their
    gradient is nothing but rounding, which Adam would turn into steps of full size."""
    for stack in network.modules():
        if isinstance(stack, nn.Sequential):
            for layer, following in pairwise(stack):
                if isinstance(following, nn.InstanceNorm2d) and getattr(layer, "bias", None) is not None:
                    layer.bias.requires_grad_(False)
