"""3 x 3 convolutions with fewer multiplications, for translating on a CPU.

Lavin and Gray, CVPR 2016, arXiv 1509.09308, F(4 x 4, 3 x 3): four by four outputs of one channel take 36 products
instead of 144. Sums in between grow, so that rounding does: by an order of magnitude, far below a grey level.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from models.networks.padding import ReflectConv2d, reflect_pad

STEP, TILE = 4, 6  # outputs and inputs of a tile, in each direction
POINTS = TILE * TILE
# Sec. 4.2: the transforms of input tiles, kernels and products.
B = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
     (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))  # fmt: skip
G = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
     (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))  # fmt: skip
A = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
FEWEST_CHANNELS = 32  # with fewer the transforms cost more than they save
TILES = 512  # that are transformed at a time: what is in between stays in the cache


class WinogradConv2d(nn.Module):
    """What a 3 x 3 convolution of stride 1 does, padded with zeros, by reflection or not at all; for inference in
    float32.

    Shape: [N, in, H, W] -> [N, out, H, W], [N, out, H - 2, W - 2] of one that does not pad. In channels_last.
    """

    def __init__(self, plain: nn.Conv2d):
        super().__init__()
        self.border = plain.border if isinstance(plain, ReflectConv2d) else 0  # reflected
        self.in_channels, self.out_channels = plain.in_channels, plain.out_channels
        self.kernel_size, self.stride, self.padding = plain.kernel_size, plain.stride, plain.padding
        g = torch.tensor(G, dtype=torch.float64)
        kernels = torch.einsum("ia,ocab,jb->ijco", g, plain.weight.detach().cpu().double(), g)
        self.register_buffer("kernels", kernels.reshape(POINTS, *kernels.shape[2:]).to(plain.weight), persistent=False)
        self.register_buffer("bias", None if plain.bias is None else plain.bias.detach(), persistent=False)
        for name, matrix in (("into", B), ("back", A)):
            square = torch.tensor(matrix, dtype=torch.float64)
            self.register_buffer(name, torch.kron(square, square).to(plain.weight), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(reflect_pad(x, self.border) if self.border else x, self.padding)

    def convolve(self, x: Tensor, zeros: tuple[int, int]) -> Tensor:
        """Without reflection.

        Args:
            zeros: that are laid above and below, and at the sides.
        """
        above, beside = zeros
        height, width = x.shape[2] + 2 * above - 2, x.shape[3] + 2 * beside - 2
        rows, columns = -(-height // STEP), -(-width // STEP)
        right, bottom = STEP * columns - width, STEP * rows - height
        x = functional.pad(x, (beside, beside + right, above, above + bottom))
        x = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        found = x.new_empty(len(x), STEP * rows, STEP * columns, self.kernels.shape[2])
        at_once = max(1, TILES // columns)
        for picture, out in zip(x, found, strict=True):
            for first in range(0, rows, at_once):
                last = min(first + at_once, rows)
                strip = picture[STEP * first : STEP * last + TILE - STEP]
                out[STEP * first : STEP * last] = self._strip(strip, last - first, columns)
        return found[:, :height, :width].permute(0, 3, 1, 2)

    def _strip(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """[4 rows + 2, 4 columns + 2, in] -> [4 rows, 4 columns, out]."""
        tiles = x.unfold(0, TILE, STEP).unfold(1, TILE, STEP).permute(3, 4, 0, 1, 2)
        points = (self.into @ tiles.reshape(POINTS, -1)).view(POINTS, rows * columns, -1)
        products = torch.bmm(points, self.kernels)
        found = (self.back @ products.view(POINTS, -1)).view(STEP, STEP, rows, columns, -1)
        if self.bias is not None:
            found += self.bias
        return found.permute(2, 0, 3, 1, 4).reshape(STEP * rows, STEP * columns, -1)


def with_winograd(network: nn.Module) -> nn.Module:
    """Every convolution in `network` that gains by it is replaced; the network is for inference then."""
    for name, child in network.named_children():
        if _gains(child):
            setattr(network, name, WinogradConv2d(child))
        else:
            with_winograd(child)
    return network


def _gains(module: nn.Module) -> bool:
    return (
        type(module) in (nn.Conv2d, ReflectConv2d)
        and module.kernel_size == (3, 3)
        and (module.stride, module.dilation, module.groups) == ((1, 1), (1, 1), 1)
        and module.padding in ((0, 0), (1, 1))
        and module.padding_mode == "zeros"
        and min(module.in_channels, module.out_channels) >= FEWEST_CHANNELS
    )
