"""Reflect padding for networks that are trained.

torch's own gives the same numbers, but on GPUs its backward adds up in any order, so that a run is not the same run
twice. There the backward folds the border back in a fixed order. On the CPU torch's is in order, and faster where
pictures are small; but autocast would do it in float32.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


def reflect_pad(x: Tensor, width: int) -> Tensor:
    """Mirror the picture at its border, the border itself not repeated. Keeps dtype and memory format; can be
    differentiated any number of times.

    Shape: [N, C, H, W] -> [N, C, H + 2 width, W + 2 width], H and W larger than width, which is at least 1.
    """
    if x.device.type != "cpu":
        return fold_back(x, width)
    if not torch.is_autocast_enabled("cpu"):
        return functional.pad(x, (width,) * 4, mode="reflect")
    with torch.autocast("cpu", enabled=False):
        return functional.pad(x, (width,) * 4, mode="reflect")


def fold_back(x: Tensor, width: int) -> Tensor:
    """The same, with a backward that is deterministic on every device."""
    return _Pad.apply(x, width)


class ReflectPad2d(nn.Module):
    """Shape: [N, C, H, W] -> [N, C, H + 2 width, W + 2 width], H and W larger than width."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return reflect_pad(x, self.width)

    def extra_repr(self) -> str:
        return str(self.width)


class ReflectConv2d(nn.Conv2d):
    """A convolution of an odd kernel, reflect-padded to keep the size, with the weights and the names of nn.Conv2d.

    Shape: [N, in, H, W] -> [N, out, H / stride, W / stride], rounded up.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1):
        super().__init__(channels_in, channels_out, kernel, stride)
        self.border = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(reflect_pad(x, self.border))


class _Pad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, width: int) -> Tensor:
        ctx.width = width
        if x.is_cuda and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
            return put_together(x, width)
        return functional.pad(x, (width,) * 4, mode="reflect")

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Fold.apply(gradient, ctx.width), None


class _Fold(torch.autograd.Function):
    """What _Pad is the transpose of, and the other way round."""

    @staticmethod
    def forward(ctx, padded: Tensor, width: int) -> Tensor:
        ctx.width = width
        top, inner, bottom = padded[..., :width, :], padded[..., width:-width, :], padded[..., -width:, :]
        folded = _fold_columns(inner, width)
        folded[..., 1 : width + 1, :] += _mirrored(_fold_columns(top, width), -2)
        folded[..., -width - 1 : -1, :] += _mirrored(_fold_columns(bottom, width), -2)
        return folded

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Pad.apply(gradient, ctx.width), None


def put_together(x: Tensor, width: int) -> Tensor:
    """The same from pieces, which stay in channels_last; on GPUs torch's own padding goes through NCHW."""
    left, right = x[..., 1 : width + 1], x[..., -width - 1 : -1]
    x = torch.cat([_mirrored(left, -1), x, _mirrored(right, -1)], dim=-1)
    top, bottom = x[..., 1 : width + 1, :], x[..., -width - 1 : -1, :]
    return torch.cat([_mirrored(top, -2), x, _mirrored(bottom, -2)], dim=-2)


def _fold_columns(padded: Tensor, width: int) -> Tensor:
    folded = padded[..., width:-width].clone()
    folded[..., 1 : width + 1] += _mirrored(padded[..., :width], -1)
    folded[..., -width - 1 : -1] += _mirrored(padded[..., -width:], -1)
    return folded


def _mirrored(x: Tensor, dim: int) -> Tensor:
    return x.flip(dim) if x.shape[dim] > 1 else x
