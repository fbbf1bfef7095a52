"""Blur-pool is what it says, by hand."""

import pytest
import torch
import torch.nn.functional as F

from models.networks.blur import BlurDown, BlurUpConv2d, blur_down


@pytest.mark.parametrize("sides", [(6, 8), (5, 7), (2, 3)])
def test_blurring_down_is_the_sum_by_hand(sides: tuple[int, int]) -> None:
    x = torch.randn(1, 2, *sides, dtype=torch.float64)
    height, width = sides
    found = BlurDown()(x)
    assert found.shape[2:] == (-(-height // 2), -(-width // 2))
    weights = {-1: 0.25, 0: 0.5, 1: 0.25}

    def mirrored(place: int, side: int) -> int:
        return -place if place < 0 else 2 * (side - 1) - place if place >= side else place

    for row in range(found.shape[2]):
        for column in range(found.shape[3]):
            wanted = sum(
                a * b * x[0, :, mirrored(2 * row + i, height), mirrored(2 * column + j, width)]
                for i, a in weights.items()
                for j, b in weights.items()
            )
            torch.testing.assert_close(found[0, :, row, column], wanted)


def test_blurring_down_hears_nothing_of_the_finest_pattern() -> None:
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1).expand(1, 1, 8, 8)
    assert BlurDown()(board).abs().max() == 0
    torch.testing.assert_close(blur_down(torch.ones(1, 3, 6, 8)), torch.ones(1, 3, 2, 3))


def test_blurring_up_is_the_transposed_convolution_of_a_repeated_border() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    layer = BlurUpConv2d(3, 3).double()
    with torch.no_grad():  # a convolution that changes nothing
        layer.weight.zero_()
        layer.weight[range(3), range(3), 1, 1] = 1
        layer.bias.zero_()
    line = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 4
    kernel = torch.outer(line, line).expand(3, 1, 4, 4)
    bordered = F.pad(x, (1, 1, 1, 1), mode="replicate")
    wanted = F.conv_transpose2d(bordered, kernel, stride=2, padding=1, groups=3)[..., 2:-2, 2:-2]
    torch.testing.assert_close(layer(x), wanted)
