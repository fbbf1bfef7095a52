"""Spectral norm: convolutions whose weights, as matrices, have a largest singular value of 1 (Miyato et al., ICLR 2018,
arXiv 1802.05957).

The largest singular value is followed by one power iteration for every pass in training; its two vectors are buffers,
so they are in checkpoints. In eval() they rest. Weights stand under `parametrizations.weight.original`.
"""

from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations


def with_spectral_norm(network: nn.Module) -> nn.Module:
    """Every convolution of `network`, whose weights are drawn already; changed in place."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    for module in convolutions:
        parametrizations.spectral_norm(module)
    return network


def baked(network: nn.Module) -> nn.Module:
    """The network for translating, in place: its weights as eval() sees them, in layers of the plain types and names,
    which is what programs look at that make a network faster, smaller or another file."""
    network.eval()  # else reading a weight would move it once more
    for module in list(network.modules()):
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
    return network
