"""The norms of the networks: NORMS, by name.

Instance normalisation (Ulyanov et al. 2016, arXiv 1607.08022) keeps the memory format of what it is given. torch's
own gives the same numbers, but goes through NCHW, so that a network in channels_last is copied forth and back around
every norm. Which of the equal forms is taken is a question of speed only.

A picture that is translated in parts needs the statistics of the whole: `normalising` gives them to a network's norms
from outside, or looks on, for as long as it lasts. Training never sees it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

LOW_PRECISION = (torch.bfloat16, torch.float16)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Every channel of every picture to mean 0 and variance 1, without running statistics; statistics are at least
    float32.

    Shape: [N, C, H, W] -> the same, in the same dtype and memory format.
    """

    statistics: "Statistics | None" = None  # whose instead of its own: `normalising`

    def __init__(self, channels: int, affine: bool = False):
        super().__init__(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        if self.statistics is None:
            return instance_norm(x, self.weight, self.bias, self.eps)
        return told_norm(x, *self.statistics(self, x), self.weight, self.bias, self.eps)


class PixelNorm(nn.Module):
    """Every place by itself to a mean square of 1 over its channels (Karras et al., ICLR 2018, arXiv 1710.10196,
    Sec. 4.2). No place depends on another: nothing is gained by a spike somewhere that lowers all the rest, which is
    how instance norm comes to its blobs (Karras et al., CVPR 2020, arXiv 1912.04958, Sec. 2), and a part of a picture
    is normalised as in the whole. How bright and how rough a picture is gets through.

    Shape: [N, C, H, W] -> the same, in the same dtype; the mean is at least float32.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        power = wide.square().mean(dim=1, keepdim=True)
        return x * torch.rsqrt(power + self.eps).to(x.dtype)


NORMS: dict[str, type[nn.Module]] = {"instance": InstanceNorm2d, "pixel": PixelNorm, "none": nn.Identity}
"""Each is made with the number of channels."""

Statistics = Callable[[InstanceNorm2d, Tensor], tuple[Tensor, Tensor]]
"""A norm and what it is given, [N, C, H, W] -> the mean and the variance that it shall take: [C] each, float32."""


@contextmanager
def normalising(network: nn.Module, statistics: Statistics) -> Iterator[None]:
    """Inside, every norm of the network asks `statistics`; the network's weights and its state_dict are as before, and
    so is everything afterwards, also after an error."""
    norms = [module for module in network.modules() if isinstance(module, InstanceNorm2d)]
    before = [norm.statistics for norm in norms]
    try:
        for norm in norms:
            norm.statistics = statistics
        yield
    finally:
        for norm, own in zip(norms, before, strict=True):
            norm.statistics = own


def told_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As instance_norm, with a mean and a variance from elsewhere.

    Args:
        mean, variance: [C], float32, of all pictures alike.
    """
    if x.dtype in LOW_PRECISION and x.device.type == "cpu":
        return told_norm(x.float(), mean, variance, weight, bias, eps).to(x.dtype)
    return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Can be differentiated twice, as the gradient penalty does.

    Args:
        weight, bias: [C], or None.
    """
    if torch.compiler.is_compiling():
        return _as_arithmetic(x, weight, bias, eps)
    if x.dtype in LOW_PRECISION and x.device.type == "cpu":  # where torch rounds the statistics to it, too
        return instance_norm(x.float(), weight, bias, eps).to(x.dtype)
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return functional.instance_norm(x, weight=weight, bias=bias, eps=eps)
    return _by_picture(x, weight, bias, eps)


def _as_arithmetic(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """For the compiler, which fuses it with what stands around it."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(wide, dim=(2, 3), correction=0, keepdim=True)
    found = (wide - mean) * torch.rsqrt(variance + eps)
    if weight is not None:
        found = found * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)
    return found.to(x.dtype)


def _by_picture(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Batch norm of one picture is instance norm, and knows channels_last."""
    found = [functional.batch_norm(picture, None, None, weight, bias, True, 0.0, eps) for picture in x.split(1)]
    return torch.cat(found) if len(found) > 1 else found[0]
