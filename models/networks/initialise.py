"""Initial weights of the GAN networks: INITIALISE, by name; for `network.apply(INITIALISE[name])`."""

from collections.abc import Iterable
from itertools import pairwise

from torch import nn

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def normal_(module: nn.Module, std: float = 0.02) -> None:
    """Weights from N(0, std^2), biases 0 (CycleGAN, Sec. 7.1)."""
    if isinstance(module, WEIGHTED):
        nn.init.normal_(module.weight, 0.0, std)
        nn.init.zeros_(module.bias)


def xavier_(module: nn.Module, gain: float = 0.02) -> None:
    """Weights from N(0, gain^2 * 2 / (fan in + fan out)), biases 0 (CUT's reference code)."""
    if isinstance(module, WEIGHTED):
        nn.init.xavier_normal_(module.weight, gain)
        nn.init.zeros_(module.bias)


INITIALISE = {"normal": normal_, "xavier": xavier_}


def freeze_idle_biases(network: nn.Module) -> None:
    """Leave the biases before instance norms at what they are: the norm takes every constant out again, so that their
    gradient is nothing but rounding, which Adam would turn into steps of full size."""
    for stack in network.modules():
        if isinstance(stack, nn.Sequential):
            for layer, following in pairwise(stack):
                if isinstance(following, nn.InstanceNorm2d) and getattr(layer, "bias", None) is not None:
                    layer.bias.requires_grad_(False)


def train_biases(layers: Iterable[nn.Module]) -> None:
    """Where features are compared that an instance norm has not passed yet, as in CUT: a bias is not idle there."""
    for layer in layers:
        if isinstance(layer, WEIGHTED):
            layer.bias.requires_grad_(True)
