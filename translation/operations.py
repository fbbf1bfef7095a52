"""The layers that translate, one strip of rows at a time: which rows of its input a layer wants for some of its output,
and the output of these rows, exactly as the layer makes them of the whole picture.

A strip has all columns of the picture, so only rows are counted here. The border of the picture is where a layer pads;
the border of a strip is not.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from models.networks.blur import blur_down
from models.networks.winograd import WinogradConv2d


@dataclass(eq=False)
class Operation(ABC):
    """Rows are [first, end) of a picture of `height` rows, all of the operation's input unless said otherwise.

    scale: what the operation multiplies the sides by, paddings left out; work: multiplications for a value of the
        output.
    """

    scale = Fraction(1)
    work = 1

    def side(self, side: int) -> int:
        """Height or width of the input -> that of the output."""
        return side

    def channels(self, *channels: int) -> int:
        """Of each input -> of the output."""
        return channels[0]

    @abstractmethod
    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        """Rows of the output -> the rows of the input that they are made of."""

    @abstractmethod
    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        """Rows [first, end) of the output, [1, C', end - first, W'].

        Args:
            strips: of each input, [1, C, rows, W], the wanted rows, of which `start` is the first.
        """


@dataclass(eq=False)
class Pointwise(Operation):
    """What treats every place by itself: an activation, a sum, instance norm whose statistics are known."""

    function: Callable[..., Tensor]

    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        return first, end

    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        return self.function(*strips)


class Concatenate(Operation):
    """The channels of all inputs, one behind the other."""

    def channels(self, *channels: int) -> int:
        return sum(channels)

    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        return first, end

    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        return torch.cat(tuple(strips), 1)


@dataclass(eq=False)
class Everywhere(Operation):
    """What looks at the whole picture for every place, as attention does: counted, but not made in strips."""

    layer: nn.Module
    work = 2  # its copies are counted, as a convolution's

    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        return 0, height

    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        raise AssertionError("read_graph refuses it")


@dataclass(eq=False)
class Reflect(Operation):
    """Reflect padding of `border` places."""

    border: int

    def side(self, side: int) -> int:
        return side + 2 * self.border

    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        rows = [self._source(row, height) for row in self._bends(first, end, height)]
        return min(rows), max(rows) + 1

    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        (x,) = strips
        if first < self.border or end > height + self.border:
            rows = [self._source(row, height) - start for row in range(first, end)]
            x = x[..., rows, :]
        return self._with_columns(x)

    def _with_columns(self, x: Tensor) -> Tensor:
        """By plain copies, which keep channels_last; torch's own padding goes through NCHW."""
        border, width = self.border, x.shape[3]
        shape = (*x.shape[:3], width + 2 * border)
        padded = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        padded[..., border : border + width] = x
        for i in range(border):
            padded[..., border - 1 - i] = x[..., 1 + i]
            padded[..., border + width + i] = x[..., width - 2 - i]
        return padded

    def _source(self, row: int, height: int) -> int:
        row = abs(row - self.border)
        return row if row < height else 2 * (height - 1) - row

    def _bends(self, first: int, end: int, height: int) -> list[int]:
        """The rows of the output among which the outermost rows of the input are found."""
        bends = (first, end - 1, self.border, height + self.border - 1)
        return [row for row in bends if first <= row < end]


@dataclass(eq=False)
class Convolve(Operation):
    """Zero padding or none."""

    layer: nn.Conv2d | WinogradConv2d

    def __post_init__(self) -> None:
        layer = self.layer
        (self.kernel, _), (self.stride, _), (self.border, _) = layer.kernel_size, layer.stride, layer.padding
        self.scale = Fraction(1, self.stride)
        self.work = layer.in_channels * self.kernel**2

    def side(self, side: int) -> int:
        return (side + 2 * self.border - self.kernel) // self.stride + 1

    def channels(self, *channels: int) -> int:
        return self.layer.out_channels

    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        top, bottom = self._reach(first, end)
        return max(0, top), min(height, bottom)

    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        (x,) = strips
        top, bottom = self._reach(first, end)
        outside = (max(0, -top), max(0, bottom - height))
        if any(outside):
            x = functional.pad(x, (0, 0, *outside))
        if isinstance(self.layer, WinogradConv2d):
            return self.layer.convolve(x, (0, self.border))
        return functional.conv2d(x, self.layer.weight, self.layer.bias, self.stride, (0, self.border))

    def _reach(self, first: int, end: int) -> tuple[int, int]:
        return first * self.stride - self.border, (end - 1) * self.stride - self.border + self.kernel


class Blur(Operation):
    """blur_down of what is padded by one place already."""

    scale = Fraction(1, 2)
    work = 9

    def side(self, side: int) -> int:
        return (side - 1) // 2

    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        return 2 * first, 2 * end + 1

    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        return blur_down(*strips)


@dataclass(eq=False)
class ConvolveTransposed(Operation):
    """Row i of the input adds to the rows i stride - padding + (0 .. kernel - 1) of the output."""

    layer: nn.ConvTranspose2d

    def __post_init__(self) -> None:
        layer = self.layer
        (self.kernel, _), (self.stride, _), (self.border, _) = layer.kernel_size, layer.stride, layer.padding
        self.more = layer.output_padding[0]
        self.scale = Fraction(self.stride)
        self.work = layer.in_channels * self.kernel**2 // self.stride**2

    def side(self, side: int) -> int:
        return (side - 1) * self.stride - 2 * self.border + self.kernel + self.more

    def channels(self, *channels: int) -> int:
        return self.layer.out_channels

    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        top = -(-(first + self.border - self.kernel + 1) // self.stride)
        return max(0, top), min(height, (end - 1 + self.border) // self.stride + 1)

    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        padding, more = (0, self.border), (0, self.more)
        made = functional.conv_transpose2d(*strips, self.layer.weight, self.layer.bias, self.stride, padding, more)
        top = first - (start * self.stride - self.border)
        return made[..., top : top + end - first, :]


@dataclass(eq=False)
class Double(Operation):
    """Twice the sides, as functional.interpolate does it; "bilinear" looks one row to each side."""

    mode: str

    def __post_init__(self) -> None:
        self.scale = Fraction(2)

    def side(self, side: int) -> int:
        return 2 * side

    def wanted(self, first: int, end: int, height: int) -> tuple[int, int]:
        beside = int(self.mode == "bilinear")
        return max(0, first // 2 - beside), min(height, (end - 1) // 2 + 1 + beside)

    def make(self, strips: Sequence[Tensor], start: int, first: int, end: int, height: int) -> Tensor:
        aligned = {"align_corners": False} if self.mode == "bilinear" else {}
        made = functional.interpolate(*strips, scale_factor=2.0, mode=self.mode, **aligned)
        return made[..., first - 2 * start : end - 2 * start, :]
