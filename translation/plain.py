"""A translating network made of parts that onnxruntime runs well, with the same weights and the same values.

- Instance norm is ONNX's own operator, and not the arithmetic that torch's exporter would write.
- A transposed convolution (3 x 3, stride 2) is an equal 2 x 2 convolution with four times the channels, and a
  rearrangement of them into pixels (Shi et al. 2016, arXiv 1609.07009): it can be 8 bits wide, as any convolution.
- The last convolution has three output channels only, too few for a processor's wide registers: it makes 4 x 4 pixels
  at a time, as one convolution of stride 4 with 48 channels.
"""

import copy

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from models.networks.blur import BlurUpConv2d
from models.networks.generator import ResizeConv2d
from models.networks.normalise import InstanceNorm2d
from models.networks.padding import ReflectConv2d, ReflectPad2d

OPSET = 21
AT_ONCE = 4  # pixels, each way, of the last convolution; sides are multiples of 4
FEW = 4  # output channels


class Norm(nn.Module):
    """InstanceNormalization. Shape: [N, C, H, W] -> the same."""

    def __init__(self, norm: InstanceNorm2d):
        super().__init__()
        self.eps = norm.eps
        ones, zeros = torch.ones(norm.num_features), torch.zeros(norm.num_features)
        self.register_buffer("scale", ones if norm.weight is None else norm.weight.detach().clone())
        self.register_buffer("shift", zeros if norm.bias is None else norm.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            return functional.instance_norm(x, weight=self.scale, bias=self.shift, eps=self.eps)
        return operator("InstanceNormalization", (x, self.scale, self.shift), x.dtype, x.shape, epsilon=self.eps)


def operator(name: str, inputs: tuple[Tensor, ...], dtype: torch.dtype, shape: tuple, **attributes: object) -> Tensor:
    """An operator of ONNX where torch's exporter would write others; while exporting only."""
    return torch.onnx.ops.symbolic(name, inputs, attributes, dtype=dtype, shape=shape, version=OPSET)


class Phases(nn.Module):
    """nn.ConvTranspose2d(3, stride=2, padding=1, output_padding=1) as a convolution.

    An output pixel of an even row sees the transposed kernel's row 1 at its own input row; one of an odd row sees row
    2 there and row 0 at the next. The same holds for columns. Shape: [N, in, H, W] -> [N, out, 2H, 2W].
    """

    ROWS = {(0, 0): 1, (1, 0): 2, (1, 1): 0}  # (odd, offset of the input) -> row of the kernel

    def __init__(self, transposed: nn.ConvTranspose2d):
        super().__init__()
        inner, outer = transposed.in_channels, transposed.out_channels
        weight = torch.zeros(outer, 2, 2, inner, 2, 2)
        for (odd_row, down), row in self.ROWS.items():
            for (odd_column, right), column in self.ROWS.items():
                weight[:, odd_row, odd_column, :, down, right] = transposed.weight.detach()[:, :, row, column].T
        self.convolution = _convolution(weight.flatten(0, 2), transposed.bias, 4)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.convolution(functional.pad(x, (0, 1, 0, 1))), 2)


class ManyAtOnce(nn.Module):
    """A convolution without padding that makes AT_ONCE x AT_ONCE pixels at each step.

    Shape: [N, in, H + k - 1, W + k - 1] -> [N, out, H, W], H and W multiples of AT_ONCE.
    """

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        outer, inner, kernel, _ = convolution.weight.shape
        weight = torch.zeros(outer, AT_ONCE, AT_ONCE, inner, kernel + AT_ONCE - 1, kernel + AT_ONCE - 1)
        for row in range(AT_ONCE):
            for column in range(AT_ONCE):
                weight[:, row, column, :, row : row + kernel, column : column + kernel] = convolution.weight.detach()
        self.convolution = _convolution(weight.flatten(0, 2), convolution.bias, AT_ONCE**2, stride=AT_ONCE)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.convolution(x), AT_ONCE)


class Double(nn.Module):
    """Bilinear x2, as ResizeConv2d and BlurUpConv2d do it first."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def plain(network: nn.Module) -> nn.Module:
    """A copy, float32 on the CPU, whose convolutions are all plain nn.Conv2d without reflection."""
    network = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    for module in list(network.modules()):
        for name, child in module.named_children():
            setattr(module, name, _replaced(child, child is last))
    return network


def example_sides(multiple: int) -> tuple[int, int]:
    """Height and width of a picture that a network is written down with: unlike one another, and small."""
    return multiple * max(2, 64 // multiple), multiple * max(3, 96 // multiple)


def _replaced(module: nn.Module, is_last: bool) -> nn.Module:
    if isinstance(module, InstanceNorm2d):
        return Norm(module)
    if isinstance(module, nn.ConvTranspose2d) and module.kernel_size == (3, 3):
        return Phases(module)  # a U-Net's are 4 x 4 and stay
    if isinstance(module, BlurUpConv2d):
        return nn.Sequential(Double(), _bare(module))
    if isinstance(module, ReflectConv2d):
        before = [Double()] if isinstance(module, ResizeConv2d) else []
        return nn.Sequential(*before, ReflectPad2d(module.border), _replaced(_bare(module), is_last))
    if (
        is_last
        and module.out_channels <= FEW
        and (module.stride, module.padding) == ((1, 1), (0, 0))
        and module.kernel_size != (1, 1)
    ):
        return ManyAtOnce(module)
    return module


def _bare(module: nn.Conv2d) -> nn.Conv2d:
    """Without what its class does besides."""
    made = nn.Conv2d(module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding)
    made.load_state_dict(module.state_dict())
    return made.requires_grad_(False)


def _convolution(weight: Tensor, bias: Tensor | None, pixels: int, stride: int = 1) -> nn.Conv2d:
    """Each of `pixels` neighbours in a row of channels has the bias of the one channel that they become."""
    made = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride).requires_grad_(False)
    made.weight.copy_(weight)
    made.bias.copy_(torch.zeros(len(weight)) if bias is None else bias.detach().repeat_interleave(pixels))
    return made
